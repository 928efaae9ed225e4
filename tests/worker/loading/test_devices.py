from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from modeldeploy import machine
from modeldeploy.schema.worker import HOST, Reserved
from modeldeploy.worker.loading.devices import choose_device, choose_dtype, kept_bytes, memory_name

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("asked", "stored", "native", "chosen"),
    [
        ("auto", FP32, True, FP32),
        ("auto", FP16, True, FP32),
        ("auto", BF16, True, BF16),
        ("auto", BF16, False, FP32),
        ("auto", None, True, FP32),
        ("float16", FP32, False, FP16),
        ("bfloat16", FP32, False, BF16),
    ],
)
def test_dtype_on_a_cpu(
    asked: str, stored: torch.dtype | None, native: bool, chosen: torch.dtype
) -> None:
    assert choose_dtype(asked, stored, CPU, cpu_bf16=native) is chosen


@pytest.mark.parametrize(
    ("stored", "native", "chosen"),
    [(FP32, True, FP16), (FP16, True, FP16), (BF16, True, BF16), (BF16, False, FP16)],
)
def test_dtype_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, stored: torch.dtype, native: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: native)
    assert choose_dtype("auto", stored, GPU, cpu_bf16=True) is chosen


def test_auto_takes_the_gpu_with_the_most_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [10, 30, 20]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index], 40))
    assert choose_device("auto") == torch.device("cuda", 1)
    assert choose_device("cuda:2") == torch.device("cuda", 2)
    assert choose_device("cpu") == CPU


def test_keys_and_values_take_a_quarter_of_what_this_process_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 1000)
    monkeypatch.setattr(machine, "own_bytes", int)
    assert kept_bytes(CPU) == 250
    assert kept_bytes(CPU, memory=400) == 100
    assert kept_bytes(CPU, memory=4000) == 250


def test_deployments_that_write_never_get_more_together_than_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 10_000)
    one_by_one: list[int] = []
    for writers in range(20):
        others = Reserved(bytes={HOST: sum(one_by_one)}, writers=writers)
        one_by_one.append(kept_bytes(CPU, others=others))
    at_once = [
        kept_bytes(CPU, others=Reserved(writers=before, loading=before)) for before in range(20)
    ]
    assert one_by_one[:3] == [2500, 1500, 1000]
    assert one_by_one == pytest.approx(at_once, abs=1)
    assert sorted(one_by_one, reverse=True) == one_by_one
    assert one_by_one[-1] > 50
    assert 8500 < sum(one_by_one) <= 10_000


def test_what_a_worker_may_take_is_divided_among_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 60_000)
    monkeypatch.setattr(machine, "own_bytes", int)
    beside_five = Reserved(writers=5)
    assert kept_bytes(CPU, memory=2000, others=beside_five) == kept_bytes(CPU, memory=2000) == 500
    assert kept_bytes(CPU, memory=50_000, others=beside_five) == 60_000 // 9


def test_what_others_may_take_of_this_memory_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    uuids = {0: "a", 1: "b"}
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(uuid=uuids[device.index]),
    )
    others = Reserved(bytes={"a": 600, "b": 10**9, HOST: 10**9}, writers=3)
    assert kept_bytes(GPU, others=others) == 320
    assert kept_bytes(GPU, others=Reserved(bytes={"a": 1200})) == 0
    assert (memory_name(CPU), memory_name(torch.device("mps"))) == (HOST, HOST)
    assert (memory_name(GPU), memory_name(torch.device("cuda", 1))) == ("a", "b")


@pytest.mark.parametrize(("taken", "room"), [(0, 100), (300, 50), (390, 5), (500, 0)])
def test_of_what_a_worker_may_take_half_of_the_rest_stays_for_its_calls(
    monkeypatch: pytest.MonkeyPatch, taken: int, room: int
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 10_000)
    monkeypatch.setattr(machine, "own_bytes", lambda: taken)
    assert kept_bytes(CPU, memory=400) == room

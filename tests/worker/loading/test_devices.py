from __future__ import annotations

import pytest
import torch

from modeldeploy import machine
from modeldeploy.worker.loading.devices import choose_device, choose_dtype, kept_bytes

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
    assert kept_bytes(CPU) == 250
    assert kept_bytes(CPU, memory=400) == 100
    assert kept_bytes(CPU, memory=4000) == 250

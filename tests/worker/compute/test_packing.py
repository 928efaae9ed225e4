"""Weights laid out for the CPU: the same numbers, the plain ones given back on request."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.nn import Linear

from modeldeploy.worker.compute import packing, timing, verdicts

ROWS = (1, 8)
ORIGINAL: Any = packing._is_faster


@pytest.fixture(autouse=True)
def _always_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_is_faster", lambda layers, rows: bool(layers))


class Odd(Linear):
    """A layer of its own kind."""


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        Linear(24, 40), torch.nn.GELU(), Linear(40, 7, bias=False), Odd(7, 7)
    )


def test_packed_layers_give_the_same_and_keep_no_copy() -> None:
    plain, packed = model(), model()
    assert packing.pack(packed, ROWS) == 2
    assert packing.pack(packed, ROWS) == 0
    for shape in ((24,), (1, 24), (5, 24), (2, 3, 24)):
        given = torch.randn(shape)
        with torch.inference_mode():
            assert torch.allclose(packed(given), plain(given), atol=1e-5)
    assert packed[0].weight.shape == (40, 24)
    assert packed[0].weight.untyped_storage().nbytes() == 4
    with pytest.raises(RuntimeError, match="packed"):
        packed[0].weight.t()
    packing.unpack(packed)
    for one, other in zip(packed.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    assert "forward" not in vars(packed[0])


def test_a_weight_that_an_embedding_has_too_stays_there() -> None:
    embedding = torch.nn.Embedding(30, 8)
    head = Linear(8, 30, bias=False)
    head.weight = embedding.weight
    before = embedding(torch.tensor([3])).clone()
    assert packing.pack(torch.nn.ModuleList([embedding, head]), ROWS) == 1
    assert torch.equal(embedding(torch.tensor([3])), before)


def test_what_differs_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    one = model()
    monkeypatch.setattr(packing.Packed, "__call__", lambda self, given: Linear(24, 40)(given))
    assert packing.pack(one, ROWS) == 0
    assert "forward" not in vars(one[0])


def test_without_the_operators_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> None:
            raise AttributeError(name)

    monkeypatch.setattr(packing, "_OPS", Gone())
    assert packing.pack(model(), ROWS) == 0


def test_another_dtype_is_left_alone() -> None:
    assert packing.pack(model().to(torch.float64), ROWS) == 0


def test_a_model_that_gains_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_is_faster", ORIGINAL)
    monkeypatch.setattr(timing, "seconds", lambda forwards, given: 1.0)
    one = model()
    assert packing.pack(one, ROWS) == 0
    assert "forward" not in vars(one[0])


def test_what_one_size_of_call_gains_makes_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(forwards: Any, given: Any) -> float:
        gain = {1: 0.7, 8: 2.0}[len(given[0])]
        return gain if isinstance(forwards[0], Linear) else 1.0

    monkeypatch.setattr(timing, "seconds", seconds)
    layers = [Linear(8, 8)]
    with torch.inference_mode():
        assert ORIGINAL(layers, (1, 8))
        assert not ORIGINAL(layers, (1,))


class Asked:
    """Stands for measuring: says ``answer``, and what it was asked is seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: bool | None, others: float) -> None:
        self.seen: list[tuple[int, ...]] = []
        self._answer = answer
        monkeypatch.setattr(packing, "_is_faster", self)
        monkeypatch.setattr(verdicts._Spent, "by_others", lambda spent: others)

    def __call__(self, layers: list[Linear], rows: tuple[int, ...]) -> bool | None:
        self.seen.append((len(layers), *rows))
        return self._answer


@pytest.mark.parametrize(("answer", "packed"), [(True, 2), (False, 0)])
def test_what_was_found_of_such_layers_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, packed: int
) -> None:
    asked = Asked(monkeypatch, answer, others=0.1)
    for _ in range(2):
        assert packing.pack(model(), ROWS, tmp_path) == packed
    assert asked.seen == [(2, *ROWS)]
    packing.pack(model(), (1,), tmp_path)
    packing.pack(torch.nn.Sequential(Linear(24, 40)), ROWS, tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        packing.pack(model(), ROWS, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert asked.seen[1:] == [(2, 1), (1, *ROWS), (2, *ROWS)]


@pytest.mark.parametrize(("answer", "others"), [(True, 0.5), (False, 0.5), (None, 0.0)])
def test_what_others_disturbed_or_could_not_be_found_out_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool | None, others: float
) -> None:
    asked = Asked(monkeypatch, answer, others)
    for _ in range(2):
        packing.pack(model(), ROWS, tmp_path)
    assert len(asked.seen) == 2


def test_what_others_do_with_the_processors_is_seen() -> None:
    def spin(until: float) -> None:
        while time.monotonic() < until:
            pass

    script = "import time; ends = time.monotonic() + 60\nwhile time.monotonic() < ends: pass"
    with subprocess.Popen([sys.executable, "-c", script]) as other:
        try:
            time.sleep(0.2)
            spent = verdicts._Spent()
            spin(time.monotonic() + 1.0)
            beside = spent.by_others()
        finally:
            other.kill()
    assert 0.5 / (psutil.cpu_count() or 1) < beside <= 1.0


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert packing.pack(model(), ROWS, tmp_path / "file" / "in it") == 2


@pytest.mark.parametrize(("gain", "rounds"), [(1.12, 6), (1.08, 6), (1.6, 3), (0.7, 3)])
def test_near_the_bar_more_rounds_decide_and_not_what_disturbs_one(
    monkeypatch: pytest.MonkeyPatch, gain: float, rounds: int
) -> None:
    """Another process takes the processor for the first turns of one of the two."""
    calls = {True: 0, False: 0}

    def seconds(forwards: Any, given: Any) -> float:
        is_plain = isinstance(forwards[0], Linear)
        calls[is_plain] += 1
        disturbed = rounds > 3 and calls[is_plain] <= 2 and is_plain == (gain < packing._WORTH)
        return (gain if is_plain else 1.0) * (1.2 if disturbed else 1.0)

    monkeypatch.setattr(timing, "seconds", seconds)
    with torch.inference_mode():
        assert ORIGINAL([Linear(8, 8)], (8,)) == (gain > packing._WORTH)
    assert calls[True] == rounds


def test_weights_are_not_timed_out_of_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many layers as caches cannot hold, one after the other, and each size at least once."""
    monkeypatch.setattr(timing, "_SAMPLE", 3 * 64 * 64 * 4)
    layers = [*(Linear(64, 64) for _ in range(9)), Linear(64, 7)]
    assert timing.sample(layers) == [*layers[:3], layers[-1]]

"""Weights of eight bits: for few rows, close to the originals, given back on request."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import Linear

from modeldeploy.worker.compute import int8, packing, timing
from modeldeploy.worker.compute.likeness import gap

CLOSE = 0.1  # of the outputs' spread


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(Linear(64, 96), torch.nn.GELU(), Linear(96, 32, bias=False))


@pytest.fixture(autouse=True)
def _times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of up to four rows are faster on int8 weights."""

    def seconds(forwards: Any, given: Any) -> float:
        is_quick = getattr(forwards[0], "__name__", "") == "quick"
        return 1.0 + (len(given[0]) if is_quick else 5.0)

    monkeypatch.setattr(timing, "seconds", seconds)


def test_few_rows_are_close_and_many_are_as_they_were() -> None:
    plain, rounded = model(), model()
    assert int8.round_weights(rounded, (1, 2, 4, 8)) == 4
    with torch.inference_mode():
        for shape in ((64,), (1, 64), (2, 2, 64)):
            given = torch.randn(shape)
            assert 0 < gap([plain(given)], [rounded(given)]) < CLOSE
        given = torch.randn(5, 64)
        assert torch.equal(rounded(given), plain(given))
        with int8.always(rounded):
            assert 0 < gap([plain(given)], [rounded(given)]) < CLOSE
        assert torch.equal(rounded(given), plain(given))
    int8.restore(rounded)
    with torch.inference_mode():
        assert torch.equal(rounded(given[:1]), plain(given[:1]))


def test_packed_layers_are_rounded_and_stay_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_is_faster", lambda layers, rows: True)
    plain, rounded = model(), model()
    assert packing.pack(rounded, (1,)) == 2
    assert int8.round_weights(rounded, (1,)) == 1
    given = torch.randn(3, 64)
    with torch.inference_mode():
        assert 0 < gap([plain(given[:1])], [rounded(given[:1])]) < CLOSE
        assert torch.allclose(rounded(given), plain(given), atol=1e-5)
    int8.restore(rounded)
    packing.unpack(rounded)
    assert torch.equal(rounded[0].weight, plain[0].weight)


def test_where_it_is_not_faster_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "seconds", lambda forwards, given: 1.0)
    one = model()
    assert int8.round_weights(one, (1, 2)) == 0
    assert "forward" not in vars(one[0])


def test_where_the_kernel_is_wrong_or_gone_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = model()

    def wrong(given: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(given), len(weight), dtype=given.dtype)

    monkeypatch.setattr(torch, "_weight_int8pack_mm", wrong)
    assert int8.round_weights(one, (1,)) == 0
    monkeypatch.delattr(torch, "_weight_int8pack_mm")
    assert int8.round_weights(one, (1,)) == 0
    assert "forward" not in vars(one[0])


def test_another_dtype_is_left_alone() -> None:
    assert int8.round_weights(model().to(torch.float64), (1,)) == 0

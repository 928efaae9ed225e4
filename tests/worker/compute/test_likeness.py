"""How far results are apart is one figure, whatever a task makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from modeldeploy.worker.compute.likeness import EQUAL, gap, off

RANDOM = np.random.default_rng(0)
ONE = RANDOM.normal(size=(4, 300)).astype(np.float32)


@dataclass(frozen=True)
class Spans:
    words: list[int]
    start: Any
    end: Any


def test_of_vectors_it_is_told_by_their_cosine() -> None:
    noise = RANDOM.normal(size=ONE.shape)
    other = ONE + 0.1 * noise
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(ONE, other, strict=True)
    ]
    assert off(list(ONE), list(other)) == pytest.approx(0.1, rel=0.1)
    assert 1 - off(list(ONE), list(other)) ** 2 / 2 == pytest.approx(min(cosines), abs=1e-3)


def test_the_worst_one_counts() -> None:
    other = ONE.copy()
    other[2] += 1
    assert off(list(ONE), list(other)) == pytest.approx(1 / ONE.std(), rel=1e-4)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row,
        torch.from_numpy,
        lambda row: ("words", row),
        lambda row: ({"logits": row, "count": 3}, (4, 5)),
        lambda row: Spans([1, 2], np.zeros(3, np.float32), row),
    ],
)
def test_numbers_are_found_wherever_they_are(form: Any) -> None:
    other = ONE + 0.5
    assert off([form(one) for one in ONE], [form(one) for one in ONE]) == 0.0
    found = off([form(one) for one in ONE], [form(one) for one in other])
    assert found == pytest.approx(0.5 / ONE.std(), rel=1e-4)


def test_each_kind_of_output_has_its_own_spread() -> None:
    boxes = ONE / 1000
    one = list(zip(ONE, boxes, strict=True))
    assert off(one, list(zip(ONE, boxes + 0.001, strict=True))) == pytest.approx(1.0, rel=0.1)


def test_a_lone_score_has_no_spread_of_its_own() -> None:
    def score(value: float) -> list[Any]:
        return [np.array([value], np.float32)]

    assert off(score(0.01), score(0.02)) == pytest.approx(0.01)
    assert off(score(10), score(9)) == pytest.approx(0.1)
    assert off(score(1) + score(3), score(1) + score(3.1)) == pytest.approx(0.1, rel=1e-4)


def test_one_item_may_have_more_than_another() -> None:
    one = [(ONE[0],), (ONE[1], ONE[2])]
    assert off(one, [(ONE[0],), (ONE[1], ONE[2])]) == 0.0
    assert off(one, [(ONE[0],), (ONE[1], -ONE[2])]) > 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([], []),
        (["words"], ["words"]),
        ([ONE], [ONE[:, :2]]),
        ([ONE], [ONE * np.nan]),
        ([ONE], [ONE * np.inf]),
    ],
)
def test_what_cannot_be_compared_is_not_close(one: list[Any], other: list[Any]) -> None:
    assert off(one, other) == float("inf")


LEAST = float(torch.finfo(torch.float32).min)
MASKED = [float("-inf"), LEAST, -10_000.0]


@pytest.mark.parametrize("masked", MASKED)
def test_what_masks_hides_nothing_of_the_rest(masked: float) -> None:
    one, other = torch.tensor([[0.3, -1.2, masked]]), torch.tensor([[99.0, -55.0, masked]])
    assert gap([one], [one]) == 0.0
    assert gap([one], [one + torch.tensor([0.0, 1e-5, 0.0])]) < EQUAL
    assert gap([one], [other]) == pytest.approx(98.7 / 0.75)
    assert off([one], [one]) == 0.0
    assert off([one], [other]) > 1


@pytest.mark.parametrize("masked", [*MASKED, float("nan")])
def test_what_masks_must_be_there_itself(masked: float) -> None:
    one, other = torch.tensor([0.3, -1.2, masked]), torch.tensor([0.3, -1.2, 7.0])
    assert gap([one], [other]) > EQUAL
    assert gap([other], [one]) > EQUAL
    assert gap([one], [-one]) > EQUAL


def test_nothing_but_infinities_has_nothing_to_compare() -> None:
    one = torch.full((3,), float("nan"))
    assert gap([one], [one]) == 0.0


def test_a_lone_number_is_compared_in_its_own_size() -> None:
    assert gap([torch.tensor([[5.0]])], [torch.tensor([[5.0005]])]) == pytest.approx(1e-4, rel=1e-2)

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch

from modeldeploy.worker.generation.sampling import Chooser, Sampling, choose

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -50.0])


def chooser(seed: int = 0, **how: Any) -> Chooser:
    return Chooser(Sampling(**how), random.Random(seed))


def _counts(times: int = 3000, logits: torch.Tensor = LOGITS, **how: Any) -> Counter[int]:
    one = chooser(**how)
    rows = logits.expand(times, -1)
    found = choose(rows, [one] * times)
    return Counter(choice.token for choice in found if choice)


def test_without_a_temperature_the_likeliest_is_taken() -> None:
    assert _counts(10) == {0: 10}


def test_draws_follow_the_probabilities() -> None:
    for warmth in (0.5, 1.0, 2.0):
        counts = _counts(temperature=warmth)
        expected = (LOGITS / warmth).softmax(-1)
        for token in range(4):
            assert counts[token] / 3000 == pytest.approx(float(expected[token]), abs=0.03)


def test_top_k_and_top_p_leave_the_rest_out() -> None:
    assert set(_counts(temperature=5.0, top_k=2)) == {0, 1}
    assert set(_counts(temperature=1.0, top_p=0.6)) == {0}
    assert set(_counts(temperature=1.0, top_p=0.7)) == {0, 1}
    assert set(_counts(temperature=5.0, top_k=3, top_p=0.99)) == {0, 1, 2}


def test_top_p_that_needs_more_than_the_best_thousand_gets_them() -> None:
    flat = torch.zeros(3000)
    assert len(_counts(2000, flat, temperature=1.0, top_p=0.9)) > 1100


def test_a_rows_choice_does_not_depend_on_its_company() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 3000)
    hows: list[dict[str, Any]] = [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 2.0, "top_k": 100, "top_p": 0.9},
        {},
    ]
    together = choose(logits, [chooser(at, **how) for at, how in enumerate(hows)])
    alone = [choose(logits[at : at + 1], [chooser(at, **how)])[0] for at, how in enumerate(hows)]
    assert together == alone


@pytest.mark.parametrize("other", [{"top_k": 90}, {"top_p": 0.999}])
def test_equal_logits_are_ordered_the_same_in_any_company(other: dict[str, Any]) -> None:
    torch.manual_seed(0)
    equal, flat = torch.randn(5000), torch.randn(5000) / 100
    equal[:200] = 8.0
    for seed in range(20):
        for how in ({"top_k": 50}, {"top_p": 0.5}):
            ours: dict[str, Any] = {"seed": seed, "temperature": 1.0, **how}
            (alone,) = choose(equal[None], [chooser(**ours)])
            company = [chooser(**ours), chooser(1, temperature=1.0, **other)]
            assert choose(torch.stack([equal, flat]), company)[0] == alone


def test_penalties_push_down_what_was_written() -> None:
    one = chooser(frequency_penalty=0.6)
    one.written = [0, 0]
    assert choose(LOGITS[None], [one])[0].token == 1  # type: ignore[union-attr]  # it is one
    one = chooser(presence_penalty=1.5)
    one.written = [0]
    assert choose(LOGITS[None], [one])[0].token == 1  # type: ignore[union-attr]  # it is one
    repeated = Chooser(Sampling(repetition_penalty=3.0), random.Random(0), prompt=[0])
    assert choose(LOGITS[None], [repeated])[0].token == 1  # type: ignore[union-attr]  # it is one


def test_logprobs_are_the_models_own() -> None:
    (found,) = choose(LOGITS[None], [chooser(temperature=0.1, logprobs=True, top_n=2)])
    assert found is not None
    expected = LOGITS.log_softmax(-1)
    assert found.logprob == pytest.approx(float(expected[found.token]))
    assert [token for token, _ in found.top] == [0, 1]


def test_logits_that_are_no_numbers_fail_their_row_alone() -> None:
    rows = torch.stack([LOGITS, LOGITS * float("nan"), LOGITS])
    found = choose(rows, [chooser(), chooser(temperature=1.0), chooser()])
    assert [one and one.token for one in found] == [0, None, 0]


def test_a_number_next_to_one_chooses_nothing_that_was_left_out() -> None:
    class Highest(random.Random):
        def random(self) -> float:
            return 1 - 2**-53

    one = Chooser(Sampling(temperature=1.0, top_k=2), Highest())
    (choice,) = choose(LOGITS[None], [one])
    assert choice is not None
    assert choice.token == 1

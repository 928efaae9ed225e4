"""Writing with ``generate``, of a model that is made to fail on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.front import Failure
from modeldeploy.worker.generation import fallback
from modeldeploy.worker.generation.rows import Piece, Prompt
from modeldeploy.worker.generation.sampling import Sampling

_POISON = 7


class _Model:
    """Writes the token 3 again and again; its logits are no numbers for whoever sent the poison, and at
    the step ``breaks_at`` it raises."""

    device = torch.device("cpu")

    def __init__(self, breaks_at: int = -1) -> None:
        self._breaks_at = breaks_at

    def generate(
        self,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        max_new_tokens: int,
        **_rest: Any,
    ) -> None:
        poisoned = (input_ids == _POISON).any(1)
        for step in range(max_new_tokens):
            if step == self._breaks_at:
                raise RuntimeError("broken")
            scores = torch.eye(8)[3].repeat(len(input_ids), 1)
            scores[poisoned] = torch.nan
            chosen = logits_processor(input_ids, scores).argmax(1)
            input_ids = torch.cat([input_ids, chosen[:, None]], 1)
            if stopping_criteria(input_ids, scores).all():
                return


def _items(pieces: list[Piece], *prompts: list[int]) -> list[Item]:
    return [Item(Prompt(ids, 3, Sampling()), len(ids), None, sink=pieces.append) for ids in prompts]


def _write(model: _Model, items: list[Item]) -> list[Any]:
    return fallback.write(model, items, lambda ids: "x" * len(ids), frozenset(), 0)


@pytest.mark.promise(
    17, fault="numbers that are none, in one of several texts that are written at once"
)
def test_a_poisonous_prompt_fails_alone_and_nobody_is_told_anything_twice() -> None:
    told: list[Piece] = []
    good, bad, other = _write(_Model(), _items(told, [1, 2], [_POISON], [2]))
    assert isinstance(bad, Failure)
    assert [good[0].text, other[0].text] == ["xxx", "xxx"]
    assert len(told) == 6


def test_what_was_told_is_not_written_again() -> None:
    told: list[Piece] = []
    outcomes = _write(_Model(breaks_at=2), _items(told, [1], [2]))
    assert all(isinstance(one, Failure) for one in outcomes)
    assert len(told) == 4
    with pytest.raises(RuntimeError):  # nobody has heard of it: who is to blame is found out
        _write(_Model(breaks_at=0), _items([], [1], [2]))


def test_who_cannot_be_told_fails_alone() -> None:
    class Panic(BaseException):
        pass

    def tell(piece: Piece) -> None:
        raise Panic

    told: list[Piece] = []
    items = _items(told, [1], [2])
    items[0].sink = tell
    bad, good = _write(_Model(), items)
    assert isinstance(bad, Failure)
    assert good[0].text == "xxx"
    assert len(told) == 3


def test_a_short_text_is_settled_while_a_long_one_is_written() -> None:
    told: list[Piece] = []
    short, long = _items(told, [1], [2])
    short.data = replace(short.data, new=1, sequences=2)
    early: list[tuple[int, Any]] = []

    def settle(outcome: Any) -> None:
        early.append((len(told), outcome))
        short.dropped = True

    short.settle = settle
    outcomes = _write(_Model(), [short, long])
    assert early == [(3, outcomes[0])]  # of 5 pieces
    assert [one.text for one in outcomes[0]] == ["x", "x"]


def test_a_text_that_cannot_go_on_is_settled_with_its_failure() -> None:
    early: list[Any] = []
    bad, good = _items([], [_POISON], [2])
    bad.settle = early.append
    outcomes = _write(_Model(), [bad, good])
    assert early[0] is outcomes[0]
    assert isinstance(early[0], Failure)

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch

from modeldeploy.worker.generation import history as module
from modeldeploy.worker.generation.history import History
from modeldeploy.worker.generation.sampling import Chooser, Sampling, choose

CPU = torch.device("cpu")


def test_it_tells_of_all_that_was_written_whenever_it_is_asked() -> None:
    dice = random.Random(0)
    prompt = [dice.randrange(50) for _ in range(100)]
    history, written = History(prompt, CPU), list[int]()
    for _ in range(200):
        written += [dice.randrange(50) for _ in range(dice.randrange(3))]
        assert history.so_far(written).tolist() == prompt + written
        seen = history.seen(written).tolist()
        assert sorted(seen) == sorted({*prompt, *written})
        tokens, times = history.counts(written)
        assert dict(zip(tokens.tolist(), times.tolist(), strict=True)) == Counter(written)


def test_a_step_costs_what_is_new_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    extend = module._Numbers.extend

    def seen(numbers: Any, new: list[int]) -> None:
        made.append(len(new))
        extend(numbers, new)

    monkeypatch.setattr(module._Numbers, "extend", seen)
    how = Sampling(repetition_penalty=1.1, frequency_penalty=0.1)
    plain = Chooser(how, random.Random(0), [*range(40)] * 10)
    ruled = Chooser(how, random.Random(0), [*range(40)] * 10, rules=lambda so_far, scores: scores)
    logits = torch.randn(2, 50)
    for step in range(60):
        made.clear()
        for one in (plain, ruled):
            one.written.append(step % 50)
        assert None not in choose(logits, [plain, ruled])
        if step:
            assert sum(made) <= 2 * 4

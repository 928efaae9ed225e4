"""Rows that join and leave at random write what each would write alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import torch
import transformers

from modeldeploy.worker.generation import room
from modeldeploy.worker.generation import slab as module
from modeldeploy.worker.generation.check import fitting_slab
from modeldeploy.worker.generation.slab import Running, Slab

VOCABULARY = 101
NEW = 20
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS: dict[str, Callable[[], Any]] = {
    "Llama": lambda: transformers.LlamaConfig(**_COMMON, num_key_value_heads=2),
    "Mistral": lambda: transformers.MistralConfig(
        **_COMMON, num_key_value_heads=2, sliding_window=8
    ),
    "Gemma2": lambda: transformers.Gemma2Config(
        **_COMMON, num_key_value_heads=2, head_dim=8, sliding_window=8
    ),
    "Bloom": lambda: transformers.BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4
    ),
    "GPT2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "Lfm2": lambda: transformers.Lfm2Config(
        **_COMMON, num_key_value_heads=2, full_attn_idxs=[1], pad_token_id=0
    ),
}


def random_model(name: str) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(MODELS[name]()).eval()


def alone(model: Any, ids: list[int]) -> list[int]:
    written = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    found: list[int] = written[0, len(ids) :].tolist()
    return found


@pytest.mark.parametrize("name", MODELS)
def test_rows_write_what_they_would_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST", (2, 8))  # so that it must grow and move
    model, dice = random_model(name), random.Random(1)
    prompts = [
        [dice.randrange(3, VOCABULARY) for _ in range(dice.randrange(1, 40))] for _ in range(9)
    ]
    with torch.inference_mode():
        expected = [alone(model, ids) for ids in prompts]
        assert together(Slab(model), prompts, dice) == expected


def together(slab: Running, prompts: list[list[int]], dice: random.Random) -> list[list[int]]:
    """What each prompt's row writes, which join and leave at random."""
    written: list[list[int]] = [[] for _ in prompts]
    todo, live = list(range(len(prompts))), list[int]()
    while todo or live:
        if todo and dice.random() < 0.5:
            one = todo.pop(0)
            written[one].append(_join(slab, prompts[one]))
            live.append(one)
        if live:
            logits = slab.step([written[one][-1] for one in live])
            for row, one in enumerate(live):
                written[one].append(int(logits[row].argmax()))
        for row in reversed(range(len(live))):
            if len(written[live[row]]) >= NEW:
                slab.leave(row)
                last = live.pop()
                if row < len(live):
                    live[row] = last
    return written


def _join(slab: Running, ids: list[int]) -> int:
    """Read in two parts; the first token."""
    cache = slab.empty()
    logits = slab.read(cache, ids[:5], 0)
    if ids[5:]:
        logits = slab.read(cache, ids[5:], 5)
    slab.join(cache, len(ids))
    return int(logits.argmax())


POISONED = ["long bad -bad short", "long bad short -bad", "long bad -long -bad long short"]


@pytest.mark.parametrize("order", POISONED)
def test_who_takes_the_slot_of_one_with_no_numbers_has_numbers(order: str) -> None:
    model = random_model("Llama")
    assert beside_poison(Slab(model), order) == {
        name: alone(model, ids) for name, ids in PROMPTS.items()
    }


PROMPTS = {"long": [11, 13] * 15, "short": [3, 5, 7]}


@torch.inference_mode()
def beside_poison(slab: Running, order: str) -> dict[str, list[int]]:
    """What the prompts' rows write when rows have joined in that order, and left (``-``): the keys and values
    of the bad one are no numbers."""
    rows: list[str] = []
    written: dict[str, list[int]] = {}
    for name in order.split():
        if name.startswith("-"):
            at = rows.index(name[1:])
            slab.leave(at)
            last = rows.pop()
            rows[at : at + 1] = [last] if at < len(rows) else []
            continue
        ids = PROMPTS.get(name, [17] * 12)
        cache = slab.empty()
        written[name] = [int(slab.read(cache, ids, 0).argmax())]
        if name == "bad":
            for layer in cache.layers:
                layer.keys, layer.values = (one * torch.nan for one in (layer.keys, layer.values))
        slab.join(cache, len(ids))
        rows.append(name)
    del written["bad"]
    while len(written["short"]) < NEW:
        logits = slab.step([written[name][-1] for name in rows])
        for name, one in zip(rows, logits, strict=True):
            written[name].append(int(one.argmax()))
    return written


def test_a_model_that_fits_is_found_to_fit_and_a_broken_one_is_not() -> None:
    model = random_model("Llama")
    assert fitting_slab(model) is not None
    forward = model.forward

    def confused(*args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return forward(*args, attention_mask=None, **kwargs)  # sees the columns of others

    model.forward = confused
    assert fitting_slab(model) is None

    @wraps(forward)
    def moved(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        if len(output.logits) > 1:  # by a twentieth of their spread
            output.logits = output.logits + 0.05 * output.logits.std()
        return output

    model.forward = moved
    assert fitting_slab(model) is None


def _filled(slab: Slab, *lengths: int) -> None:
    for length in lengths:
        cache = slab.empty()
        slab.read(cache, [3] * length, 0)
        slab.join(cache, length)


@torch.inference_mode()
def test_where_there_is_no_memory_to_grow_the_rows_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = random_model("Llama"), [3, 5, 7]
    expected, slab = alone(model, ids), Slab(model)
    written = [_join(slab, ids)]
    move, calls = module._Columns.move, []

    def second_fails(layer: Any, *how: Any) -> None:
        calls.append(layer)
        if len(calls) == 2:
            raise MemoryError
        move(layer, *how)

    monkeypatch.setattr(module._Columns, "move", second_fails)
    with pytest.raises(MemoryError):
        _filled(slab, slab.room[1] + 1)
    assert slab.count == 1
    for _ in range(5):
        written.append(int(slab.step([written[-1]])[0].argmax()))
    _filled(slab, slab.room[1] + 1)
    while len(written) < NEW:
        written.append(int(slab.step([written[-1], 3])[0].argmax()))
    assert written == expected


@torch.inference_mode()
def test_what_it_grew_to_is_given_back_when_nobody_is_left() -> None:
    slab = Slab(random_model("Llama"))
    first = slab.room
    _filled(slab, *[5] * (first[0] + 1), first[1] + 1)
    assert _held(slab) > first
    while slab.count:
        slab.leave(0)
    assert not _columns(slab).is_initialized
    _filled(slab, 5)
    assert _held(slab) == first


def _columns(slab: Slab) -> Any:
    return next(one for one in slab._cache.layers if isinstance(one, module._Columns))


def _held(slab: Slab) -> tuple[int, int]:
    """Rows and columns of the tensors that there are."""
    keys = _columns(slab).keys
    return keys.shape[0], keys.shape[2]


class _Silent(Slab):
    """Whose model computes nothing once prompts were read."""

    is_silent = False

    def _forward(self, *args: Any) -> torch.Tensor:
        return torch.zeros(self.count, VOCABULARY) if self.is_silent else super()._forward(*args)


@torch.inference_mode()
def test_what_is_held_does_not_grow_with_how_long_traffic_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Short rows that come and go without a pause, one of them before each step."""
    slab, dice = _Silent(random_model("Llama")), random.Random(0)
    cache = slab.empty()
    slab.read(cache, [1] * 20, 0)
    slab.is_silent = True
    moves: list[Any] = []
    move = module._Columns.move

    def counted(layer: Any, *how: Any) -> None:
        moves.append(layer)
        move(layer, *how)

    monkeypatch.setattr(module._Columns, "move", counted)
    left: list[int] = []
    for _ in range(5000):
        if len(left) < 8:
            slab.join(cache, 20)
            left.append(dice.randrange(10, 41))
        slab.step([1] * slab.count)
        left = [one - 1 for one in left]
        for row in reversed(range(len(left))):
            if not left[row]:
                slab.leave(row)
                last = left.pop()
                if row < len(left):
                    left[row] = last
        assert _held(slab)[0] * _held(slab)[1] <= 8 * 256
    assert len(moves) < 2 * 5000 / 150, "of two layers"


@torch.inference_mode()
def test_what_a_long_row_took_is_given_back_while_others_go_on() -> None:
    slab = Slab(random_model("Llama"))
    _filled(slab, 5, 3000)
    assert _held(slab)[1] > 3000
    slab.leave(1)
    _filled(slab, 5)
    assert _held(slab) == room.FIRST


@torch.inference_mode()
def test_rows_and_columns_together_stay_within_the_places_there_are() -> None:
    slab = Slab(random_model("Llama"))
    slab.keep_within(7300)
    _filled(slab, *[10] * 16)
    assert _held(slab) == (16, 256)
    for _ in range(15):
        slab.leave(0)
    _filled(slab, 3600)
    assert _held(slab) == (2, 3650)
    slab.keep_within(7210)  # a prompt is read
    assert _held(slab) == (2, 3605)
    assert slab.step([3, 3]).shape == (2, VOCABULARY)


@torch.inference_mode()
def test_who_joins_at_the_right_edge_has_the_others_moved_instead_of_more_room() -> None:
    slab = Slab(random_model("Llama"))
    _filled(slab, 5, 5)
    room, moved = slab.room, 0
    for _ in range(2 * room[1]):
        slab.step([3] * slab.count)
        edge, begin = slab.begin + room[1], slab.begin
        if slab.cursor == edge or slab.cursor % 16 == 0:
            slab.leave(0)
            _filled(slab, 5)
            moved += slab.begin > begin
    assert moved >= 2
    assert slab.room == room


@pytest.mark.parametrize("need", [(5, 257), (9, 1025), (16, 2049), (17, 30_000)])
@pytest.mark.parametrize("spare", [0.0, 0.1, 1.0])
def test_room_is_little_more_than_what_is_needed_and_never_more_than_there_is(
    need: tuple[int, int], spare: float
) -> None:
    most = int(need[0] * need[1] * (1 + spare))
    found = room.wanted(*need, most)
    assert room.covers(found, need)
    assert found[0] * found[1] <= most
    assert found[0] <= need[0] + 3
    assert spare < 1 or found[1] > need[1] * 9 / 8
    assert spare < 1 or found[1] <= need[1] * 9 / 8 + 256


@pytest.mark.parametrize("name", ["Lfm2", "GPT2"])
@torch.inference_mode()
def test_a_prompt_is_what_it_was_after_a_row_of_it_was_written(name: str) -> None:
    model, ids = random_model(name), [7, 3, 5, 11, 13]
    slab = Slab(model)
    cache = slab.empty()
    slab.read(cache, ids, 0)
    found = []
    for _ in range(2):
        slab.join(cache, len(ids))
        found.append([slab.step([token]) for token in (9, 4)])
        slab.leave(0)
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)

"""A step that is captured: what is written on it is what the model alone would write. Without a GPU its
forward is run as it would be captured."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.schema.computing import Optimize
from modeldeploy.worker.generation import captured, check, own_attention
from modeldeploy.worker.generation.captured import CapturedStep
from modeldeploy.worker.generation.graph_slab import GraphSlab, difference, looks_back_as_far
from modeldeploy.worker.generation.slab import Slab, Unfit
from modeldeploy.worker.tasks import text_generation
from tests.models import tiny
from tests.worker.adapters import loaded
from tests.worker.generation.test_slab import VOCABULARY, alone, random_model, together

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(name="small")
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of which some texts need several, and prompts that are too long."""
    monkeypatch.setattr(captured, "_ROWS", (1, 2, 4))
    monkeypatch.setattr(captured, "_TOKENS", (1, 4, 16))
    monkeypatch.setattr(captured, "_COLUMNS", (8, 32, 64))
    monkeypatch.setattr(captured, "_PROMPTS", (24,))
    monkeypatch.setattr(captured, "_GRAINS", ((2, 16),))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma2", "GPT2"])
@pytest.mark.usefixtures("small")
def test_rows_write_what_they_would_alone(name: str, device: str) -> None:
    model, dice = random_model(name), random.Random(1)
    prompts = [
        [dice.randrange(3, VOCABULARY) for _ in range(dice.randrange(1, 40))] for _ in range(9)
    ]
    with torch.inference_mode():
        expected = [alone(model, ids) for ids in prompts]
        step = CapturedStep(model.to(device))
        assert together(GraphSlab(model, step), prompts, dice) == expected
    assert difference(model, step, []) < 1e-5
    assert looks_back_as_far(model, step, step.windows)
    assert step.windows == {"Mistral": {8}, "Gemma2": {8, 0}}.get(name, {0})


@pytest.mark.usefixtures("small")
def test_a_window_that_is_not_kept_to_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("Mistral")
    monkeypatch.setattr(own_attention, "window", lambda mask, sliding: sliding and 7)
    step = CapturedStep(model)
    difference(model, step, [])
    assert not looks_back_as_far(model, step, {8})


@pytest.mark.parametrize(
    ("name", "why"), [("Bloom", "positions"), ("Lfm2", "not all that it keeps")]
)
def test_a_model_that_keeps_more_than_keys_and_values_is_unfit(name: str, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        CapturedStep(random_model(name))


def test_sizes_are_rounded_up_as_far_as_there_is_room() -> None:
    found = [captured._up(size, (1, 2, 4, 8), 6) for size in (1, 3, 4, 5, 6)]
    assert found == [1, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("places", "grain", "prompt"),
    [
        (10**6, (16, 1024), 2048),
        (100_000, (8, 512), 2048),
        (16_000, (4, 256), 512),
        (10, (4, 256), 0),
    ],
)
def test_what_is_held_for_it_is_a_share_of_the_memory(
    places: int, grain: tuple[int, int], prompt: int
) -> None:
    step = CapturedStep(random_model("Llama"), places)
    assert (step.grain, step._longest) == (grain, prompt)


@pytest.mark.usefixtures("small")
def test_a_text_that_is_not_numbers_leaves_nothing_of_that_to_others() -> None:
    model = random_model("Llama")
    slab = GraphSlab(model, CapturedStep(model))
    with torch.inference_mode():
        expected = together(Slab(model), [[3, 5, 7]], random.Random(0))
        embedded = model.model.embed_tokens.weight
        sane = embedded[9].clone()
        embedded[9] = float("nan")
        cache = slab.empty()
        assert slab.read(cache, [9] * 12, 0).isnan().all()
        for _ in range(2):
            slab.join(cache, 12)
        assert slab.step([9, 9]).isnan().all()
        embedded[9] = sane
        slab.leave(0)
        slab.leave(0)
        assert together(slab, [[3, 5, 7]], random.Random(0)) == expected


@pytest.mark.usefixtures("small")
def test_sizes_are_few_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("Llama")
    step = CapturedStep(model)
    with torch.inference_mode():
        for count in range(1, 23):
            for done in range(1, 23 - count):
                cache = step._slow.empty()
                step._slow.read(cache, [3] * done, 0)
                step.read(cache, [3] * count, done)
    assert {size[1] for size in step._prompt._calls} == {1, 4, 16}
    assert {size[2] for size in step._prompt._calls} == {8, 32, 40}


@pytest.mark.usefixtures("small")
def test_room_is_kept_when_nobody_is_left() -> None:
    model = random_model("Llama")
    slab = GraphSlab(model, CapturedStep(model))
    with torch.inference_mode():
        cache = slab.empty()
        slab.read(cache, [3] * 20, 0)
        for _ in range(3):
            slab.join(cache, 20)
        held = slab.held
        while slab.count:
            slab.leave(0)
        assert slab.held == held > 32
        slab.keep_within(31)
        assert slab.held == 0


@pytest.mark.parametrize("steps", [(0.002, 0.001), (0.001, 0.002)])
def test_a_step_is_captured_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, steps: tuple[float, float]
) -> None:
    slow, fast = steps
    times = {Slab: slow, GraphSlab: fast}
    monkeypatch.setattr(check, "seconds", lambda made, *_: times[type(made())])
    model = random_model("Llama")
    if fast < slow:
        assert (
            captured.faster_slab(model, 10**6, None)[1]
            == "captured: 1.0 instead of 2.0 ms for 8 texts"
        )
    else:
        with pytest.raises(Unfit, match="no faster"):
            captured.faster_slab(model, 10**6, None)


def test_a_step_that_gives_other_results_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    give = captured._Call.give

    def wrongly(call: Any, tokens: torch.Tensor, lengths: torch.Tensor) -> None:
        give(call, tokens, (lengths - 1).clamp(min=0))

    monkeypatch.setattr(captured._Call, "give", wrongly)
    with pytest.raises(Unfit, match="its results would differ"):
        captured.faster_slab(random_model("Llama"), 10**6, None)


@pytest.mark.parametrize("optimize", ["equal", "no"])
@pytest.mark.parametrize("error", [None, Unfit("it is of its own kind")])
def test_on_a_gpu_a_deployment_writes_on_it_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimize: Optimize, error: Exception | None
) -> None:
    def faster_slab(model: Any, places: int, window: int | None) -> tuple[GraphSlab, str]:
        assert places > 1000
        assert window == adapter.max_input_length()
        if error:
            raise error
        return GraphSlab(model, CapturedStep(model)), "captured"

    adapter: Any = loaded(tiny.llama(tmp_path), "text-generation", optimize="no")
    monkeypatch.setattr(captured, "faster_slab", faster_slab)
    monkeypatch.setattr(text_generation, "kept_bytes", lambda *where: 2**30)
    monkeypatch.setattr(type(adapter), "device", torch.device("cuda"))
    adapter.settle(optimize=optimize)
    is_captured = optimize == "equal" and error is None
    assert type(adapter._slab) is (GraphSlab if is_captured else Slab)
    why = "launched kernel by kernel: it is of its own kind" if error else "captured"
    assert adapter.runs.get("steps") == (why if optimize == "equal" else None)

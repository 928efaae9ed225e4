"""A model's step as a graph: what is written on it is what the model alone would write."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.schema.graph import Form, StoredGraph
from modeldeploy.worker.compute import sessions
from modeldeploy.worker.compute.export import NotExportable
from modeldeploy.worker.generation import engine, room, rounding, step_export
from modeldeploy.worker.generation.graph_slab import GraphSlab, difference
from modeldeploy.worker.generation.slab import Slab
from modeldeploy.worker.generation.step_graph import StepGraph
from modeldeploy.worker.tasks import text_generation
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters
from tests.worker.generation.test_slab import (
    POISONED,
    PROMPTS,
    VOCABULARY,
    alone,
    beside_poison,
    random_model,
    together,
)

pytest.importorskip("onnxruntime")
ONNX, INT8 = Form("onnx"), Form("onnx", "int8")
IDS = [7, 3, 5, 11, 13]
TASK = "text-generation"


def _made(model: Any, folder: Path, form: Form = ONNX) -> StoredGraph:
    folder.mkdir()
    return StoredGraph(folder, step_export.make(model, folder, form, 1, IDS), form)


@pytest.fixture(scope="module", name="llama")
def _llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def make() -> tuple[Any, StoredGraph]:
        model = random_model("Llama")
        return model, _made(model, tmp_path_factory.mktemp("g") / "llama")

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT2", "Gemma2"])  # positions of its own; windows and a soft cap
def test_rows_write_what_they_would_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FIRST", (2, 8))  # so that it must grow
    model, dice = random_model(name), random.Random(1)
    stored = _made(model, tmp_path / "graph")
    assert stored.note.difference < 1e-5
    prompts = [
        [dice.randrange(3, VOCABULARY) for _ in range(dice.randrange(1, 40))] for _ in range(9)
    ]
    with torch.inference_mode():
        expected = [alone(model, ids) for ids in prompts]
        assert together(GraphSlab(model, StepGraph(stored, 1)), prompts, dice) == expected


@pytest.mark.parametrize(
    ("name", "why"),
    [("Bloom", "counts positions by itself"), ("Lfm2", "not all that it keeps of a text are keys")],
)
def test_a_model_whose_step_is_no_such_graph_is_refused_in_words(
    name: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(NotExportable, match=why):
        step_export.make(random_model(name), tmp_path, ONNX, 1, IDS)
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_all_products_are_rounded(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = random_model("Gemma2")  # whose last product is with the embedding
    assert model.config.tie_word_embeddings
    stored = _made(model, tmp_path / "graph", INT8)
    graph = onnx.load(stored.folder / sessions.FILE, load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert not kinds["MatMul"]
    assert kinds["MatMulNBits"] == 4 * model.config.num_hidden_layers + 1


@pytest.mark.slow
def test_a_graph_of_another_model_is_told_apart(llama: Any) -> None:
    model, stored = llama()
    graph = StepGraph(stored, 1)
    assert difference(model, graph, IDS) < 1e-5
    with torch.no_grad():
        other = random_model("Llama")
        other.model.layers[1].mlp.up_proj.weight *= 1.1
    assert difference(other, graph, IDS) > 1e-3


@pytest.mark.slow
def test_on_rounded_weights_a_model_reads_and_says_nearly_the_same(
    llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, exact = llama()
    stored = _made(model, tmp_path / "graph", INT8)
    assert stored.note.unit == "nats a token"
    assert 0 < stored.note.difference <= rounding.MOST
    sizes = [(one.folder / sessions.WEIGHTS).stat().st_size for one in (stored, exact)]
    assert sizes[0] < 0.6 * sizes[1]
    slab = GraphSlab(model, StepGraph(stored, 1))
    with torch.inference_mode():
        expected = model(torch.tensor([IDS])).logits[0, -1:]
        read = slab.read(slab.empty(), IDS, 0)[None]
    assert 0 < rounding.nats(expected, read) <= rounding.MOST
    monkeypatch.setattr(rounding, "MOST", 0.0)
    with pytest.raises(NotExportable, match="nats a token"):
        _made(model, tmp_path / "other", INT8)


@pytest.mark.slow
@pytest.mark.parametrize("order", POISONED)
def test_who_takes_the_slot_of_one_with_no_numbers_has_numbers(llama: Any, order: str) -> None:
    model, stored = llama()
    found = beside_poison(GraphSlab(model, StepGraph(stored, 1)), order)
    assert found == {name: alone(model, ids) for name, ids in PROMPTS.items()}


@pytest.mark.slow
@torch.inference_mode()
def test_rows_go_on_where_they_are_moved_to(llama: Any) -> None:
    """From torch to the graph and back, rows of several lengths among them."""
    model, stored = llama()
    prompts = [[3, 5, 7], [11] * 20, [13, 17]]
    expected = [alone(model, ids) for ids in prompts]
    graph = StepGraph(stored, 1)
    slab: Any = Slab(model)
    written: list[list[int]] = []
    for ids in prompts:
        cache = slab.empty()
        written.append([int(slab.read(cache, ids, 0).argmax())])
        slab.join(cache, len(ids))
    for step in range(1, len(expected[0])):
        if step % 6 == 0:
            moved: Any = GraphSlab(model, graph) if isinstance(slab, Slab) else Slab(model)
            for at in range(slab.count):
                moved.join(*slab.row(at))
            slab = moved
        if step == 9:
            graph.use_threads(2)
        logits = slab.step([one[-1] for one in written])
        for one, row in zip(written, logits, strict=True):
            one.append(int(row.argmax()))
    assert written == expected


@pytest.mark.slow
@torch.inference_mode()
def test_a_graph_whose_files_are_gone_runs_on_with_other_threads(
    llama: Any, tmp_path: Path
) -> None:
    model, stored = llama()
    place = shutil.copytree(stored.folder, tmp_path / "graph")
    graph = StepGraph(replace(stored, folder=place), 1)
    slab = GraphSlab(model, graph)
    expected = slab.read(slab.empty(), IDS, 0)
    graph.use_threads(2)
    shutil.rmtree(place)
    for count in (3, 1, 2):
        graph.use_threads(count)
        assert torch.allclose(slab.read(slab.empty(), IDS, 0), expected, atol=1e-5)
    assert graph.session.threads == 2


@pytest.mark.slow
@torch.inference_mode()
def test_where_there_is_no_memory_to_grow_the_rows_stay_whole(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stored = llama()
    slab = GraphSlab(model, StepGraph(stored, 1))
    ids = [3, 5, 7]
    expected = alone(model, ids)
    cache = slab.empty()
    first = int(slab.read(cache, ids, 0).argmax())
    slab.join(cache, len(ids))
    zeros, calls = torch.Tensor.new_zeros, []

    def fourth_fails(tensor: Any, *size: Any, **how: Any) -> Any:
        calls.append(size)
        if len(calls) == 4:  # when some were moved
            raise MemoryError
        return zeros(tensor, *size, **how)

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "new_zeros", fourth_fails)
        with pytest.raises(MemoryError):
            slab.join(cache, 10_000)
    assert slab.count == 1
    written = [first]
    for _ in range(len(expected) - 1):
        written.append(int(slab.step([written[-1]])[0].argmax()))
    assert written == expected


@pytest.mark.slow
def test_a_running_batch_moves_in_the_middle_of_its_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = loaded(tiny.gpt2(tmp_path / "model"), TASK)
    folder = tmp_path / "graph"
    folder.mkdir()
    note = adapter.make_graph([], folder, ONNX, 1)
    stored = StoredGraph(folder, note, ONNX)
    texts = ["Once upon a time", "I", "Where does Ada live? What can the model do?"]

    def items() -> list[Any]:
        how = parameters(TASK, max_new_tokens=25)
        return [one for text in texts for one in adapter.pre(inputs(TASK, text=text), how)]

    expected = [raw[0].text for raw in adapter.core(items())]

    async def story() -> None:
        front = adapter.front(10, lambda rows: None)
        assert isinstance(front, engine.Engine)
        graph, steps = adapter.graph_of(stored), []
        moves = {5: graph, 10: None, 15: graph}

        def on_call(batch: Any, seconds: float) -> None:
            steps.append(seconds)
            if len(steps) in moves:
                front.between(lambda: adapter.run_on(moves[len(steps)]))

        adapter.on_call = on_call
        try:
            found = await asyncio.wait_for(front.run(items()), 60)
        finally:
            front.close()
        assert [raw[0].text for raw in found.raws] == expected
        assert len(steps) > max(moves)
        assert isinstance(front._slab, GraphSlab)

    asyncio.run(story())

    again: Any = loaded(tmp_path / "model", TASK, graph=stored)
    assert isinstance(again._slab, GraphSlab)
    assert "weights" not in again.runs, "nothing is packed where a graph runs"
    monkeypatch.setattr(text_generation, "difference", lambda model, graph, ids: 1.0)
    other: Any = loaded(tmp_path / "model", TASK, graph=stored)
    assert isinstance(other._slab, Slab), "it is not what the model gives"


class _Silent(StepGraph):
    """A graph that computes nothing."""

    is_exact = True

    def __init__(self) -> None:
        self.shapes = [(2, 8), (2, 8)]

    def run(self, tokens: torch.Tensor, *caches: Any) -> torch.Tensor:
        return torch.zeros(len(tokens), VOCABULARY)

    def release(self) -> None: ...


def test_what_is_held_is_bounded_and_given_back() -> None:
    slab = GraphSlab(random_model("Llama"), _Silent())

    def joined(*lengths: int) -> tuple[int, int]:
        for length in lengths:
            cache = slab.empty()
            slab.read(cache, [1] * length, 0)
            slab.join(cache, length)
        (held,) = {(one.shape[0], one.shape[2]) for one in slab._caches}
        return held

    slab.keep_within(7300)
    assert joined(*[10] * 16) == (16, 256)
    for _ in range(15):
        slab.leave(0)
    assert joined(3600) == (2, 3650)
    slab.keep_within(7210)
    assert joined() == (2, 3605)
    assert slab.step([3, 3]).shape == (2, VOCABULARY)
    slab.leave(1)
    assert joined(5) == room.FIRST
    joined(300)
    for _ in range(3):
        slab.leave(0)
    assert joined() == (0, 0)

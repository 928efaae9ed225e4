"""A graph gives what torch gives, for every call; where there is none the note says why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.worker import exporter, loader
from modeldeploy.worker.compute import graph_cache, graphs, sessions, unpadded
from modeldeploy.worker.compute.export import NotExportable
from tests.models import common, seq2seq, sounds, tiny, vision
from tests.worker.adapters import inputs, loaded, parameters
from tests.worker.compute.test_sessions import needs
from tests.worker.specs import worker_spec
from tests.worker.tasks.test_image_classification import vit as picture_classifier

pytest.importorskip("onnxruntime")

FORM = Form("onnx")
TEXTS = ["A", "Ada moved from Paris to London, where she lives with her sister.", "not bad", "ten"]
PICTURE = common.encoded(vision.picture())


def _sound(seconds: float) -> bytes:
    return sounds.encoded(sounds.noise(seconds))


CASES: dict[str, tuple[Callable[[Path], Path], str, list[dict[str, Any]]]] = {
    "texts": (tiny.classifier, "text-classification", [{"text": one} for one in TEXTS]),
    "vectors": (
        lambda folder: tiny.sentence_encoder(folder, "mean"),
        "feature-extraction",
        [{"text": one} for one in TEXTS],
    ),
    "pictures": (picture_classifier, "image-classification", [{"image": PICTURE}] * 3),
    "sounds": (
        sounds.classifier,
        "audio-classification",
        [{"audio": _sound(0.5)}, {"audio": _sound(0.8)}],
    ),
    "speech": (
        sounds.whisper,
        "automatic-speech-recognition",
        [{"audio": _sound(0.5)}, {"audio": _sound(0.8)}],
    ),
}


def _exported(folder: Path, task: str, place: Path, form: Form = FORM) -> GraphNote:
    place.mkdir()
    spec = worker_spec(folder, task, 1, dtype="float32")
    note = exporter.make(loader.opened(spec), spec, place, form)
    graph_cache.write_note(place, note)
    return note


@pytest.mark.slow
@pytest.mark.parametrize("form", [FORM, Form("openvino")], ids=lambda form: form.runtime)
@pytest.mark.parametrize("case", CASES)
def test_what_it_gives_is_what_torch_gives(tmp_path: Path, case: str, form: Form) -> None:
    needs(form)
    make, task, asked = CASES[case]
    model = make(tmp_path / "model")
    _exported(model, task, tmp_path / "graph", form)
    adapter: Any = loaded(model, task)
    items = [item for one in asked for item in adapter.pre(inputs(task, **one), parameters(task))]
    expected = adapter.core(items)
    calls = _moved_to(tmp_path / "graph", form, adapter)
    found = adapter.core(items)
    assert calls, "it was torch that answered"
    for one, other in zip(expected, found, strict=True):
        assert np.allclose(_numbers(one), _numbers(other), atol=1e-4)
    adapter.run_on(None)
    adapter.core(items)
    assert len(calls) == 1, "torch does not come back"


def _numbers(raw: Any) -> Any:
    return np.asarray(raw["tokens"] if isinstance(raw, dict) else raw)


def _moved_to(folder: Path, form: Form, adapter: Any) -> list[Any]:
    """Have it run on the graph in the folder; what that is called with from now on."""
    stored = graph_cache.find(folder, form)
    assert stored is not None
    graph = graphs.Graph(adapter.graphed, stored, 1)
    calls = _counted(graph)
    adapter.run_on(graph)
    return calls


def _counted(graph: graphs.Graph) -> list[None]:
    """Grows with every call that the graph itself answers."""
    calls: list[None] = []
    run = graph.session.run

    def counting(given: Any) -> Any:
        calls.append(None)
        return run(given)

    graph.session.run = counting  # type: ignore[method-assign]  # to see who answers
    return calls


@pytest.mark.slow
def test_it_takes_texts_in_one_row_and_in_several_though_one_seems_cheapest_when_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.classifier(tmp_path / "model")
    with monkeypatch.context() as context:
        context.setattr(
            unpadded, "cheapest", lambda lengths, _: unpadded.fill(lengths, sum(lengths))
        )
        _exported(model, "text-classification", tmp_path / "graph")
    adapter: Any = loaded(model, "text-classification")
    items = [
        adapter.pre(inputs("text-classification", text=one), parameters("text-classification"))[0]
        for one in TEXTS
    ]
    calls = _moved_to(tmp_path / "graph", FORM, adapter)
    for width in (sum(item.size for item in items), max(item.size for item in items)):
        with adapter.holder.rows_of(width):
            adapter.core(items)
    assert len(calls) == 2


@pytest.mark.slow
def test_a_call_that_it_was_not_made_for_is_torchs(tmp_path: Path) -> None:
    model = picture_classifier(tmp_path / "model")
    _exported(model, "image-classification", tmp_path / "graph")
    adapter: Any = loaded(model, "image-classification")
    (item,) = adapter.pre(
        inputs("image-classification", image=PICTURE), parameters("image-classification")
    )
    calls = _moved_to(tmp_path / "graph", FORM, adapter)
    pixels = item.data["pixel_values"][None]
    assert adapter.model(pixel_values=pixels, output_hidden_states=True).hidden_states
    assert not calls
    assert adapter.model(pixel_values=pixels).logits.shape == (1, len(adapter.config.id2label))
    assert len(calls) == 1


@pytest.mark.slow
def test_texts_that_are_too_long_for_it_are_torchs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.classifier(tmp_path / "model")
    _exported(model, "text-classification", tmp_path / "graph")
    adapter: Any = loaded(model, "text-classification")
    items = [
        item
        for text in TEXTS
        for item in adapter.pre(
            inputs("text-classification", text=text), parameters("text-classification")
        )
    ]
    expected = adapter.core(items)
    calls = _moved_to(tmp_path / "graph", FORM, adapter)
    longest = max(item.size for item in items)
    heads = adapter.config.num_attention_heads
    monkeypatch.setattr(graphs, "_MOST_WEIGHTS", heads * longest**2 * 4 - 1)
    for one, other in zip(expected, [adapter.core([item])[0] for item in items], strict=True):
        assert np.allclose(one, other, atol=1e-4)
    assert len(calls) == len(items) - 1


def test_a_task_that_reads_and_writes_has_no_graph(tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match="not run as a graph"):
        _exported(seq2seq.t5(tmp_path / "model"), "summarization", tmp_path / "graph")


@pytest.mark.slow
def test_a_graph_with_other_results_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sessions.OnnxSession.run
    monkeypatch.setattr(
        sessions.OnnxSession, "run", lambda self, given: [one * 1.01 for one in run(self, given)]
    )
    with pytest.raises(NotExportable, match="differ"):
        _exported(tiny.classifier(tmp_path / "model"), "text-classification", tmp_path / "graph")
    assert not list((tmp_path / "graph").iterdir()), "nothing is left of it"


@pytest.mark.slow
def test_a_graph_computes_with_the_threads_that_its_worker_may(tmp_path: Path) -> None:
    model = tiny.classifier(tmp_path / "model")
    _exported(model, "text-classification", tmp_path / "graph")
    stored = graph_cache.find(tmp_path / "graph", FORM)
    assert stored is not None
    adapter: Any = loaded(model, "text-classification", graph=stored, threads=1)
    items = adapter.pre(
        inputs("text-classification", text="ten"), parameters("text-classification")
    )
    before = adapter.core(items)
    threads = torch.get_num_threads()
    try:
        adapter.use_threads(2)
        assert adapter.graph.session.threads == 2
        assert np.allclose(adapter.core(items)[0], before[0], atol=1e-5)
        again = graphs.Graph(adapter.graphed, stored, 1)
        adapter.run_on(again)
        assert again.session.threads == 2
    finally:
        torch.set_num_threads(threads)


def test_a_graph_that_is_broken_leaves_torch(tmp_path: Path) -> None:
    broken = StoredGraph(tmp_path, GraphNote(layout="unpadded", speed=2.0, kind="os:nothing"), FORM)
    (tmp_path / sessions.FILE).write_bytes(b"nothing")
    model = tiny.classifier(tmp_path / "model")
    adapter: Any = loaded(model, "text-classification", graph=broken)
    assert not isinstance(adapter.holder.forward, graphs.Graph)
    assert adapter.core(
        adapter.pre(inputs("text-classification", text="ten"), parameters("text-classification"))
    )


def test_other_weights_have_a_graph_of_their_own(tmp_path: Path) -> None:
    model = tiny.classifier(tmp_path / "model")

    def place(task: str = "text-classification", form: Form = FORM) -> Path:
        return graph_cache.place(tmp_path, [str(model)], task, form)

    before = place()
    assert before == place()
    assert before != place("feature-extraction")
    assert before != place(form=Form("openvino"))
    assert before != place(form=Form("onnx", "int8"))
    weights = model / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert before != place()


@pytest.mark.parametrize("name", ["modeling_own.py", "0_Transformer/pytorch_model.bin"])
def test_other_code_has_a_graph_of_its_own_and_what_lies_deeper_too(
    tmp_path: Path, name: str
) -> None:
    def place() -> Path:
        return graph_cache.place(tmp_path, [str(tmp_path)], "text-classification", FORM)

    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("one")
    before = place()
    file.write_text("another")
    assert before != place()


def test_what_is_hidden_or_gone_makes_no_other_graph(tmp_path: Path) -> None:
    def place() -> Path:
        return graph_cache.place(tmp_path, [str(tmp_path)], "text-classification", FORM)

    before = place()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index").touch()
    (tmp_path / "README.md").symlink_to("nowhere")
    assert before == place()


@pytest.mark.slow
def test_a_graph_whose_files_are_gone_runs_on_with_other_threads(tmp_path: Path) -> None:
    place = tmp_path / "graph"
    note = _exported(tiny.classifier(tmp_path / "model"), "text-classification", place)
    adapter: Any = loaded(tmp_path / "model", "text-classification")
    items = adapter.pre(
        inputs("text-classification", text=TEXTS[1]), parameters("text-classification")
    )
    adapter.run_on(graphs.Graph(adapter.graphed, StoredGraph(place, note, FORM), 2))
    adapter.use_threads(2)
    expected = adapter.core(items)[0]
    shutil.rmtree(place)
    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            adapter.use_threads(count)
            assert np.allclose(adapter.core(items)[0], expected, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_a_graph_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "graphs" / "one"

    def fail() -> None:
        with graph_cache.being_made(folder) as made:
            assert made is not None
            (made / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [one.name for one in folder.parent.iterdir()] == ["lock"]
    (folder.parent / "other.partial").mkdir()  # of one that was killed
    with graph_cache.being_made(folder) as made:
        assert made is not None
        graph_cache.write_note(made, GraphNote(refused="no"))
    with graph_cache.being_made(folder) as made:
        assert made is None, "somebody made it meanwhile"
    assert graph_cache.find(folder, FORM) == StoredGraph(folder, GraphNote(refused="no"), FORM)
    assert sorted(one.name for one in folder.parent.iterdir()) == ["lock", "one"]


def test_a_damaged_note_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text("{")
    assert graph_cache.find(tmp_path, FORM) is None

"""Calls that are timed are of the size that they are said to be, and every kind of model takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForSequenceClassification

from modeldeploy.schema.tasks import TASKS
from modeldeploy.worker import examples
from modeldeploy.worker.compute.unpadded import NARROW, WIDE
from tests.models import seq2seq, tiny, vision
from tests.worker.adapters import AnyAdapter, loaded
from tests.worker.tasks.test_image_classification import vit

Shapes = list[tuple[int, ...]]


def _ending_with_eos(folder: Path) -> Path:
    """Its head wants as many ends of texts in each row, and one at least."""
    seq2seq.bart(folder)
    config = BartConfig.from_pretrained(folder, num_labels=3)
    BartForSequenceClassification(config).save_pretrained(folder)
    return folder


MODELS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "classifier": (tiny.classifier, "text-classification"),
    "tagger": (tiny.tagger, "token-classification"),
    "asked": (tiny.question_answering, "question-answering"),
    "ranker": (tiny.cross_encoder, "text-ranking"),
    "entailer": (tiny.entailer, "zero-shot-classification"),
    "embedder": (lambda folder: tiny.sentence_encoder(folder, "mean"), "feature-extraction"),
    "bart": (_ending_with_eos, "text-classification"),
    "pictures": (vit, "image-classification"),
    "boxes": (vision.yolos, "object-detection"),
    "planes": (vision.segformer, "image-segmentation"),
    "depths": (vision.depth_anything, "depth-estimation"),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_takes_them(tmp_path: Path, name: str) -> None:
    make, task = MODELS[name]
    adapter = loaded(make(tmp_path / "model"), task)
    example = examples.items(adapter, TASKS[task])
    calls = _calls(adapter)
    assert len(adapter.trials) > 3
    for size in adapter.trials[:3]:
        adapter.trial(size, example)
    assert len(calls) == 3


def _calls(adapter: Any) -> Shapes:
    """Grows with each call of the model, by the shape of what it is given."""
    found: Shapes = []

    def look(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        given: Any = named.get("attention_mask", named.get("pixel_values"))
        found.append(tuple(given.shape))

    adapter.model.register_forward_pre_hook(look, with_kwargs=True)
    return found


def _tokens(adapter: Any) -> list[list[int]]:
    """Grows with each call of the model, by how many tokens its texts have."""
    found: list[list[int]] = []

    def look(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        found.append(named["attention_mask"].sum(dim=1).tolist())

    adapter.model.register_forward_pre_hook(look, with_kwargs=True)
    return found


def test_texts_end_to_end_are_of_many_lengths_and_add_up(tmp_path: Path) -> None:
    adapter = loaded(tiny.classifier(tmp_path / "model"), "text-classification")
    lengths = _tokens(adapter)
    for size in (64, 256, 1024):
        adapter.trial(size, [])
    assert [sum(call) for call in lengths] == [64, 256, 1024]
    assert all(max(call) <= adapter.info().max_input_length for call in lengths)  # type: ignore[operator]  # it is known
    assert len(set(lengths[-1])) > 5


def test_texts_that_are_padded_are_of_one_length(tmp_path: Path) -> None:
    adapter = loaded(_ending_with_eos(tmp_path / "model"), "text-classification")
    assert "padded" in adapter.info().runs["batches"]
    shapes = _calls(adapter)
    adapter.trial(64, [])
    adapter.trial(256, [])
    assert shapes == [(2, 32), (8, 32)]


def test_pictures_are_counted(tmp_path: Path) -> None:
    adapter = loaded(vit(tmp_path / "model"), "image-classification")
    shapes = _calls(adapter)
    example = examples.items(adapter, TASKS["image-classification"])
    for size in adapter.trials:
        adapter.trial(size, example)
    assert [shape[0] for shape in shapes] == list(adapter.trials) == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("make", "task"), [(tiny.gap_filler, "fill-mask"), (vision.sam, "mask-generation")]
)
def test_models_whose_calls_grow_in_other_ways_are_left_alone(
    tmp_path: Path, make: Callable[[Path], Path], task: str
) -> None:
    assert loaded(make(tmp_path / "model"), task).trials == ()


def test_traffic_that_is_made_up_is_no_traffic(tmp_path: Path) -> None:
    adapter: Any = loaded(tiny.classifier(tmp_path / "model"), "text-classification")
    heard: list[Any] = []
    adapter.on_call = lambda items, seconds: heard.append(items)
    adapter.trial(64, [])
    pictures: Any = loaded(vit(tmp_path / "pictures"), "image-classification")
    pictures.on_call = adapter.on_call
    pictures.trial(2, examples.items(pictures, TASKS["image-classification"]))
    assert heard == []


@pytest.mark.parametrize(
    ("wide", "times"),
    [
        (1.0, 1 / 3),  # no dearer at all: it was disturbed, as attention is never free
        (1 + 192 * 0.002, None),
        (9.0, 3),
    ],
)
def test_what_attention_costs_is_measured(tmp_path: Path, wide: float, times: float | None) -> None:
    adapter: AnyAdapter = loaded(tiny.classifier(tmp_path / "model"), "text-classification")
    laid: Any = adapter.holder  # type: ignore[attr-defined]  # a text model's
    expected = laid.attention
    shapes: Shapes = []
    forward = laid.forward

    def seen(**tensors: Any) -> Any:
        shapes.append(tuple(tensors["input_ids"].shape))
        return forward(**tensors)

    laid.forward = seen
    taken = iter([1 + NARROW * 0.002, 1 + WIDE * 0.002] if times is None else [1.0, wide])

    def seconds(call: Callable[[], None]) -> float:
        call()
        return next(taken)

    adapter.weigh(seconds)
    assert shapes == [(4, NARROW), (1, WIDE - 1)]
    assert laid.attention == pytest.approx(expected * times if times else 0.002)


def test_a_model_whose_texts_are_padded_weighs_nothing(tmp_path: Path) -> None:
    adapter = loaded(_ending_with_eos(tmp_path / "model"), "text-classification")
    adapter.weigh(lambda call: pytest.fail("it was timed"))


def test_a_model_on_a_gpu_keeps_its_limits(tmp_path: Path) -> None:
    adapter: Any = loaded(tiny.classifier(tmp_path / "model"), "text-classification")
    adapter.model.to(torch.device("meta"))
    assert adapter.trials == ()

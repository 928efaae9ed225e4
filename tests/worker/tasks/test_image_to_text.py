from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from modeldeploy.errors import InputTooLong, InvalidRequest, UrlNotAllowed, WrongTask
from modeldeploy.schema.tasks.seq2seq import GenerateParameters
from tests.models import multimodal as models
from tests.models import tiny
from tests.models.common import encoded
from tests.models.multimodal import picture
from tests.worker.adapters import AnyAdapter, Make, inputs, loaded, made_once, parameters, predict

TASK = "image-to-text"
KINDS = [models.encoder_decoder, models.blip, models.git]
make = made_once(TASK)


def ask(adapter: AnyAdapter, seed: int = 0, **how: Any) -> str:
    asked = inputs(TASK, image=encoded(picture(seed)))
    return str(predict(adapter, asked, parameters(TASK, **how)).generated_text)


def written(folder: Path, seed: int = 0, **how: Any) -> str:
    """What transformers itself writes."""
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(picture(seed), return_tensors="pt")
    row = model.generate(**pixels, **how)[0]
    text = AutoTokenizer.from_pretrained(folder).decode(row, skip_special_tokens=True)
    return str(text).strip()


@pytest.mark.parametrize("maker", KINDS)
@pytest.mark.parametrize(
    "how",
    [{"max_new_tokens": 9}, {"max_new_tokens": 6, "num_beams": 3}, {"max_length": 7}],
)
def test_the_text_is_what_generate_writes(make: Make, maker: Any, how: dict[str, Any]) -> None:
    folder, adapter = make(maker)
    found = {seed: ask(adapter, seed, **how) for seed in range(3)}
    assert found == {seed: written(folder, seed, **how) for seed in range(3)}
    assert len(set(found.values())) == 3, "each image has its own text"


@pytest.mark.parametrize("maker", KINDS)
@pytest.mark.parametrize("beams", [1, 2])
def test_a_batch_writes_as_its_items_alone(make: Make, maker: Any, beams: int) -> None:
    _, adapter = make(maker)
    how = parameters(TASK, max_new_tokens=8, num_beams=beams)
    asked = [
        inputs(TASK, image=encoded(picture(seed, size)))
        for seed, size in enumerate([(24, 20), (16, 16), (20, 40)])
    ]
    items = [adapter.pre(one, how)[0] for one in asked]
    assert len({item.key for item in items}) == 1
    for one, raw in zip(asked, adapter.core(items), strict=True):
        assert adapter.post([raw], one, how) == predict(adapter, one, how)


@pytest.mark.parametrize("maker", KINDS)
def test_with_nothing_said_it_stays_within_the_positions(make: Make, maker: Any) -> None:
    _, adapter = make(maker)
    item = adapter.pre(inputs(TASK, image=encoded(picture())), parameters(TASK))[0]
    assert item.data.plan.get("max_new_tokens") == 47
    assert adapter.core([item])
    with pytest.raises(InputTooLong, match="room for 47"):
        ask(adapter, max_new_tokens=48)


def test_generation_parameters_are_the_same_in_an_object(make: Make) -> None:
    _, adapter = make(models.git)
    nested = GenerateParameters(max_new_tokens=4)
    assert ask(adapter, generation_parameters=nested) == ask(adapter, max_new_tokens=4)


def test_a_seed_repeats(make: Make) -> None:
    _, adapter = make(models.git)
    how: dict[str, Any] = {"temperature": 6.0, "top_k": 0, "max_new_tokens": 20}
    assert ask(adapter, seed=0, **how) != ask(adapter, seed=0, **how)
    asked = inputs(TASK, image=encoded(picture()))
    first, same, other = (
        predict(adapter, asked, parameters(TASK, seed=seed, **how)) for seed in (1, 1, 2)
    )
    assert first == same != other


def test_a_dropped_item_stops(make: Make) -> None:
    _, adapter = make(models.blip)
    item = adapter.pre(inputs(TASK, image=encoded(picture())), parameters(TASK, min_length=40))[0]
    item.dropped = True
    steps: list[Any] = []
    hook = adapter.model.text_decoder.register_forward_hook(lambda *_: steps.append(1))  # type: ignore[attr-defined]  # a model adapter
    try:
        adapter.core([item])
    finally:
        hook.remove()
    assert len(steps) == 1


def test_images_come_as_bytes_or_base64_never_as_places(make: Make) -> None:
    _, adapter = make(models.encoder_decoder)
    text = base64.b64encode(encoded(picture())).decode()
    how = parameters(TASK, max_new_tokens=5)
    for form in (text, f"data:image/png;base64,{text}"):
        found = predict(adapter, inputs(TASK, image=form), how)
        assert found.generated_text == ask(adapter, max_new_tokens=5)
    for place in ("http://example.com/cat.png", "/etc/passwd"):
        with pytest.raises(UrlNotAllowed):
            predict(adapter, inputs(TASK, image=place), how)
    with pytest.raises(InvalidRequest):
        predict(adapter, inputs(TASK, image="aGVsbG8="), how)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongTask):
        loaded(tiny.classifier(tmp_path), TASK)

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from modeldeploy.errors import (
    InputTooLong,
    InvalidRequest,
    PredictionFailed,
    UnsupportedModel,
    UrlNotAllowed,
    WrongTask,
)
from modeldeploy.worker.loading import processors
from tests.models import multimodal as models
from tests.models.common import encoded
from tests.models.multimodal import picture
from tests.worker.adapters import (
    AnyAdapter,
    Make,
    inputs,
    loaded,
    made_once,
    parameters,
    predict,
    source,
)

TASK = "image-text-to-text"
KINDS = [models.llava, models.idefics3]
TEXT = "Where does Ada live?"
without_torchvision = pytest.mark.skipif(
    bool(importlib.util.find_spec("torchvision")), reason="it is installed"
)
make = made_once(TASK)


def bare(folder: Path) -> Path:
    """A model without a chat template."""
    return models.llava(folder, template=None)


def in_base64(seed: int = 0) -> str:
    return base64.b64encode(encoded(picture(seed))).decode()


def uri(seed: int = 0) -> str:
    return f"data:image/png;base64,{in_base64(seed)}"


def ask(adapter: AnyAdapter, given: Any, **how: Any) -> str:
    (found,) = predict(adapter, given, parameters(TASK, **{"max_new_tokens": 9, **how}))
    return str(found.generated_text)


def written(folder: Path, seeds: list[int], text: str, processor: Any = None) -> str:
    """What transformers itself writes on its own template."""
    processor = processor or AutoProcessor.from_pretrained(folder)
    content: list[Any] = [{"type": "image", "image": picture(seed)} for seed in seeds]
    turn = {"role": "user", "content": [*content, {"type": "text", "text": text}]}
    given = processor.apply_chat_template(
        [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return _generated(folder, processor, given)


def _generated(folder: Path, processor: Any, given: Any, **how: Any) -> str:
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    row = model.generate(**given, **{"max_new_tokens": 9, "do_sample": False, **how})[0]
    return str(processor.decode(row[given["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("maker", KINDS)
@pytest.mark.parametrize("seeds", [[0], [1], [0, 1], []])
def test_greedy_is_what_generate_writes(make: Make, maker: Any, seeds: list[int]) -> None:
    folder, adapter = make(maker)
    given = inputs(TASK, text=TEXT, images=[encoded(picture(seed)) for seed in seeds])
    assert ask(adapter, given) == written(folder, seeds, TEXT)


@pytest.mark.parametrize("maker", KINDS)
def test_company_and_its_lengths_do_not_change_the_text(make: Make, maker: Any) -> None:
    _, adapter = make(maker)
    asked = [
        inputs(TASK, text=text, image=encoded(picture(seed)))
        for seed, text in enumerate([TEXT, "ten", "What can the model do? not bad at all"])
    ]
    hows = [parameters(TASK, max_new_tokens=new) for new in (9, 4, 6)]
    items = [adapter.pre(*one)[0] for one in zip(asked, hows, strict=True)]
    assert len({item.key for item in items}) == 1
    assert len({len(item.data.ids) for item in items}) == 3
    raws = adapter.core(items)
    together = [adapter.post([raw], *one) for raw, *one in zip(raws, asked, hows, strict=True)]
    assert together == [predict(adapter, *one) for one in zip(asked, hows, strict=True)]
    texts_only = adapter.pre(inputs(TASK, text=TEXT), hows[0])[0]
    assert texts_only.key != items[0].key


def test_several_sequences_see_the_same_image(make: Make) -> None:
    _, adapter = make(models.llava)
    given = inputs(TASK, text=TEXT, image=encoded(picture()))
    how: dict[str, Any] = {"temperature": 3.0, "max_new_tokens": 6, "seed": 4}
    first = predict(adapter, given, parameters(TASK, num_return_sequences=3, **how))
    assert len({one.generated_text for one in first}) == 3
    again = predict(adapter, given, parameters(TASK, num_return_sequences=3, **how))
    assert again == first


def test_a_text_that_places_its_images_itself_is_taken_as_it_stands(make: Make) -> None:
    folder, adapter = make(models.llava)
    text = "user: Where? <image>\nassistant: "
    processor = AutoProcessor.from_pretrained(folder)
    given = processor(text=text, images=[picture()], return_tensors="pt")
    expected = _generated(folder, processor, given)
    one = inputs(TASK, text=text, image=encoded(picture()))
    assert ask(adapter, one) == expected
    assert ask(adapter, one, return_full_text=True) == text + expected


def test_without_a_template_images_come_first(make: Make) -> None:
    folder, adapter = make(bare)
    processor = AutoProcessor.from_pretrained(folder)
    given = processor(text=f"<image>\n{TEXT}", images=[picture()], return_tensors="pt")
    expected = _generated(folder, processor, given)
    assert ask(adapter, inputs(TASK, text=TEXT, image=encoded(picture()))) == expected
    plain = processor(text=TEXT, return_tensors="pt")
    assert ask(adapter, inputs(TASK, text=TEXT)) == _generated(folder, processor, plain)


def _messages() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "image_url", "image_url": {"url": uri(), "detail": "low"}},
                {"type": "text", "text": " and "},
                {"type": "image_url", "image_url": {"url": uri(1)}},
            ],
        },
        {"role": "assistant", "content": "ten"},
        {"role": "user", "content": TEXT},
    ]


@pytest.mark.parametrize("maker", KINDS)
def test_a_conversation_is_what_the_template_makes_of_it(make: Make, maker: Any) -> None:
    folder, adapter = make(maker)
    processor = AutoProcessor.from_pretrained(folder)
    turned = [
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "image", "image": picture()},
                {"type": "text", "text": " and "},
                {"type": "image", "image": picture(1)},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "ten"}]},
        {"role": "user", "content": [{"type": "text", "text": TEXT}]},
    ]
    given = processor.apply_chat_template(
        turned, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    chat: Any = adapter
    one = chat.chat(_messages())
    assert ask(adapter, one) == _generated(folder, processor, given)
    (item,) = adapter.pre(one, parameters(TASK))
    assert item.data.ids == given["input_ids"][0].tolist()
    (found,) = predict(adapter, one, parameters(TASK, max_new_tokens=3, details=True))
    assert found.details.input_length == len(item.data.ids)
    assert found.details.generated_tokens == 3


@pytest.mark.parametrize(
    ("part", "error", "says"),
    [
        ({"type": "image_url", "image_url": {"url": "http://x.org/a.png"}}, UrlNotAllowed, "URLs"),
        ({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, UrlNotAllowed, "paths"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, UrlNotAllowed, "URLs"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            InvalidRequest,
            "decoded",
        ),
        ({"type": "image_url", "image_url": {}}, InvalidRequest, "no url"),
        ({"type": "image_url"}, InvalidRequest, "no url"),
        ({"type": "input_audio"}, InvalidRequest, r"messages\[0\]\.content\[0\]: .*'input_audio'"),
        ({"type": "text"}, InvalidRequest, "neither a text nor"),
        ({"type": "text", "text": "an <image> that is none"}, InvalidRequest, "holds <image>"),
    ],
)
def test_parts_that_cannot_be_are_named(
    make: Make, part: dict[str, Any], error: type[Exception], says: str
) -> None:
    _, adapter = make(models.idefics3)
    chat: Any = adapter
    with pytest.raises(error, match=says):
        adapter.pre(chat.chat([{"role": "user", "content": [part]}]), parameters(TASK))


def test_a_model_without_a_template_knows_no_conversations(make: Make) -> None:
    _, adapter = make(bare)
    chat: Any = adapter
    with pytest.raises(InvalidRequest, match="no chat template"):
        chat.chat(_messages())


def test_what_it_refuses(make: Make) -> None:
    _, adapter = make(models.llava)
    image = in_base64()
    with pytest.raises(InvalidRequest, match="at most one of"):
        ask(adapter, inputs(TASK, text=TEXT, image=image, images=[image]))
    with pytest.raises(UrlNotAllowed):
        ask(adapter, inputs(TASK, text=TEXT, image="http://example.com/cat.png"))
    with pytest.raises(InvalidRequest, match=r"places for 2 images \(<image>\), and 1 are sent"):
        ask(adapter, inputs(TASK, text="<image> and <image>", image=image))
    with pytest.raises(InputTooLong, match=r"window is 256"):
        ask(adapter, inputs(TASK, text="ten " * 400, image=image))
    with pytest.raises(InvalidRequest, match="truncate: the prompt has"):
        ask(adapter, inputs(TASK, text=TEXT, image=image), truncate=5)
    assert ask(adapter, inputs(TASK, text=TEXT, image=image), truncate=200)


def test_pieces_come_one_by_one(make: Make) -> None:
    _, adapter = make(models.llava)
    given = inputs(TASK, text=TEXT, image=encoded(picture()))
    (item,) = adapter.pre(given, parameters(TASK, max_new_tokens=9))
    pieces: list[Any] = []
    item.sink = pieces.append
    adapter.core([item])
    assert len(pieces) == 9
    assert "".join(piece.text for piece in pieces) == ask(adapter, given)


def test_any_to_any_goes_as_far_as_text_and_image_in_and_text_out(make: Make) -> None:
    folder, adapter = make(models.llava)
    other = loaded(folder, "any-to-any")
    given = inputs("any-to-any", text=TEXT, image=encoded(picture()))
    found = predict(other, given, parameters("any-to-any", max_new_tokens=9))
    assert found[0].generated_text == ask(adapter, given)


def test_a_captioner_is_sent_to_its_own_task(tmp_path: Path) -> None:
    with pytest.raises(WrongTask) as refused:
        loaded(models.blip(tmp_path), TASK)
    assert "image-to-text" in refused.value.hint


@without_torchvision
def test_a_processor_of_sounds_and_videos_says_what_it_needs(make: Make, tmp_path: Path) -> None:
    folder, _ = make(models.llava)
    for one in folder.iterdir():
        (tmp_path / one.name).write_bytes(one.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "qwen2_5_omni"}))
    kinds = {"processor_class": "Qwen2_5OmniProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(kinds))
    (tmp_path / "processor_config.json").write_text(json.dumps(kinds))
    with pytest.raises(UnsupportedModel, match="torchvision"):
        processors.load_processor(source(tmp_path, TASK))


@without_torchvision
@pytest.mark.parametrize("seeds", [[0], [1, 0], []])
@pytest.mark.parametrize("maker", [models.qwen2_vl, models.smolvlm, models.llava_onevision])
def test_a_model_that_knows_videos_reads_images_without_torchvision(
    make: Make, maker: Any, seeds: list[int]
) -> None:
    folder, adapter = make(maker)
    given = inputs(TASK, text=TEXT, images=[encoded(picture(seed)) for seed in seeds])
    processor = adapter.processor  # type: ignore[attr-defined]
    assert ask(adapter, given) == written(folder, seeds, TEXT, processor)
    others = [inputs(TASK, text="ten", images=given.images), given]
    how = parameters(TASK, max_new_tokens=9)
    items = [adapter.pre(one, how)[0] for one in others]
    together = adapter.core(items)
    assert [adapter.post([raw], one, how) for raw, one in zip(together, others, strict=True)] == [
        predict(adapter, one, how) for one in others
    ]


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    adapter: Any = loaded(models.llava(tmp_path), TASK, optimize="no")
    adapter.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(PredictionFailed, match="not numbers"), torch.inference_mode():
        ask(adapter, inputs(TASK, text=TEXT))

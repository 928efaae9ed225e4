from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from modeldeploy.errors import InputTooLong, InvalidRequest, ModelDeployError, UrlNotAllowed
from modeldeploy.schema.tasks import TASKS
from modeldeploy.worker.adapter import Adapter
from modeldeploy.worker.tasks.images import decode
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "image-classification"


def vit(folder: Path, channels: int = 3) -> Path:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_channels=channels,
        num_labels=3,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    grey = {"image_mean": [0.5], "image_std": [0.5]} if channels == 1 else {}
    ViTImageProcessor(size={"height": 8, "width": 8}, **grey).save_pretrained(folder)
    return folder


def picture(mode: str = "RGB", size: tuple[int, int] = (16, 12)) -> Image.Image:
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    return rgb.convert(mode)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter[Any, Any]:
    return loaded(vit(tmp_path_factory.mktemp("vit")), TASK)


def _labels(adapter: Adapter[Any, Any], image: bytes | str) -> Any:
    return predict(adapter, inputs(TASK, image=image), parameters(TASK))


def test_labels_are_those_of_transformers_called_directly(adapter: Adapter[Any, Any]) -> None:
    folder = adapter.model.config._name_or_path  # type: ignore[attr-defined]  # a model adapter
    model = ViTForImageClassification.from_pretrained(folder).eval()
    processor = ViTImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**processor(picture(), return_tensors="pt")).logits[0]
    found = _labels(adapter, encoded(picture()))
    assert [one.label for one in found] == [f"LABEL_{at}" for at in logits.argsort(descending=True)]
    assert [one.score for one in found] == pytest.approx(
        logits.softmax(-1).sort(descending=True).values.tolist(), abs=1e-5
    )


def test_bytes_base64_and_data_uri_are_one(adapter: Adapter[Any, Any]) -> None:
    raw = encoded(picture())
    text = base64.b64encode(raw).decode()
    wrapped = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    url_safe = base64.urlsafe_b64encode(raw).decode()
    for form in (text, wrapped, url_safe, f"data:image/png;base64,{text}"):
        assert _labels(adapter, form) == _labels(adapter, raw)


def test_a_batch_scores_as_its_items_alone(adapter: Adapter[Any, Any]) -> None:
    raws = [encoded(picture(size=size)) for size in ((16, 12), (9, 30), (8, 8))]
    items = [adapter.pre(inputs(TASK, image=raw), parameters(TASK))[0] for raw in raws]
    assert len({item.key for item in items}) == 1
    for item, raw in zip(items, adapter.core(items), strict=True):
        assert raw == pytest.approx(adapter.core([item])[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_the_allowed_formats_are_decoded(kind: str, mode: str) -> None:
    if (kind, mode) == ("JPEG", "1"):
        mode = "CMYK"
    assert decode(encoded(picture(mode), kind)).size == (16, 12)


def test_odd_modes_become_ordinary(adapter: Adapter[Any, Any]) -> None:
    deep = Image.fromarray(np.full((4, 4), 0x80FF, dtype=np.uint16))
    assert np.asarray(decode(encoded(deep))).tolist() == [[0x80] * 4] * 4
    for mode in ("RGBA", "LA", "P", "I;16"):
        image = deep if mode == "I;16" else picture(mode)
        assert len(_labels(adapter, encoded(image))) == 3


def test_an_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(picture(), "JPEG", exif=exif)).size == (12, 16)


def test_a_grey_model_gets_one_channel(tmp_path: Path) -> None:
    adapter = loaded(vit(tmp_path, channels=1), TASK)
    item = adapter.pre(inputs(TASK, image=encoded(picture())), parameters(TASK))[0]
    assert item.data["pixel_values"].shape == (1, 8, 8)
    assert len(_labels(adapter, TASKS[TASK].example["image"])) == 3


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("http://example.com/cat.png", UrlNotAllowed),
        ("file:///etc/passwd", UrlNotAllowed),
        ("/etc/passwd", UrlNotAllowed),
        ("/etc/hostnam", UrlNotAllowed),
        ("../cat.png", UrlNotAllowed),
        ("cat.png", UrlNotAllowed),
        ("not base64!", InvalidRequest),
        ("aGVsbG8=", InvalidRequest),
        ("data:text/plain,hello", UrlNotAllowed),
        ("é", InvalidRequest),
        (b"", InvalidRequest),
        (b"GIF89a", InvalidRequest),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, InvalidRequest),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", InvalidRequest),
        (encoded(picture())[:100], InvalidRequest),
        (encoded(picture(), "PDF"), InvalidRequest),
        (encoded(Image.new("1", (10_000, 6_000))), InputTooLong),
        (encoded(Image.new("1", (5_000, 2))), InvalidRequest),
    ],
)
def test_what_is_no_image_is_refused(image: str | bytes, error: type[ModelDeployError]) -> None:
    with pytest.raises(error) as refused:
        decode(image)
    assert type(refused.value) is error
    assert refused.value.status == 422


def _png_of(width: int, height: int) -> bytes:
    """A file that says so and ends there."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000, 100_000])
def test_the_limit_of_pixels_is_named_however_far_it_is_exceeded(side: int) -> None:
    """Pillow has limits of its own, with a warning and with an error."""
    with pytest.raises(InputTooLong, match=r"^image: it has .*limit.* 50000000"):
        decode(_png_of(side, side))

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from modeldeploy.errors import InputTooLong, InvalidRequest, ModelDeployError, UrlNotAllowed
from modeldeploy.worker.tasks import images, videos
from tests.models import vision
from tests.models.common import encoded

SHADES = [0, 50, 100, 150, 200]
FRAMES = [Image.new("RGB", (20, 10), (shade,) * 3) for shade in SHADES]
MP4 = b"\0\0\0\x18ftypisom" + b"\0" * 20
PNGS = [vision.in_base64(frame) for frame in FRAMES]


def animated(kind: str, frames: list[Image.Image] = FRAMES) -> bytes:
    return encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], **_LOSSLESS.get(kind, {})
    )


_LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}}


def _odd(count: int) -> list[int]:
    return list(range(1, count, 2))


def _shades(frames: list[Image.Image]) -> list[int]:
    assert {frame.mode for frame in frames} == {"RGB"}
    return [int(np.asarray(frame)[0, 0, 0]) for frame in frames]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_of_animated_images(kind: str) -> None:
    raw = animated(kind)
    assert _shades(videos.decode(raw, _odd)) == [50, 150]
    assert _shades(videos.decode(base64.b64encode(raw).decode(), lambda count: [0, 0, 4])) == [
        0,
        0,
        200,
    ]


def test_frames_as_a_list_of_images_are_decoded_as_far_as_they_are_looked_at() -> None:
    assert _shades(videos.decode([PNGS[0], PNGS[1], "broken", PNGS[3]], _odd)) == [50, 150]
    with pytest.raises(InvalidRequest) as refused:
        videos.decode([PNGS[0], "aGk="], _odd)
    assert refused.value.message.startswith("video[1]: it cannot be decoded")


@pytest.mark.parametrize(
    ("video", "error"),
    [
        ("http://example.com/film.mp4", UrlNotAllowed),
        ("/etc/passwd", UrlNotAllowed),
        (["/etc/passwd"], UrlNotAllowed),
        ("not base64!", InvalidRequest),
        (b"", InvalidRequest),
        (b"#EXTM3U\nfile:///etc/passwd", InvalidRequest),
        (animated("GIF")[:60], InvalidRequest),
    ],
)
def test_what_is_no_video_is_refused(video: Any, error: type[ModelDeployError]) -> None:
    with pytest.raises(error) as refused:
        videos.decode(video, lambda count: [0])
    assert type(refused.value) is error
    assert refused.value.message.startswith("video")


def test_a_film_without_a_decoder_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        InvalidRequest, match=r"^video: films \(mp4\).* the package av, which is not installed"
    ):
        videos.decode(MP4, _odd)


def test_too_much_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS_OF_FRAMES", 500)
    for video in (animated("GIF"), PNGS):
        assert len(videos.decode(video, _odd)) == 2
        with pytest.raises(InputTooLong, match="pixels"):
            videos.decode(video, lambda count: list(range(count)))
    monkeypatch.setattr(videos, "_MOST_FRAMES", 4)
    with pytest.raises(InputTooLong, match=r"^video: it has 5 frames, the limit is 4"):
        videos.decode(animated("GIF"), _odd)


def film(container: str, codec: Any) -> bytes:
    """The frames as PyAV writes them."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for frame in FRAMES:
            picture = av.VideoFrame.from_image(  # type: ignore[no-untyped-call]
                frame.resize((32, 16))
            )
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "mpeg4"), ("webm", "libvpx"), ("avi", "mpeg4")]
)
def test_a_film_is_read(container: str, codec: str) -> None:
    raw = film(container, codec)
    for given in (raw, base64.b64encode(raw).decode()):
        assert _shades(videos.decode(given, _odd)) == pytest.approx([50, 150], abs=4)
    with pytest.raises(InvalidRequest, match=r"^video: it cannot be decoded"):
        videos.decode(raw[:40], _odd)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (MP4, "mp4"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 20, "matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
    ],
)
def test_the_format_is_the_one_that_it_begins_as(
    raw: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_film(file: Any, format: str) -> Any:  # noqa: A002  # PyAV's own name
        opened.append(format)
        raise ValueError("seen")

    monkeypatch.setattr(av, "open", open_film)
    with pytest.raises(InvalidRequest, match="ValueError"):
        videos.decode(raw, _odd)
    assert opened == [kind]


def test_a_film_without_pictures_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("libvpx", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        out.start_encoding()
    with pytest.raises(InvalidRequest, match=r"no pictures|EOFError"):
        videos.decode(file.getvalue(), _odd)

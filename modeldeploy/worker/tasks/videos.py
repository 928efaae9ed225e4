"""Videos from bytes: animated images by Pillow, films by PyAV where it is installed.

FFmpeg's formats are many, and some of them open other files: the format is told by the first bytes
and given to it, never guessed by it.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import Dropped
from modeldeploy.worker.effort import go_on, spend
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.images import Choose

_MOST_FRAMES = 20_000


def decode(video: str | bytes | Sequence[str], choose: Choose) -> list[Image.Image]:
    """Those frames that ``choose`` picks, given how many there are, as RGB.

    Raises:
        UrlNotAllowed, InvalidRequest, InputTooLong: naming ``video``, or the frame in it.
    """
    if isinstance(video, str | bytes):
        with images.named("video"):
            return [frame.convert("RGB") for frame in _decode_file(video, choose)]
    found: dict[int, Image.Image] = {}
    places = choose(len(video))
    for at in places:
        if at not in found:
            with images.named(f"video[{at}]"):
                found[at] = images.decode(video[at]).convert("RGB")
                images.check_frames(sum(one.width * one.height for one in found.values()))
    return [found[at] for at in places]


def _decode_file(video: str | bytes, choose: Choose) -> list[Image.Image]:
    raw = video if isinstance(video, bytes) else images.IMAGE.from_text(video)
    kind = _film(raw[:16])
    if kind is None:
        return images.frames(video, lambda count: choose(_within_limit(count)))
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise InvalidRequest(
            f"video: films ({kind}) need the package av, which is not installed here",
            hint="send a GIF, or the frames as a list of images; or install modeldeploy[multimodal]",
        ) from error
    try:
        return _by_av(av, raw, kind, choose)
    except (InvalidRequest, Dropped):
        raise
    except Exception as error:  # FFmpeg's decoders raise whatever a damaged file leads them to
        raise InvalidRequest(f"video: it cannot be decoded ({type(error).__name__})") from error


def _film(head: bytes) -> str | None:
    """FFmpeg's name for the format that begins so."""
    if head[4:8] == b"ftyp":
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    return None


def _within_limit(count: int) -> int:
    if count > _MOST_FRAMES:
        raise InputTooLong(
            f"video: it has {count} frames, the limit is {_MOST_FRAMES}", hint="cut it"
        )
    return count


def _by_av(av: Any, raw: bytes, kind: str, choose: Choose) -> list[Image.Image]:
    count = 0
    with av.open(io.BytesIO(raw), format=kind) as film:
        for packet in film.demux(video=0):
            go_on()
            count = _within_limit(count + (packet.size > 0))
    if count == 0:
        raise InvalidRequest("video: there are no pictures in it")
    places = choose(count)
    found: dict[int, Image.Image] = {}
    with av.open(io.BytesIO(raw), format=kind) as film:
        for at, frame in enumerate(film.decode(video=0)):
            go_on()
            images.check_size(frame.width, frame.height)
            images.check_frames(len(places) * frame.width * frame.height)
            if at in places:
                spend(frame.width * frame.height, "pixels")
                found[at] = frame.to_image()
            if at >= max(places):
                break
    if not found:
        raise InvalidRequest("video: there are no pictures in it")
    last = max(found)  # a packet may hold no picture of its own
    return [found[min(at, last)] for at in places]

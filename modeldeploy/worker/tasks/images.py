"""Images from bytes, decoded by us: never a URL, never a path, nothing larger than it looks."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import Dropped
from modeldeploy.worker.effort import go_on, spend
from modeldeploy.worker.tasks.encoded import Medium

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
MAX_PIXELS_OF_FRAMES = 200_000_000
# A processor that scales the shorter side up would make a giant of a line.
MAX_ASPECT = 100
IMAGE = Medium("image", r"png|jpe?g|webp|gif|bmp|tiff?")
Choose = Callable[[int], list[int]]
_DEEP_MODES = {"I;16", "I;16B", "I;16L", "I;16N"}


def decode(image: str | bytes) -> Image.Image:
    """The first frame of an image, upright, as RGB or L (one channel stays one).

    Raises:
        UrlNotAllowed: it names a place instead of being an image. InvalidRequest: it is none of
            the allowed formats, damaged, or not base64. InputTooLong: it has too many pixels.
    """
    return frames(image)[0]


def frames(image: str | bytes, choose: Choose | None = None) -> list[Image.Image]:
    """Those frames of an animated image that ``choose`` picks, given how many there are, or the
    first one, as :func:`decode` makes them.

    Raises:
        UrlNotAllowed, InvalidRequest, InputTooLong: as :func:`decode`, and what ``choose`` raises.
    """
    return IMAGE.decoded(image, lambda raw: _open(raw, choose))


@contextlib.contextmanager
def named(field: str) -> Iterator[None]:
    """Errors about an image tell of ``field`` instead."""
    try:
        yield
    except InvalidRequest as error:
        bare = error.message.removeprefix("image: ").removeprefix(f"{field}: ")
        error.message = f"{field}: {bare}"
        raise


def png(image: Image.Image) -> str:
    """Base64 of the image as a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def mask_png(mask: npt.NDArray[np.bool_]) -> str:
    """Base64 of a PNG, white where a (height, width) mask is true."""
    return png(Image.fromarray(mask.astype(np.uint8) * 255))


def _open(raw: bytes, choose: Choose | None) -> list[Image.Image]:
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            check_size(*image.size)
            places = choose(getattr(image, "n_frames", 1)) if choose else [0]
            pixels = len(places) * image.width * image.height
            check_frames(pixels)
            spend(pixels, "pixels")
            return [_frame(image, at) for at in places]
    except (InvalidRequest, Dropped):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limits, which it looks at before we learn of the size.
        raise InputTooLong(
            f"image: it has more pixels than the limit, {MAX_PIXELS}", hint="scale it down"
        ) from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise InvalidRequest(
            f"image: it cannot be decoded ({type(error).__name__}); "
            f"allowed are {', '.join(FORMATS)}",
            hint=IMAGE.send,
        ) from error


def _frame(image: Image.Image, at: int) -> Image.Image:
    for step in range(image.tell() + 1, at):  # each frame is made of the one before
        go_on()
        image.seek(step)
    image.seek(at)
    image.load()
    return _plain(ImageOps.exif_transpose(image))


def check_size(width: int, height: int) -> None:
    """
    Raises:
        InputTooLong: too many pixels. InvalidRequest: a line.
    """
    if width * height > MAX_PIXELS:
        raise InputTooLong(
            f"image: it has {width} x {height} pixels, the limit is {MAX_PIXELS}",
            hint="scale it down",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidRequest(
            f"image: one side of {width} x {height} is more than {MAX_ASPECT} times the other",
            hint="cut it to the part that matters",
        )


def check_frames(pixels: int) -> None:
    """
    Raises:
        InputTooLong: too many pixels in all the frames that are looked at.
    """
    if pixels > MAX_PIXELS_OF_FRAMES:
        raise InputTooLong(
            f"image: the frames to look at have {pixels} pixels, the limit is "
            f"{MAX_PIXELS_OF_FRAMES}",
            hint="scale them down",
        )


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        deep = np.asarray(image).astype(np.uint16)
        return Image.fromarray((deep >> 8).astype(np.uint8))
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")

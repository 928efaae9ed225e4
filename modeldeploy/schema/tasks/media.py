"""Images and sounds inside JSON, and the media types that carry them bare."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_type_hints

from msgspec import Meta

ImageFile = Annotated[
    str,
    Meta(
        min_length=1,
        description="Base64 of a PNG, JPEG, WebP, GIF, BMP or TIFF file.",
        extra_json_schema={"contentEncoding": "base64", "contentMediaType": "image/*"},
    ),
]
AudioFile = Annotated[
    str,
    Meta(
        min_length=1,
        description="Base64 of a WAV, FLAC, OGG or MP3 file.",
        extra_json_schema={"contentEncoding": "base64", "contentMediaType": "audio/*"},
    ),
]
VideoFile = Annotated[
    str,
    Meta(
        min_length=1,
        description="Base64 of an animated GIF, WebP or PNG; MP4, WebM or AVI where the package av is installed.",
        extra_json_schema={"contentEncoding": "base64", "contentMediaType": "video/*"},
    ),
]
IMAGE_MEDIA = ("image/*", "application/octet-stream")
AUDIO_MEDIA = ("audio/*", "application/octet-stream")
VIDEO_MEDIA = ("video/*", "image/*", "application/octet-stream")

# An 8x8 grey PNG: the smallest body that shows the shape of a request and works when sent.
EXAMPLE_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="

# Half a second of silence at 8 kHz, for the same purpose.
EXAMPLE_FLAC = "ZkxhQwAAACIQABAAAAANAAANAfQA8AAAD6BYEBJJx2tzW9dM5TArAJMXhAAAKCAAAAByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAyMDIzMDYyMwAAAAD/+HQIAA+fggAAAFLj"

# A 64x64 grey PNG of a box, a floor and a lamp, for models that make nothing of eight pixels.
EXAMPLE_SCENE = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAT0lEQVR42mM8wUAZYGIYNWAYGMBCmnJzKH1yNBBHdDo4OQLCIAyLklWjCWnUgFEDRg0YKQYwRqFwj2BRYjMaiCOufWAzGoijBowaMHINAAC6BwWuW0siPwAAAABJRU5ErkJggg=="

# A GIF of four frames, 64x64, in which the box moves over the floor.
EXAMPLE_CLIP = "R0lGODlhQABAAIEAAB4eHlpaWsjIyAAAACH5BAAUAAAALAAAAABAAEAAAAjKAAUIHEiwoMGDCBMqXMiwocOHECNKnEixosWLGDNq3Mixo8ePIEOKHEmypMmTKFOqXMmypcuXMGPKTAigps2bOHGyzMmT586eQGv+DNpzKNGcRo/eTKpU6MqmSJ9CXSp1qlOVVm0ybbpVadejX4mGDToWaNmiVa2e9XkygNsAWWu+nUu3rt27eN3GBZC3r9++e/8KHqw3LuHDgA0jXlw3MOPHhbNChux4suXLmDNr3sy5s+fPoEOLHk26tOnTqFOrXs26tevXsE0HBAAh+QQBFAADACwEABQAHgAcAIEeHh5aWlrIyMgAAAAIigAFCBxIcIDBgwgBKFzIkKBDAQgjDmBIEcDDghIPVmx4UWBGjRsVdvT4cWJIiyNLmgw5EmLJkyg7qoTZcubJmi9vpszJcudHmj4zApXJcyPOnzqJIu2pVGjSizaZQi1a8ajTkAGyat0adePWrwG6VgTLlSpFslrFnkUb1ixDtm2XemWr9i1dtwsDAgAh+QQBFAADACwOABQAHgAcAIEeHh5aWlrIyMgAAAAIigAFCBxIcIDBgwgBKFzIkKBDAQgjDmBIEcDDghIPVmx4UWBGjRsVdvT4cWJIiyNLmgw5EmLJkyg7qoTZcubJmi9vpszJcudHmj4zApXJcyPOnzqJIu2pVGjSizaZQi1a8ajTkAGyat0adePWrwG6VgTLlSpFslrFnkUb1ixDtm2XemWr9i1dtwsDAgAh+QQBFAADACwYABQAHgAcAIEeHh5aWlrIyMgAAAAIigAFCBxIcIDBgwgBKFzIkKBDAQgjDmBIEcDDghIPVmx4UWBGjRsVdvT4cWJIiyNLmgw5EmLJkyg7qoTZcubJmi9vpszJcudHmj4zApXJcyPOnzqJIu2pVGjSizaZQi1a8ajTkAGyat0adePWrwG6VgTLlSpFslrFnkUb1ixDtm2XemWr9i1dtwsDAgA7"


def file_fields(kind: Any) -> tuple[str, ...]:
    """The fields of a struct type that hold a file, or a list of them."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(name for name, hint in hints.items() if _is_file(hint))


def _is_file(hint: Any) -> bool:
    told = (one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Meta))
    encoded = any("contentEncoding" in (one.extra_json_schema or {}) for one in told)
    return encoded or any(map(_is_file, get_args(hint)))

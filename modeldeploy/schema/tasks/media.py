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

# A second with two beeps in it, at 8 kHz, for the same purpose.
EXAMPLE_FLAC = "ZkxhQwAAACIQABAAAANOAAWcAfQA8AAAH0BU3dvQuCDJg3ny0OO0YXxQhAAAKCAAAAByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAyMDIzMDYyMwAAAAD/+MQIAARCAAAAALUtPgCMH/////////+H//////////h//////////4f/////////+H//////////h//////////4f/////////+H//////////h//////////4f/////////+H//////////h//////////7QIECBAgQIECBAgQIECBAgQIECBAgQIECBAgQIEAAAAAAAAAAAAC1GiQIcODCjRokCHDgwo0aJAhw4MKNGiQIcOCKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTe0KNGiQIcODCjRokCHDgwo0aJAhw4MKNGiQIcODCAAAAAAAAAAAApwIECBAgQIECBAgQIECBAgQIECBAgQIECBAgB//////////4f/////////+H//////////h//////////4f/////////+H//////////h//////////4f/////////+H//////////h//////////4f/////////+H//////////tAAAAAAAAAAAAAtRokCHDgwo0aJAhw4MKNGiQIcODCjRokCHDgwo0aJAhw4MKNGiQIcODCjRokCHDgwo0aJAhw4IoQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3ihCKb0IRTehCKb0IRTehCKb0IRTehCKb0IRTeKEIpvQhFN6EIpvQhFN6EIpvQhFN6EIpvQhFN4oQim9CEU3oQim9CEU3oQim9CEU3oQim9CEU3hr+P/4dAgBDz+AQgAACQ21LT4BCk1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EMTVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzUlfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVcuhDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hEM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EM1V+hDNVfoQzVX6EMs0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clFU0Ms8clAAAAAAAAAAAAAAAAAAAAAAAAF8EEEEEEEEEEEEEEEEEEEEEEEEEAf///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////4f///////////////////70KA=="

# A handwritten 3 of 24x24 pixels.
EXAMPLE_DIGIT = "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYBAMAAAASWSDLAAAAGFBMVEX9/f3q6urIyMiJiYlDQ0MUFBQCAgIAAAACHq42AAAAoklEQVR42j3Pu01EUQyE4c+HG0C0x9sBJSBS+qLbpQRbRJCsCS6Qza95SBPv7h+3W1uvL7FMt8DmUFUt5xNruqoiEXvh3tsW20I8p9g4Ys81LtVXLJl75zQssSNqnCDyov9Aakx5eBNP5dvX02MsyMxt2gGRPd3Lr7P/B4jcbAeK+HNm6lYaB911agdm2kgORk15dv5pVTLjN1bimnsvnO1IP0pvRSc3/UUZAAAAAElFTkSuQmCC"

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

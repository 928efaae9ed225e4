"""A document's words with their boxes: as they were sent, or as Tesseract reads them."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from PIL import Image

from modeldeploy.errors import InvalidRequest
from modeldeploy.worker.failures import one_line

_WHOLE = 1000  # a box's unit is a thousandth of the page's width or height
_SEND = 'send "word_boxes": [["Total", [10, 20, 80, 40]], ...], 0 to 1000 of width and height'

Box = tuple[int, int, int, int]


@dataclass
class Document:
    """Words in reading order; a box is (left, top, right, bottom) in thousandths of the page."""

    words: list[str]
    boxes: list[Box]


def from_word_boxes(given: list[Any]) -> Document:
    """
    Args:
        given: pairs of a word and its box, or words and boxes by turns.

    Raises:
        InvalidRequest: a word without a box, or a box that is none.
    """
    pairs = given
    if any(isinstance(one, str) for one in given):
        pairs = [list(pair) for pair in zip(given[::2], given[1::2], strict=False)]
        if len(given) % 2:
            raise InvalidRequest("word_boxes: the last word has no box", hint=_SEND)
    document = Document([], [])
    for at, pair in enumerate(pairs):
        if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], list):
            raise InvalidRequest(f"word_boxes[{at}]: it is not a word and its box", hint=_SEND)
        document.words.append(pair[0])
        document.boxes.append(_box(at, pair[1]))
    if not any(word.strip() for word in document.words):
        raise InvalidRequest("word_boxes: there is no word in it", hint=_SEND)
    return document


def _box(at: int, given: list[Any]) -> Box:
    if len(given) != 4 or not all(isinstance(one, int | float) for one in given):
        raise InvalidRequest(f"word_boxes[{at}]: a box has four numbers", hint=_SEND)
    left, top, right, bottom = given
    if not (0 <= left <= right <= _WHOLE and 0 <= top <= bottom <= _WHOLE):
        raise InvalidRequest(
            f"word_boxes[{at}]: {given} is not left, top, right, bottom within 0 to {_WHOLE}",
            hint=_SEND,
        )
    return int(left), int(top), int(right), int(bottom)


def read(image: Image.Image, lang: str | None) -> Document:
    """The words that Tesseract finds, through the package ``pytesseract``.

    Raises:
        InvalidRequest: it is not installed, does not know the language, or finds nothing.
    """
    if importlib.util.find_spec("pytesseract") is None:
        raise InvalidRequest(
            "word_boxes: this model reads words with their places, and no OCR is installed here "
            "that would find them in the image",
            hint=f"{_SEND}; or install tesseract and pytesseract beside modeldeploy",
        )
    pytesseract = importlib.import_module("pytesseract")
    try:
        found = pytesseract.image_to_data(image, lang=lang, output_type="dict")
    except Exception as error:  # the program is missing, or refuses in its own words
        raise InvalidRequest(
            f"lang, image: Tesseract failed: {one_line(error)}", hint=_SEND
        ) from error
    document = Document([], [])
    sides = zip(found["left"], found["top"], found["width"], found["height"], strict=True)
    for word, (left, top, width, height) in zip(found["text"], sides, strict=True):
        if word.strip():
            document.words.append(word)
            edges = (left, top, left + width, top + height)
            document.boxes.append(_thousandths(edges, image.size))
    if not document.words:
        raise InvalidRequest("image: Tesseract finds no words in it", hint=_SEND)
    return document


def _thousandths(edges: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    left, top, right, bottom = (
        min(_WHOLE, max(0, int(_WHOLE * edge / size[at % 2]))) for at, edge in enumerate(edges)
    )
    return left, top, right, bottom

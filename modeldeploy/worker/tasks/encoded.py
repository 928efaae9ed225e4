"""Files inside JSON: base64 or data URIs to bytes, and never a place to fetch them from."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import TypeVar

from modeldeploy.errors import InvalidRequest, UrlNotAllowed

T = TypeVar("T")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w.=+-]+)*;base64,", re.IGNORECASE | re.ASCII)
_LONGEST_PATH = 4096


class Medium:
    """How files of one kind come in. ``field`` is the name that errors begin with, ``suffixes``
    (a pattern) tell a path by its end."""

    def __init__(self, field: str, suffixes: str) -> None:
        self.field = field
        self.send = (
            f"send the file's bytes as the body (content-type: {field}/*), or as base64 in JSON"
        )
        self._path = re.compile(rf"^[~./\\]|\.({suffixes})\Z", re.IGNORECASE)

    def decoded(self, given: str | bytes, decode: Callable[[bytes], T]) -> T:
        """What ``decode`` makes of the file's bytes; it raises InvalidRequest where it cannot.

        Raises:
            UrlNotAllowed: a place is named instead. InvalidRequest: it is not base64, or what
                ``decode`` says.
        """
        if isinstance(given, bytes):
            return decode(given)
        raw = self.from_text(given)
        try:
            return decode(raw)
        except InvalidRequest:
            if self._names_path(given):  # some paths are valid base64
                raise self._not_a_place() from None
            raise

    def from_text(self, text: str) -> bytes:
        """The bytes of base64 or of a data URI.

        Raises:
            UrlNotAllowed: it names a place. InvalidRequest: it is neither.
        """
        found = _DATA_URI.match(text[:256])
        if found:
            text = text[found.end() :]
        elif _SCHEME.match(text[:64]):
            raise self._not_a_place()
        compact = "".join(text.split()).replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(compact, validate=True)
        except (binascii.Error, ValueError) as error:
            if self._names_path(text):
                raise self._not_a_place() from error
            raise InvalidRequest(
                f"{self.field}: this is not base64 ({error})", hint=self.send
            ) from error

    def _names_path(self, text: str) -> bool:
        return self._path.search(text[:_LONGEST_PATH]) is not None

    def _not_a_place(self) -> UrlNotAllowed:
        return UrlNotAllowed(
            f"{self.field}: URLs and file paths are not opened",
            hint=f"{self.send}; deploy --allow-media-url HOST lets URLs of a host be fetched",
        )

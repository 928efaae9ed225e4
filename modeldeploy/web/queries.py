"""What stands behind the question mark of a request."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from modeldeploy.errors import InvalidRequest

T = TypeVar("T")


def read(raw: bytes, kind: type[T]) -> T:
    """
    Raises:
        InvalidRequest: it is none of that ``kind``.
    """
    given = dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"in the query: {error}", hint="see /api/openapi.json") from error

"""JSON that came with a model: whatever is wrong with it is an error of one kind."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(content: bytes, kind: type[T]) -> T:
    """
    Raises:
        DecodeError: it is no JSON, is not of the ``kind``, or is nested deeper than anybody reads.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deep") from error

"""What came with a model and is read whole: whatever is wrong with it is an error of one kind."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from modeldeploy.errors import UnsupportedModel

T = TypeVar("T")

_LARGEST = 64 * 1024 * 1024  # bytes; the index of a thousand shards has a tenth of it


def content(file: Path) -> bytes:
    """
    Raises:
        UnsupportedModel: it is larger than any that describes a model.
    """
    refuse_larger(file.name, file.stat().st_size)
    return file.read_bytes()


def refuse_larger(name: str, size: int) -> None:
    """
    Raises:
        UnsupportedModel: it is larger than any that describes a model.
    """
    if size > _LARGEST:
        raise UnsupportedModel(
            f"its {name} has {size:,} bytes, and none that describes a model has so many",
            hint="the upload is damaged, or hostile: try another revision",
        )


def decode(content: bytes, kind: type[T]) -> T:
    """
    Raises:
        DecodeError: it is no JSON, is not of the ``kind``, or is nested deeper than anybody reads.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deep") from error

"""Foreign failures in one line, and Rust's panics as errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

_LONGEST = 400


def one_line(error: BaseException) -> str:
    """The kind of ``error`` and the first line that says something, without a line break."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0][:_LONGEST] if lines else ""
    kind = type(error).__name__
    return f"{kind}: {said}" if said else kind


class NativePanic(Exception):
    """A panic of a native library (Rust's tokenizers), which comes as a bare BaseException."""


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """Around calls into native libraries: their panics become ordinary exceptions.

    Raises:
        NativePanic: one panicked.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as panic:
        raise NativePanic(one_line(panic)) from panic

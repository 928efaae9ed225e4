"""How many bytes are here: true to the byte, and never going back."""

from __future__ import annotations

import threading


class Meter:
    """Counts bytes per blob, from several threads.

    A file that turns out damaged loses its bytes; ``done`` waits there until they are back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._present: dict[str, int] = {}
        self._highest = 0
        self._wire = 0

    def present(self, etag: str, size: int) -> None:
        """``size`` bytes of the blob are on the disk now."""
        with self._lock:
            self._present[etag] = size
            self._highest = max(self._highest, sum(self._present.values()))

    def received(self, size: int) -> None:
        """``size`` bytes came over the wire."""
        with self._lock:
            self._wire += size

    @property
    def done(self) -> int:
        """The most bytes that were ever here."""
        return self._highest

    @property
    def wire(self) -> int:
        """Bytes that came over the wire in this process, repeated ones included."""
        return self._wire

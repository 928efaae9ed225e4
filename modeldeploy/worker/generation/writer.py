"""Tokens to text as they come: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

_CONTEXT = 6  # tokens of the prompt that decide how the first new one is decoded
_UNFINISHED = "\ufffd"
_MOST_HELD = 32  # tokens; what is no character by then never becomes one


class Writer:
    """The text of one sequence. ``push`` and ``flush`` return what may be shown now.

    A token is decoded behind the ones before it (alone it may lose the space it begins with), and
    held back while it ends within a character or may be the beginning of a stop string. However long
    the text, few are decoded again.
    """

    def __init__(self, decode: Decode, prompt: Sequence[int], stops: Sequence[str]) -> None:
        self._decode = decode
        self._ids = list(prompt[-_CONTEXT:])
        self._from, self._read = 0, len(self._ids)
        self._before = decode(self._ids)
        self._stops = stops
        self._held = ""
        self._shown: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._shown)

    def push(self, token: int) -> str:
        """Take one token; ``stopped`` is set once a stop string is complete."""
        self._ids.append(token)
        whole = self._decode(self._ids[self._from :])
        is_shown = len(whole) > len(self._before)
        if not is_shown or whole.endswith(_UNFINISHED):
            if len(self._ids) - self._read < _MOST_HELD:
                return ""
            if (
                not is_shown
            ):  # the next is decoded behind what was shown, as if these were not there
                del self._ids[self._read :]
                return ""
        self._held += whole[len(self._before) :]
        self._from, self._read = self._read, len(self._ids)
        self._before = self._decode(self._ids[self._from :])
        return self._release()

    def flush(self) -> str:
        """No more tokens come: the rest, as it is."""
        if self.stopped:
            return ""
        self._held += self._decode(self._ids[self._from :])[len(self._before) :]
        text = self._release()
        rest, self._held = ("" if self.stopped else self._held), ""
        self._shown.append(rest)
        return text + rest

    def _release(self) -> str:
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            safe = min(ends)
        else:
            safe = len(self._held) - self._doubtful()
        shown, self._held = self._held[:safe], self._held[safe:]
        self._shown.append(shown)
        return shown

    def _doubtful(self) -> int:
        """Characters at the end that may begin a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

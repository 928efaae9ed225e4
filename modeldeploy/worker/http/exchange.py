"""One request of a worker and its answer: whose it is, and how long it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from starlette.types import Receive, Scope

from modeldeploy.web.incoming import Incoming

if TYPE_CHECKING:
    from modeldeploy.worker.dialects import Dialect

_KEY = "modeldeploy.exchange"


class Timed(Protocol):
    """What knows how long a prediction waited and took, so far."""

    @property
    def queue_seconds(self) -> float: ...

    @property
    def inference_seconds(self) -> float: ...


class Exchange(Incoming):
    """``tokens`` (the sizes of all items, which are tokens where the task has any) is set by
    whoever ran the prediction, ``dialect`` by the dialect that recognised its own in a body that
    came to a shared path."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.started = time.monotonic()
        self.tokens = 0
        self._timed: Timed | None = None
        self._read_at = self._queued_at = 0.0
        self.is_prediction = False
        self.is_admitted = False
        self.dialect: Dialect | None = None
        scope[_KEY] = self

    def timed_by(self, timed: Timed) -> None:
        """The prediction is queued."""
        self._timed = timed
        self._queued_at = time.monotonic()

    def was_read(self) -> None:
        """Its whole body is here."""
        self._read_at = time.monotonic()

    def over(self) -> None:
        """Nothing more is asked of it: what it holds goes at once, and not when garbage is collected next."""
        self._timed = None
        self.scope.pop(_KEY, None)

    @property
    def is_read(self) -> bool:
        """Whether that was so."""
        return self._read_at > 0

    @property
    def validation_seconds(self) -> float | None:
        """From its whole body until it was queued, or so far; None where there is no body yet."""
        return (self._queued_at or time.monotonic()) - self._read_at if self._read_at else None

    @property
    def queue_ms(self) -> float:
        return self._timed.queue_seconds * 1000 if self._timed else 0.0

    @property
    def inference_ms(self) -> float:
        return self._timed.inference_seconds * 1000 if self._timed else 0.0


def exchange_of(scope: Scope) -> Exchange:
    found: Exchange = scope[_KEY]
    return found

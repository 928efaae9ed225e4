"""Six stages on a terminal, a line for each elsewhere, or nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from modeldeploy.cli import output
from modeldeploy.cli.track import STAGES, Track
from modeldeploy.schema.events import Event
from modeldeploy.schema.states import State

if TYPE_CHECKING:
    from modeldeploy.cli.live import LiveStages


class Reporter(Protocol):
    """Hears every event while it is open."""

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Reporter: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Silent:
    """Nobody looks."""

    def __call__(self, event: Event) -> None:
        pass

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Lines(Silent):
    """One plain line for each stage, when it begins; and one for each worker that died."""

    def __init__(self) -> None:
        self._track = Track()
        self._told = 0
        self._began = time.time()

    def __enter__(self) -> Lines:
        return self

    def __call__(self, event: Event) -> None:
        self._track.add(event)
        if event.state is State.BACKOFF and event.error:
            output.note(f"       trying again: {event.message}")
            return
        if event.state is State.FAILED:
            return  # the error says it all
        reached = STAGES.index(event.stage) + 1
        while self._told < reached:
            stage = STAGES[self._told]
            self._told += 1
            words = event.message if stage is event.stage else "done"
            output.note(f"[{self._told}/{len(STAGES)}] {stage.value:<9} {words}")


def reporter(name: str) -> Silent | LiveStages:
    """The one that fits where stderr goes."""
    console = output.progress_console()
    if console is None:
        return Silent() if output.as_json() else Lines()
    from modeldeploy.cli.live import LiveStages

    return LiveStages(console, name)

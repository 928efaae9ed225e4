"""The six stages, live: marks, words, numbers, one bar. Calm at 80 columns, and without colour."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modeldeploy.cli.progress import Silent
from modeldeploy.cli.track import STAGES, Track
from modeldeploy.cli.units import clock
from modeldeploy.schema.events import Event
from modeldeploy.schema.stages import Stage

_FRAMES_A_SECOND = 10
_WIDEST = 100
_NAME, _TIME = 10, 8


class LiveStages(Silent):
    """Draws on ``console`` (stderr) while it is open, and leaves the last frame standing."""

    def __init__(self, console: Console, name: str) -> None:
        self._name = name
        self._track = Track()
        self._marks = _UNICODE if console.encoding.startswith("utf") else _ASCII
        self._live = Live(
            console=console,
            get_renderable=lambda: self,
            refresh_per_second=_FRAMES_A_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __call__(self, event: Event) -> None:
        self._track.add(event)

    def __enter__(self) -> LiveStages:
        self._live.console.print(Text.assemble("\nDeploying ", (self._name, "bold"), "\n"))
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._live.console.print()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width, now = min(options.max_width, _WIDEST), time.time()
        for stage in STAGES:
            yield self._line(stage, width, now)
        yield Text("")
        yield self._bar(width, now)

    def _line(self, stage: Stage, width: int, now: float) -> Text:
        mark, style = self._mark(stage, now)
        step = self._track.steps[stage]
        words = Text(self._track.words(stage), style="" if step.ended is None else "dim")
        words.truncate(max(8, width - _NAME - _TIME - 5), overflow="ellipsis", pad=True)
        taken = step.seconds(now)
        seconds = "" if taken is None else f"{taken:.1f} s" if taken < 60 else clock(taken)
        name = Text(
            f"{stage.value.capitalize():<{_NAME}}",
            style="dim" if mark == self._marks["todo"] else "bold",
        )
        return Text.assemble(
            " ", (mark, style), " ", name, " ", words, (f"{seconds:>{_TIME}}", "dim")
        )

    def _mark(self, stage: Stage, now: float) -> tuple[str, str]:
        at, current = STAGES.index(stage), STAGES.index(self._track.stage)
        if self._track.succeeded or at < current:
            return self._marks["done"], "green"
        if at > current:
            return self._marks["todo"], "dim"
        if self._track.failed:
            return self._marks["failed"], "red"
        frames = self._marks["spinner"]
        return frames[int(now * _FRAMES_A_SECOND) % len(frames)], "cyan"

    def _bar(self, width: int, now: float) -> RenderableType:
        track = self._track
        percent = 100.0 if track.succeeded else track.percent
        end = track.last.time if track.last and (track.succeeded or track.failed) else now
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            total=100, completed=percent, width=max(10, width - 20), finished_style="green"
        )
        elapsed = clock(end - track.began) if track.began else ""
        grid.add_row(
            Text(""),
            bar,
            Text(f"{percent:3.0f} %", style="bold"),
            Text(f"{elapsed:>7}", style="dim"),
        )
        return grid


_UNICODE = {"done": "✓", "failed": "✗", "todo": "·", "spinner": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}
_ASCII = {"done": "+", "failed": "x", "todo": ".", "spinner": "-\\|/"}

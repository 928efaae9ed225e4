"""What the events of a deployment amount to: each stage's mark, words, numbers and time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modeldeploy.cli.units import clock, size
from modeldeploy.schema.events import Event
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import State

STAGES = tuple(Stage)
_SPEED_WINDOW_SECONDS = 6.0


@dataclass
class Step:
    """One stage as far as it came. Times are Unix seconds."""

    message: str = ""
    began: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    unit: str = ""

    def seconds(self, now: float) -> float | None:
        if self.began is None:
            return None
        return max(0.0, (now if self.ended is None else self.ended) - self.began)


class Track:
    """Fed with events, in order; a stage that was passed over counts as done."""

    def __init__(self) -> None:
        self.steps = {stage: Step() for stage in STAGES}
        self.stage = Stage.VALIDATE
        self.percent = 0.0
        self.began: float | None = None
        self.last: Event | None = None
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def failed(self) -> bool:
        return self.last is not None and self.last.state is State.FAILED

    @property
    def succeeded(self) -> bool:
        return self.last is not None and self.last.state is State.RUNNING

    def add(self, event: Event) -> None:
        if self.last is None or event.run != self.last.run:
            self.began = event.time
        self._enter(event)
        if self._is_news(event):
            self.steps[event.stage].message = event.message
        self._count(event)
        self.percent = max(self.percent, event.percent)
        self.last = event
        if event.state in {State.RUNNING, State.FAILED}:
            self.steps[event.stage].ended = event.time

    def _enter(self, event: Event) -> None:
        step = self.steps[event.stage]
        if step.began is None or event.stage is not self.stage:
            step.began, step.ended = event.time, None
        if event.stage is not self.stage:
            self.steps[self.stage].ended = event.time
            self._samples.clear()
        self.stage = event.stage

    def _is_news(self, event: Event) -> bool:
        """Whether it says more of its stage than what was said of it before."""
        last = self.last
        if event.state is State.FAILED:
            return False  # the error is told at length, below
        if last is None or event.stage is not last.stage or event.error:
            return True
        only_the_state = event.state is not last.state
        without_numbers = event.percent == last.percent and last.total > 0 == event.total
        return bool(event.message) and not only_the_state and not without_numbers

    def _count(self, event: Event) -> None:
        if not event.total:
            return
        step = self.steps[event.stage]
        step.done, step.total, step.unit = event.done, event.total, event.unit
        self._samples.append((event.time, event.done))
        while self._samples[-1][0] - self._samples[0][0] > _SPEED_WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def speed(self) -> float:
        """Units a second, over the last seconds; 0 when it is not known yet."""
        if len(self._samples) < 2:
            return 0.0
        (first_time, first), (last_time, last) = self._samples[0], self._samples[-1]
        return max(0, last - first) / (last_time - first_time) if last_time > first_time else 0.0

    def words(self, stage: Stage) -> str:
        """The line beside a stage: numbers while it runs, its own last words after."""
        step = self.steps[stage]
        running = stage is self.stage and not (self.failed or self.succeeded)
        if not running or step.done >= step.total:
            return step.message
        if step.unit != "bytes":
            return f"{step.message} · {step.done} of {step.total} {step.unit}".strip(" ·")
        parts = [f"{size(step.done)} of {size(step.total)}"]
        if self.speed:
            left = (step.total - step.done) / self.speed
            parts += [f"{size(self.speed)}/s", f"{clock(left)} left"]
        return " · ".join(parts)

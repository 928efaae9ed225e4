"""What a fetch of one model tells while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from modeldeploy.hub.fit import human
from modeldeploy.hub.meter import Meter
from modeldeploy.hub.wire import Reporter
from modeldeploy.schema.stages import Stage


@dataclass
class Words:
    """``before`` is the bytes of a companion that came first, so that what is told only grows.
    ``total`` is always without them."""

    reporter: Reporter
    meter: Meter
    before: int = 0

    def hashed(self, done: int, total: int) -> None:
        message = f"verifying {human(total)} that are cached"
        self.reporter.tick(Stage.VALIDATE, 0.5 + 0.5 * done / max(1, total), message)

    def to_come(self, missing: int, count: int, to_come: int, total: int) -> None:
        message = f"downloading {missing} of {count} files, {human(to_come)}"
        self.reporter.say(*self._share(total, message))

    def tick(self, total: int) -> None:
        done, whole = self.meter.done + self.before, total + self.before
        self.reporter.tick(*self._share(total, f"{human(done)} of {human(whole)}"))

    def ended(self, count: int, total: int) -> None:
        if self.meter.wire == 0:
            message = f"cached: {count} files, {human(total)}, nothing to download"
        else:
            message = f"downloaded and verified {human(self.meter.wire)} of {human(total)}"
        self.reporter.say(*self._share(total, message))

    def _share(self, total: int, message: str) -> tuple[Stage, float, str, int, int]:
        done, whole = self.meter.done + self.before, total + self.before
        return Stage.DOWNLOAD, done / max(1, whole), message, done, whole

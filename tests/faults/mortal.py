"""``python -m tests.faults.mortal``: a supervisor that kills itself at one of its writes.

``MORTAL`` names the write and the moment: ``3:before`` dies (SIGKILL) before its third write of the
state, ``3:after`` when that is on disk and nothing else has happened yet.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from modeldeploy import settings
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.supervisor import server
from modeldeploy.supervisor.store import Store

VARIABLE = "MORTAL"
ROOT = Path(__file__).parents[2]


class MortalStore(Store):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        number, _, self._moment = os.environ[VARIABLE].partition(":")
        self._left = int(number)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        self._left -= 1
        self._reach("before")
        super()._write(statement, values)
        self._reach("after")

    def _reach(self, moment: str) -> None:
        if self._left == 0 and moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


def start(environment: dict[str, str], number: int, moment: str) -> subprocess.Popen[bytes]:
    """Such a supervisor, for the home that ``environment`` names."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.mortal"],
        env={**environment, VARIABLE: f"{number}:{moment}"},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    server.run(settings.load(), HubAccess(offline=True), MortalStore)

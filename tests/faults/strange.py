"""``python -m tests.faults.strange KIND``: a supervisor whose workers are not as ours.

``first`` has workers that know what those of the first supervisor knew: reports of fewer fields, no
orders but to end, and nobody to whom they give their socket. Those of ``foreign`` report in words that
this version does not read. The model of a ``deadlocked`` one waits for ever once it was given the text
:data:`DEADLOCK`. A ``shifted`` supervisor has workers like any other, and a clock that is set
(:func:`set_clock`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette

from modeldeploy import handover, settings
from modeldeploy.engines.local import LocalEngine
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.supervisor import server
from modeldeploy.worker import boot
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.http import insider
from modeldeploy.worker.tasks import echo
from modeldeploy.worker.tasks.echo import Echo
from tests.e2e.instance import Instance, eventually
from tests.faults.mortal import ROOT

_LATER_FIELDS = {"busy_seconds", "keys", "threads", "runs"}
_LATER_ROUTES = {"/threads", "/keys"}


def _first(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in _LATER_FIELDS}


def _foreign(report: dict[str, Any]) -> dict[str, Any]:
    return {"protocol": 9, "identity": {"replica": report["replica"], "pid": report["pid"]}}


SHAPES = {"first": _first, "foreign": _foreign}
DEADLOCK = "wait for me"


class Deadlocked(Echo):
    def core(self, items: list[Item]) -> list[Any]:
        if any(item.data[0] == DEADLOCK for item in items):
            threading.Event().wait()
        return super().core(items)


def work(kind: str, spec_file: str) -> int:
    """Serve as a worker of that kind."""
    if shape := SHAPES.get(kind):
        insider._encode = lambda report: msgspec.json.encode(shape(msgspec.to_builtins(report)))
    if kind == "deadlocked":
        setattr(echo, "Echo", Deadlocked)  # noqa: B010 - a class is no variable
    if kind == "first":
        handover.offer = lambda *arguments: None
        _leave_out(_LATER_ROUTES)
    return boot.main(["", spec_file])


def _leave_out(paths: set[str]) -> None:
    def smaller(*arguments: Any) -> Starlette:
        app = insider.insider_app(*arguments)
        app.router.routes = [one for one in app.routes if getattr(one, "path", "") not in paths]
        return app

    setattr(boot, "insider_app", smaller)  # noqa: B010 - it is imported there, not exported


def set_clock(home: Path, seconds: float) -> None:
    """Have a ``shifted`` supervisor's wall clock show so much more than others'."""
    (home / "clock").write_text(str(seconds))


def _shift_clock(home: Path) -> None:
    real = time.time

    def shown() -> float:
        with contextlib.suppress(OSError, ValueError):  # it is not set, or just now
            return real() + float((home / "clock").read_text())
        return real()

    setattr(time, "time", shown)  # noqa: B010 - it is no variable of ours


@contextlib.contextmanager
def supervised(instance: Instance, kind: str) -> Iterator[None]:
    """Its home, by such a supervisor, until the test ends that."""
    environment = {**instance.env, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.faults.strange", kind]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True
    ) as supervisor:
        try:
            eventually(lambda: instance.is_supervised)
            yield
        finally:
            supervisor.kill()


def main(kind: str, *worker: str) -> int:
    if worker:
        return work(kind, *worker)
    LocalEngine.command = (sys.executable, "-m", "tests.faults.strange", kind)
    values = settings.load()
    if kind == "shifted":
        assert values.home
        _shift_clock(Path(values.home))
    server.run(values, HubAccess(offline=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

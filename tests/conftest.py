"""Read before torch and ONNX Runtime are: threads that wait for work must not spin, or two processes on two cores
slow each other down many times over."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from modeldeploy.paths import Paths

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would leave files in the home
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what tests start must hear Ctrl-C
if "PYTEST_XDIST_WORKER" in os.environ:  # others compute beside this one
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_sockets_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Homes in pytest's folders may be too deep for sockets, which then have a place of their own:
    a supervisor removes it, and where a test had none, this does."""
    made: list[Paths] = []
    make = Paths.make

    def remembered(where: Paths) -> Paths:
        made.append(where)
        return make(where)

    monkeypatch.setattr(Paths, "make", remembered)
    yield
    for where in made:
        if where.sockets != where.run:
            with contextlib.suppress(FileNotFoundError):
                where.sockets.rmdir()  # that it is empty is part of the test

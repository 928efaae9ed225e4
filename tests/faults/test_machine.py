"""Any interleaving of commands, deaths and hangs against a real supervisor: each name is what was
last said of it, on the port that it had, and a bystander answers everything.

``MACHINE_EXAMPLES`` and ``MACHINE_STEPS`` make it longer, and then random.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modeldeploy.errors import Conflict, DeploymentNotFound, NameTaken
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import Desired, State
from tests.e2e.instance import Instance, eventually, post
from tests.faults.load import Load

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "3"))
STEPS = int(os.environ.get("MACHINE_STEPS", "14"))
NAMES = st.sampled_from(["a", "b", "c"])
BYSTANDER = "bystander"
HEARTBEAT, DRAIN = 2, 4  # seconds
TRIES = 3  # starts that may fail one after another


class Fleet(RuleBasedStateMachine):
    """One supervisor as hasty users and a hostile machine treat it. Commands return at once, so
    that the next step finds deployments on the way from anywhere to anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[str, Desired] = {}
        self.ports: dict[str, int | None] = {}
        self.harm: Counter[str] = Counter()
        self.load: Load | None = None
        self._stack = contextlib.ExitStack()

    @initialize()
    def begin(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="md-")))
        self.model = folder / "echo"
        self.model.mkdir()
        (self.model / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
        self.instance = Instance(
            folder / "home",
            ports=5,
            MODELDEPLOY_HEARTBEAT_TIMEOUT=str(HEARTBEAT),
            MODELDEPLOY_DRAIN_TIMEOUT=str(DRAIN),
        )
        self._stack.callback(self.instance.close)
        self.instance.run("daemon", "start")
        self.client = self.instance.client
        self.instance.ask_for(str(self.model), BYSTANDER)
        url = str(self.client.wait(BYSTANDER, timeout=60).url)
        self.load = self._stack.enter_context(Load(url, clients=1, pause=0.02))

    # Commands.

    @rule(name=NAMES)
    def deploy(self, name: str) -> None:
        try:
            self.instance.ask_for(str(self.model), name)
        except NameTaken:
            assert name in self.wanted, "nobody has that name"
            return
        assert self.wanted.get(name) in {None, Desired.REMOVED}, "there were two of that name"
        self.wanted[name], self.harm[name] = Desired.RUNNING, 0
        self.ports[name] = self.client.deployment(name).port

    @rule(name=NAMES, command=st.sampled_from(["start", "restart", "stop", "remove"]))
    def command(self, name: str, command: str) -> None:
        try:
            getattr(self.client, command)(name)
        except DeploymentNotFound:
            assert self.wanted.pop(name, Desired.REMOVED) is Desired.REMOVED, "it was lost"
            return
        except Conflict:
            assert self.wanted[name] is Desired.REMOVED, "it was refused"
            return
        assert self.wanted.get(name) is not Desired.REMOVED or command == "remove"
        self.wanted[name] = {
            "stop": Desired.STOPPED,
            "remove": Desired.REMOVED,
        }.get(command, Desired.RUNNING)

    @rule(name=NAMES)
    def ask(self, name: str) -> None:
        """Whatever becomes of it, nobody else answers."""
        port = self.ports.get(name)
        owner = [one for one in self.client.deployments() if one.port == port]
        if port and owner and owner[0].name == name:
            self._answers(name, port)

    def _answers(self, name: str, port: int) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = post(f"http://127.0.0.1:{port}/predict", {"text": name}, timeout=30)
            assert status in {200, 503}, answer
            assert status != 200 or answer["deployment_id"] == name, "a stranger answered"
            return status == 200
        return False

    # Harm.

    @rule(name=NAMES, number=st.sampled_from([signal.SIGKILL, signal.SIGSTOP]))
    def harm_a_worker(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(DeploymentNotFound, psutil.Error):
            found = self.client.deployment(name)
            if found.replicas and (number is signal.SIGKILL or found.state is State.RUNNING):
                psutil.Process(found.replicas[0].pid).send_signal(number)
                self.harm[name] += 1

    @rule(starters=st.integers(1, 3), pause=st.sampled_from([0.0, 0.3]), name=NAMES | st.none())
    def kill_the_supervisor(self, starters: int, pause: float, name: str | None) -> None:
        pid = self.instance.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        if name:
            for worker in self.instance.workers():
                self._kill_if_of(name, worker)
        time.sleep(pause)
        racers = [self.instance.start("daemon", "start") for _ in range(starters)]
        for racer in racers:
            said = racer.communicate(timeout=60)
            assert racer.returncode == 0, said

    def _kill_if_of(self, name: str, worker: psutil.Process) -> None:
        orders = Path(worker.info["cmdline"][-1])
        with contextlib.suppress(OSError, psutil.Error):
            if f'"deployment":"{name}"' in orders.read_text():
                worker.kill()
                self.harm[name] += 1

    @rule()
    def restart_the_daemon(self) -> None:
        self.instance.run("daemon", "restart")

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.5]))
    def time_passes(self, seconds: float) -> None:
        time.sleep(seconds)

    # What holds.

    @invariant()
    def what_is_told_is_what_was_said(self) -> None:
        if self.load is None:
            return  # it has not begun
        found = {one.name: one for one in self.client.deployments() if one.name != BYSTANDER}
        for name, wanted in list(self.wanted.items()):
            if wanted is Desired.REMOVED and name not in found:
                del self.wanted[name]
        assert {name: one.desired for name, one in found.items()} == self.wanted
        assert {name: one.port for name, one in found.items()} == {
            name: self.ports[name] for name in found
        }
        assert len({one.port for one in found.values()}) == len(found)

    @precondition(lambda self: self.wanted)
    @invariant()
    def one_supervisor_supervises(self) -> None:
        def is_one() -> bool:
            pids = [p.pid for p in self.instance.processes() if _is_supervisor(p)]
            return pids == [self.client.status().pid]

        eventually(is_one, 10)  # those that lost the race are on their way out

    def teardown(self) -> None:
        """Left alone, each becomes what it should be, and nothing else is there."""
        with self._stack:
            if self.load is None:
                return
            for name, wanted in self.wanted.items():
                eventually(partial(self._is_as_wanted, name, wanted), 60)
            self.load.goes_on()
            self.load.__exit__(None, None, None)
            self.load.assert_all_answered()
            self._check_what_is_left()

    def _is_as_wanted(self, name: str, wanted: Desired) -> bool:
        try:
            found = self.client.deployment(name)
        except DeploymentNotFound:
            return wanted is Desired.REMOVED
        port = self.ports[name]
        assert found.port == port, "it has moved"
        if wanted is Desired.STOPPED:
            return found.state is State.STOPPED and _is_refused(port or 0)
        if wanted is Desired.RUNNING:
            self._start_the_worn_out(found)
            return found.state is State.RUNNING and self._answers(name, port or 0)
        return False

    def _start_the_worn_out(self, found: Deployment) -> None:
        if found.state is State.FAILED:
            assert self.harm[found.name] >= TRIES, found.error
            assert found.error
            assert found.error.code == "worker_died"
            self.client.start(found.name)

    def _check_what_is_left(self) -> None:
        replicas = {r.id: r.pid for one in self.client.deployments() for r in one.replicas}
        running = [name for name, wanted in self.wanted.items() if wanted is Desired.RUNNING]
        assert len(replicas) == len(running) + 1
        assert {worker.pid for worker in self.instance.workers()} == set(replicas.values())
        files = (self.instance.home / "run").glob("worker-*")
        assert {file.stem.removeprefix("worker-") for file in files} == set(replicas)


def _is_supervisor(process: psutil.Process) -> bool:
    return "modeldeploy.supervisor" in process.info["cmdline"]


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


FAULT = "any interleaving of commands, deaths, hangs, requests and time, on a real supervisor"
TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="MACHINE_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.generate],  # to shrink, everything would be started a hundred times
    suppress_health_check=list(HealthCheck),
)
for mark in (
    pytest.mark.e2e,
    pytest.mark.slow,
    *(pytest.mark.promise(number, fault=FAULT) for number in (1, 2, 5, 6, 7, 8, 9)),
):
    TestFleet = mark(TestFleet)

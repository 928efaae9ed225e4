"""Random harm under constant load, and nothing may be lost or left behind (``make chaos``).

Workers and the supervisor are killed and stopped, the disk fills, the Hub fails, deployments come and
go, while others are asked without a pause. The same seed does the same harm in the same order (what
the machine does meanwhile is its own affair).

A request may break only on a worker that was killed or stopped here, and be refused only where its
deployment was stopped, or was without a worker for what was done here. Restarts, deaths of the
supervisor and full disks excuse nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.fakehub import FakeHub
from tests.faults.disk import SmallDisk, mounted
from tests.faults.load import Fate, Load

ECHO = {"config.json": b'{"model_type": "echo", "architectures": ["Echo"]}'}
NAMES = ("a", "b", "c")
HEARTBEAT, DRAIN = 2, 4  # seconds
_HUB_FAULTS = ({"status": 503}, {"raw": b""}, {"silent": True}, {"raw": b"\x00"}, {"lie": 7})
_SOON = 0.5  # seconds until what was done is noticed
_EVER = float("inf")


@dataclass
class Trouble:
    """What was done to ``name``, from ``since`` until it is well again; ``pid`` is the worker's that
    it had. Requests that began before ``breaks`` may break."""

    name: str
    pid: int
    since: float
    breaks: float
    until: float = _EVER

    def may_break(self, name: str, fate: Fate) -> bool:
        return self._overlaps(name, fate) and fate.began <= self.breaks

    def may_refuse(self, name: str, fate: Fate) -> bool:
        return self._overlaps(name, fate) and fate.status in {0, 503}

    def _overlaps(self, name: str, fate: Fate) -> bool:
        has_begun = fate.ended >= self.since - _SOON
        return name == self.name and has_begun and fate.began <= self.until + _SOON


class Chaos:
    """One run. ``harm`` says how often what was done, ``before`` and ``after`` how many files each
    process had open and how many bytes resident."""

    def __init__(self, instance: Instance, hub: FakeHub, disk: SmallDisk | None, seed: int) -> None:
        self.instance, self.hub, self.disk = instance, hub, disk
        self.dice = random.Random(seed)
        self.harm: Counter[str] = Counter()
        self.loads: dict[str, Load] = {}
        self._troubles: list[Trouble] = []
        self._extras = 0
        self.before: dict[str, tuple[int, int]] = {}
        self.after: dict[str, tuple[int, int]] = {}

    # What is done.

    def _worker(self, name: str) -> psutil.Process | None:
        with contextlib.suppress(ModelDeployError, psutil.Error):
            replicas = self.instance.client.deployment(name).replicas
            return psutil.Process(replicas[0].pid) if replicas else None
        return None

    def _trouble(self, name: str, pid: int, breaks: float) -> None:
        """``breaks``: for how many seconds more requests come that may break."""
        now = time.monotonic()
        self._troubles.append(Trouble(name, pid, now, now + breaks))

    def _signal_worker(self, number: signal.Signals, breaks: float) -> None:
        name = self.dice.choice(NAMES)
        worker = self._worker(name)
        if worker:
            self._trouble(name, worker.pid, breaks)
            with contextlib.suppress(psutil.Error):
                worker.send_signal(number)

    def _see_who_is_well(self) -> None:
        for trouble in self._troubles:
            if trouble.until == _EVER:
                worker = self._worker(trouble.name)
                if worker and worker.pid != trouble.pid and self._is_well(trouble.name):
                    trouble.until = time.monotonic()

    def kill_a_worker(self) -> None:
        """Those that it has may break; those that come wait for the next one."""
        self._signal_worker(signal.SIGKILL, _SOON)

    def stop_a_worker(self) -> None:
        """Those that it has break when it is found and killed; if a command ends the deployment
        before that, those in its queue too."""
        self._signal_worker(signal.SIGSTOP, _EVER)

    def kill_the_supervisor(self) -> None:
        """Where a worker is just being replaced nobody else has the queue of those who wait."""
        for name in NAMES:
            if not self._is_well(name):
                self._trouble(name, 0, _EVER)
        os.kill(self.instance.daemon_pid(), signal.SIGKILL)
        self._pause(0.3)
        self.instance.run("daemon", "start")

    def stop_the_supervisor_for_a_moment(self) -> None:
        pid = self.instance.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        self._pause(1.0)
        os.kill(pid, signal.SIGCONT)

    def restart_the_daemon(self) -> None:
        self.instance.run("daemon", "restart")

    def restart_one(self) -> None:
        self._command(self.instance.client.restart, self.dice.choice(NAMES))

    def stop_one_and_start_it(self) -> None:
        name = self.dice.choice(NAMES)
        worker = self._worker(name)
        self._trouble(name, worker.pid if worker else 0, 0.0)
        self._command(self.instance.client.stop, name)
        self._pause(1.0)
        self._command(self.instance.client.start, name)

    def deploy_another_and_remove_it(self) -> None:
        self._deploy_another("org/nothing" if self.dice.random() < 0.2 else "org/echo")

    def deploy_from_a_failing_hub(self) -> None:
        self.hub.fault("*", **self.dice.choice(_HUB_FAULTS))
        self._deploy_another("org/echo")
        self.hub.heal()

    def fill_the_disk(self) -> None:
        if self.disk:
            self.disk.fill()
            self._pause(1.5)
            if self.dice.random() < 0.5:
                self.kill_a_worker()
            self._deploy_another("org/echo")
            self.disk.free()

    def _deploy_another(self, model: str) -> None:
        self._extras += 1
        name = f"extra-{self._extras}"
        with contextlib.suppress(ModelDeployError):
            self.instance.ask_for(model, name, endpoint=self.hub.endpoint)
        self._pause(1.0)
        self._command(self.instance.client.remove, name)

    def _command(self, command: Callable[[str], object], name: str) -> None:
        """It may be refused: the disk is full, or there is none of that name."""
        with contextlib.suppress(ModelDeployError):
            command(name)

    def _pause(self, longest: float) -> None:
        time.sleep(self.dice.uniform(0, longest))

    # The run.

    def run(self, seconds: float) -> None:
        harms = [
            self.kill_a_worker,
            self.kill_a_worker,
            self.stop_a_worker,
            self.kill_the_supervisor,
            self.stop_the_supervisor_for_a_moment,
            self.restart_the_daemon,
            self.restart_one,
            self.stop_one_and_start_it,
            self.deploy_another_and_remove_it,
            self.deploy_from_a_failing_hub,
            self.fill_the_disk,
        ]
        self._begin()
        self.before = self._sizes()
        with contextlib.ExitStack() as loads:
            for name in NAMES:
                url = str(self.instance.client.deployment(name).url)
                self.loads[name] = loads.enter_context(Load(url, clients=2, pause=0.01))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                harm = self.dice.choice(harms)
                self.harm[harm.__name__] += 1
                harm()
                self._pause(0.5)
                self._start_the_worn_out()
                self._see_who_is_well()
            self._heal()
            self._see_who_is_well()
            for load in self.loads.values():
                load.goes_on()
        self._check()

    def _begin(self) -> None:
        self.instance.run("daemon", "start")
        for name in NAMES:
            self.instance.ask_for("org/echo", name, endpoint=self.hub.endpoint)
        for name in NAMES:
            self.instance.client.wait(name, timeout=60)

    def _start_the_worn_out(self) -> None:
        """Who was killed too often has failed, as it should."""
        for found in self._deployments():
            if found.name in NAMES and found.state is State.FAILED:
                assert found.error
                assert found.error.code == "worker_died", found.error
                self._command(self.instance.client.start, found.name)

    def _deployments(self) -> list[Deployment]:
        with contextlib.suppress(ModelDeployError):
            return self.instance.client.deployments()
        return []

    def _heal(self) -> None:
        self.hub.heal()
        self.instance.run("daemon", "start")
        client = self.instance.client
        for found in client.deployments():
            if found.name not in NAMES:
                client.remove(found.name)
                client.wait_gone(found.name)
        self._start_the_worn_out()
        for name in NAMES:
            client.start(name)
            eventually(partial(self._is_well, name))

    def _is_well(self, name: str) -> bool:
        """Running on a worker that answers (a stopped one may not have been found yet)."""
        try:
            found = self.instance.client.deployment(name)
        except ModelDeployError:
            return False
        worker = self._worker(name)
        is_alive = worker is not None and worker.status() != psutil.STATUS_STOPPED
        return found.state is State.RUNNING and is_alive

    # What holds at the end.

    def _sizes(self) -> dict[str, tuple[int, int]]:
        """Files open and bytes resident, of the supervisor and of each worker."""
        pids = {name: self.instance.client.deployment(name).replicas[0].pid for name in NAMES}
        pids["supervisor"] = self.instance.daemon_pid()
        found = {}
        for name, pid in pids.items():
            process = psutil.Process(pid)
            found[name] = (process.num_fds(), process.memory_info().rss)
        return found

    def _check(self) -> None:
        for name, load in self.loads.items():
            load.assert_accounted_for(
                partial(self._is_excused, Trouble.may_break, name),
                partial(self._is_excused, Trouble.may_refuse, name),
            )
        deployments = self.instance.client.deployments()
        assert sorted(found.name for found in deployments) == sorted(NAMES)
        pids = {replica.pid for found in deployments for replica in found.replicas}
        eventually(lambda: {worker.pid for worker in self.instance.workers()} == pids, 20)
        for found in deployments:
            assert post(f"{found.url}/predict", {"text": "x"})[0] == 200
        replicas = {replica.id for found in deployments for replica in found.replicas}
        files = [file.stem for file in (self.instance.home / "run").glob("worker-*")]
        assert {stem.removeprefix("worker-") for stem in files} == replicas
        assert not list(self.instance.home.parent.rglob("*.partial"))
        self._check_sizes()

    def _check_sizes(self) -> None:
        def are_as_before() -> bool:
            self.after = self._sizes()
            return all(
                self.after[name][0] <= files + 8 and self.after[name][1] <= 1.5 * memory + 2**25
                for name, (files, memory) in self.before.items()
            )

        eventually(are_as_before, 20)

    def _is_excused(
        self, excuses: Callable[[Trouble, str, Fate], bool], name: str, fate: Fate
    ) -> bool:
        return any(excuses(trouble, name, fate) for trouble in self._troubles)

    def requests(self) -> dict[str, dict[str, int]]:
        return {name: dict(load.kinds()) for name, load in self.loads.items()}

    def report(self) -> str:
        lines = [f"{count:6}  {what.replace('_', ' ')}" for what, count in self.harm.most_common()]
        lines += [f"requests to {name}: {kinds}" for name, kinds in self.requests().items()]
        return "\n".join(lines)


@contextlib.contextmanager
def chaos(seed: int) -> Iterator[Chaos]:
    """A home of its own (on a small disk where one can be mounted), which leaves nothing."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="md-")))
        disk = stack.enter_context(mounted(folder / "disk", "64m"))
        hub = stack.enter_context(FakeHub())
        hub.add("org/echo", ECHO)
        root = disk.root if disk else folder
        instance = Instance(
            root / "home",
            ports=12,
            MODELDEPLOY_HEARTBEAT_TIMEOUT=str(HEARTBEAT),
            MODELDEPLOY_DRAIN_TIMEOUT=str(DRAIN),
            MODELDEPLOY_LOG_MAX_BYTES="15000000",
        )
        instance.use_hub(hub.endpoint)
        one = Chaos(instance, hub, disk, seed)
        try:
            yield one
        finally:
            if disk:
                disk.free()
            instance.close()

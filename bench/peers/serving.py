"""A server that can be measured: ours, or a peer's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil

from bench.deployed import requests, settle
from bench.peers import asking
from bench.peers.asking import Ask
from bench.peers.catalog import Job, Peer
from bench.peers.process import Problem, Process
from tests.e2e.instance import Instance, free_ports

OURS = "modeldeploy"
OPTIMIZED = "modeldeploy --optimize"
READY_SECONDS = 90.0
_PORTS_EACH = 3
_TASKS = {
    "classification": "text-classification",
    "embeddings": "feature-extraction",
    "many": "feature-extraction",
    "image": "image-classification",
    "chat": "text-generation",
    "noop": "echo",
}


class Server(Protocol):
    """Started and stopped once a turn. ``start`` gives the seconds until the first good answer and
    raises ``Problem`` where none comes; ``memory`` is in MB."""

    port: int

    def start(self, first: Sequence[str]) -> float: ...

    def ask(self, inputs: Sequence[str]) -> Ask: ...

    def memory(self) -> float: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Ours:
    """One deployment of a supervisor of its own; between turns it is stopped, the supervisor stays,
    warm as it is for all but a user's first deployment."""

    def __init__(
        self, workload: str, snapshot: Path | None, folder: Path, options: Sequence[str]
    ) -> None:
        self._workload = workload
        self._noop = _noop_model(folder / "noop")
        self._model = snapshot or self._noop
        self._options = options
        self._instance = Instance(folder / "home", ports=2, MODELDEPLOY_WARM_START="true")
        self._warm = self._deployed = False
        self.port = 0

    def start(self, first: Sequence[str]) -> float:
        if not self._warm:
            self._instance.deploy(str(self._noop), "--name", "warm")
            self._instance.run("rm", "--force", "warm")
            self._warm = True
        begun = time.monotonic()
        if not self._deployed:
            task = _TASKS[self._workload]
            self._run("deploy", str(self._model), "--name", "m", "--task", task, *self._options)
            self._deployed = True
            port = int(self._instance.inspect("m")["port"])
            settle(port, requests(port, self._workload, [first]))
            self._run("stop", "m")
            begun = time.monotonic()
        self._run("start", "m")
        self.port = int(self._instance.inspect("m")["port"])
        return time.monotonic() - begun

    def _run(self, *arguments: str) -> None:
        done = self._instance.run(*arguments, ok=False)
        if done.returncode:
            raise Problem(done.stderr.strip().replace("\n", " / "))

    def ask(self, inputs: Sequence[str]) -> Ask:
        return asking.ours(self._workload, inputs)

    def memory(self) -> float:
        """Of the worker; the supervisor and the template serve all deployments."""
        pids = [one["pid"] for one in self._instance.inspect("m")["replicas"]]
        infos = [psutil.Process(pid).memory_full_info() for pid in pids]
        return float(sum(getattr(info, "pss", info.rss) for info in infos)) / 2**20

    def stop(self) -> None:
        if self._deployed:
            self._instance.run("stop", "m", ok=False)

    def close(self) -> None:
        self._instance.close()


class Theirs:
    """A peer's process, a fresh one each turn, with a folder that goes with it."""

    def __init__(self, peer: Peer, job: Job) -> None:
        self._peer = peer
        self._job = job
        self._process: Process | None = None
        self.port = job.port

    def start(self, first: Sequence[str]) -> float:
        self._job.folder.mkdir(parents=True, exist_ok=True)
        command = self._peer.command(self._job)
        environment = {**self._job.environment(), **self._peer.environment}
        self._process = Process(command, environment, self._job.folder)
        return self._process.wait_until_ready(self.port, self.ask(first), READY_SECONDS)

    def ask(self, inputs: Sequence[str]) -> Ask:
        return self._peer.ask(self._job.workload, inputs)

    def memory(self) -> float:
        return self._process.memory() if self._process else 0.0

    def stop(self) -> None:
        if self._process:
            self._process.stop()
            self._process = None

    def close(self) -> None:
        self.stop()


def free_port() -> int:
    """The first of a few neighbours that are all free."""
    return free_ports(_PORTS_EACH)[0]


def _noop_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    return folder

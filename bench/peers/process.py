"""A peer's processes: started, waited for, weighed, ended, whatever they made of themselves."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from bench.peers.asking import Ask

_MARK = "BENCH_RUN"
_ROOT = Path(__file__).resolve().parents[2]
_LAST_LINES = 4


class Problem(Exception):
    """A server that cannot be measured, and why."""


class Process:
    """One command and all that it starts: they carry a mark in their environment, so that none is
    missed that made a session of its own. What they write goes to ``folder``, and so do their
    temporary files and their home."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._log = folder / "log"
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("MODELDEPLOY", "HF_"))
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **inherited,
                    "PYTHONPATH": str(_ROOT),
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "HF_HUB_OFFLINE": "1",
                    "DO_NOT_TRACK": "1",
                    "ORT_DISABLE_TELEMETRY": "1",
                    **environment,
                    _MARK: self._mark,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, port: int, ask: Ask, seconds: float) -> float:
        """The seconds until it answered ``ask`` with 200. ``Problem`` where it does not."""
        begun = time.monotonic()
        said = "no answer"
        while time.monotonic() < begun + seconds:
            if self._process.poll() is not None:
                raise Problem(f"ended with {self._process.returncode}: {self.last_lines()}")
            try:
                said = _status(port, ask, begun + seconds - time.monotonic())
            except (OSError, http.client.HTTPException):
                said = "no answer"
            if said == "200":
                return time.monotonic() - begun
            time.sleep(0.1)
        raise Problem(f"not ready within {seconds:.0f} s ({said}): {self.last_lines()}")

    def last_lines(self) -> str:
        lines = [
            line for line in self._log.read_text(errors="replace").splitlines() if line.strip()
        ]
        return " / ".join(lines[-_LAST_LINES:])

    def memory(self) -> float:
        """Of all its processes, MB, what they share counted once (PSS; RSS where there is none)."""
        taken = 0
        for process in self._alive():
            try:
                full = process.memory_full_info()
            except psutil.Error:
                continue
            taken += getattr(full, "pss", full.rss)
        return taken / 2**20

    def stop(self, seconds: float = 10.0) -> None:
        """Asked first, then not asked. Nothing of it is left afterwards."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        psutil.wait_procs(self._alive(), timeout=seconds)
        while left := self._alive():
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=5)
        self._process.wait()

    def _alive(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["environ", "status"])
            if (process.info["environ"] or {}).get(_MARK) == self._mark
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]


def _status(port: int, ask: Ask, seconds: float) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=max(0.1, seconds))
    try:
        connection.request("POST", ask.path, ask.body, {"content-type": ask.content_type})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    finally:
        connection.close()

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.live import LiveWorker, eventually, live_worker

_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [A-Z]+ [\w.]+: ")


def _fill(worker: LiveWorker, rotated: Path) -> None:
    """More than the cap, a line for each request; until it has been rotated."""
    before = _inode(rotated)
    for _ in range(60):
        assert worker.predict(text="x").status == 200
    eventually(lambda: _inode(rotated) != before)


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


@pytest.mark.promise(11, fault="more lines than the cap")
def test_a_log_rotates_and_is_capped(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, log_max_bytes=4000, log_files=2) as worker:
        worker.until("ready")
        for _ in range(4):
            _fill(worker, tmp_path / "w.log.1")
        eventually(lambda: Path(worker.spec.log_file).stat().st_size < 4000)
        files = sorted(path.name for path in tmp_path.glob("w.log*"))
        assert files == ["w.log", "w.log.1", "w.log.2"]
        assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in files)
        for name in files:
            assert all(_LINE.match(line) for line in (tmp_path / name).read_text().splitlines())
        worker.predict(text="y")
        eventually(lambda: "POST /predict 200" in worker.log())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_stops_logs_and_nothing_else() -> None:
    story = (
        "import logging, os, sys, warnings\n"
        "from modeldeploy.worker import logs\n"
        "logs.set_up()\n"
        "full = os.open('/dev/full', os.O_WRONLY)\n"
        "kept = os.dup(1)\n"
        "os.dup2(full, 1); os.dup2(full, 2)\n"
        "logging.getLogger('x').error('lost')\n"
        "print('lost too'); sys.stderr.flush()\n"
        "os.write(kept, b'alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, check=True)
    assert done.stdout == b"alive"

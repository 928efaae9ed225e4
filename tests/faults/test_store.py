"""The state, while its writer is killed, and after its file was damaged."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modeldeploy.supervisor.store import Store
from tests.e2e.instance import Instance
from tests.faults.killed_store import record
from tests.faults.mortal import ROOT


@pytest.mark.promise(10, fault="its writer is killed at any instruction, a hundred times")
def test_kills_leave_the_old_or_the_new(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.killed_store", str(tmp_path), "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100, "hardly anything was written"


@pytest.mark.promise(10, fault="a power cut tears the last write at any byte")
def test_a_torn_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db")
    store.save(record(1))
    wal = (tmp_path / "state.db-wal").stat().st_size
    store.save(record(2))
    images = {
        suffix: (tmp_path / f"state.db{suffix}").read_bytes() for suffix in ("", "-wal")
    }  # as the disk has it, before anything is tidied at the end
    store.close()
    dice = random.Random(0)
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "state.db").write_bytes(images[""])
        cut = dice.randrange(wal, len(images["-wal"]) + 1)
        noise = dice.randbytes(len(images["-wal"]) - cut) if number % 2 else b""
        (folder / "state.db-wal").write_bytes(images["-wal"][:cut] + noise)
        again = Store(folder / "state.db")
        assert again.set_aside is None
        assert again.records() in ([record(1)], [record(2)])
        again.close()
        shutil.rmtree(folder)


@pytest.mark.e2e
@pytest.mark.promise(10, fault="the state file is overwritten with noise while nobody supervises")
def test_damaged_state_is_set_aside_and_reported(instance: Instance, echo_model: str) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    instance.client.wait("e")
    instance.run("daemon", "stop")
    file = instance.home / "state" / "state.db"
    file.write_bytes(random.Random(0).randbytes(9000))
    instance.run("daemon", "start")
    assert instance.names() == []
    (kept,) = [p for p in file.parent.iterdir() if "damaged" in p.name]
    assert kept.read_bytes() == random.Random(0).randbytes(9000)
    assert str(kept) in instance.run("daemon", "logs").stdout
    instance.ask_for(echo_model, "e")
    instance.client.wait("e")


@pytest.mark.e2e
@pytest.mark.promise(10, fault="the state file is of a newer version")
def test_newer_state_is_not_touched_and_said(instance: Instance) -> None:
    instance.run("daemon", "start")
    instance.run("daemon", "stop")
    file = instance.home / "state" / "state.db"
    content = bytearray(file.read_bytes())
    content[60:64] = (99).to_bytes(4, "big")  # user_version, in the file's header
    file.write_bytes(content)
    done = instance.run("ls", ok=False)
    assert done.returncode != 0
    assert "newer" in done.stdout + done.stderr
    assert file.read_bytes() == content

"""The state, while its writer is killed, and after its file was damaged."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from modeldeploy.errors import StateUnreadable
from modeldeploy.supervisor.record import Record
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
    file = tmp_path / "state.db"
    store = Store(file)
    store.save(record(2000))
    old, body = file.read_bytes(), store._db.execute("SELECT body FROM deployments").fetchone()[0]
    store._db.execute("PRAGMA cache_size=1")  # pages go to the file before the commit
    store._db.execute("BEGIN IMMEDIATE")
    store._write("UPDATE deployments SET body = ?", (b"x" * (len(body) + 9000),))
    journal, new = Path(f"{file}-journal").read_bytes(), file.read_bytes()
    assert journal, "nothing could be rolled back"
    assert new != old, "nothing was torn"
    store._db.execute("ROLLBACK")
    store.close()
    dice = random.Random(0)
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        if number % 2:  # in the journal, before any of the file is written
            cut = dice.randrange(len(journal))
            noise = dice.randbytes(len(journal) - cut) if number % 4 == 1 else b""
            images = {"": old, "-journal": journal[:cut] + noise}
        else:
            cut = dice.randrange(len(new))
            images = {"": new[:cut] + old[cut:], "-journal": journal}
        for suffix, image in images.items():
            (folder / f"state.db{suffix}").write_bytes(image)
        again = Store(folder / "state.db")
        assert again.set_aside is None
        assert again.records() == [record(2000)]
        again.close()
        shutil.rmtree(folder)


def three(file: Path) -> list[Record]:
    """Saved, each at least twice, and one more that was deleted."""
    store = Store(file)
    for number, name in enumerate(("a", "b", "gone", "c", "a", "b", "c")):
        store.save(replace(record(100 + number), name=name, created_at=float(ord(name[0]))))
    store.delete("gone")
    found = store.records()
    store.close()
    assert [one.name for one in found] == ["a", "b", "c"]
    return found


def found_again(file: Path) -> list[Record]:
    """And what was damaged is kept, and the file whole from now on."""
    store = Store(file)
    assert store.set_aside in store.kept
    found = store.records()
    store.close()
    again = Store(file)
    assert again.set_aside is None
    assert again.records() == found
    again.close()
    return found


def opened(file: Path) -> Store | None:
    """None for what is of a newer version, by what it says."""
    try:
        return Store(file)
    except StateUnreadable as error:
        if "newer" not in error.message:
            raise
        return None


@pytest.mark.promise(10, fault="any bit of the state file has changed")
def test_a_flipped_bit_loses_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    before = three(file)
    content, dice = file.read_bytes(), random.Random(0)
    found = 0
    for at in (*range(100), *(dice.randrange(100, len(content)) for _ in range(200))):
        harmed = bytearray(content)
        harmed[at] ^= 1 << dice.randrange(8)
        file.write_bytes(harmed)
        store = opened(file)
        if store is None:
            assert 60 <= at < 64, "only the number of the format may be taken for a newer one"
            assert file.read_bytes() == harmed
            continue
        assert store.records() == before, at
        found += store.set_aside is not None
        store.close()
    assert found > 50, "bits that mean something were hardly hit"


HARMS: dict[str, Callable[[Path], object]] = {
    "emptied": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
    "noise": lambda file: file.write_bytes(random.Random(0).randbytes(30_000)),
    "half": lambda file: file.write_bytes(file.read_bytes()[:6000]),
    "a directory": lambda file: replace_by_directory(file),
    "another's": lambda file: sql(file, "DROP TABLE deployments; CREATE TABLE deployments (x)"),
    "no table": lambda file: sql(file, "DROP TABLE deployments"),
    "no records": lambda file: sql(file, "DELETE FROM deployments"),
    "a record less": lambda file: sql(file, "DELETE FROM deployments WHERE name = 'b'"),
    "no name": lambda file: sql(
        file, "UPDATE deployments SET name = CAST(x'ff' AS TEXT) WHERE name = 'b'"
    ),
    "format 0": lambda file: sql(file, "PRAGMA user_version=0"),
    "format 1": lambda file: sql(file, "PRAGMA user_version=1"),
    "format -1": lambda file: sql(file, "PRAGMA user_version=-1"),
    "no JSON": lambda file: sql(file, "UPDATE deployments SET body = x'7b' WHERE name = 'b'"),
    "other value": lambda file: sql(
        file,
        "UPDATE deployments SET body = "
        "CAST(replace(CAST(body AS TEXT), '\"restarts\":0', '\"restarts\":1') AS BLOB)",
    ),
}


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def sql(file: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.executescript(script)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.promise(10, fault="the state file is emptied, cut, gone, noise, another's, or changed")
def test_what_was_lost_or_changed_comes_back_of_its_copy(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "state.db"
    before = three(file)
    HARMS[harm](file)
    if harm == "gone":
        store = Store(file)
        assert store.records() == before
        store.close()
    else:
        assert found_again(file) == before


@pytest.mark.parametrize("harm", ["no name", "no JSON", "format 0", "other value"])
@pytest.mark.promise(10, fault="a record has changed, and there are no copies")
def test_without_copies_only_the_harmed_record_is_lost(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "state.db"
    before = three(file)
    shutil.rmtree(tmp_path / "state.db.copies")
    HARMS[harm](file)
    whole = {"no JSON": ["a", "c"], "other value": []}.get(harm, ["a", "b", "c"])
    assert found_again(file) == [one for one in before if one.name in whole]


@pytest.mark.promise(10, fault="the copies of records are changed, cut, or gone")
def test_harm_to_the_copies_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    before = three(file)
    copies = sorted((tmp_path / "state.db.copies").iterdir())
    whole = [copy.read_bytes() for copy in copies]
    copies[0].write_bytes(whole[0].replace(b'"restarts":0', b'"restarts":7'))
    copies[1].write_bytes(whole[1][:50])
    copies[2].unlink()
    store = Store(file)
    assert store.set_aside is None
    assert store.records() == before
    store.close()
    assert [copy.read_bytes() for copy in copies] == whole


@pytest.mark.parametrize("harm", ["noise", "emptied", "gone", "a directory"])
@pytest.mark.promise(10, fault="the state file becomes noise, or is gone, while it is in use")
def test_the_next_save_mends_what_was_harmed_in_use(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "state.db"
    three(file)
    store = Store(file)
    HARMS[harm](file)
    store.save(replace(record(7), name="d", created_at=200.0))
    assert [one.name for one in store.records()] == ["a", "b", "c", "d"]
    assert len(store.kept) == (harm != "gone")
    store.close()


@pytest.mark.e2e
@pytest.mark.promise(10, fault="the state file is noise after its supervisor was killed")
@pytest.mark.promise(1, fault="the supervisor is killed and its state is overwritten")
def test_state_that_was_damaged_is_set_aside_said_and_its_workers_go_on(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    pid = instance.client.wait("e").replicas[0].pid
    file = instance.home / "state" / "state.db"
    noise = random.Random(0).randbytes(9000)
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    file.write_bytes(noise)
    shown = instance.run("ls")
    (kept,) = [p for p in file.parent.iterdir() if "damaged" in p.name]
    assert kept.read_bytes() == noise
    assert "RUNNING" in shown.stdout
    assert str(kept) in shown.stderr
    assert str(kept) in instance.run("daemon", "status").stdout
    assert str(kept) in instance.run("daemon", "logs").stdout
    assert instance.client.deployment("e").replicas[0].pid == pid
    kept.unlink()
    assert "damaged" not in instance.run("daemon", "status").stdout


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

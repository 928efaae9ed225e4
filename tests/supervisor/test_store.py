from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from modeldeploy.errors import StateUnreadable
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.copies import seal
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.store import StateNotWritten, Store


def record(name: str, created_at: float = 1.0) -> Record:
    return Record(
        name=name,
        spec=Spec(model_id="gpt2", cache_dir="/c"),
        desired=Desired.RUNNING,
        state=State.PENDING,
        created_at=created_at,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_records_come_back_oldest_first_and_updated(file: Path) -> None:
    store = Store(file)
    store.save(record("b", 2.0))
    store.save(record("a", 3.0))
    store.save(replace(record("b", 2.0), port=8101))
    store.close()
    again = Store(file)
    assert [(r.name, r.port) for r in again.records()] == [("b", 8101), ("a", None)]
    again.delete("b")
    assert [r.name for r in again.records()] == ["a"]
    again.close()


def test_files_are_private_whatever_the_umask(file: Path) -> None:
    before = os.umask(0)
    store = Store(file)
    store.save(record("a"))
    os.umask(before)
    for path in file.parent.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    store.close()


@pytest.mark.promise(10, fault="the state file is damaged")
def test_a_damaged_file_is_set_aside_never_overwritten(file: Path) -> None:
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    store = Store(file)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes().endswith(b"\xff" * 100)
    assert store.records() == []
    store.close()


@pytest.mark.promise(10, fault="the state file is of a newer version")
def test_a_newer_format_is_left_as_it_is(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = file.read_bytes()
    with pytest.raises(StateUnreadable, match="newer"):
        Store(file)
    assert file.read_bytes() == before


@pytest.mark.promise(10, fault="the state file is gone, and its copies are of a newer version")
def test_copies_of_a_newer_format_are_left_as_they_are(file: Path) -> None:
    body = b'{"name":"a"}'
    copy = Path(f"{file}.copies") / "a.record"
    copy.parent.mkdir()
    copy.write_bytes(f"99 1 {seal(body, 99, 1)}\n".encode() + body)
    before = copy.read_bytes()
    with pytest.raises(StateUnreadable, match="newer"):
        Store(file)
    assert copy.read_bytes() == before
    assert not file.exists()


@pytest.mark.promise(10, fault="the directory of the copies is taken by something else")
def test_a_record_is_saved_where_it_cannot_be_copied(file: Path) -> None:
    store = Store(file)
    Path(f"{file}.copies").write_text("no directory")
    store.save(record("a"))
    assert [r.name for r in store.records()] == ["a"]
    store.close()


@pytest.mark.promise(10, fault="the state file may not grow")
def test_a_write_that_fails_changes_nothing_and_says_so(file: Path) -> None:
    store = Store(file)
    store.save(record("a"))
    store._db.execute("PRAGMA max_page_count=1")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    big = replace(record("b"), spec=Spec(model_id="x" * 4000, cache_dir="/" + "y" * 200_000))
    with pytest.raises(StateNotWritten, match="full"):
        store.save(big)
    assert [r.name for r in store.records()] == ["a"]
    store.close()


@pytest.mark.parametrize("beside", [".copies/x.record", "-journal", "-wal", ".new", ".new-journal"])
@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
@pytest.mark.promise(10, fault="directories and pipes lie where the state's own files belong")
def test_what_is_no_file_blocks_no_start(
    file: Path, beside: str, put: Callable[[Path], None]
) -> None:
    store = Store(file)
    store.save(record("a"))
    store.close()
    place = Path(f"{file}{beside}")
    place.unlink(missing_ok=True)
    put(place)
    file.unlink()  # it is made of its copies
    store = Store(file)
    store.save(record("x"))
    store.delete("a")
    store.delete("x")
    assert store.records() == []
    store.close()


@pytest.mark.promise(10, fault="another program reads the state file for as long as it likes")
def test_who_reads_the_file_holds_nobody_up_for_long(file: Path) -> None:
    store = Store(file)
    store.save(record("a"))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM deployments").fetchall()
        (milliseconds,) = store._db.execute("PRAGMA busy_timeout").fetchone()
        assert milliseconds < 1000, "all commands wait meanwhile"
        with pytest.raises(StateNotWritten, match="locked"):
            store.save(record("b"))
        assert [one.name for one in store.records()] == ["a"]
    store.save(record("b"))
    assert [one.name for one in store.records()] == ["a", "b"]
    store.close()

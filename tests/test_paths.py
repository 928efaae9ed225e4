from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeploy import paths
from modeldeploy.errors import InvalidName, UsageError


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.promise(24, fault="umask 0")
def test_directories_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    where = paths.locate(str(tmp_path / "home")).make()
    assert where.home is not None
    for path in (where.home, where.state, where.run, where.logs, where.config, where.sockets):
        assert mode(path) == 0o700
    os.close(paths.private_open(where.supervisor_log, os.O_WRONLY | os.O_CREAT))
    assert mode(where.supervisor_log) == 0o600


def test_what_was_open_before_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "run").mkdir(mode=0o777)
    paths.locate(str(tmp_path / "home")).make()
    assert mode(tmp_path / "home") == 0o755, "what the user made may hold other things"
    assert mode(tmp_path / "home" / "run") == 0o700


def test_a_home_too_deep_for_a_socket_has_a_short_directory_of_its_own(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "home"
    where = paths.locate(str(deep)).make()
    try:
        assert where.sockets != where.run
        assert where.sockets == paths.locate(str(deep)).sockets
        assert where.sockets != paths.locate(str(deep) + "2").sockets
        assert mode(where.sockets) == 0o700
        longest = where.worker_socket("0123456789ab")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(longest))
        longest.unlink()
    finally:
        where.sockets.rmdir()


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.locate("here").home == tmp_path / "here"


def test_without_a_home_the_platforms_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert paths.locate(None).home is None
    assert "modeldeploy" in paths.locate(None).state.parts


@pytest.mark.parametrize("name", ["a", "gpt2", "a-b", "a" * 63, "0"])
def test_good_names(name: str) -> None:
    assert paths.check_name(name) == name
    assert paths.locate("/h").deployment_log(name).parent == Path("/h/logs/deployments")


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a.b", "../a", "a/b", "a" * 64, "a\n", "ä", "a b", "."]
)
@pytest.mark.promise(23, fault="names that would be paths")
def test_bad_names_never_become_a_path(name: str) -> None:
    with pytest.raises(InvalidName):
        paths.locate("/h").deployment_log(name)


def test_every_shell_finds_the_same_sockets_and_a_link_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = paths.locate(str(tmp_path / ("d" * 120) / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert paths.locate(str(where.home)).sockets == where.sockets
    where.sockets.symlink_to(tmp_path)
    try:
        with pytest.raises(UsageError, match="is a link"):
            where.make()
    finally:
        where.sockets.unlink()


def test_a_pipe_where_a_file_belongs_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        paths.private_open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

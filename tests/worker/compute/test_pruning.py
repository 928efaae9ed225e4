"""Graphs that nobody will open again are removed, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modeldeploy.schema.graph import Form, GraphNote
from modeldeploy.worker.compute import graph_cache, pruning

DAY = 24 * 3600
FORM, TASK = Form("onnx"), "text-classification"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "graphs"


@pytest.fixture(name="snapshot")
def _snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "models--ours" / "snapshots" / "c0ffee"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def _made(root: Path, snapshot: Path, opened: float, form: Form = FORM) -> Path:
    """A graph that was last opened so many days ago, and that nobody has open."""
    place = graph_cache.place(root, [str(snapshot)], TASK, form)
    with graph_cache.being_made(place) as folder:
        assert folder is not None
        (folder / "graph.onnx").write_bytes(b"weights")
        pruning.write_origin(folder, [str(snapshot)], TASK, form)
        graph_cache.write_note(folder, GraphNote())
    assert graph_cache.find(place, form)
    graph_cache._release(place)
    _age(place / "used", opened)
    return place


def _age(file: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(file, (then, then))


@pytest.mark.parametrize(("opened", "is_there"), [(29, True), (31, False)])
def test_what_was_not_opened_for_a_month_goes(
    root: Path, snapshot: Path, opened: float, is_there: bool
) -> None:
    place = _made(root, snapshot, opened)
    (place / "origin.json").unlink()  # as earlier versions made them
    pruning.prune(root)
    assert place.exists() == is_there
    assert [one.name for one in root.iterdir() if one.is_dir()] == [place.name] * is_there


@pytest.mark.parametrize(("opened", "is_there"), [(0.5, True), (2, False)])
@pytest.mark.parametrize("change", ["versions", "files"])
def test_what_cannot_be_used_any_more_goes_after_a_day(
    root: Path,
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    opened: float,
    is_there: bool,
) -> None:
    place = _made(root, snapshot, opened)
    if change == "versions":
        monkeypatch.setattr(graph_cache, "_version", lambda package: "99")
    else:
        (snapshot / "config.json").write_text("{} ")
    pruning.prune(root)
    assert place.exists() == is_there


@pytest.mark.parametrize(("opened", "is_there"), [(0.5, True), (2, False)])
def test_a_graph_whose_model_is_gone_goes_after_a_day(
    root: Path, snapshot: Path, opened: float, is_there: bool
) -> None:
    place = _made(root, snapshot, opened)
    other = snapshot.with_name("other")
    other.mkdir()
    stays = _made(root, other, opened)
    snapshot.rename(snapshot.parent.parent / "elsewhere")
    pruning.prune(root)
    assert place.exists() == is_there
    assert stays.exists()


def test_a_cache_may_be_seen_from_elsewhere(root: Path, snapshot: Path, tmp_path: Path) -> None:
    place = _made(root, snapshot, 2)
    moved = tmp_path / "mounted"
    root.parent.rename(moved)
    pruning.prune(moved / root.name)
    assert (moved / root.name / place.name).exists()


def test_what_was_left_of_a_removal_goes(root: Path, snapshot: Path) -> None:
    _made(root, snapshot, 0)
    left = root / f"{'a' * 32}-123.partial"
    left.mkdir()
    (left / "weights.bin").touch()
    pruning.prune(root)
    assert not left.exists()


def test_what_a_process_has_open_stays_and_counts_as_opened(root: Path, snapshot: Path) -> None:
    place = _made(root, snapshot, 40)
    code = (
        "import sys; from pathlib import Path; from modeldeploy.schema.graph import Form;"
        "from modeldeploy.worker.compute import graph_cache;"
        "print(bool(graph_cache.find(Path(sys.argv[1]), Form('onnx'))), flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(place)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "True\n"
        _age(place / "used", 40)
        pruning.prune(root)
        assert (place / "graph.onnx").exists()
        assert time.time() - graph_cache.last_opened(place) < DAY
        worker.communicate()
    _age(place / "used", 40)
    pruning.prune(root)
    assert not place.exists()


def test_what_is_being_removed_is_not_found(
    root: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _made(root, snapshot, 40)
    found: list[object] = []
    monkeypatch.setattr(
        Path,
        "rename",
        lambda self, target: found.append(graph_cache.find(place, FORM)),
    )
    pruning.prune(root)
    assert found == [None]
    assert (place / "graph.onnx").exists(), "what was not put aside is whole"


def test_nothing_else_is_touched(root: Path, snapshot: Path, tmp_path: Path) -> None:
    _made(root, snapshot, 0)
    outside = _made(tmp_path / "outside", snapshot, 99)
    kept = [root / "lock", root / "notes.txt", root / f"{'a' * 32}.partial"]
    (root / f"{'a' * 32}.partial").mkdir()
    (root / "mine").mkdir()
    (root / ("b" * 32)).symlink_to(outside)
    kept += [root / "mine", root / ("b" * 32), outside / "graph.onnx"]
    (root / "notes.txt").touch()
    for one in kept:
        _age(one, 99)
    pruning.prune(root)
    assert all(one.exists() for one in kept)
    pruning.prune(root / "nowhere")


@pytest.mark.parametrize("kind", ["calls", "layers"])
def test_notes_go_when_nobody_reads_them(root: Path, snapshot: Path, kind: str) -> None:
    _made(root, snapshot, 0)
    read, unread = (root / f"{kind}-{letter * 32}.json" for letter in "ab")
    for one, days in ((read, 3), (unread, 31)):
        one.write_text("{}")
        _age(one, days)
    pruning.prune(root)
    assert read.exists()
    assert not unread.exists()

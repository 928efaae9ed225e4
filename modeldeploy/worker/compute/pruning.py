"""Graphs that nobody will open again are removed: each has the weights of its model once more.

One that a running process has open stays, whatever is known of it. Of what is not a graph's folder, or
notes on calls or layers, nothing is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from modeldeploy.schema.graph import Form
from modeldeploy.worker.compute import graph_cache

_GRAPH = re.compile(r"[0-9a-f]{32}")
_REMOVED = re.compile(r"[0-9a-f]{32}-\d+\.partial")  # by one that was ended at it
_NOTES = re.compile(r"(calls|layers)-[0-9a-f]{32}\.json(\.\d+)?")
_ORIGIN = "origin.json"
_DAY = 24 * 3600.0
# Seconds that it may go unopened: a graph that would be looked for; one of other versions, another CPU or
# of files that have changed or are gone, which another installation may share.
_UNUSED, _OUTDATED = 30 * _DAY, _DAY


class Origin(Struct, frozen=True):
    """What a graph was made of, seen from the folder of all graphs, and for."""

    snapshots: list[str]
    task: str
    form: Form


def write_origin(folder: Path, snapshots: list[str], task: str, form: Form) -> None:
    """Put into the graph's folder what it was made of and for."""
    seen = [os.path.relpath(one, folder.parent) for one in snapshots]
    (folder / _ORIGIN).write_bytes(msgspec.json.encode(Origin(seen, task, form)))


def prune(root: Path) -> None:
    """Remove what is not needed there. Called whenever a graph is made or looked for."""
    with contextlib.suppress(OSError):  # there is no such folder, or it may not be read
        for one in list(root.iterdir()):
            with contextlib.suppress(OSError):  # somebody else removes it too, or only he may
                _look_at(one)


def _look_at(one: Path) -> None:
    if one.is_symlink():
        return
    if _GRAPH.fullmatch(one.name) and one.is_dir():
        if time.time() - graph_cache.last_opened(one) > _patience(one):
            graph_cache.remove(one)
    elif _REMOVED.fullmatch(one.name):
        shutil.rmtree(one)
    elif _NOTES.fullmatch(one.name) and time.time() - one.stat().st_mtime > _UNUSED:
        one.unlink()


def _patience(folder: Path) -> float:
    try:
        origin = msgspec.json.decode((folder / _ORIGIN).read_bytes(), type=Origin)
    except (OSError, msgspec.DecodeError):  # of which ValidationError is one
        return _UNUSED
    snapshots = [str(folder.parent / one) for one in origin.snapshots]
    place = graph_cache.place(folder.parent, snapshots, origin.task, origin.form)
    return _UNUSED if place == folder else _OUTDATED

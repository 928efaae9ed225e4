"""Where graphs are kept: one folder for each model, task, form, CPU and set of versions.

A folder is there whole, with a note that says what is in it, or not at all. Where a model has no
graph the folder holds the note alone, so that nobody tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import msgspec

from modeldeploy import __version__
from modeldeploy.schema.graph import Form, GraphNote, Runtime, StoredGraph
from modeldeploy.worker import cpu

_NOTE = "graph.json"
_USED = "used"  # locked by whoever has the graph open; its time says when it was last opened
_held: dict[Path, int] = {}  # what this process has locked, until it ends
_MAKERS = ("torch", "transformers", "onnxscript")
_MADE = "2"  # another one makes graphs anew where what is made of a model has changed
_RUNTIMES: dict[Runtime, str] = {"onnx": "onnxruntime", "openvino": "openvino"}


def place(root: Path, snapshots: list[str], task: str, form: Form) -> Path:
    """The folder of the graph in that form of a model that is made of these snapshots."""
    runtime = _version(_RUNTIMES[form.runtime])
    return root / digest(snapshots, task, form.runtime, form.precision, runtime)


def digest(snapshots: list[str], *parts: str) -> str:
    """A name for what is known of a model that is made of these snapshots, with these versions and on
    this CPU."""
    made = hashlib.sha256()
    for part in (*parts, _MADE, __version__, *map(_version, _MAKERS), cpu.described()):
        made.update(f"{part}\0".encode())
    for snapshot in snapshots:
        for name, identity in _files(Path(snapshot)):
            made.update(f"{name}\0{identity}\0".encode())
    return made.hexdigest()[:32]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _files(snapshot: Path) -> Iterator[tuple[str, str]]:
    """What a model may be made of, its code and its folders included, but for what is hidden. In the
    Hub's cache a file is a link to one that is named by its content; elsewhere size and time stand for
    the content."""
    for folder, folders, names in os.walk(snapshot):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            with contextlib.suppress(FileNotFoundError):  # a link to nothing
                found = path.stat()
                identity = f"{path.resolve().name} {found.st_size} {found.st_mtime_ns}"
                yield str(path.relative_to(snapshot)), identity


def find(folder: Path, form: Form) -> StoredGraph | None:
    """The graph in the folder, made for that form, or what is known of there being none. It is not
    pruned while this process runs, where the cache has locks."""
    note = _note(folder)
    return StoredGraph(folder, note, form) if note and _hold(folder) else None


def _hold(folder: Path) -> bool:
    """Whether it is still there."""
    with contextlib.suppress(OSError):  # a cache that may only be read, or without locks
        fd = _opened(folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            raise
        _release(folder)
        _held[folder] = fd
        os.utime(fd)
    return (folder / _NOTE).exists()


def _opened(folder: Path) -> int:
    return os.open(folder / _USED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _release(folder: Path) -> None:
    if (fd := _held.pop(folder, None)) is not None:
        os.close(fd)


def last_opened(folder: Path) -> float:
    """When it was, in the system's time; or made, if it was not."""
    files = (folder / name for name in (_USED, _NOTE))
    return next((one for one in files if one.exists()), folder).stat().st_mtime


def remove(folder: Path) -> None:
    """Remove the graph, unless a process has it open: then it counts as opened now.

    Raises:
        OSError: it cannot be removed, or locked.
    """
    fd = _opened(folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        going = folder.with_name(f"{folder.name}-{os.getpid()}.partial")
        folder.rename(going)  # what is left of it is no graph
        shutil.rmtree(going, ignore_errors=True)
    except BlockingIOError:
        os.utime(fd)
    finally:
        os.close(fd)


def _note(folder: Path) -> GraphNote | None:
    try:
        return msgspec.json.decode((folder / _NOTE).read_bytes(), type=GraphNote)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def write_note(folder: Path, note: GraphNote) -> None:
    """Put the note there, whole."""
    unfinished = folder / f"{_NOTE}.{os.getpid()}"
    unfinished.write_bytes(msgspec.json.encode(note))
    unfinished.replace(folder / _NOTE)


def forget(folder: Path) -> None:
    """Whoever runs on the graph goes on; the next one makes it anew."""
    _release(folder)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def being_made(folder: Path) -> Iterator[Path | None]:
    """A folder to make the graph in, which is ``folder`` when the block ends well; None where
    another process has made it meanwhile. One graph is made at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder.parent / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if _note(folder):
            yield None
            return
        unfinished = folder.with_suffix(".partial")
        # Whoever was killed at it has left what was unfinished, of this model or of another.
        for left in (*folder.parent.glob("*.partial"), folder):
            shutil.rmtree(left, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        try:
            yield unfinished
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    finally:
        os.close(fd)

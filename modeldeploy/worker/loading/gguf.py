"""A GGUF file, made into a snapshot that loads like any other: once, kept in the cache.

A process of its own makes it (:mod:`modeldeploy.worker.loading.convert`), so that the memory it takes is
given back before the model is loaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from modeldeploy import extras
from modeldeploy.errors import ModelError, from_problem
from modeldeploy.schema.problem import Problem


def convert_once(file: Path, snapshot: Path) -> None:
    """Have ``snapshot`` hold what ``file`` holds, in Hub layout with safetensors.

    Raises:
        UnsupportedModel: a package is missing, or transformers does not know the architecture.
        ModelError: the file is damaged, or there is no room for the copy.
    """
    if snapshot.is_dir():
        return
    extras.require("gguf", "a GGUF file")
    try:
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        with _alone(snapshot):
            if not snapshot.is_dir():
                _convert(file, snapshot)
    except OSError as error:
        raise ModelError(
            f"the GGUF file cannot be converted into {snapshot.parent}: {error.strerror or error}",
            hint="choose another place with --cache-dir",
        ) from error


@contextlib.contextmanager
def _alone(snapshot: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when it ends, however it ends."""
    fd = os.open(snapshot.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _convert(file: Path, snapshot: Path) -> None:
    """Put it there whole, or not at all; what a conversion that died has left goes first."""
    unfinished = snapshot.with_suffix(".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _run(file, unfinished)
        unfinished.rename(snapshot)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _run(file: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modeldeploy.worker.loading.convert", str(file), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        problem = msgspec.json.decode(done.stdout, type=Problem)
    except msgspec.DecodeError:
        raise ModelError(
            f"the conversion of the GGUF file died (exit status {done.returncode})",
            hint="it may have run out of memory: see modeldeploy logs NAME",
        ) from None
    raise from_problem(problem)

"""A small disk of its own, to be filled."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs at ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self, spare: int = 0) -> None:
        """Leave ``spare`` bytes (in whole pages) to everybody else."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        if spare:
            with self._ballast.open("r+b") as file:
                file.truncate(max(0, self._ballast.stat().st_size - spare))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def mounted(root: Path, size: str) -> Iterator[SmallDisk | None]:
    """A disk of that size, or None where nothing may be mounted."""
    root.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(root)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:  # there is no such program
        done = subprocess.CompletedProcess(command, 1)
    if done.returncode:
        yield None
        return
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@contextlib.contextmanager
def small_disk(root: Path, size: str) -> Iterator[SmallDisk]:
    """Skips the test, with the reason, where nothing may be mounted."""
    with mounted(root, size) as disk:
        if disk is None:
            pytest.skip("no small disk can be mounted here: that needs root")
        yield disk

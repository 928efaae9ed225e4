"""One fetcher at a time per model and cache, across processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_POLL = 0.1
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def exclusive(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold ``file`` locked; ``on_wait`` is called once if another process has it.

    The kernel lets go when the process ends, however it ends. The file stays: removing it would
    let two processes lock two files of one name. A cache that cannot be written needs no lock.
    """
    fd = _open(file)
    if fd is None:
        yield
        return
    try:
        _acquire(fd, on_wait)
        yield
    finally:
        os.close(fd)


def _open(file: Path) -> int | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            return None
        raise


def _acquire(fd: int, on_wait: Callable[[], None]) -> None:
    waiting = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                on_wait()
            waiting = True
            time.sleep(_POLL)
        else:
            return

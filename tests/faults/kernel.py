"""What the kernel may do to processes, done to some of ours alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.instance import MODELDEPLOY, Instance, eventually

_GROUPS = Path("/sys/fs/cgroup")
_NO_GROUP = "no group with a memory limit can be made here: that needs root and its controller"


class MemoryGroup:
    """A control group: together its processes may take so much more memory than they have, or the
    kernel's OOM killer comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        has_two = (folder / "memory.max").exists()
        self._limit = folder / ("memory.max" if has_two else "memory.limit_in_bytes")

    def take(self, pid: int, limit: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))
        self._limit.write_text(str(limit))


def _parents() -> Iterator[Path]:
    """Ours in version 1 and in version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield _GROUPS / "memory" / path.lstrip("/")
        elif not controllers:
            yield _GROUPS / path.lstrip("/")


@contextlib.contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """Skips the test, with the reason, where there can be none."""
    for parent in _parents():
        folder = parent / f"modeldeploy-test-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            folder.mkdir()
        if not folder.is_dir():
            continue
        try:
            if any((folder / one).exists() for one in ("memory.max", "memory.limit_in_bytes")):
                yield MemoryGroup(folder)
                return
        finally:
            eventually(lambda: not (folder / "cgroup.procs").read_text(), 10)  # noqa: B023  # now
            folder.rmdir()
    pytest.skip(_NO_GROUP)


_INIT = """\
mount --bind "$0" /proc/sys/kernel/random/boot_id || exit 33
"$@" >&2 || exit
echo booted
exec sleep infinity
"""


@contextlib.contextmanager
def booted(instance: Instance) -> Iterator[None]:
    """A machine, as far as processes see: pids begin at 1, and it has a boot id of its own. The
    supervisor is started in it. Its end is that of all its processes at once, whatever they do: as
    when the power fails. Skips the test where there can be none."""
    boot_id = instance.home.parent / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _INIT]
    try:
        machine = subprocess.Popen(
            [*command, str(boot_id), *MODELDEPLOY, "daemon", "start"],
            env=instance.env,
            cwd=instance.home.parent,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    assert machine.stdout is not None
    with machine:
        try:
            if not machine.stdout.readline():
                pytest.skip("no pid namespace can be made here: that needs root")
            yield
        finally:
            ours = instance.processes()
            machine.kill()  # and with it its child, the namespace's first process; and with that all
            psutil.wait_procs(ours, timeout=10)

"""Where things live. ``MODELDEPLOY_HOME`` moves everything under one directory.

Directories are 0700 and files 0600 whatever the umask.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from modeldeploy.errors import InvalidName, UsageError
from modeldeploy.schema.deployment import NAME_PATTERN

SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes on Linux and 104 on macOS, the NUL included
_LONGEST_SOCKET_NAME = len("worker-") + 12 + len(".sock")
_NAME = re.compile(NAME_PATTERN)


def private_dir(path: Path) -> Path:
    """``path`` as a directory that only its owner may enter, made if it is missing.

    Raises:
        UsageError: it belongs to another user, or there cannot be a directory.
    """
    _own_dir(path)
    if stat.S_IMODE(path.stat().st_mode) != 0o700:
        path.chmod(0o700)
    return path


def _own_dir(path: Path) -> None:
    try:
        for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
            # Each by itself: what parents=True makes has other modes.
            missing.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(exist_ok=True)  # it says so if that is no directory
    except OSError as error:
        raise UsageError(
            f"{path} cannot be a directory: {error.strerror}",
            hint="point MODELDEPLOY_HOME at a directory of your own",
        ) from error
    if path.stat().st_uid != os.getuid():
        raise UsageError(
            f"{path} belongs to another user",
            hint="point MODELDEPLOY_HOME at a directory of your own",
        )


def _private_in_shared(path: Path) -> None:
    """The same where others may write too: what lies there must be a directory, and no link."""
    if path.is_symlink():
        raise UsageError(
            f"{path} is a link, and not ours", hint="remove it, or set a shorter MODELDEPLOY_HOME"
        )
    private_dir(path)


def private_open(path: str | Path, flags: int) -> int:
    """An opener for ``open`` and ``os.open`` that makes files 0600 whatever the umask. A pipe in a file's
    place is an OSError: nobody waits for its other end."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    if flags & os.O_CREAT:
        os.fchmod(fd, 0o600)
    return fd


@contextlib.contextmanager
def appending(log_file: str | Path) -> Iterator[int]:
    """A descriptor that writes at the log's end, for a process that is started meanwhile."""
    fd = private_open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


def sync(directory: Path) -> None:
    """Have what was renamed and removed in it outlast a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def expand(path: str) -> Path:
    """``path`` with its ``~`` replaced, absolute; links are not followed.

    Raises:
        UsageError: there is no such user.
    """
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolve() would follow links
    except RuntimeError as error:
        raise UsageError(f"{path!r}: {error}", hint="write the path in full") from error


def check_name(name: str) -> str:
    """``name``, if it is one a deployment may bear: the only way from a name to a path.

    Raises:
        InvalidName: otherwise.
    """
    if not _NAME.match(name):
        raise InvalidName(
            f"{name!r} is not a name: 1 to 63 of a-z, 0-9 and '-', no '-' at either end",
            hint="choose another with --name",
        )
    return name


@dataclass(frozen=True)
class Paths:
    """Every path of one instance. Reading an attribute touches nothing; ``make`` makes them."""

    home: Path | None
    state: Path
    run: Path
    logs: Path
    config: Path

    @property
    def database(self) -> Path:
        return self.state / "state.db"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisor.log"

    @property
    def gateway_log(self) -> Path:
        return self.logs / "gateway.log"

    @property
    def gateway_record(self) -> Path:
        """Which process the gateway is, for the next supervisor."""
        return self.run / "gateway.json"

    @property
    def gateway_handover(self) -> Path:
        """Where the gateway gives its listening socket to the next supervisor."""
        return self.sockets / "gateway.port"

    @property
    def api_token(self) -> Path:
        """What whoever uses the control API over TCP must know."""
        return self.state / "api-token"

    @property
    def ended_sessions(self) -> Path:
        """Of the dashboard: those that were signed out of."""
        return self.state / "ended-sessions"

    @property
    def dashboard_link(self) -> Path:
        """A page that leads to the dashboard's link: what a browser is told on its command line,
        everybody on the machine can read."""
        return self.run / "dashboard.html"

    def deployment_log(self, name: str) -> Path:
        return self.logs / "deployments" / f"{check_name(name)}.log"

    @property
    def sockets(self) -> Path:
        """The directory of the sockets: ``run``, or a short one of its own where that is too long
        for the OS (the same for the same ``run``, so that every client finds it)."""
        if len(os.fsencode(self.run)) + 1 + _LONGEST_SOCKET_NAME <= SOCKET_PATH_MAX:
            return self.run
        digest = hashlib.sha256(os.fsencode(self.run)).hexdigest()[:16]
        # Not TMPDIR: a shell, cron and systemd differ in it, and must find the same sockets.
        return Path("/tmp") / f"modeldeploy-{os.getuid()}-{digest}"  # noqa: S108 - checked in make

    @property
    def control_socket(self) -> Path:
        return self.sockets / "control.sock"

    def worker_socket(self, replica: str) -> Path:
        return self.sockets / f"worker-{replica}.sock"

    def worker_handover(self, replica: str) -> Path:
        """Where a worker gives its listening socket to the next supervisor."""
        return self.sockets / f"worker-{replica}.port"

    def worker_spec(self, replica: str) -> Path:
        return self.run / f"worker-{replica}.json"

    def make(self) -> Paths:
        if self.home:
            _own_dir(self.home)  # it may hold other things of the user: its modes are theirs
        else:
            private_dir(self.state.parent)
        for path in (self.state, self.run, self.logs, self.logs / "deployments", self.config):
            private_dir(path)
        if self.sockets != self.run:
            _private_in_shared(self.sockets)
        return self


def locate(home: str | None) -> Paths:
    """The paths under ``home`` (made absolute), or the platform's own."""
    if home:
        root = expand(home)
        return Paths(root, root / "state", root / "run", root / "logs", root / "config")
    dirs = platformdirs.PlatformDirs("modeldeploy", appauthor=False)
    state = Path(dirs.user_state_dir)
    return Paths(None, state / "state", state / "run", state / "logs", Path(dirs.user_config_dir))

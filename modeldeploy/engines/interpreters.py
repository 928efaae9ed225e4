"""Interpreters of deployments' own, looked at before anything of a deployment runs there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shlex
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

from modeldeploy import __version__, paths
from modeldeploy.errors import InterpreterUnfit, InvalidSetting

# Of what was asked for, not of a machine that is short of something.
CANNOT_RUN = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOENT", "ENOTDIR", "EACCES", "EPERM", "ENOEXEC", "EISDIR", "ELOOP", "ENAMETOOLONG"),
        *("ETXTBSY", "ELIBBAD"),
    )
    if hasattr(errno, name)
)
_HINT = "give --python an interpreter, or the folder of a virtual environment"
_LOOK_SECONDS = 60.0
# Writes our version, and what our installation says that it needs and is not there, a line each.
_LOOK = """
import importlib.util, sys
found = ["none"]
if importlib.util.find_spec("modeldeploy"):
    import modeldeploy
    from importlib import metadata
    found = [modeldeploy.__version__]
    try:
        needed = metadata.requires("modeldeploy") or []
    except metadata.PackageNotFoundError:
        needed = ["torch", "transformers"]
    if needed and not importlib.util.find_spec("packaging"):
        found.append("packaging")
    elif needed:
        from packaging.requirements import Requirement
        for one in map(Requirement, needed):
            if one.marker and not one.marker.evaluate({"extra": ""}):
                continue
            try:
                has = metadata.version(one.name)
            except metadata.PackageNotFoundError:
                found.append(str(one.name))
            else:
                if not one.specifier.contains(has, prereleases=True):
                    found.append("%s%s (it has %s)" % (one.name, one.specifier, has))
with open(sys.argv[1], "w") as file:
    file.write("\\n".join(found))
"""


def settled(python: str) -> str:
    """The interpreter's path, where that of a virtual environment is given, too.

    Raises:
        InvalidSetting: it is not absolute.
    """
    path = Path(python)
    if not path.is_absolute():
        raise InvalidSetting(
            f"--python: {python!r} is not absolute", hint="give the whole path of an interpreter"
        )
    is_folder = os.path.isdir(path)  # noqa: PTH112 - which raises nothing
    return str(path / "bin" / "python" if is_folder else path)


async def examine(python: str, environment: Mapping[str, str], log_file: str) -> None:
    """Whether workers of this version can run there. What it writes itself goes to the log.

    Raises:
        InterpreterUnfit: nothing runs there, it lacks a package, or has another version of us.
        OSError: no process could be started at all.
    """
    with tempfile.TemporaryDirectory(prefix="modeldeploy-") as folder:
        answer = Path(folder) / "found"
        process = await _started(python, str(answer), environment, log_file)
        try:
            await asyncio.wait_for(process.wait(), _LOOK_SECONDS)
        except asyncio.TimeoutError:
            raise InterpreterUnfit(
                f"{python} did not say within {_LOOK_SECONDS:g} s what it has installed", hint=_HINT
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        _judge(python, answer)


async def _started(
    python: str, answer: str, environment: Mapping[str, str], log_file: str
) -> Process:
    with paths.appending(log_file) as output:
        try:
            return await asyncio.create_subprocess_exec(
                *(python, "-c", _LOOK, answer),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=output,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            if error.errno not in CANNOT_RUN:
                raise
            why = f"{python} cannot be run: {error.strerror}"
            raise InterpreterUnfit(why, hint=_HINT) from error


def _judge(python: str, answer: Path) -> None:
    try:
        version, *lacking = answer.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        raise InterpreterUnfit(
            f"{python} does not say what it has installed", hint=f"{_HINT}; see its log"
        ) from None
    install = f"install modeldeploy {__version__} there ({shlex.quote(python)} -m pip install ...)"
    if version == "none":
        raise InterpreterUnfit(f"{python} lacks modeldeploy", hint=install)
    if version != __version__:
        raise InterpreterUnfit(
            f"{python} has modeldeploy {version}, and this is {__version__}", hint=install
        )
    if lacking:
        raise InterpreterUnfit(f"{python} lacks {', '.join(lacking)}", hint=install)

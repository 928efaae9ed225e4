"""Interpreters of deployments' own, looked at before anything of a deployment runs there."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path

from modeldeploy import __version__
from modeldeploy.errors import InterpreterUnfit, InvalidSetting

NOT_THERE = (FileNotFoundError, NotADirectoryError, PermissionError)
_NEEDED = ("modeldeploy", "torch", "transformers")
_LOOK = (
    "import sys, importlib.util as util\n"
    "missing = [name for name in sys.argv[1:] if util.find_spec(name) is None]\n"
    "if missing: print('without', *missing)\n"
    "else: import modeldeploy; print('has', modeldeploy.__version__)\n"
)
_LOOK_SECONDS = 60.0
_LINES = 8


def check(python: str | None) -> None:
    """
    Raises:
        InvalidSetting: it is no absolute path.
    """
    if python and not Path(python).is_absolute():
        raise InvalidSetting(
            f"--python: {python!r} is not absolute", hint="give the whole path of an interpreter"
        )


async def examine(python: str, environment: Mapping[str, str]) -> None:
    """Whether workers of this version can run there.

    Raises:
        InterpreterUnfit: nothing runs there, it lacks a package, or has another version of us.
        OSError: no process could be started at all.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(python, "-c", _LOOK, *_NEEDED),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=dict(environment),
        )
    except NOT_THERE as error:
        raise not_run(python, error) from error
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _LOOK_SECONDS)
    except asyncio.TimeoutError:
        said = f"nothing was heard of it for {_LOOK_SECONDS:g} s".encode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    _judge(python, said.decode(errors="replace"))


def _judge(python: str, said: str) -> None:
    lines = said.strip().splitlines()
    verdict, *words = lines[-1].split() if lines else [""]
    install = f"{python} -m pip install modeldeploy=={__version__}"
    if verdict == "without":
        raise InterpreterUnfit(f"{python} lacks {' and '.join(words)}", hint=install)
    if verdict != "has":
        raise InterpreterUnfit(
            f"{python} does not say what it has installed",
            hint="give --python an interpreter, or the folder of a virtual environment",
            details=tuple(lines[-_LINES:]),
        )
    if words != [__version__]:
        raise InterpreterUnfit(
            f"{python} has modeldeploy {' '.join(words)}, and this is {__version__}", hint=install
        )


def not_run(python: str, error: OSError) -> InterpreterUnfit:
    """Of one that is not there, or may not be run."""
    return InterpreterUnfit(
        f"{python} cannot be run: {error.strerror}",
        hint="give --python an interpreter, or the folder of a virtual environment",
    )

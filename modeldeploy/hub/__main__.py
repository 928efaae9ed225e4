"""``python -m modeldeploy.hub [--ahead]``: one request on standard input, answers on standard output.

The process lives as long as whoever asked: when its standard input ends, so does it, at once.
What it had received by then stays in ``*.partial`` files, and the next fetch goes on there.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import traceback
from typing import BinaryIO, NoReturn

import msgspec

from modeldeploy import paths
from modeldeploy.errors import DownloadTimeout, InvalidRequest, ModelDeployError
from modeldeploy.hub import environment
from modeldeploy.hub.fit import human
from modeldeploy.hub.limits import Limits, from_environ
from modeldeploy.hub.resolve import discard, resolve
from modeldeploy.hub.secrets import RedactingFormatter, Redactor
from modeldeploy.hub.wire import Reporter, Wire
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.schema.fetch import (
    AHEAD,
    FetchDiscarded,
    FetchDone,
    FetchEnding,
    FetchFailed,
    FetchRequest,
)
from modeldeploy.schema.problem import Problem

DONE, FAILED, ABANDONED = 0, 1, 3
_TRACEBACK_LINES = 8
_SET_PDEATHSIG = 1  # prctl(2)


def main(limits: Limits | None = None) -> NoReturn:
    """Answer the request on standard input and end: 0 after ``done``, 1 after ``failed``, 3 without
    a last word when nobody is there to hear it."""
    _die_with_whoever_asked()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # ends at once, whatever was inherited
    redact = Redactor()
    wire = Wire(_claim_stdout(), redact)
    _log_to_stderr(redact)
    if AHEAD in sys.argv[1:]:
        _import_ahead()
    try:
        _end(wire, _answer(sys.stdin.buffer, wire, redact, limits or from_environ()))
    except BrokenPipeError:
        os._exit(ABANDONED)


def _die_with_whoever_asked() -> None:
    """Also when we are stopped and see nothing end: where the kernel does that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _claim_stdout() -> int:
    """Keep standard output for our lines alone: whatever else prints goes to standard error."""
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


def _log_to_stderr(redact: Redactor) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(redact))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx", "httpx2", "httpcore", "huggingface_hub"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _import_ahead() -> None:
    """What talks to the Hub, as a fetch from the endpoint in the environment would."""
    try:
        environment.prepare(HubAccess())
        from modeldeploy.hub import client, fetch, transfer  # noqa: F401  # for the time that it takes
    except Exception:  # the fetch tells what is wrong, if it needs them
        logging.getLogger(__name__).debug("nothing is ready", exc_info=True)


def _answer(stdin: BinaryIO, wire: Wire, redact: Redactor, limits: Limits) -> FetchEnding:
    """The one boundary where errors become words."""
    try:
        request = _read(stdin)
        redact.hide(request.hub.token)
        if request.log:
            _log_into(request.log)
        reporter = Reporter(wire.send)
        _watch(stdin)
        _start_deadline(request.spec.download_timeout, wire, reporter)
        if request.discard:
            discard(request.spec)
            return FetchDiscarded()
        return FetchDone(model=resolve(request, reporter, limits, redact))
    except BrokenPipeError:
        raise
    except ModelDeployError as error:
        return FetchFailed(problem=error.problem())
    except Exception as error:  # whatever it is, the user is told, and the supervisor lives on
        logging.getLogger(__name__).exception("unexpected")
        return FetchFailed(problem=_unexpected(error))


def _log_into(file: str) -> None:
    """Whatever is printed from now on, if that can be; a fetch can do without."""
    try:
        fd = paths.private_open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    except OSError as error:
        logging.getLogger(__name__).warning("no log: %s", error)
        return
    for output in (1, 2):
        os.dup2(fd, output)
    os.close(fd)


def _read(stdin: BinaryIO) -> FetchRequest:
    line = stdin.readline()
    if not line:
        os._exit(ABANDONED)
    try:
        return msgspec.json.decode(line, type=FetchRequest)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the fetcher was asked something it cannot read: {error}") from error


def _watch(stdin: BinaryIO) -> None:
    """End with whoever asked; more input than the request means nothing."""

    def watch() -> None:
        while os.read(stdin.fileno(), 4096):
            pass
        os._exit(ABANDONED)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _start_deadline(seconds: float, wire: Wire, reporter: Reporter) -> None:
    """Bound everything, a name server that never answers included."""

    def expire() -> None:
        last = reporter.last
        came = (
            f" at {human(last.done_bytes)} of {human(last.total_bytes)}" if last.total_bytes else ""
        )
        error = DownloadTimeout(
            f"the download was not done after {seconds:g} s (MAX_DOWNLOAD_TIMEOUT){came}",
            hint="`modeldeploy start NAME` goes on where it stopped; "
            "a larger MAX_DOWNLOAD_TIMEOUT gives it longer",
        )
        _end(wire, FetchFailed(problem=error.problem()))

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), expire)
    timer.daemon = True
    timer.start()


def _unexpected(error: Exception) -> Problem:
    lines = "".join(traceback.format_exception(error)).splitlines()
    return Problem(
        code=ModelDeployError.code,
        message=f"the fetcher failed unexpectedly: {type(error).__name__}: {error}",
        hint="this is a bug in modeldeploy: please report it with the lines below",
        details=lines[-_TRACEBACK_LINES:],
    )


def _end(wire: Wire, line: FetchEnding) -> NoReturn:
    """Say the last word, unless another thread has, and end without waiting for any thread."""
    if wire.end(line):
        sys.stderr.flush()
        os._exit(FAILED if isinstance(line, FetchFailed) else DONE)
    threading.Event().wait()  # the thread that spoke first ends the process
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()

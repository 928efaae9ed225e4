"""The one place that prints. stdout is data; stderr is progress, hints and warnings.

With ``--json`` stdout gets exactly one JSON document (or one a line for a stream), failures
included.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from modeldeploy.schema.problem import Problem

if TYPE_CHECKING:
    from rich.console import Console

_as_json = False


def begin(*, as_json: bool) -> None:
    """Once for each command line: whether it asked for JSON."""
    global _as_json
    _as_json = as_json
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no terminal is too old for our signs
            stream.reconfigure(errors="backslashreplace")


def as_json() -> bool:
    return _as_json


def _plain(stream: TextIO) -> bool:
    env = os.environ
    return bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb" or not stream.isatty()


def data(text: str = "") -> None:
    """A line of the result."""
    click.echo(text, color=not _plain(sys.stdout))


def piece(text: str) -> None:
    """A part of a line of the result, at once."""
    click.echo(text, nl=False, color=False)
    sys.stdout.flush()


def json(value: Any, *, line: bool = False) -> None:
    """The result as JSON: indented, or as one line of a stream."""
    raw = msgspec.json.encode(value)
    click.echo((raw if line else msgspec.json.format(raw, indent=2)).decode(), color=False)


def note(text: str = "") -> None:
    """A line beside the result."""
    click.echo(text, err=True, color=not _plain(sys.stderr))


def aside(text: str) -> None:
    """A quieter one."""
    note(click.style(text, dim=True))


def warn(text: str) -> None:
    note(f"{click.style('Warning:', fg='yellow')} {text}")


def problem(what: Problem) -> None:
    """An error: what happened, the last lines of whatever died, what to do next."""
    if _as_json:
        json({"error": what})
        return
    _paragraph("Error:", what.message, "red")
    for line in what.details:
        aside(f"  | {line}")
    if what.hint:
        _paragraph("Next:", what.hint)


def _paragraph(title: str, text: str, colour: str | None = None) -> None:
    """Wrapped between words on a terminal; elsewhere one line."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    indent = " " * 7
    first, *rest = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    ) or [""]
    note(f"{click.style(f'{title:<7}', fg=colour, bold=True)}{first[len(indent) :]}")
    for line in rest:
        note(line)


def is_terminal() -> bool:
    """Whether a person looks at the result."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def progress_console() -> Console | None:
    """Where live progress may be drawn, or None where only plain lines fit."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def result_console() -> Console:
    from rich.console import Console

    return Console(highlight=False)

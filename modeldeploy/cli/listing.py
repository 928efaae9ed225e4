"""``ls`` and ``inspect``."""

from __future__ import annotations

import shutil
import sys
import time

import click

from modeldeploy.cli import options, output
from modeldeploy.cli.session import connect
from modeldeploy.cli.units import size, span
from modeldeploy.schema.control import DaemonStatus
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

COLUMNS = ("NAME", "MODEL", "TASK", "STATE", "PORT", "DEVICE", "MEMORY", "REQUESTS", "UPTIME")
_RIGHT = frozenset({"MEMORY", "REQUESTS", "UPTIME"})
_MAY_SHRINK = {"MODEL": 8, "TASK": 8, "NAME": 12}  # to these widths, the widest first
_COLOURS = {
    State.RUNNING: "green",
    State.FAILED: "red",
    State.STOPPED: "bright_black",
}


@click.command(short_help="List deployments (also: ps).")
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.option("-a", "--all", "every", is_flag=True, hidden=True, help="All are shown anyway.")
@options.json_output
def ls(quiet: bool, every: bool) -> None:
    """List deployments, running or not."""
    client = connect()
    found = client.deployments()
    if output.as_json():
        output.json([one.name for one in found] if quiet else found)
    elif quiet:
        for one in found:
            output.data(one.name)
    else:
        _table(found)
        _notices(client.status())


def _notices(status: DaemonStatus) -> None:
    if output.is_terminal() and status.gateway.notice:
        output.aside(f"gateway: {status.gateway.notice}")
    for file in status.set_aside:
        output.warn(
            f"the state was damaged once, and is kept at {file}; modeldeploy daemon logs tells what "
            "of it was whole. Remove the file when you have looked"
        )


@click.command(short_help="All about deployments, as JSON.")
@options.names
@options.json_output
def inspect(names: tuple[str, ...]) -> None:
    """All about deployments, as a JSON array: state, replicas, ports, what was asked for."""
    client = connect()
    output.json([client.deployment(name) for name in names])


def _table(found: list[Deployment]) -> None:
    rows = [_row(one, time.time()) for one in found]
    widths, gap = _layout(rows)
    output.data(_line(COLUMNS, widths, gap))
    for one, row in zip(found, rows, strict=True):
        output.data(_line(row, widths, gap, _COLOURS.get(one.state, "yellow")))
    if not output.is_terminal():
        return
    if not found:
        output.aside("nothing is deployed; try: modeldeploy deploy builtin/sentiment")
    for one in found:
        if one.error:
            output.note(f"\n{click.style(one.name, bold=True)}: {one.error.message}")


def _row(one: Deployment, now: float) -> tuple[str, ...]:
    return (
        one.name,
        one.model_id,
        one.task or "-",
        one.state.value,
        str(one.port or "-"),
        one.device,
        size(one.memory_bytes) if one.memory_bytes else "-",
        str(one.requests),
        span(now - one.ready_at) if one.ready_at else "-",
    )


def _layout(rows: list[tuple[str, ...]]) -> tuple[list[int], str]:
    """The widths and the gap: on a terminal the gap and some columns give way until all fits."""
    widths = [max(map(len, cells)) for cells in zip(COLUMNS, *rows, strict=True)]
    room = shutil.get_terminal_size().columns if output.is_terminal() else sys.maxsize
    if sum(widths) + 2 * (len(widths) - 1) <= room:
        return widths, "  "
    for _ in range(sum(widths) + len(widths) - 1 - room):
        spare = {
            at: widths[at]
            for at, column in enumerate(COLUMNS)
            if widths[at] > _MAY_SHRINK.get(column, widths[at])
        }
        if not spare:
            break
        widths[max(spare, key=lambda at: spare[at])] -= 1
    return widths, " "


def _line(cells: tuple[str, ...], widths: list[int], gap: str, colour: str | None = None) -> str:
    shown = []
    for column, cell, width in zip(COLUMNS, cells, widths, strict=True):
        fitted = _fit(cell, width)
        text = fitted.rjust(width) if column in _RIGHT else fitted.ljust(width)
        shown.append(click.style(text, fg=colour) if column == "STATE" and colour else text)
    return gap.join(shown).rstrip()


def _fit(cell: str, width: int) -> str:
    """Cut to ``width``; of a path the end is what tells."""
    if len(cell) <= width:
        return cell
    return f"…{cell[len(cell) - width + 1 :]}" if cell.startswith("/") else f"{cell[: width - 1]}…"

"""``logs``: what a deployment's worker wrote, across rotation and restarts."""

from __future__ import annotations

import click

from modeldeploy.cli import options, output
from modeldeploy.cli.session import connect
from modeldeploy.cli.units import moment, stamp

_MOST_DIGITS = 9


def parse_tail(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A number of lines, or None for all."""
    if value == "all":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
        raise click.BadParameter(f"{value!r} is not a number of lines, nor all")
    return int(value)


def parse_since(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else moment(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is neither like 10m or 1h30m, nor like 2026-01-31T12:00:00Z, nor Unix time"
        ) from error


follow = click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
tail = click.option(
    "-n", "--tail", default="all", callback=parse_tail, metavar="N|all", help="The last N lines."
)


@click.command(short_help="What a deployment's worker wrote.")
@options.name
@follow
@tail
@click.option(
    "--since", callback=parse_since, metavar="WHEN", help="Since 10m ago, or since a time."
)
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@options.json_output
def logs(name: str, follow: bool, tail: int | None, since: float | None, timestamps: bool) -> None:
    """What a deployment's worker wrote; with --json an object a line."""
    for line in connect().logs(name, tail=tail, since=since, follow=follow):
        if output.as_json():
            output.json(line, line=True)
        else:
            output.data(f"{stamp(line.time)} {line.text}" if timestamps else line.text)

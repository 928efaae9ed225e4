"""``daemon``: the supervisor itself."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from modeldeploy import settings
from modeldeploy.cli import ending, options, output
from modeldeploy.cli.lazy import Entry, LazyGroup
from modeldeploy.cli.logs import follow as follow_option
from modeldeploy.cli.logs import tail as tail_option
from modeldeploy.cli.session import connect
from modeldeploy.cli.units import span
from modeldeploy.client import Client, hub_pipe, supervisor_command
from modeldeploy.errors import DaemonSilent, DaemonUnreachable
from modeldeploy.schema.control import DaemonStatus, GatewayStatus

_HERE = "modeldeploy.cli.daemon"
_FOLLOW_SECONDS = 0.2
_TEMPLATE = {"ready": "warm", "starting": "warming up", "off": "none: workers start cold"}

ENTRIES = {
    "start": Entry(f"{_HERE}:start", "Start it in the background, if it does not run."),
    "stop": Entry(f"{_HERE}:stop", "End it, and every worker."),
    "restart": Entry(f"{_HERE}:restart", "Replace it; its workers go on serving."),
    "status": Entry(f"{_HERE}:status", "Whether it runs (0) or not (4)."),
    "logs": Entry(f"{_HERE}:logs", "What it wrote."),
    "run": Entry(f"{_HERE}:run", "Run it in the foreground."),
}


@click.group(
    cls=LazyGroup,
    entries=ENTRIES,
    no_args_is_help=False,
    short_help="Start, stop and watch the supervisor.",
)
def daemon() -> None:
    """The supervisor keeps deployments running. It starts by itself when it is needed."""


no_gateway = click.option(
    "--no-gateway", is_flag=True, help="Without the front door: each deployment's own port only."
)


def _values(no_gateway: bool) -> settings.Settings:
    return settings.load({"gateway": False if no_gateway else None})


@click.command(short_help="Start it in the background, if it does not run.")
@no_gateway
@options.json_output
def start(no_gateway: bool) -> None:
    """Start the supervisor in the background, if it does not run."""
    _show(connect(_values(no_gateway)).status())


@click.command(short_help="Whether it runs (0) or not (4).")
@options.json_output
def status() -> None:
    """Whether the supervisor runs (exit code 0) or not (4). Starts nothing."""
    _show(_client_of_a_running_one().status())


@click.command(short_help="End it, and every worker.")
@click.option("--keep-workers", is_flag=True, help="Leave the workers serving.")
@options.json_output
def stop(keep_workers: bool) -> None:
    """End the supervisor, and every worker after it answered what it had accepted.

    What was running comes back with the next command.
    """
    pid = ending.end(settings.load(), keep_workers=keep_workers)
    kept = " (its workers go on serving)" if keep_workers else ""
    words = "the supervisor was not running" if pid is None else f"the supervisor has ended{kept}"
    _say_stopped(pid, words)


@click.command(short_help="Replace it; its workers go on serving.")
@options.json_output
def restart() -> None:
    """Replace the supervisor by a fresh one, which reads the settings anew.

    Workers go on serving, and the new supervisor takes them over: no request is lost.
    """
    values = settings.load()
    ending.end(values, keep_workers=True)
    _show(connect(values).status())


@click.command(short_help="What it wrote.")
@follow_option
@tail_option
@options.json_output
def logs(follow: bool, tail: int | None) -> None:
    """What the supervisor wrote."""
    file = settings.load().paths.supervisor_log
    for text in _read(file, tail, follow):
        if output.as_json():
            output.json({"text": text}, line=True)
        else:
            output.data(text)


@click.command(short_help="Run it in the foreground.")
@no_gateway
def run(no_gateway: bool) -> None:
    """Run the supervisor in the foreground: for systemd, containers, and the curious."""
    values = _values(no_gateway)
    argv, env = supervisor_command(values)
    os.dup2(hub_pipe(values), 0)
    os.execve(argv[0], [*argv, "--foreground"], env)  # noqa: S606 - no shell is wanted


def _client_of_a_running_one() -> Client:
    client = Client(settings.load().paths.control_socket)
    try:
        client.status()
    except DaemonSilent:
        raise
    except DaemonUnreachable as error:
        raise DaemonUnreachable(
            "the supervisor is not running", hint="modeldeploy daemon start"
        ) from error
    return client


def _show(found: DaemonStatus) -> None:
    if output.as_json():
        output.json(found)
        return
    output.data(f"running   {span(time.time() - found.started_at)}, pid {found.pid}")
    output.data(f"version   {found.version}")
    output.data(f"home      {found.home}")
    output.data(f"socket    {found.socket}")
    output.data(f"ports     {found.ports}")
    output.data(f"gateway   {_gateway(found.gateway)}")
    output.data(f"template  {_TEMPLATE.get(found.template, found.template)}")
    output.data(f"serving   {found.running} of {found.deployments} deployments")
    for file in found.set_aside:
        output.data(f"damaged   {file}: state that was set aside; remove it when you have looked")


def _gateway(found: GatewayStatus) -> str:
    if found.url is None:
        return f"none: {found.notice}" if found.notice else "none"
    return f"{found.url} ({found.notice})" if found.notice else found.url


def _say_stopped(pid: int | None, text: str) -> None:
    if output.as_json():
        output.json({"stopped": pid is not None, "pid": pid})
    else:
        output.note(text)


def _read(file: Path, tail: int | None, follow: bool) -> Iterator[str]:
    """The last lines, then what comes, across rotation."""
    while follow and not file.exists():
        time.sleep(_FOLLOW_SECONDS)
    if not file.exists():
        return
    opened = file.open(errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(opened, maxlen=tail))
        while follow:
            line = opened.readline()
            if line:
                yield line.rstrip("\n")
            elif file.exists() and file.stat().st_ino != os.fstat(opened.fileno()).st_ino:
                opened.close()
                opened = file.open(errors="replace")
            else:
                time.sleep(_FOLLOW_SECONDS)
    finally:
        opened.close()

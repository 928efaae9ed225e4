"""``bench``: how fast a deployment answers, by how many clients ask at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from modeldeploy import settings
from modeldeploy.cli import options, output, secrets
from modeldeploy.cli.session import connect
from modeldeploy.client import load
from modeldeploy.client.load import Measured
from modeldeploy.errors import ModelDeployError, NotReady, UsageError
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State
from modeldeploy.schema.tasks import TaskSchema, find

_SWEEP = (1, 2, 4, 8, 16, 32)
_WARM_UP = 3  # requests of each sweep's own that are not counted
_WIDTH = 24


class Clients(click.ParamType):  # type: ignore[type-arg]  # generic in click's newest only
    """``8``, or several: ``1,8,32``."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(one) for one in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not like 1,8,32", param, ctx)
        if not all(1 <= one <= 1024 for one in found):
            self.fail("there may be 1 to 1024 clients", param, ctx)
        return found


@click.command(short_help="How fast a deployment answers.")
@options.name
@click.option(
    "--clients",
    type=Clients(),
    default=_SWEEP,
    help=f"How many ask at once, one after the other.  [default: {','.join(map(str, _SWEEP))}]",
)
@click.option(
    "--seconds",
    type=options.Seconds(),
    metavar="SECONDS",
    default=5.0,
    help="How long each of them.  [default: 5]",
)
@click.option(
    "--file",
    "file",
    type=click.Path(),
    help="Texts to ask with, one a line.  [default: the task's own example]",
)
@options.json_output
def bench(name: str, clients: tuple[int, ...], seconds: float, file: str | None) -> None:
    """How fast a deployment answers, by how many clients ask at once.

    Each client sends its next request when it has the answer to its last.
    """
    values = settings.load()
    client = connect(values)
    deployment = client.deployment(name)
    if deployment.state is not State.RUNNING or deployment.port is None:
        raise NotReady(f"{name} is {deployment.state.value}", hint=f"modeldeploy start {name}")
    place = _place(deployment)
    requests = _requests(deployment, place, file, secrets.own_key(values))
    found = []
    for count in clients:
        output.aside(f"{count} {'client' if count == 1 else 'clients'}, {seconds:g} s")
        found.append(asyncio.run(_measured(place, requests, count, seconds)))
    if output.as_json():
        output.json([_as_row(one) for one in found])
    else:
        _show(found)


def _place(deployment: Deployment) -> tuple[str, int]:
    at = urlsplit(deployment.spec.url(deployment.port or 0))
    if at.scheme != "http" or at.hostname is None or at.port is None:
        raise UsageError(
            "bench does not measure through TLS", hint="deploy it without, beside this"
        )
    return at.hostname, at.port


async def _measured(
    place: tuple[str, int], requests: list[bytes], clients: int, seconds: float
) -> Measured:
    try:
        warm_up = _WARM_UP * clients
        await load.measure(*place, requests, clients, count=warm_up, seconds=seconds)
        return await load.measure(*place, requests, clients, seconds=seconds)
    except OSError as error:
        raise NotReady(f"port {place[1]} does not answer: {error.strerror}") from error


def _requests(
    deployment: Deployment, place: tuple[str, int], file: str | None, key: str | None
) -> list[bytes]:
    task = find(deployment.task or "")
    if task is None:
        raise ModelDeployError(f"what {deployment.name} does is not known")
    bodies = [task.example] if file is None else _bodies(task, file)
    return [
        load.post(*place, "/predict", msgspec.json.encode(body), "application/json", key)
        for body in bodies
    ]


def _bodies(task: TaskSchema, file: str) -> list[dict[str, Any]]:
    """The example with each of the file's lines for its text."""
    if "text" not in task.inputs.__struct_fields__:
        raise UsageError(f"--file: {task.name} takes more than a text", hint="leave it out")
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise UsageError(f"{file} has no text in it")
    return [{**task.example, "text": text} for text in texts]


def _as_row(one: Measured) -> dict[str, Any]:
    bad = {str(status): count for status, count in sorted(one.statuses.items()) if status != 200}
    return {
        "clients": one.clients,
        "requests_per_second": round(one.rate, 2),
        **{f"p{share}_ms": round(one.quantile(share / 100) * 1000, 3) for share in (50, 95, 99)},
        "answers": len(one.latencies),
        "errors": bad,
    }


def _show(found: list[Measured]) -> None:
    from rich.bar import Bar
    from rich.table import Table

    most = max((one.rate for one in found), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("CLIENTS", "REQUESTS/S", "P50 MS", "P95 MS", "P99 MS", "ERRORS"):
        table.add_column(title, justify="right")
    table.add_column("")
    for one in found:
        row = _as_row(one)
        errors = ", ".join(f"{count} x {status}" for status, count in row["errors"].items())
        table.add_row(
            str(one.clients),
            f"{one.rate:.1f}",
            *(f"{row[f'p{share}_ms']:.1f}" for share in (50, 95, 99)),
            errors or "0",
            Bar(most, 0, one.rate, width=_WIDTH),
        )
    output.result_console().print(table)

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
_SHARES = (50, 95, 99)
_CUT_SHORT = "cut short"  # an answer without its end
# What is shown of a row, and its title.
_ANSWERING = {
    "requests_per_second": "REQUESTS/S",
    **{f"p{share}_ms": f"P{share} MS" for share in _SHARES},
}
_WRITING = {
    "tokens_per_second": "TOKENS/S",
    "first_token_p50_ms": "FIRST P50",
    "first_token_p95_ms": "FIRST P95",
    "p50_ms": "WHOLE P50",
    "p95_ms": "WHOLE P95",
}
_OF_WRITING = "Times are in ms: until the first token came, and the whole text."


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

    Each client sends its next request when it has the answer to its last. What is written is streamed:
    its tokens are counted, and when the first came.
    """
    values = settings.load()
    client = connect(values)
    deployment = client.deployment(name)
    if deployment.state is not State.RUNNING or deployment.port is None:
        raise NotReady(f"{name} is {deployment.state.value}", hint=f"modeldeploy start {name}")
    place, key = _place(deployment), secrets.own_key(values)
    task, bodies = _bodies(deployment, file)
    client.predict(deployment, bodies[0], key=key)  # what it refuses is told in its own words
    requests = _requests(place, task, bodies, key)
    rows = []
    try:
        for count in clients:
            output.aside(f"{count} {'client' if count == 1 else 'clients'}, {seconds:g} s")
            rows.append(_as_row(asyncio.run(_measured(place, requests, count, seconds))))
    except NotReady:
        if rows and not output.as_json():
            _show(rows)
        raise
    if output.as_json():
        output.json(rows)
    else:
        _show(rows)


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
        raise NotReady(
            f"port {place[1]} does not answer any more: {error.strerror}",
            hint="modeldeploy ls shows what became of it",
        ) from error


def _requests(
    place: tuple[str, int], task: TaskSchema, bodies: list[dict[str, Any]], key: str | None
) -> list[bytes]:
    """What can be streamed is."""
    more = {"stream": True} if task.hf.streamed else {}
    return [
        load.post(
            *place, "/predict", msgspec.json.encode({**body, **more}), "application/json", key
        )
        for body in bodies
    ]


def _bodies(deployment: Deployment, file: str | None) -> tuple[TaskSchema, list[dict[str, Any]]]:
    task = find(deployment.task or "")
    if task is None:
        raise ModelDeployError(f"what {deployment.name} does is not known")
    return task, [task.example] if file is None else _with_texts(task, file)


def _with_texts(task: TaskSchema, file: str) -> list[dict[str, Any]]:
    """The example with each of the file's lines for its text."""
    if "text" not in task.inputs.__struct_fields__:
        raise UsageError(f"--file: {task.name} takes more than a text", hint="leave it out")
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"cannot read {file}: {why}") from error
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise UsageError(f"{file} has no text in it")
    return [{**task.example, "text": text} for text in texts]


def _as_row(one: Measured) -> dict[str, Any]:
    bad = {
        str(status or _CUT_SHORT): count
        for status, count in sorted(one.statuses.items())
        if status != 200
    }
    writing = {
        "tokens_per_second": round(one.event_rate, 2),
        **{f"first_token_p{share}_ms": _ms(one.first_quantile(share / 100)) for share in _SHARES},
    }
    return {
        "clients": one.clients,
        **(writing if one.firsts else {}),
        "requests_per_second": round(one.rate, 2),
        **{
            f"p{share}_ms": _ms(one.quantile(share / 100)) if one.latencies else None
            for share in _SHARES
        },
        "answers": len(one.latencies),
        "errors": bad,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _show(rows: list[dict[str, Any]]) -> None:
    """The rates as bars, too: of tokens where some were written, else of requests."""
    from rich.bar import Bar
    from rich.table import Table

    writes = any("tokens_per_second" in row for row in rows)
    columns = _WRITING if writes else _ANSWERING
    rate = next(iter(columns))
    most = max((row.get(rate, 0.0) for row in rows), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("CLIENTS", *columns.values(), "ERRORS"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in rows:
        errors = ", ".join(f"{count} x {status}" for status, count in row["errors"].items())
        table.add_row(
            str(row["clients"]),
            *("-" if row.get(name) is None else f"{row[name]:.1f}" for name in columns),
            errors or "0",
            Bar(most, 0, row.get(rate, 0.0), width=_WIDTH),
        )
    console = output.result_console()
    console.print(table)
    if writes:
        console.print(_OF_WRITING)

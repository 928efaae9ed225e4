"""``predict``: ask a deployment, as anybody would over HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import mimetypes
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from modeldeploy import settings
from modeldeploy.cli import options, output, secrets
from modeldeploy.cli.readable import readable
from modeldeploy.cli.session import connect
from modeldeploy.client import Client
from modeldeploy.errors import ModelDeployError, NotReady, UsageError
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State
from modeldeploy.schema.tasks import TaskSchema, find

_PATIENCE_SECONDS = 10.0  # beyond what the worker itself allows, so that its own words arrive
_JSON = "application/json"
_TASK = "modeldeploy.task"


class Asking(click.Command):
    """Beside its own options it has those of the task that the named deployment does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-"):
            ctx.meta[_TASK] = _task_of(args[0])
            own = {name for one in self.params for name in one.opts}
            foreign = any(one.startswith("--") and one not in {*own, "--help"} for one in args)
            if ctx.meta[_TASK] is None and foreign and not ctx.resilient_parsing:
                ctx.meta[_TASK] = find(connect().deployment(args[0]).task or "")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        task: TaskSchema | None = ctx.meta.get(_TASK)
        if task is None:
            return own
        from modeldeploy.cli import fields

        arguments = [one for one in own if isinstance(one, click.Argument)]
        return [*arguments, *fields.options(task), *own[len(arguments) :]]


def _task_of(name: str) -> TaskSchema | None:
    """What the deployment does, if there is one; nothing is started for that."""
    with contextlib.suppress(ModelDeployError):
        return find(Client(settings.load().paths.control_socket).deployment(name).task or "")
    return None


@click.command(
    cls=Asking,
    short_help="Ask a deployment for a prediction.",
    epilog="The options of a deployment's task: modeldeploy predict NAME --help",
)
@options.name
@click.argument("inputs", metavar="[INPUT]...", nargs=-1)
@click.option(
    "-d", "--json-body", metavar="JSON", help="The whole body; @file and - (stdin) work too."
)
@click.option("--file", "file", type=click.Path(), help="An image or another file, sent as it is.")
@click.option("-o", "--output", "place", type=click.Path(), help="Where a sound is written.")
@click.option(
    "--timeout", type=options.Seconds(), metavar="SECONDS", help="Seconds to wait.", default=None
)
@options.json_output
def predict(
    name: str,
    inputs: tuple[str, ...],
    json_body: str | None,
    file: str | None,
    place: str | None,
    timeout: float | None,
    **given: Any,
) -> None:
    """Ask a deployment for a prediction.

    INPUT is a text, or the path of an image, a sound or a video (- is stdin); several are one
    request where the task takes several.
    """
    values = settings.load()
    client = connect(values)
    deployment = client.deployment(name)
    stream = given.pop("stream", False)
    given = {key: value for key, value in given.items() if value not in (None, ())}
    if sum(map(bool, (inputs or given, json_body is not None, file is not None))) > 1:
        raise click.UsageError("give INPUT and options, or --json-body, or --file")
    body, content_type = _body(deployment, inputs, given, json_body, file)
    _require_running(deployment)
    key = secrets.own_key(values)
    patience = timeout or max(values.request_timeout, values.generation_timeout) + _PATIENCE_SECONDS
    if stream:
        _stream(client, deployment, body, patience, key)
        return
    answer = client.predict(deployment, body, content_type=content_type, timeout=patience, key=key)
    if place is not None:
        _write_sound(place, answer)
    elif output.as_json():
        output.json(answer)
    else:
        output.data(readable(answer.get("result") if isinstance(answer, dict) else answer))


def _require_running(deployment: Deployment) -> None:
    name = deployment.name
    if deployment.state in {State.STOPPED, State.FAILED}:
        raise NotReady(f"{name} is {deployment.state.value}", hint=f"modeldeploy start {name}")


def _body(
    deployment: Deployment,
    inputs: tuple[str, ...],
    given: dict[str, Any],
    json_body: str | None,
    file: str | None,
) -> tuple[Any, str]:
    if file is not None:
        return _read(file), mimetypes.guess_type(file)[0] or "application/octet-stream"
    if json_body is not None:
        return _valid_json(_argument(json_body)), _JSON
    if not inputs and not given:
        raise _what_it_wants(deployment)
    task = find(deployment.task or "")
    if task is None:
        raise NotReady(
            f"what {deployment.name} does is not known yet",
            hint=f"modeldeploy wait {deployment.name}, or give the whole body with -d",
        )
    from modeldeploy.cli import fields

    return fields.body(task, inputs, given), _JSON


def _what_it_wants(deployment: Deployment) -> UsageError:
    import shlex

    from modeldeploy.cli.summary import stand_ins

    example = deployment.example or {"text": "..."}
    way = f"-d {shlex.quote(json.dumps(example))}"
    if files := stand_ins(deployment):
        way = " ".join(files.values())
    elif "text" in example:
        way = shlex.quote(str(example["text"]))
    return UsageError("nothing to predict on", hint=f"modeldeploy predict {deployment.name} {way}")


def _stream(
    client: Client, deployment: Deployment, body: Any, patience: float, key: str | None
) -> None:
    if not isinstance(body, dict):
        raise click.UsageError("--stream goes with INPUT; a body says it itself")
    for told in client.stream(deployment, {**body, "stream": True}, timeout=patience, key=key):
        if output.as_json():
            output.json(told, line=True)
        else:
            output.piece(told["token"]["text"])
    if not output.as_json():
        output.data()


def _write_sound(place: str, answer: Any) -> None:
    found = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(found, dict) or "audio" not in found:
        raise UsageError("-o/--output: the answer is no sound", hint="leave it out")
    try:
        Path(place).write_bytes(base64.b64decode(found["audio"]))
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}") from error
    output.data(place)


def _argument(raw: str) -> bytes:
    if raw == "-":
        return sys.stdin.buffer.read()
    return _read(raw[1:]) if raw.startswith("@") else raw.encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _valid_json(raw: bytes) -> bytes:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the body is not JSON: {error}", hint="put it in single quotes, or in a file: -d @FILE"
        ) from error
    return raw

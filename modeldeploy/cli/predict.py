"""``predict``: ask a deployment, as anybody would over HTTP."""

from __future__ import annotations

import json
import mimetypes
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from modeldeploy import settings
from modeldeploy.cli import options, output
from modeldeploy.cli.session import connect
from modeldeploy.errors import NotReady, UsageError
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

_PATIENCE_SECONDS = 10.0  # beyond what the worker itself allows, so that its own words arrive


@click.command(short_help="Ask a deployment for a prediction.")
@options.name
@click.argument("text", required=False)
@click.option(
    "-d", "--json-body", metavar="JSON", help="The whole body; @file and - (stdin) work too."
)
@click.option("--file", "file", type=click.Path(), help="An image or another file, sent as it is.")
@click.option(
    "--timeout", type=options.Seconds(), metavar="SECONDS", help="Seconds to wait.", default=None
)
@options.json_output
def predict(
    name: str, text: str | None, json_body: str | None, file: str | None, timeout: float | None
) -> None:
    """Ask a deployment for a prediction: TEXT (- reads it from stdin), a body, or a file."""
    if sum(one is not None for one in (text, json_body, file)) > 1:
        raise click.UsageError("give one of TEXT, --json-body and --file")
    values = settings.load()
    client = connect(values)
    deployment = client.deployment(name)
    body, content_type = _body(deployment, text, json_body, file)
    _require_running(deployment)
    patience = timeout or max(values.request_timeout, values.generation_timeout) + _PATIENCE_SECONDS
    answer = client.predict(deployment, body, content_type=content_type, timeout=patience)
    if output.as_json():
        output.json(answer)
    else:
        output.data(_readable(answer.get("result") if isinstance(answer, dict) else answer))


def _require_running(deployment: Deployment) -> None:
    name = deployment.name
    if deployment.state in {State.STOPPED, State.FAILED}:
        raise NotReady(f"{name} is {deployment.state.value}", hint=f"modeldeploy start {name}")


def _body(
    deployment: Deployment, text: str | None, json_body: str | None, file: str | None
) -> tuple[Any, str]:
    if file is not None:
        guessed = mimetypes.guess_type(file)[0]
        return _read(file), guessed or "application/octet-stream"
    if json_body is not None:
        return _valid_json(_argument(json_body)), "application/json"
    if text is None:
        raise _what_it_wants(deployment, "nothing to predict on")
    example = deployment.example
    if isinstance(example, dict) and "text" not in example:
        raise _what_it_wants(deployment, f"{deployment.task} takes more than a text")
    return {"text": sys.stdin.read() if text == "-" else text}, "application/json"


def _what_it_wants(deployment: Deployment, message: str) -> UsageError:
    import shlex

    example = deployment.example or {"text": "..."}
    way = f"-d {shlex.quote(json.dumps(example))}"
    if isinstance(example, dict):
        if "image" in example:
            way = "--file picture.png"
        elif "text" in example:
            way = shlex.quote(str(example["text"]))
    return UsageError(message, hint=f"modeldeploy predict {deployment.name} {way}")


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


def _readable(result: Any) -> str:
    """Labels with their scores, texts as texts; anything else as JSON."""
    items = result if isinstance(result, list) else [result]
    if items and all(isinstance(one, dict) and {"label", "score"} <= set(one) for one in items):
        width = max(len(str(one["label"])) for one in items)
        return "\n".join(f"{one['label']!s:<{width}}  {one['score']:.4f}" for one in items)
    if items and all(isinstance(one, dict) and set(one) == {"generated_text"} for one in items):
        return "\n\n".join(one["generated_text"] for one in items)
    if len(items) == 1 and isinstance(items[0], dict) and {"answer", "score"} <= set(items[0]):
        return f"{items[0]['answer']}  {items[0]['score']:.4f}"
    return json.dumps(result, indent=2, ensure_ascii=False)

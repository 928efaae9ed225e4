"""The end of a deploy: where it answers, and a line to paste."""

from __future__ import annotations

import json
import shlex
from typing import Any

from modeldeploy import apikeys
from modeldeploy.cli import output
from modeldeploy.cli.units import size
from modeldeploy.schema.control import GatewayStatus
from modeldeploy.schema.deployment import Deployment

ROUTES: tuple[str, ...] = ("predict", "health", "info", "docs")
_ENDINGS = {"image": ".png", "audio": ".wav", "video": ".gif"}


def facts(deployment: Deployment, gateway: GatewayStatus) -> list[tuple[str, str]]:
    one = deployment
    at = f"@{one.revision[:12]}" if one.revision else ""
    runs = [part for part in (one.device, one.dtype) if part != "auto"]
    memory = [size(one.memory_bytes)] if one.memory_bytes else []
    routes = [
        ("endpoint" if route == "predict" else route, one.endpoints[route])
        for route in ROUTES
        if route in one.endpoints
    ]
    return [
        *routes,
        *_front_door(gateway, one.name),
        ("model", f"{one.model_id}{at}"),
        ("task", one.task or ""),
        ("runs on", ", ".join([*runs, *memory])),
    ]


def _front_door(gateway: GatewayStatus, name: str) -> list[tuple[str, str]]:
    at = f"{gateway.url}/deployments/{name}" if gateway.url else "none"
    told = f" ({gateway.notice})" if gateway.notice else ""
    return [("gateway", at + told)] if gateway.url or told else []


def curl(deployment: Deployment) -> str:
    """A command that works when pasted: the task's own example, sent to this deployment, with a file of
    one's own in the place of a medium. An API key is taken from the environment, and not given as an
    argument, which others could see."""
    url = deployment.endpoints.get("predict", f"{deployment.url}/predict")
    command = f"curl {url} {_form(deployment) or _json(deployment.example)}"
    if deployment.spec.ssl_certfile:
        command += " -k"  # the certificate may be for another name
    if deployment.keys:
        command += f' -H @- <<< "x-api-key: ${apikeys.VARIABLE}"'
    return command


def _json(example: Any) -> str:
    body = json.dumps(example, ensure_ascii=False)
    return f"-H 'content-type: application/json' -d {shlex.quote(body)}"


def _form(deployment: Deployment) -> str:
    """The example as the parts of a form, or nothing where there is no file in it."""
    files = stand_ins(deployment)
    if not files:
        return ""
    given = {name: value for name, value in deployment.example.items() if name not in files}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in given.items()
    }
    return " ".join(
        [
            *(f"-F {name}=@{file}" for name, file in files.items()),
            *(f"--form-string {shlex.quote(f'{name}={text}')}" for name, text in texts.items()),
        ]
    )


def stand_ins(deployment: Deployment) -> dict[str, str]:
    """The example's media by field, each as the name of a file that somebody may have."""
    from modeldeploy.schema.tasks import file_fields, find  # here: no deploy waits for it

    task, example = find(deployment.task or ""), deployment.example or {}
    fields = file_fields(task.inputs) if task else ()
    found = (name for name in fields if name in example)
    return {name: name + _ENDINGS[name.partition("_")[0]] for name in found}


def show(deployment: Deployment, gateway: GatewayStatus) -> None:
    """The facts: a box on a terminal, plain lines elsewhere, an object with ``--json``.

    The curl line stands outside the box and is never wrapped, so that it can be copied.
    """
    if output.as_json():
        output.json(deployment)
        return
    if output.is_terminal():
        _box(deployment, gateway)
    else:
        output.data(f"{'name':<9} {deployment.name}")
        for label, value in facts(deployment, gateway):
            output.data(f"{label:<9} {value}")
    output.data()
    output.data(curl(deployment))
    if output.is_terminal():
        name = deployment.name
        output.data()
        output.aside(f"modeldeploy logs -f {name} · modeldeploy stop {name}")


def _box(deployment: Deployment, gateway: GatewayStatus) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in facts(deployment, gateway):
        grid.add_row(label, Text(value, style="bold cyan" if label == "endpoint" else ""))
    console = output.result_console()
    title = Text.assemble((deployment.name, "bold"), " is running")
    panel = Panel(
        grid,
        title=title,
        title_align="left",
        border_style="green",
        padding=(0, 1),
        width=min(console.width, 80),
    )
    console.print(panel)

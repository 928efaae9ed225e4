"""Watching a deployment until it answers: what ``deploy``, ``wait`` and ``start`` share."""

from __future__ import annotations

import click

from modeldeploy.cli import output, progress, summary
from modeldeploy.client import Client
from modeldeploy.errors import Conflict
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

INTERRUPTED = 130


def watch(client: Client, name: str, timeout: float | None) -> Deployment:
    """Its progress on stderr until it runs. Ctrl-C detaches, and says how to come back.

    Raises:
        Conflict: somebody stopped it meanwhile.
        DeploymentFailed, WaitTimeout, DeploymentNotFound: as :meth:`Client.wait`.
    """
    try:
        with progress.reporter(name) as report:
            found = client.wait(name, timeout, report)
    except KeyboardInterrupt:
        _say_detached(name)
        raise click.exceptions.Exit(INTERRUPTED) from None
    if found.state is not State.RUNNING:
        raise Conflict(f"{name} is stopped", hint=f"modeldeploy start {name}")
    return found


def until_ready(client: Client, name: str, timeout: float | None) -> None:
    """The same, and the facts on stdout at the end."""
    found = watch(client, name, timeout)
    summary.show(found, client.status().gateway)


def _say_detached(name: str) -> None:
    if output.as_json():
        output.json({"error": {"code": "detached", "message": f"{name} goes on without us"}})
    output.note(f"Detached; {name} goes on.")
    output.note(f"  modeldeploy wait {name}     re-attaches")
    output.note(f"  modeldeploy rm -f {name}    removes it")

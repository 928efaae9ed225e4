"""``start``, ``stop``, ``restart``, ``rm``, ``wait``."""

from __future__ import annotations

from collections.abc import Callable

import click

from modeldeploy import settings
from modeldeploy.cli import follow, options, output
from modeldeploy.cli.session import connect
from modeldeploy.client import Client, hub_access
from modeldeploy.errors import Conflict, ModelDeployError
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

_AT_REST = frozenset({State.STOPPED, State.FAILED})


@click.command(short_help="Start what is stopped or has failed.")
@options.names_or_all
@options.every
@options.detach
@options.timeout
@options.json_output
def start(names: tuple[str, ...], every: bool, detach: bool, timeout: float | None) -> None:
    """Start deployments that are stopped or have failed, and wait until they answer.

    A download that was cut short goes on where it stopped.
    """
    values = settings.load()
    client = connect(values)
    hub, seconds = hub_access(values), values.max_download_timeout
    chosen = _chosen(client, names, every, lambda one: one.state in _AT_REST)
    _each_then_watch(client, chosen, lambda name: client.start(name, hub, seconds), detach, timeout)


@click.command(short_help="Begin a fresh run on the same port.")
@options.names
@options.detach
@options.timeout
@options.json_output
def restart(names: tuple[str, ...], detach: bool, timeout: float | None) -> None:
    """Answer what was accepted, then begin a fresh run on the same port."""
    values = settings.load()
    client = connect(values)
    hub, seconds = hub_access(values), values.max_download_timeout
    _each_then_watch(
        client, names, lambda name: client.restart(name, hub, seconds), detach, timeout
    )


@click.command(short_help="Answer what was accepted, then stop.")
@options.names_or_all
@options.every
@options.detach
@options.timeout
@options.json_output
def stop(names: tuple[str, ...], every: bool, detach: bool, timeout: float | None) -> None:
    """Answer what was accepted, then stop. What is stopped stays stopped."""
    client = connect()
    chosen = _chosen(client, names, every, lambda one: one.state is not State.STOPPED)
    done = _each(chosen, client.stop)
    if not detach:
        done.then(lambda name: client.wait(name, timeout))
    done.show()


@click.command(short_help="Forget deployments (models stay cached).")
@options.names_or_all
@options.every
@click.option("-f", "--force", is_flag=True, help="Also those that are not stopped.")
@options.json_output
def rm(names: tuple[str, ...], every: bool, force: bool) -> None:
    """Forget deployments. Their models stay in the cache."""
    client = connect()
    chosen = _chosen(client, names, every, lambda one: force or one.state in _AT_REST)

    def remove(name: str) -> Deployment:
        found = client.deployment(name)
        if not force and found.state not in _AT_REST:
            raise Conflict(
                f"{name} is {found.state.value}",
                hint=f"modeldeploy stop {name} first, or modeldeploy rm -f {name}",
            )
        client.remove(name)
        return found

    done = _each(chosen, remove)
    for name in done.names:
        client.wait_gone(name)
    done.show()


@click.command(short_help="Re-attach until a deployment is ready.")
@options.name
@options.timeout
@options.json_output
def wait(name: str, timeout: float | None) -> None:
    """Re-attach to a deployment until it answers (0), or has failed (3)."""
    follow.until_ready(connect(), name, timeout)


def _chosen(
    client: Client, names: tuple[str, ...], every: bool, fits: Callable[[Deployment], bool]
) -> tuple[str, ...]:
    options.some(names, every)
    return tuple(one.name for one in client.deployments() if fits(one)) if every else names


class _Done:
    """What was done to each deployment, and the first thing that went wrong."""

    def __init__(self) -> None:
        self._found: dict[str, Deployment] = {}
        self._error: ModelDeployError | None = None

    @property
    def names(self) -> list[str]:
        return list(self._found)

    def add(self, name: str, act: Callable[[str], Deployment]) -> None:
        try:
            self._found[name] = act(name)
        except ModelDeployError as error:  # the others go on; the first decides how we end
            self._found.pop(name, None)
            if self._error:
                output.warn(error.message)
            self._error = self._error or error

    def then(self, act: Callable[[str], Deployment]) -> None:
        for name in self.names:
            self.add(name, act)

    def show(self) -> None:
        """The names (or the deployments as JSON), then the error if there was one."""
        if self._error and output.as_json():  # one object: it tells what was done as well
            self._error.details += tuple(f"done: {name}" for name in self._found)
            raise self._error
        if output.as_json():
            output.json(list(self._found.values()))
        else:
            for name in self._found:
                output.data(name)
        if self._error:
            raise self._error


def _each(names: tuple[str, ...], act: Callable[[str], Deployment]) -> _Done:
    done = _Done()
    for name in names:
        done.add(name, act)
    return done


def _each_then_watch(
    client: Client,
    names: tuple[str, ...],
    act: Callable[[str], Deployment],
    detach: bool,
    timeout: float | None,
) -> None:
    done = _each(names, act)
    if not detach:
        watch = follow.watch if len(names) == 1 else Client.wait
        done.then(lambda name: watch(client, name, timeout))
    done.show()

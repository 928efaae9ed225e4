"""Options and arguments that several verbs share."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from typing import Any

import click
from click.shell_completion import CompletionItem

from modeldeploy import paths
from modeldeploy.cli.units import bytes_of
from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.deployment import DEVICE_PATTERN, VARIABLE_PATTERN

json_output = click.option(
    "--json",
    is_flag=True,
    expose_value=False,  # `output` knows: it must, also where parsing fails
    help="Print the result, or the error, as JSON.",
)
detach = click.option("-d", "--detach", is_flag=True, help="Do not wait until it is done.")


class Seconds(click.FloatRange):
    """A time that a clock can wait for."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=10**9)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return found


timeout = click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="How long to wait; the deployment itself goes on.",
)
every = click.option("--all", "every", is_flag=True, help="All of them.")


def _complete(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of deployments; nothing is started for that."""
    from modeldeploy import settings
    from modeldeploy.client import Client

    with contextlib.suppress(ModelDeployError):
        client = Client(settings.load().paths.control_socket)
        return [
            CompletionItem(one.name, help=one.model_id)
            for one in client.deployments()
            if one.name.startswith(typed)
        ]
    return []


name = click.argument("name", shell_complete=_complete)
names = click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=_complete
)
names_or_all = click.argument("names", nargs=-1, metavar="NAME...", shell_complete=_complete)


def check_device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    if value is not None and not re.match(DEVICE_PATTERN, value):
        raise click.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps")
    return value


def read_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bytes, as people write them."""
    try:
        return None if value is None else bytes_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_interpreter(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The path of a command, a file, or a virtual environment."""
    if value is None:
        return None
    if not value:
        raise click.BadParameter("it is empty")
    return interpreter(_text(value))


def interpreter(asked: str) -> str:
    """The absolute path; links are not followed, for by its place an interpreter knows its packages."""
    path = paths.expand(asked)
    is_command = os.sep not in asked and not os.path.exists(path)  # noqa: PTH110 - which raises nothing
    return (is_command and shutil.which(asked)) or str(path)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{value!a} is no text in UTF-8") from error
    return value


def read_variables(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> dict[str, str] | None:
    """Of each NAME=VALUE its two parts; None where there are none."""
    pairs = [one.partition("=") for one in value]
    for name, equals, text in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} is not NAME=VALUE")
        if not re.match(VARIABLE_PATTERN, name):
            raise click.BadParameter(f"{name!r} is not the name of a variable")
        _text("=".join([name, text]))
    return {name: text for name, _, text in pairs} or None


def some(names: tuple[str, ...], every: bool) -> None:
    """Either names or ``--all``.

    Raises:
        click.UsageError: both, or neither.
    """
    if bool(names) == every:
        raise click.UsageError(
            "give names, or --all" if every else "give at least one name, or --all"
        )

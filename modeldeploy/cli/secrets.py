"""API keys on their way in and out. They are in no argument: other users see those."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from modeldeploy import apikeys
from modeldeploy.errors import UsageError
from modeldeploy.settings import Settings

HELP = "new: one is made and shown once; env: $MODELDEPLOY_API_KEY; -: standard input; else a file."


def own_key(values: Settings) -> str | None:
    """The key that this user asks deployments with, if one is set."""
    found = values.environment.get(apikeys.VARIABLE)
    return apikeys.checked(found) if found else None


def key_from(source: str, values: Settings) -> tuple[str, bool]:
    """The key of ``source`` (:data:`HELP`), and whether it is new and so must be shown.

    Raises:
        UsageError: there is none there. The message tells no key.
    """
    if source == "new":
        return apikeys.new_key(), True
    if source == "env":
        found = own_key(values)
        if found is None:
            raise UsageError(f"{apikeys.VARIABLE} is not set")
        return found, False
    if source == "-":
        hidden = sys.stdin.isatty()
        raw = click.prompt("API key", hide_input=True, err=True) if hidden else sys.stdin.read()
        return apikeys.checked(raw.strip()), False
    try:
        return apikeys.checked(Path(source).read_text("ascii").strip()), False
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else "it cannot be read"
        raise UsageError(
            f"there is no API key to be had: {why}",
            hint="give new, env, - or a file; a key itself is not given here, where others see it",
        ) from error

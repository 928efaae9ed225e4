"""``keys``: who may ask a deployment."""

from __future__ import annotations

import time

import click

from modeldeploy import settings
from modeldeploy.cli import options, output, secrets
from modeldeploy.cli.lazy import Entry, LazyGroup
from modeldeploy.cli.session import connect
from modeldeploy.cli.units import span
from modeldeploy.schema.keys import ApiKey

_HERE = "modeldeploy.cli.keys"

ENTRIES = {
    "add": Entry(f"{_HERE}:add", "Have one more key answered."),
    "ls": Entry(f"{_HERE}:ls", "Which keys there are; not the keys themselves."),
    "revoke": Entry(f"{_HERE}:revoke", "Have a key answered no more."),
}


@click.group(cls=LazyGroup, entries=ENTRIES, short_help="Who may ask a deployment.")
def keys() -> None:
    """A deployment with API keys answers whoever sends one, as Authorization: Bearer KEY or x-api-key:
    KEY; one without answers everybody. Adding and revoking take effect at once."""


@click.command(short_help="Have one more key answered.")
@options.name
@click.option("--label", default="", help="Whose it is.")
@click.option("--from", "source", default="new", metavar="SOURCE", help=secrets.HELP)
@options.json_output
def add(name: str, label: str, source: str) -> None:
    """Have one more key answered, and print it: it is shown this once and kept nowhere."""
    values = settings.load()
    key, is_new = secrets.key_from(source, values)
    added = connect(values).add_key(name, key, label)
    shown = {"key": key} if is_new else {}
    if output.as_json():
        output.json({"id": added.id, "label": added.label, **shown})
    else:
        output.data(key if is_new else added.id)
    _tell_if_late(added)


@click.command(short_help="Which keys there are; not the keys themselves.")
@options.name
@options.json_output
def ls(name: str) -> None:
    """Which keys there are: their ids and labels."""
    found = connect().keys(name)
    if output.as_json():
        output.json([{"id": k.id, "label": k.label, "created_at": k.created_at} for k in found])
        return
    for one in found:
        output.data(f"{one.id}  {span(time.time() - one.created_at):>8}  {one.label}".rstrip())
    if not found and output.is_terminal():
        output.aside(f"none: {name} answers everybody who reaches it")


@click.command(short_help="Have a key answered no more.")
@options.name
@click.argument("key_id", metavar="ID")
@click.option("--open", "may_open", is_flag=True, help="Also the last one: then all are answered.")
@options.json_output
def revoke(name: str, key_id: str, may_open: bool) -> None:
    """Have a key answered no more, from now on."""
    gone = connect().revoke_key(name, key_id, may_open=may_open)
    if output.as_json():
        output.json({"id": gone.id, "label": gone.label})
    else:
        output.data(gone.id)
    _tell_if_late(gone)


def _tell_if_late(key: ApiKey) -> None:
    if not key.in_force:
        output.warn("the worker did not answer: it is told again until it knows")

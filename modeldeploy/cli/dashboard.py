"""``dashboard``: the page of the front door, in a browser that may use it."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import click

from modeldeploy import settings
from modeldeploy.cli import options, output
from modeldeploy.cli.session import connect
from modeldeploy.client import tickets
from modeldeploy.client.token import api_token
from modeldeploy.errors import GatewayUnavailable
from modeldeploy.paths import private_open

_SECONDS = 20.0
_LEADS_TO = """<!doctype html>
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={0}">
<title>modeldeploy</title>
<a href="{0}">the dashboard</a>
"""


@click.command(short_help="Everything on a page, in the browser.")
@click.option("--no-open", is_flag=True, help="Only print its link.")
@options.json_output
def dashboard(no_open: bool) -> None:
    """Open the dashboard in the browser.

    The link is good once, for five minutes; the browser then stays signed in for a week, or
    until *Sign out*. It works at localhost and at 127.0.0.1 alike.
    """
    values = settings.load()
    gateway = connect(values).status().gateway
    if gateway.url is None:
        raise GatewayUnavailable(
            f"there is no front door: {gateway.notice or 'it is switched off'}",
            hint="modeldeploy daemon restart starts one, unless MODELDEPLOY_GATEWAY is false",
        )
    _until_it_answers(gateway.url)
    ticket = tickets.sign(api_token(values.paths.api_token), tickets.TICKET)
    link = f"{gateway.url}/#ticket={ticket}"
    if output.as_json():
        output.json({"url": link})
    else:
        output.data(link)
    if not (no_open or output.as_json() or _open(link, values.paths.dashboard_link)):
        output.aside("no browser was found: open the link in one on this machine")


def _open(link: str, page: Path) -> bool:
    """The link is a secret, so the browser gets the name of a private file that leads to it."""
    with open(page, "w", opener=private_open) as written:
        written.write(_LEADS_TO.format(link))
    return click.launch(page.as_uri()) == 0


def _until_it_answers(url: str) -> None:
    """A gateway takes no ticket from before its own start."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_SECONDS)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise GatewayUnavailable(
            f"the front door at {url} does not answer ({error})",
            hint="modeldeploy daemon logs tells more",
        ) from error
    finally:
        connection.close()

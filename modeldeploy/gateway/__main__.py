"""``python -m modeldeploy.gateway``: what the supervisor starts, with the socket it listens on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from functools import partial

import msgspec
import uvloop

from modeldeploy import handover, logfile, settings
from modeldeploy.client import Client, hub_access
from modeldeploy.client.token import api_token
from modeldeploy.gateway.access import Access
from modeldeploy.gateway.app import GatewayApp
from modeldeploy.gateway.control import Control
from modeldeploy.gateway.history import History
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.proxy import Proxy
from modeldeploy.gateway.roster import Roster
from modeldeploy.gateway.scraping import Scraper
from modeldeploy.schema.control import Defaults
from modeldeploy.schema.tasks import TASKS
from modeldeploy.settings import Settings
from modeldeploy.transport import LISTEN_FD
from modeldeploy.web import servers

log = logging.getLogger(__name__)

_ROSTER_SECONDS = 5.0


async def _serve(values: Settings, listener: socket.socket) -> None:
    """Until told to end, or until the next supervisor has taken the socket over."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    where, metrics = values.paths, Metrics()
    roster = Roster(Client(where.control_socket))
    roster.start()
    proxy = Proxy(values.max_body_bytes, metrics)
    access = Access(api_token(where.api_token), where.ended_sessions)
    history = History(roster, Scraper(proxy))
    control = Control(
        str(where.control_socket), access, metrics, history, partial(_defaults, values)
    )
    handover.offer(listener, where.gateway_handover, ending.set)
    await roster.known(_ROSTER_SECONDS)  # who comes meanwhile waits in the socket's queue
    app = GatewayApp(roster, proxy, control, metrics, values.max_body_bytes)
    server = servers.server(app, values.drain_timeout)
    serving = asyncio.ensure_future(server.serve([listener]))
    told = asyncio.ensure_future(ending.wait())
    keeping = asyncio.ensure_future(history.keep())
    log.info("serving at port %d", listener.getsockname()[1])
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    log.info("ending: answering what was accepted")
    server.should_exit = True
    await serving
    told.cancel()
    keeping.cancel()
    roster.close()
    await proxy.close()
    await control.close()


def _defaults(values: Settings) -> Defaults:
    """Of a deployment that is asked for here; the Hub's token is the asker's own."""
    return Defaults(
        cache_dir=str(settings.hub_cache(values)),
        device=values.device,
        dtype=values.dtype,
        hub=msgspec.structs.replace(hub_access(values), token=None),
        tasks=sorted(TASKS),
    )


def main() -> int:
    values = settings.load()
    listener = servers.inherited_socket(int(os.environ.pop(LISTEN_FD)))
    logfile.set_up(values.paths.make().gateway_log, values)
    servers.raise_file_limit()
    try:
        uvloop.run(_serve(values, listener))
    except Exception:  # the process's boundary
        log.exception("the gateway failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

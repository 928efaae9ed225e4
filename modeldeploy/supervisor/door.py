"""The control socket, and that it stays where clients look for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette

from modeldeploy.errors import ModelDeployError
from modeldeploy.transport import private_listener
from modeldeploy.web import servers

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_LOOK_SECONDS = 2.0


class Door:
    """Serves ``app`` at ``path``. Where the socket was removed, with its directory too, it is made
    anew; ``make_room`` is called before and may forbid it (ModelDeployError)."""

    def __init__(self, app: Starlette, path: Path, make_room: Callable[[], None]) -> None:
        self._app = app
        self._path = path
        self._make_room = make_room
        self._servers: list[tuple[servers.Server, asyncio.Future[None]]] = []
        self._open()
        self._watch = asyncio.ensure_future(self._look_after_it())

    def _open(self) -> None:
        listener = private_listener(self._path)
        self._inode = self._path.stat().st_ino
        server = servers.server(self._app, _CLOSE_SECONDS, private=True)
        self._servers.append((server, asyncio.ensure_future(server.serve([listener]))))

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return self._path.is_socket() and self._path.stat().st_ino == self._inode
        return False

    async def _look_after_it(self) -> None:
        """Whoever is connected stays so: only newcomers need the path."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self._make_room()
                if not self._is_there():
                    log.warning("the control socket was removed; it is made anew")
                    self._open()
            except (ModelDeployError, OSError) as error:
                log.warning("the control socket cannot be made anew: %s", error)

    async def close(self) -> None:
        self._watch.cancel()
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*(serving for _, serving in self._servers))
        if self._is_there():
            self._path.unlink(missing_ok=True)

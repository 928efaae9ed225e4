"""The API keys of one deployment, as its worker must know them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from modeldeploy import apikeys
from modeldeploy.schema.worker import WorkerReport
from modeldeploy.supervisor import links
from modeldeploy.supervisor.record import StoredKey


class Keyring:
    """Orders are sent one after another, and again until the worker's reports say the same: a worker
    that was adopted, or that missed one, comes right like any other. ``own`` is a key for the
    supervisor's own questions; it is in memory only, and new in each supervisor."""

    def __init__(self, stored: Callable[[], tuple[StoredKey, ...]]) -> None:
        self.own = apikeys.new_key()
        self._stored = stored
        self._lock = asyncio.Lock()
        self._again: asyncio.Task[bool] | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Those on record, and our own beside them; none where there are none."""
        stored = tuple(one.digest for one in self._stored())
        return (*stored, apikeys.digest_of(self.own)) if stored else ()

    async def order(self, socket: Path) -> bool:
        """Whether the worker at ``socket`` now answers those, and no others."""
        async with self._lock:
            return await asyncio.to_thread(links.order_keys, socket, self.digests)

    def heard(self, report: WorkerReport, socket: Path) -> None:
        """Order them, if the worker's latest report says something else."""
        if report.keys != apikeys.mark_of(self.digests) and not self._lock.locked():
            self._again = asyncio.get_running_loop().create_task(self.order(socket))

"""What the deployments' own ``/metrics`` tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from modeldeploy.gateway.proxy import Proxy
from modeldeploy.gateway.roster import running
from modeldeploy.schema.deployment import Deployment

_SECONDS = 3.0


class Scraper:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def pages(self, deployments: Iterable[Deployment]) -> dict[str, str]:
        """Of those that run, by name; without those that do not tell it in time."""
        ready = running(deployments)
        found = await asyncio.gather(*map(self._page, ready))
        return {one.name: page for one, page in zip(ready, found, strict=True) if page}

    async def _page(self, deployment: Deployment) -> str | None:
        assert deployment.port is not None
        try:
            url = deployment.spec.url(deployment.port)
            page = await self._proxy.read(url, "/metrics", _SECONDS)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            return None
        return page.decode("utf-8", "replace")

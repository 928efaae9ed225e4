"""Asking deployments of ours for a while: what the scripts that measure only us share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.peers import asking
from modeldeploy.client import load


def requests(port: int, kind: str, inputs: Sequence[Sequence[str]]) -> list[bytes]:
    """One for each group of inputs, as it stands on the wire."""
    asks = [asking.ours(kind, some) for some in inputs]
    return [load.post("127.0.0.1", port, one.path, one.body, one.content_type) for one in asks]


async def together(
    ports: Sequence[int], wire: Sequence[str], clients: int, seconds: float
) -> float:
    """Texts a second of all deployments, each with as many clients."""
    found = await asyncio.gather(
        *(
            load.measure(
                "127.0.0.1",
                port,
                requests(port, "embeddings", [[text] for text in wire]),
                clients,
                seconds=seconds,
            )
            for port in ports
        )
    )
    return sum(one.rate for one in found)

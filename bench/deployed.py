"""Asking deployments of ours for a while: what the scripts that measure only us share."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Sequence

from bench.peers import asking
from modeldeploy.client import load

_SETTLED_SECONDS = 400.0
_CALLS_SECONDS = 6.0  # in which calls are measured on it
_BEGUN_SECONDS = 60.0  # within which a graph is begun, if ever: calls are measured before


def requests(port: int, kind: str, inputs: Sequence[Sequence[str]]) -> list[bytes]:
    """One for each group of inputs, as it stands on the wire."""
    asks = [asking.ours(kind, some) for some in inputs]
    return [load.post("127.0.0.1", port, one.path, one.body, one.content_type) for one in asks]


def settle(port: int, wire: Sequence[bytes]) -> None:
    """Ask until the model's graphs are made and tried, or it is clear that there will be none: it is kept,
    and what a deployment does in its first minute is not what is measured."""
    begun, calm = time.monotonic(), False
    while (waited := time.monotonic() - begun) < _SETTLED_SECONDS:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/info") as answer:
            runs = json.load(answer)["runs"]
        is_made = any("being made" in told for told in runs.values())
        if not is_made and ("graph" in runs or waited > _BEGUN_SECONDS):
            if calm:  # the next one had time to begin
                return
            time.sleep(_CALLS_SECONDS)
            calm = True
        elif is_made:
            calm = False
            time.sleep(0.5)  # it is made faster by a machine that has nothing else to do
        else:
            asyncio.run(load.measure("127.0.0.1", port, wire, 4, seconds=1.0))


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

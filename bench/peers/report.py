"""What a run found, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import results
from bench.peers.catalog import PEERS
from bench.peers.measuring import Taken
from bench.peers.serving import OURS


def as_json(
    workload: str, seconds: float, taken: Mapping[str, Taken], versions: Mapping[str, str]
) -> dict[str, Any]:
    """The header of ``bench.results`` and every server's values, a round each."""
    return {
        **results.header("peers"),
        "workload": workload,
        "seconds_each": seconds,
        "peer_versions": dict(versions),
        "servers": {name: vars(found) for name, found in taken.items()},
    }


def table(found: Mapping[str, Any]) -> str:
    """Of what ``as_json`` made: medians of inputs a second, and ours over theirs."""
    servers: Mapping[str, Any] = found["servers"]
    cases = list(dict.fromkeys(case for one in servers.values() for case in one["rates"]))
    ours = servers.get(OURS, {"rates": {}})
    rows = [_row(name, one, ours, cases) for name, one in servers.items()]
    heads = ["", *cases, *(f"ours ÷ it, {case}" for case in cases), "ready, s", "memory, MB"]
    return results.table(heads, rows)


def _row(
    name: str, one: Mapping[str, Any], ours: Mapping[str, Any], cases: Sequence[str]
) -> list[str]:
    middle = [results.median(one["rates"].get(case, [])) for case in cases]
    base = [results.median(ours["rates"].get(case, [])) for case in cases]
    ratios = [
        None if name == OURS else results.ratio(our, its)
        for our, its in zip(base, middle, strict=True)
    ]
    return [
        PEERS[name].title if name in PEERS else name,
        *map(results.number, middle),
        *map(results.number, ratios),
        results.number(results.median(one["ready_s"])),
        results.number(results.median(one["memory_mb"])),
    ]


def problems(found: Mapping[str, Any]) -> list[str]:
    """A line for each server that was given up or did not answer all."""
    lines = []
    for name, one in found["servers"].items():
        if one["problem"]:
            lines.append(f"{name}: {one['problem']}")
        if one["failed_requests"]:
            lines.append(f"{name}: {one['failed_requests']} requests failed")
    return lines

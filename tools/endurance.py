"""What the long runs found, for ``docs/reliability.md``: made of ``bench/results``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

_RESULTS = Path(__file__).parents[1] / "bench" / "results"


def sections() -> list[str]:
    """The lines of the soak's, the chaos's and the overload's section."""
    return ["", "## Long runs", *_soak(), *_chaos(), *_overload()]


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def _where(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return f"{machine['cores']} cores ({machine['cpu']}), commit {found['commit']}"


def _fates(requests: dict[str, dict[str, int]]) -> str:
    total: Counter[str] = Counter()
    for fates in requests.values():
        total.update(fates)
    return ", ".join(f"{count:,} {kind}" for kind, count in total.most_common())


def _soak() -> list[str]:
    found = _read("soak")
    lines = [
        "",
        "### Soak",
        "",
        f"`make soak`: {found['minutes']:.0f} minutes of modest load on five deployments and the gateway,",
        "with clients that stream, leave and err, a deployment that is stopped and started and another",
        "that comes and goes. From the tenth minute, when caches are full and graphs made; resident",
        f"memory, on {_where(found)}:",
        "",
        "| process | MB, tenth minute | MB, end | MB an hour | descriptors | threads |",
        "|---|---|---|---|---|---|",
    ]
    for what, one in found["growth"].items():
        lines.append(
            f"| {what} | {one['rss_mb_first']:.1f} | {one['rss_mb_last']:.1f} "
            f"| {one['rss_mb_hourly']:+.1f} "
            f"| {one['descriptors_first']:.0f} → {one['descriptors_last']:.0f} "
            f"| {one['threads_first']:.0f} → {one['threads_last']:.0f} |"
        )
    most = max(one["logs"] for one in found["samples"])
    return [
        *lines,
        "",
        f"Requests: {_fates(found['requests'])} (unreachable only while their deployment was stopped;",
        f"{len(found['lost'])} without a true answer). Logs never held more than {most / 1e6:.1f} MB, of",
        f"{found['log_cap'] / 1e6:.1f} MB that each may.",
    ]


def _chaos() -> list[str]:
    found = _read("chaos")
    harm = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in found["harm"].items())
    return [
        "",
        "### Chaos",
        "",
        f"`make chaos`: {found['seconds']:.0f} seconds of random harm to three deployments under load, on",
        f"{_where(found)}. Times: {harm}.",
        "",
        f"Requests: {_fates(found['requests'])}. Broken were only those that a worker had when it was killed",
        "or stopped here, or that waited for one that was just being replaced when the supervisor was killed",
        "too; refused and unreachable only where a deployment was stopped or its worker had been harmed.",
        "Restarts, deaths of the supervisor alone and full disks excuse nothing. At the end there was no",
        "process, file or port too many, and descriptors and memory were as before.",
    ]


def _overload() -> list[str]:
    found = _read("overload")
    lines = [
        "",
        "### Overload",
        "",
        "`python -m bench.overload`: a classifier of 66 M parameters at its peak; at its peak while ten times as",
        "many requests a second are sent to a stranger on this machine, who refuses them; with 500 slow senders,",
        f"500 idle connections and those requests itself; and afterwards. {_where(found)}.",
        "",
        "| peak/s | elsewhere/s | overloaded/s | afterwards/s | refused | ms to a 429 | 99 % | Retry-After |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kept = median(one["under"] / one["elsewhere"] for one in found["rounds"])
    whole = median(2 * one["under"] / (one["peak"] + one["after"]) for one in found["rounds"])
    for one in found["rounds"]:
        lines.append(
            f"| {one['peak']:.1f} | {one['elsewhere']:.1f} | {one['under']:.1f} | {one['after']:.1f} | {one['refused']:.0f} "
            f"| {one['refused_ms_median']:.1f} | {one['refused_ms_99']:.0f} "
            f"| {one['retry_after_least']:.0f} to {one['retry_after_most']:.0f} s |"
        )
    return [
        *lines,
        "",
        f"Of the rate with the same requests sent elsewhere {kept:.0%} is kept (median), of the rate with nobody",
        f"sending them {whole:.0%}: who sends them takes the same two cores. Afterwards it is all there again.",
    ]

"""This project against its peers: the same model, inputs, machine and load generator.

In each round every server has one turn (started, warmed, measured, stopped), so that none runs beside
another and slow drifts of the machine meet all alike. ``python -m bench.peers --help``
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import ending, results, workload
from bench.peers import chat, install, report
from bench.peers.catalog import PEERS, Job
from bench.peers.measuring import Alone, Case, Taken, turn
from bench.peers.process import Problem
from bench.peers.serving import OPTIMIZED, OURS, Ours, Server, Theirs, free_port
from tests.models import smollm2

_MODELS: dict[str, Callable[[Path], Path]] = {
    "classification": workload.classifier,
    "embeddings": workload.embedder,
    "many": workload.embedder,
    "image": workload.image_classifier,
    "chat": smollm2.convert,
}
_WORKLOADS = [*_MODELS, "noop"]
_OURS: dict[str, list[str]] = {OURS: [], OPTIMIZED: ["--optimize"]}
_MANY = [Case("1 x 512", 1, 512), Case("4 x 64", 4, 64)]


def main() -> None:
    ending.heed()
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        for kind in asked.workload:
            found = measure(kind, asked, Path(folder) / kind)
            print(f"\n{kind}\n{report.table(found)}")
            print(*report.problems(found), sep="\n")
            results.save(asked.json or results.FOLDER / f"peers-{kind}.json", found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--workload", nargs="+", choices=_WORKLOADS, default=["classification", "embeddings"])
    add(
        "--peers",
        nargs="+",
        choices=[*_OURS, *PEERS],
        help="default: ours and whoever is installed",
    )
    add("--clients", default="1,8,32", help="how many ask at once (default: %(default)s)")
    add("--rounds", type=int, default=2)
    add("--seconds", type=float, default=6.0, help="of each measurement (default: %(default)s)")
    add("--json", type=Path, help="where to write (default: bench/results/peers-WORKLOAD.json)")
    add("--device", default="cpu", help="of all servers (default: %(default)s)")
    add("--dtype", default="float32", help="of their weights (default: %(default)s)")
    add("--lock", type=Path, help="a file to lock while a server is measured")
    add("--options", default="", help="more options for our deploy, such as --no-optimize")
    return parser.parse_args()


def measure(kind: str, asked: argparse.Namespace, folder: Path) -> dict[str, object]:
    folder.mkdir()
    models = install.FOLDER / "models"
    models.mkdir(parents=True, exist_ok=True)
    make = _MODELS.get(kind)
    snapshot = make(models / ("embeddings" if kind == "many" else kind)) if make else None
    inputs = workload.images() if kind == "image" else workload.texts()
    counts = [int(one) for one in asked.clients.split(",")]
    cases = _MANY if kind == "many" else [Case(str(one), one) for one in counts]
    servers, taken, versions = _servers(kind, asked, snapshot, folder, models)
    try:
        with Alone(asked.lock) as lock:
            for number in range(asked.rounds):
                for name in _rotated(list(servers), number):
                    print(f"{kind}, round {number + 1}: {name}", file=sys.stderr, flush=True)
                    try:
                        if kind == "chat":
                            chat.turn(servers[name], snapshot, counts, asked.seconds, taken[name])
                        else:
                            turn(servers[name], inputs, cases, asked.seconds, taken[name])
                    except Problem as problem:
                        taken[name].problem = str(problem)
                        servers.pop(name).close()
                    lock.between()
    finally:
        for server in servers.values():
            server.close()
    where = {"device": asked.device, "dtype": asked.dtype}
    return report.as_json(kind, asked.seconds, taken, versions) | where


def _servers(
    kind: str, asked: argparse.Namespace, snapshot: Path | None, folder: Path, models: Path
) -> tuple[dict[str, Server], dict[str, Taken], dict[str, str]]:
    servers: dict[str, Server] = {}
    taken: dict[str, Taken] = {}
    versions: dict[str, str] = {}
    where = [] if kind == "noop" else ["--device", asked.device, "--dtype", asked.dtype]
    names = asked.peers or [OURS, *(name for name, peer in PEERS.items() if peer.usual)]
    for name in names:
        if name in _OURS:
            options = [*where, *asked.options.split(), *_OURS[name]]
            servers[name] = Ours(kind, snapshot, folder / name.replace(" ", ""), options)
            taken[name] = Taken()
        elif kind in PEERS[name].workloads:
            python = install.python_of(name)
            taken[name] = Taken(problem="" if python else "not installed")
            if python:
                job = Job(kind, snapshot, folder / name, models, free_port(), python)
                job = replace(job, device=asked.device, dtype=asked.dtype)
                servers[name] = Theirs(PEERS[name], job)
                versions |= install.versions(name, python)
    return servers, taken, versions


def _rotated(names: Sequence[str], number: int) -> list[str]:
    """Each round begins with another."""
    at = number % len(names) if names else 0
    return [*names[at:], *names[:at]]


if __name__ == "__main__":
    main()

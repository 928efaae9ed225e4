"""What is promised when things go wrong, and which test proves it: ``docs/reliability.md``.

A test says what it proves with ``@pytest.mark.promise(NUMBER, fault="what it does")``. The markers
are collected by pytest itself, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

ROOT = Path(__file__).parents[1]
_MADE = (
    "<!-- made by tools/promises.py of the tests' markers: mark a test, then run make format -->"
)

PROMISES: dict[int, str] = {
    1: "The supervisor may die at any moment: deployments go on answering, not one request fails, "
    "and the next supervisor adopts the same processes on the same ports.",
    2: "A worker that dies is restarted on the same port with growing pauses; one that keeps dying "
    "ends in FAILED with the cause and its last lines.",
    3: "Requests in flight on a dead worker end within a second; none is run twice; newcomers wait "
    "for the restart.",
    4: "A hung worker, stopped or deadlocked, is found and replaced; a busy one is not.",
    5: "`stop`, `restart`, `rm` and the daemon's end answer what was accepted, within a deadline, "
    "and leave no process, port, socket file or partial download.",
    6: "Commands race safely: any interleaving leaves a consistent state.",
    7: "Exactly one supervisor per home; what lies there stale never blocks a start.",
    8: "A port of a stranger is skipped and never taken for ours; an empty pool is a clear error.",
    9: "What was stopped stays stopped and what was running comes back, whatever ended it all.",
    10: "State survives kill -9 at any instruction and a full disk: old or new, never mixed, never "
    "lost; damaged or newer state is set aside or left alone, and said.",
    11: "Logs rotate and are capped; a full disk stops logs, not serving.",
    12: "No file has its final name before it is complete and verified; a download resumes, stops "
    "at once on a full disk, and stalls, trickles and the whole have deadlines.",
    13: "Each refusal of the Hub has its own message with what to do; retries are bounded.",
    14: "Pickle and a repository's own code are refused unless opted in.",
    15: "Whatever is wrong with a model ends in FAILED with one line of cause, and takes nothing "
    "else down.",
    16: "The worker runs with the least it needs: offline, without the Hub token, gaining no rights and "
    "dumping no core.",
    17: "No input makes a worker crash or hang; every bad input gets its 4xx; a poisonous item in a "
    "batch fails alone.",
    18: "A client that leaves frees its slot; slow senders and idlers are cut; saturation answers "
    "429 at once and recovers fully.",
    19: "Generated schemas are true.",
    20: "Control only through a private socket whose peer is checked; deployments listen on "
    "127.0.0.1, where they have API keys answer nobody without one, and where they have a certificate "
    "nobody in the clear.",
    21: "`Host` and `Origin` are checked, and JSON routes want a JSON content type.",
    22: "Secrets are in no argv, log, state file, error or answer; the Hub's token goes to the Hub "
    "only.",
    23: "One function turns a name into a path; model ids are checked before they touch one.",
    24: "Directories are 0700 and files 0600 whatever the umask.",
}


class Proof(Struct, frozen=True, order=True):
    """One test's claim."""

    promise: int
    file: str
    test: str
    fault: str


class Collector:
    """A plugin of pytest that notes the markers of what was collected."""

    def __init__(self) -> None:
        self.proofs: set[Proof] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("promise"):
                name = getattr(item, "originalname", item.name)
                if name == "runTest":  # a state machine's only one
                    name = item.nodeid.split("::")[1]
                file = item.path.relative_to(ROOT).as_posix()
                self.proofs.add(Proof(mark.args[0], file, name, mark.kwargs["fault"]))


@cache
def collect() -> list[Proof]:
    """Every claim in the tests, by promise."""
    marked = [file for file in _tests() if "mark.promise(" in file.read_text("utf-8")]
    with tempfile.NamedTemporaryFile() as answer:
        subprocess.run(
            [sys.executable, "-m", "tools.promises", answer.name, *map(str, marked)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        return sorted(msgspec.json.decode(answer.read(), type=list[Proof]))


def _tests() -> Iterable[Path]:
    return sorted((ROOT / "tests").rglob("test_*.py"))


def unproved(proofs: Iterable[Proof]) -> list[int]:
    return sorted(PROMISES.keys() - {proof.promise for proof in proofs})


def page() -> str:
    """Promise, fault, test."""
    proofs = collect()
    lines = [
        "# What holds when things go wrong",
        "",
        _MADE,
        "",
        "Each promise is proved by tests that do the harm for real: processes killed and stopped,",
        "disks filled, files damaged, a Hub that stalls and lies, clients that flood and trickle. They",
        "assert that the rest went on and that what was harmed recovered. `make chaos` does it all at",
        "random, under load.",
    ]
    for number, words in PROMISES.items():
        lines += ["", f"## {number}", "", words, "", "| fault | test |", "|---|---|"]
        for proof in proofs:
            if proof.promise == number:
                lines.append(f"| {proof.fault} | [`{proof.test}`](../{proof.file}) |")
    return "\n".join(lines) + "\n"


def main(answer: str, files: list[str]) -> int:
    """Write the markers of ``files`` to ``answer``."""
    found = Collector()
    code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *files], plugins=[found])
    Path(answer).write_bytes(msgspec.json.encode(sorted(found.proofs)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

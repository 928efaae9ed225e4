"""What each room imports, seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "huggingface_hub"}
SERVERS = {"starlette", "uvicorn", "aiohttp"}
RUN = "import sys; from modeldeploy.cli.main import main; main({!r})"


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('MODULES', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.rpartition("MODULES")[2].split()}


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import modeldeploy.cli.main", HEAVY | SERVERS | {"rich", "numpy", "psutil"}),
        (RUN.format(["--help"]), HEAVY | SERVERS | {"rich", "http", "subprocess"}),
        (RUN.format(["ls", "--help"]), HEAVY | SERVERS | {"rich"}),
        (RUN.format(["deploy", "--help"]), HEAVY | SERVERS | {"rich"}),
        ("import modeldeploy.cli.live, modeldeploy.cli.daemon", HEAVY | SERVERS),
        ("import modeldeploy.client", HEAVY | SERVERS | {"click", "rich"}),
        ("import modeldeploy.supervisor.api", HEAVY | {"rich"}),
        ("import modeldeploy.supervisor.server", HEAVY | {"rich"}),
        ("import modeldeploy.supervisor.__main__", HEAVY | {"rich", "aiohttp"}),
        ("import modeldeploy.gateway.__main__", HEAVY | {"rich", "numpy"}),
        # It steps back first: importing torch takes seconds of a core as well.
        ("import modeldeploy.worker.exporter", HEAVY),
    ],
)
def test_a_room_imports_no_more_than_it_needs(code: str, banned: set[str]) -> None:
    assert not imported_by(code) & banned

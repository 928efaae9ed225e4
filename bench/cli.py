"""How instant the command line is: each command's wall time over ``python -c "import click"``.

Whole processes, interleaved, medians; ratios within one run. ``python -m bench.cli``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
MODELDEPLOY = str(Path(sys.executable).with_name("modeldeploy"))
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "--version": [MODELDEPLOY, "--version"],
    "--help": [MODELDEPLOY, "--help"],
    "ls": [MODELDEPLOY, "ls"],
}


def seconds(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "MODELDEPLOY_HOME": home}
        for command in COMMANDS.values():  # warm the page cache, start the supervisor
            seconds(command, env)
        try:
            taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
            for _ in range(ROUNDS):
                for name, command in COMMANDS.items():
                    taken[name].append(seconds(command, env))
        finally:
            subprocess.run([MODELDEPLOY, "daemon", "stop"], env=env, check=False)
    base = statistics.median(taken["import click"])
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"{name:<14} {middle * 1000:7.1f} ms   {middle / base:5.2f} x import click")


if __name__ == "__main__":
    main()

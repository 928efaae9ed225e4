"""What was measured, where it was and with what: as JSON for plots, as tables for people."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).parent / "results"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_OURS = ("torch", "transformers", "onnxruntime", "tokenizers", "starlette", "uvicorn", "uvloop")
_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))
"""


def machine() -> dict[str, Any]:
    """What the figures depend on, without what tells whose machine it is."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "instructions": [flag for flag in _FLAGS if flag in _cpu_flags()],
        "gpu": _gpu_name(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _gpu_name() -> str:
    """Empty without one."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return ""
    names = [tool, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(names, capture_output=True, text=True, check=False)
    return done.stdout.strip().replace("\n", ", ") if not done.returncode else ""


def _cpu_info(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor()


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def versions(*names: str, python: str | Path = sys.executable) -> dict[str, str]:
    """Of those distributions that are installed beside ``python``."""
    found = subprocess.run(
        [python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True
    )
    read: dict[str, str] = json.loads(found.stdout)
    return read


def commit() -> str:
    """The commit that is measured, with a + where files were changed since; empty outside of git."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - whichever git is there
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def header(benchmark: str) -> dict[str, Any]:
    """What every file of results begins with."""
    return {
        "benchmark": benchmark,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(*_OURS),
    }


def save(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def median(values: Sequence[float]) -> float | None:
    """None where nothing was measured."""
    return statistics.median(values) if values else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """How many times as much; None where either is missing or theirs is nothing."""
    return ours / theirs if ours is not None and theirs else None


def number(value: float | None) -> str:
    """Three digits, as far as they mean something."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is legible as it stands."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )

"""The orders of a worker in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modeldeploy.schema.tasks import TASKS
from modeldeploy.schema.worker import Limits, WorkerSpec


def worker_spec(snapshot: Path, task: str, port: int, **changes: Any) -> WorkerSpec:
    """Without sockets and a log file of its own, unless they are among the ``changes``."""
    usual: dict[str, Any] = {
        "deployment": "demo",
        "replica": "0123456789ab",
        "model_id": "org/demo",
        "commit": None,
        "snapshot": str(snapshot),
        "task": task,
        "model_type": TASKS[task].model_type,
        "device": "cpu",
        "dtype": "auto",
        "trust_remote_code": False,
        "allow_pickle": False,
        "host": "127.0.0.1",
        "port": port,
        "socket": "",
        "handover": "",
        "log_file": "",
        "log_max_bytes": 10_000_000,
        "log_files": 2,
        "drain_timeout": 10.0,
        "limits": Limits(),
        "threads": 1,
    }
    return WorkerSpec(**{**usual, **changes})

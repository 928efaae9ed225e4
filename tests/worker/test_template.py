from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from modeldeploy.worker import template


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("does not fit numpy"), ["torch_of_tomorrow cannot be imported"]),
        (ImportError("another version does not have it"), []),
    ],
)
def test_a_package_that_cannot_be_imported_leaves_all_others_warm(
    error: Exception,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    warm = []

    def imported(name: str) -> None:
        if name.endswith("of_tomorrow"):
            raise error
        warm.append(name)

    monkeypatch.setattr(importlib, "import_module", imported)
    template._import("torch_of_tomorrow", "onnxruntime")
    assert warm == ["onnxruntime"]
    assert caplog.messages == told


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("", ""),
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "2 threads are running after the imports",
        ),
    ],
)
def test_a_process_with_a_second_thread_does_not_fork(before: str, told: str) -> None:
    script = f"from modeldeploy.worker import template\n{before}\nprint(template._unfit())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == told


def test_what_a_worker_would_import_or_make_first_is_there_before_it_is_forked() -> None:
    script = """
import sys
from modeldeploy.worker import template
template._import_all()
from transformers import conversion_mapping
made = conversion_mapping._checkpoint_conversion_mapping_cache is not None
wanted = ["worker.dialects.openai", "worker.compute.settling", "worker.tasks.fill_mask"]
print(made, all(f"modeldeploy.{name}" in sys.modules for name in wanted), repr(template._unfit()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True True ''"

from __future__ import annotations

import importlib

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

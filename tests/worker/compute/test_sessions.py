"""Each runtime gives a graph's results, with the threads that it may have, and tells nobody."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldeploy.schema.graph import Form
from modeldeploy.worker.compute import sessions
from tests.worker.compute.onnx_files import WEIGHTS, product

FORMS = [Form("onnx"), Form("openvino"), Form("openvino", "bfloat16")]


def needs(form: Form) -> None:
    """Skip the test where the form's runtime is not installed."""
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[form.runtime]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_gives_what_the_graph_computes(tmp_path: Path, form: Form) -> None:
    needs(form)
    product(tmp_path / sessions.FILE)
    session = sessions.opened(form, tmp_path, 2)
    assert session.threads == 2
    assert session.inputs == {"x": (None, len(WEIGHTS))}
    for rows in (1, 3):
        x = np.random.default_rng(0).normal(size=(rows, len(WEIGHTS))).astype(np.float32)
        (found,) = session.run({"x": x})
        most = 0.1 if form.precision == "bfloat16" else 1e-4
        assert np.abs(found - x @ WEIGHTS).max() < most
    assert sessions.named(form.runtime).split()[-1][0].isdigit()


def test_openvino_computes_as_it_is_told(tmp_path: Path) -> None:
    needs(FORMS[1])
    product(tmp_path / sessions.FILE)
    session: Any = sessions.opened(FORMS[1], tmp_path, 2)
    told = session._request.get_compiled_model().get_property
    assert told("INFERENCE_NUM_THREADS") == 2
    assert told("ENABLE_CPU_PINNING") is False
    assert "float32" in str(told("INFERENCE_PRECISION_HINT"))


def test_openvino_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    needs(FORMS[1])
    story = "from modeldeploy.worker.compute import sessions; sessions._openvino().Core()"
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    subprocess.run([sys.executable, "-c", story], env={**env, "HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())

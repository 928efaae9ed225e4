"""Products with weights are computed in int8, row by row, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldeploy.worker import cpu
from modeldeploy.worker.compute import quantizing
from tests.worker.compute.onnx_files import WEIGHTS, product, two_products

onnxruntime: Any = pytest.importorskip("onnxruntime")


def _quantized(folder: Path, make: Any = product) -> Path:
    file = folder / "graph.onnx"
    make(file)
    assert quantizing.quantize(file) == 1
    assert {one.name for one in folder.iterdir()} <= {"graph.onnx", "graph.onnx.data"}
    return file


def _run(file: Path, x: Any) -> Any:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _rows(count: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, len(WEIGHTS))).astype(np.float32)


def test_results_are_close_whatever_shares_the_call(tmp_path: Path) -> None:
    file, x = _quantized(tmp_path), _rows(4)
    x[0] *= 1000  # it would leave the others nothing of one scale for all
    x[1] = 0
    found, expected = _run(file, x), x @ WEIGHTS
    spread = np.abs(expected).max(axis=1, keepdims=True).clip(1e-6)
    assert 0 < np.abs((found - expected) / spread).max() < 0.03
    assert not found[1].any()


def test_a_product_without_weights_stays_as_it_is(tmp_path: Path) -> None:
    import onnx

    file = _quantized(tmp_path, two_products)
    kinds = [node.op_type for node in onnx.load(file).graph.node]
    assert kinds.count("MatMulInteger") == 1
    assert kinds.count("MatMul") == 1


@pytest.mark.parametrize(("whole", "largest"), [(False, 64), (True, 127)])
def test_weights_have_a_bit_less_where_sums_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool, largest: int
) -> None:
    import onnx
    from onnx import numpy_helper

    monkeypatch.setattr(cpu, "sums_int8_whole", lambda: whole)
    held = onnx.load(_quantized(tmp_path)).graph.initializer
    weights = [numpy_helper.to_array(one) for one in held if list(one.dims) == [*WEIGHTS.shape]]
    assert [one.dtype for one in weights] == [np.int8]
    assert np.abs(weights[0].astype(int)).max() == largest


def test_a_graph_without_such_products_is_told_of(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    file = tmp_path / "graph.onnx"
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "graph", [value], [made])
    onnx.save(helper.make_model(graph), file)
    assert quantizing.quantize(file) == 0

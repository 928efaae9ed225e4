"""Small graphs, as torch's exporter leaves them: what they give stays, and takes fewer operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldeploy.worker.generation.shortening import join_products, shorten

ort = pytest.importorskip("onnxruntime")
ir = pytest.importorskip("onnx_ir")

ROWS, WIDTH = "rows", 6
GIVEN = np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32)


class Drawn:
    """A graph of one input of (rows, 6), node by node."""

    def __init__(self) -> None:
        self._dice = np.random.default_rng(1)
        self.given = ir.val("given", ir.DataType.FLOAT, [ROWS, WIDTH])
        self.graph = ir.Graph([self.given], [], nodes=[], opset_imports={"": 20}, name="g")

    def constant(self, array: Any) -> Any:
        name = f"constant{len(self.graph.initializers)}"
        value = ir.val(name, const_value=ir.tensor(array, name=name))
        self.graph.register_initializer(value)
        return value

    def weight(self, *shape: int) -> Any:
        return self.constant(self._dice.standard_normal(shape).astype(np.float32))

    def node(self, kind: str, *inputs: Any, shape: Any = None) -> Any:
        node = ir.node(kind, inputs)
        self.graph.append(node)
        made = node.outputs[0]
        made.name = f"{kind}{len(self.graph)}"
        made.shape = ir.Shape(shape) if shape else None
        made.type = ir.TensorType(ir.DataType.FLOAT)
        return made

    def reshaped(self, value: Any, *shape: Any) -> Any:
        sizes = np.array([size if isinstance(size, int) else -1 for size in shape])
        return self.node("Reshape", value, self.constant(sizes), shape=shape)

    def ends(self, *values: Any) -> None:
        self.graph.outputs.extend(values)

    def kinds(self) -> Counter[str]:
        return Counter(node.op_type for node in self.graph)

    def run(self, folder: Path) -> list[Any]:
        file = folder / "graph.onnx"
        ir.save(ir.Model(self.graph, ir_version=10), file)
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        found: list[Any] = session.run(None, {"given": GIVEN})
        return found


def test_reshapes_that_lead_back_are_skipped(tmp_path: Path) -> None:
    drawn = Drawn()
    doubled = drawn.node("Add", drawn.given, drawn.given, shape=[ROWS, WIDTH])
    heads = drawn.reshaped(doubled, ROWS, 2, 3)
    flat = drawn.reshaped(heads, ROWS, WIDTH)
    drawn.ends(
        drawn.node("MatMul", flat, drawn.weight(WIDTH, 4)),
        drawn.node("Neg", heads, shape=[ROWS, 2, 3]),
    )
    before = drawn.run(tmp_path)
    shorten(drawn.graph)
    assert drawn.kinds()["Reshape"] == 1  # the one that is read as it is
    for one, other in zip(drawn.run(tmp_path), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_reshape_to_sizes_without_a_name_is_left(tmp_path: Path) -> None:
    drawn = Drawn()
    some = drawn.node("Abs", drawn.given, shape=[None, WIDTH])
    turned = drawn.reshaped(some, None, WIDTH)
    drawn.ends(drawn.node("Neg", turned, shape=[None, WIDTH]))
    before = drawn.run(tmp_path)
    shorten(drawn.graph)
    assert drawn.kinds()["Reshape"] == 1
    np.testing.assert_array_equal(drawn.run(tmp_path)[0], before[0])


def test_a_reshape_that_is_told_is_told_still(tmp_path: Path) -> None:
    drawn = Drawn()
    told = drawn.reshaped(drawn.node("Abs", drawn.given, shape=[ROWS, WIDTH]), ROWS, WIDTH)
    drawn.ends(told)
    shorten(drawn.graph)
    np.testing.assert_array_equal(drawn.run(tmp_path)[0], np.abs(GIVEN))


def test_a_weight_that_is_turned_at_each_call_is_turned_once(tmp_path: Path) -> None:
    drawn = Drawn()
    weight = drawn.weight(9, WIDTH)
    turned = ir.node("Transpose", [weight], {"perm": [1, 0]})
    drawn.graph.append(turned)
    drawn.ends(drawn.node("MatMul", drawn.given, turned.outputs[0], shape=[ROWS, 9]))
    before = drawn.run(tmp_path)
    shorten(drawn.graph)
    assert drawn.kinds() == {"MatMul": 1}
    assert [value.shape.numpy() for value in drawn.graph.initializers.values()] == [(WIDTH, 9)]
    np.testing.assert_allclose(drawn.run(tmp_path)[0], before[0], rtol=1e-6)


def test_products_of_the_same_are_one(tmp_path: Path) -> None:
    drawn = Drawn()
    made = [
        drawn.node("MatMul", drawn.given, drawn.weight(WIDTH, size), shape=[ROWS, size])
        for size in (4, 2, 2)
    ]
    other = drawn.node("Neg", made[0], shape=[ROWS, 4])
    drawn.ends(
        drawn.node("MatMul", other, drawn.weight(4, 3)), *(drawn.node("Abs", one) for one in made)
    )
    before = drawn.run(tmp_path)
    join_products(drawn.graph)
    assert drawn.kinds()["MatMul"] == 2
    for one, expected in zip(drawn.run(tmp_path), before, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)

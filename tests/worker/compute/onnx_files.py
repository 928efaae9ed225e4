"""Small graphs in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WEIGHTS = np.random.default_rng(1).normal(size=(64, 32)).astype(np.float32)


def product(file: Path) -> None:
    """``y``, which is ``x`` times :data:`WEIGHTS`."""
    _save(file, [("MatMul", ["x", "w"], ["y"])])


def two_products(file: Path) -> None:
    """``y``, which is ``x`` times :data:`WEIGHTS`, times its own transpose."""
    _save(
        file,
        [
            ("MatMul", ["x", "w"], ["h"]),
            ("Transpose", ["h"], ["t"]),
            ("MatMul", ["h", "t"], ["y"]),
        ],
    )


def _save(file: Path, nodes: list[tuple[str, list[str], list[str]]]) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(*node, name=f"node_{at}") for at, node in enumerate(nodes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", len(WEIGHTS)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 23)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), file)

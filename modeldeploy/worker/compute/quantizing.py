"""An exported graph whose matrix products with weights are computed in int8.

Weights have a scale for each column. What they are multiplied with is brought to a largest value of
1 row by row first: ONNX Runtime finds one scale for all that it is given, and a token with large
values would cost the others their precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modeldeploy.worker import cpu

_BLOCK, _BY_INT8 = 32, 4  # ONNX Runtime's number for products that are made in int8
_AXIS, _LEAST = "modeldeploy/axis", "modeldeploy/least"


def quantize(file: Path) -> int:
    """Replace the graph in ``file``; how many of its products are in int8 now."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(file)
    names = _scale_rows(model.graph)
    if not names:
        return 0
    scaled = file.with_suffix(".scaled.onnx")
    onnx.save(model, scaled, save_as_external_data=True, location=f"{scaled.name}.data")
    del model
    quantize_dynamic(
        scaled,
        file,
        nodes_to_quantize=names,
        per_channel=True,
        reduce_range=not cpu.sums_int8_whole(),
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )
    for left in (scaled, scaled.with_name(f"{scaled.name}.data")):
        left.unlink(missing_ok=True)
    return len(names)


def round_weights(file: Path) -> None:
    """Have the graph in ``file`` keep the weights of its products in int8, with a scale for each 32 of
    them: for calls of few rows, which take as long as weights take to come from memory. What they are
    multiplied with is rounded as well, as each product is made."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    rounded = MatMulNBitsQuantizer(
        onnx.load(file), bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_BY_INT8
    )
    rounded.process()
    made = file.with_suffix(".rounded.onnx")
    rounded.model.save_model_to_file(str(made), use_external_data_format=True)
    del rounded
    for left in (file, file.with_name(f"{file.name}.data")):
        left.unlink()
    made.rename(file)  # its weights keep their name, which stands in it


def _scale_rows(graph: Any) -> list[str]:
    """Divide each row before a product with weights by its largest absolute value and multiply after
    it; the names of these products."""
    from onnx import helper, numpy_helper

    weights = {one.name for one in graph.initializer}
    nodes, scaled, names = [], set(), []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        given, made = node.input[0], node.output[0]
        if given not in scaled:
            scaled.add(given)
            nodes += [
                helper.make_node("Abs", [given], [f"{given}/abs"]),
                helper.make_node("ReduceMax", [f"{given}/abs", _AXIS], [f"{given}/max"]),
                helper.make_node("Max", [f"{given}/max", _LEAST], [f"{given}/scale"]),
                helper.make_node("Div", [given, f"{given}/scale"], [f"{given}/row"]),
            ]
        node.input[0], node.output[0] = f"{given}/row", f"{made}/row"
        nodes += [node, helper.make_node("Mul", [f"{made}/row", f"{given}/scale"], [made])]
        names.append(node.name)
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), _AXIS))
    graph.initializer.append(numpy_helper.from_array(np.array(1e-9, np.float32), _LEAST))
    del graph.node[:]
    graph.node.extend(nodes)
    return names

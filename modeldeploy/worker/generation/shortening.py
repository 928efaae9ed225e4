"""Fewer operators in a step's graph than torch's exporter leaves.

Each costs its microseconds, and a product those of waking the threads that share it: of a small model's
step that is as much as the products themselves. Graphs are those of ``onnx_ir``, in which torch gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def shorten(graph: Any) -> None:
    """What is left computes the same, from weights that are all constants."""
    for node in list(graph):
        if node.op_type == "Reshape":
            _skip(node)
        elif node.op_type == "MatMul":
            _fold_weight(graph, node)
    _remove_unused(graph)


def join_products(graph: Any) -> None:
    """Products of the same tensor with several weights become one, which is then split."""
    import onnx_ir as ir

    for siblings in _products(graph):
        first = siblings[0]
        weights = [node.inputs[1].const_value.numpy() for node in siblings]
        names = [node.inputs[1].name for node in siblings]
        joined = _constant(graph, f"{names[0]}/joined", np.concatenate(weights, axis=1))
        sizes = _constant(
            graph, f"{names[0]}/sizes", np.array([weight.shape[1] for weight in weights])
        )
        product = ir.node("MatMul", [first.inputs[0], joined])
        parts = ir.node("Split", [product.outputs[0], sizes], {"axis": -1}, num_outputs=len(names))
        graph.insert_before(first, [product, parts])
        for node, part in zip(siblings, parts.outputs, strict=True):
            part.shape, part.type = node.outputs[0].shape, node.outputs[0].type
            _replace(node, part)
    _remove_unused(graph)


def _products(graph: Any) -> Iterable[Sequence[Any]]:
    """Groups of two or more with constant weights, matrices, and the same tensor before them."""
    found: dict[Any, list[Any]] = {}
    for node in graph:
        if node.op_type == "MatMul" and _is_matrix(node.inputs[1]):
            found.setdefault(node.inputs[0], []).append(node)
    return [group for group in found.values() if len(group) > 1]


def _is_matrix(value: Any) -> bool:
    return bool(value.is_initializer()) and len(value.shape) == 2


def _skip(reshape: Any) -> None:
    """Have those who read it read what it was made of, where that had its shape before others came."""
    made, source = reshape.outputs[0], reshape.inputs[0]
    while source is not None:
        if _is_known(source.shape) and source.shape == made.shape:
            _replace(reshape, source)
            return
        before = source.producer()
        source = before.inputs[0] if before and before.op_type == "Reshape" else None


def _is_known(shape: Any) -> bool:
    """Whether each size has a number or a name: sizes of one name are equal."""
    return shape is not None and all(
        isinstance(size, int) or size.value is not None for size in shape
    )


def _fold_weight(graph: Any, product: Any) -> None:
    """A weight that is transposed at each call, because the embedding is its other use."""
    transpose = product.inputs[1].producer()
    if transpose is None or transpose.op_type != "Transpose":
        return
    weight = transpose.inputs[0]
    if _is_matrix(weight) and weight.const_value is not None:
        turned = np.ascontiguousarray(weight.const_value.numpy().T)
        product.replace_input_with(1, _constant(graph, f"{weight.name}/transposed", turned))


def _constant(graph: Any, name: str, array: Any) -> Any:
    import onnx_ir as ir

    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def _replace(node: Any, by: Any) -> None:
    made = node.outputs[0]
    if not made.is_graph_output():
        made.replace_all_uses_with(by)


def _remove_unused(graph: Any) -> None:
    for node in reversed(list(graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]

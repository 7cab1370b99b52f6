"""Floating-point operations of a training step, counted in its graph.

The count includes matrix products and convolutions that contribute to a result or an update of the
step; nodes that nothing uses are never run and are left out. A multiplication and an addition are
two operations. Elementwise operations, random numbers and the arithmetic of the optimizer are not
counted, since their cost is mainly memory traffic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

__all__ = ["graph_flops", "step_flops"]

_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
_SOLVERS = ("Cholesky", "MatrixTriangularSolve")
_UNCOUNTED = ("MatMul", "Conv", "Einsum", "PartitionedCall", "While")


def step_flops(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> int:
    """Count the operations of the products in one training step.

    Args:
        model: Compiled model.
        x: Batch of inputs, `(batch, ...)`.
        y: Targets of the batch.

    Returns:
        Number of floating-point operations.

    Raises:
        NotImplementedError: If the graph has a product of a kind that cannot be counted.
    """
    return graph_flops(lambda x, y: model.train_step((x, y)), x, y)


def graph_flops(function: Callable[..., Any], *tensors: tf.Tensor) -> int:
    """Count the operations of the products in a function of tensors.

    Args:
        function: Function of tensors that can be traced.
        *tensors: Arguments of the function.

    Returns:
        Number of floating-point operations.

    Raises:
        NotImplementedError: If the graph has a product of a kind that cannot be counted.
    """
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    needed = _needed(graph)
    if any(node.type in _BRANCHES for node in needed):
        _check_branches(needed, graph.as_graph_def().library.function)
    return sum(_flops(node) for node in needed)


def _check_branches(nodes: list[Any], functions: Any) -> None:
    """Refuse branches with products, of which one runs or another."""
    inside = {f.signature.name: f.node_def for f in functions}
    pending = [node.node_def for node in nodes if node.type in _BRANCHES]
    seen: set[str] = set()
    while pending:
        for value in pending.pop().attr.values():
            for name in {value.func.name, *(f.name for f in value.list.func)} - seen - {""}:
                seen.add(name)
                for node in inside.get(name, ()):
                    if any(word in node.op for word in (*_UNCOUNTED, *_SOLVERS)):
                        raise NotImplementedError(
                            f"Products inside a branch are not counted: {node.op}."
                        )
                    pending.append(node)


def _needed(graph: Any) -> list[Any]:
    """Nodes that contribute to the graph's outputs or side effects; only these are run."""
    pending = [output.op for output in graph.outputs] + list(graph.control_outputs)
    needed: dict[str, Any] = {}
    while pending:
        node = pending.pop()
        if node.name not in needed:
            needed[node.name] = node
            pending += [tensor.op for tensor in node.inputs] + list(node.control_inputs)
    return list(needed.values())


def _flops(node: Any) -> int:
    kind, shapes = node.type, [tensor.shape for tensor in node.inputs]
    if kind == "MatMul":
        rows, columns = shapes[0][::-1] if node.get_attr("transpose_a") else shapes[0]
        return 2 * rows * columns * node.outputs[0].shape[1]
    if kind in ("BatchMatMul", "BatchMatMulV2"):
        contracted = shapes[0][-2] if node.get_attr("adj_x") else shapes[0][-1]
        return 2 * math.prod(node.outputs[0].shape) * contracted
    if kind == "Conv2D":
        return _convolution(node.outputs[0].shape, shapes[1])
    if kind == "Conv2DBackpropInput":
        return _convolution(shapes[2], shapes[1])
    if kind == "Conv2DBackpropFilter":
        return _convolution(shapes[2], node.outputs[0].shape)
    if kind == "Einsum" and len(shapes) == 2:
        return _einsum(node.get_attr("equation").decode(), shapes)
    if kind == "Cholesky":
        return math.prod(shapes[0]) * shapes[0][-1] // 3
    if kind == "MatrixTriangularSolve":
        return math.prod(shapes[1]) * shapes[0][-1]
    if any(word in kind for word in _UNCOUNTED):
        raise NotImplementedError(f"Products inside a node of type {kind} are not counted.")
    return 0


def _convolution(output: Any, kernel: Any) -> int:
    """Operations of a convolution, channels last, with kernel `(*window, in / groups, out)`."""
    return 2 * math.prod(output) * math.prod(kernel[:-1])


def _einsum(equation: str, shapes: list[Any]) -> int:
    """Operations of an einsum of two factors: one product per combination of label values."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        sizes |= dict(zip(labels, shape, strict=True))
    return 2 * math.prod(sizes.values())

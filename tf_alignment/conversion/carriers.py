"""Which weights an error passes on its way down through a layer that nobody knows.

The layer is traced once with its backward pass, which is that of backprop. A weight carries the
error if it is read there: as `W` is in `dx = δ Wᵀ`. A weight that is added to the input is not.
What the backward pass reads of the activities, as the derivative of an activation function does, is
no weight, though weights have gone into it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.layers.inspection import walk
from tf_alignment.probe import probe

__all__ = ["carriers"]

# they tell nothing of values
_SHAPES = {"Shape", "ShapeN", "VariableShape", "Size", "Rank", "ZerosLike", "OnesLike"}

_known: weakref.WeakKeyDictionary[Any, dict[str, frozenset[int] | None]] = (
    weakref.WeakKeyDictionary()
)


def carriers(
    layer: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
) -> frozenset[int] | None:
    """The weights in a layer that the error passes, on its way to the input or to other weights.

    Args:
        layer: A built Keras layer.
        args: Arguments of a call, with a `KerasTensor` for every tensor; by default an input of the
            shape that the layer was built with.
        kwargs: Likewise.

    Returns:
        The ids of these weights, Keras variables; None if the layer could not be traced.

    Example:
    >>> import keras
    >>> from tf_alignment.conversion.carriers import carriers
    >>> layer = keras.layers.Dense(3)
    >>> layer.build((None, 4))
    >>> carriers(layer) == {id(layer.kernel)}
    True
    """
    calls = [(args, kwargs or {})] if args or kwargs else _guesses(layer)
    known = _known.setdefault(layer, {})
    for args, kwargs in calls:
        key = str(keras.tree.map_structure(_described, (args, kwargs)))
        if key not in known:
            known[key] = _trace(layer, args, kwargs)
        if known[key] is not None:
            return known[key]
    return None


def _described(a: Any) -> Any:
    return (a.shape, a.dtype) if isinstance(a, keras.KerasTensor) else a


def _guesses(layer: Any) -> list[tuple[Any, dict[str, Any]]]:
    """What the layer may have been called with, by what it was built with."""
    config = layer.get_build_config() or {}
    shapes = list((config.get("shapes_dict") or {}).values())
    shape = config.get("input_shape") or (shapes[0] if shapes else None)
    if not isinstance(shape, list | tuple) or not all(d is None or type(d) is int for d in shape):
        return []
    return [((keras.KerasTensor(tuple(shape), dtype=t),), {}) for t in ("float32", "int32")]


def _trace(layer: Any, args: Any, kwargs: dict[str, Any]) -> frozenset[int] | None:
    weights = {id(w): w for inner, _ in walk(layer) for w in inner._trainable_variables}
    found: set[int] = set()

    def run() -> None:
        graph: Any = tf.compat.v1.get_default_graph()
        inputs: list[tf.Tensor] = []

        def placeholder(a: Any) -> Any:
            if not isinstance(a, keras.KerasTensor):
                return a
            inputs.append(tf.compat.v1.placeholder(a.dtype, a.shape))
            return inputs[-1]

        given = keras.tree.map_structure(placeholder, (tuple(args), kwargs))
        reads = [weight.value for weight in weights.values()]
        # nothing that the call does to losses, seeds and moving averages is kept
        scope = keras.StatelessScope(collect_losses=True)
        with tf.GradientTape() as tape, scope, probe(backprop=True):
            tape.watch([*(x for x in inputs if x.dtype.is_floating), *reads])
            outputs = keras.tree.flatten(layer(*given[0], **given[1]))
            outputs = [y for y in outputs if tf.is_tensor(y) and y.dtype.is_floating]
        activities = _above(inputs, graph.get_operations())
        gradients = [
            g.values if isinstance(g, tf.IndexedSlices) else g
            for g in tape.gradient(outputs, [*inputs, *reads])
            if g is not None
        ]
        read = _read_by(gradients, activities)
        handles = {inside.name: id(outside) for outside, inside in graph.captures}
        ids = {id(w.value.handle): key for key, w in weights.items()}
        found.update(ids[handles[one]] for one in read if handles.get(one) in ids)

    try:
        tf.function(run, autograph=False).get_concrete_function()
    except Exception:  # noqa: BLE001 - it is the user's code, which may do anything
        return None
    return frozenset(found)


def _above(inputs: list[tf.Tensor], operations: list[tf.Operation]) -> set[str]:
    """The names of the tensors that depend on inputs; operations are in an order of execution."""
    found = {x.name for x in inputs}
    for operation in operations:
        if any(x.name in found for x in operation.inputs) and not _is_function(operation):
            found.update(y.name for y in operation.outputs)
    return found


def _is_function(operation: tf.Operation) -> bool:
    """Whether an operation has operations inside: it may hand a weight out as it is."""
    return any(attribute.HasField("func") for attribute in operation.node_def.attr.values())


def _read_by(gradients: list[tf.Tensor], activities: set[str]) -> set[str]:
    """The names of the tensors that gradients are made of, but for activities and those below."""
    found: set[str] = set()
    left = list(gradients)
    while left:
        tensor = left.pop()
        if tensor.name in found or tensor.name in activities:
            continue
        found.add(tensor.name)
        if tensor.op.type not in _SHAPES:
            left.extend(tensor.op.inputs)
    return found

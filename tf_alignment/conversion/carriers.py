"""Which weights an error passes on its way down through a layer that nobody knows.

The layer is traced once with its backward pass, which is that of backprop. A weight carries the
error if it is read there: as `W` is in `dx = δ Wᵀ`. A weight that is added to the input is not.
What the backward pass reads of the activities, as the derivative of an activation function does, is
no weight, though weights have gone into it.

A layer whose class is known tells by itself what the error passes in its calls. Its weights count
here if something else reads them: `x @ transpose(layer.kernel)`.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.layers.inspection import layers_of, walk_holders
from tf_alignment.probe import probe

__all__ = ["carriers"]

# they tell nothing of values
_SHAPES = {"Shape", "ShapeN", "VariableShape", "Size", "Rank", "ZerosLike", "OnesLike"}

_known: weakref.WeakKeyDictionary[Any, dict[Any, frozenset[int] | None]] = (
    weakref.WeakKeyDictionary()
)
_Call = tuple[int, int, frozenset[int]]
"""Operations of a call, from and to, and ids of the weights that it is to read."""


def carriers(
    layer: Any,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    known: Callable[[Any], bool] = lambda layer: False,
    others: Iterable[Any] = (),
    of_input: bool = True,
) -> frozenset[int] | None:
    """The weights that the error passes in a layer, on its way to the input or to other weights.

    Args:
        layer: A built Keras layer, or an operation.
        args: Arguments of a call, with a `KerasTensor` for every tensor; by default an input of the
            shape that the layer was built with.
        kwargs: Likewise.
        known: Function that says whether a layer tells by itself what the error passes in its own
            calls, which then do not count for its weights.
        others: Further layers whose weights the call may read, e.g. those of the whole model.
        of_input: Whether the error at the input is of interest, besides those at other weights.

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
    done = _known.setdefault(layer, {})
    inside = layers_of(layer) if isinstance(layer, keras.layers.Layer) else []
    layers = list({id(one): one for one in (*inside, *others)}.values())
    for args, kwargs in calls:
        described = str(keras.tree.map_structure(_described, (args, kwargs)))
        key = (described, of_input, *(id(one) for one in layers))
        if key not in done:
            done[key] = _trace(layer, args, kwargs, layers, known, of_input)
        if done[key] is not None:
            return done[key]
    return None


def _described(a: Any) -> Any:
    return (a.shape, a.dtype) if isinstance(a, keras.KerasTensor) else a


def _guesses(layer: Any) -> list[tuple[Any, dict[str, Any]]]:
    """What the layer may have been called with, by what it was built with."""
    config = layer.get_build_config() or {}
    shapes = dict(config.get("shapes_dict") or {})
    if config.get("input_shape") is not None:
        shapes = {"": config["input_shape"]}
    try:
        return [_call_with(shapes, dtype) for dtype in ("float32", "int32")] if shapes else []
    except TypeError:
        return []


def _call_with(shapes: dict[str, Any], dtype: str) -> tuple[Any, dict[str, Any]]:
    """Arguments of a call with tensors of these shapes; the first by position."""
    first, *rest = (_specs(shape, dtype) for shape in shapes.values())
    names = [name.removesuffix("_shape") for name in list(shapes)[1:]]
    return (first,), dict(zip(names, rest, strict=True))


def _specs(shape: Any, dtype: str) -> Any:
    """A `KerasTensor` for every shape in a structure of lists and dictionaries."""
    if isinstance(shape, dict):
        return {name: _specs(one, dtype) for name, one in shape.items()}
    if not isinstance(shape, list | tuple):
        raise TypeError
    if all(d is None or type(d) is int for d in shape):
        return keras.KerasTensor(tuple(shape), dtype=dtype)
    return [_specs(one, dtype) for one in shape]


def _trace(
    layer: Any,
    args: Any,
    kwargs: dict[str, Any],
    layers: list[Any],
    known: Callable[[Any], bool],
    of_input: bool,
) -> frozenset[int] | None:
    weights = {id(w): w for inner in layers for w in inner._trainable_variables}
    sure = {id(w) for inner in layers if known(inner) for w in inner._trainable_variables}
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
        with _recorded(layers, known, graph) as calls:
            with tf.GradientTape() as tape, scope, probe(backprop=True):
                tape.watch([*(x for x in inputs if x.dtype.is_floating), *reads])
                outputs = keras.tree.flatten(layer(*given[0], **given[1]))
                outputs = [y for y in outputs if tf.is_tensor(y) and y.dtype.is_floating]
            activities = _above(inputs, graph.get_operations())
            gradients = [
                g.values if isinstance(g, tf.IndexedSlices) else g
                for g in tape.gradient(outputs, [*(inputs if of_input else ()), *reads])
                if g is not None
            ]
        number = {operation.name: k for k, operation in enumerate(graph.get_operations())}
        keys = {id(w.value.handle): key for key, w in weights.items()}
        handles = {i.name: keys[id(o)] for o, i in graph.captures if id(o) in keys}
        for name, reader in _read_by(gradients, activities):
            key = handles.get(name)
            if key is not None and (key not in sure or not _is_to_read(reader, key, calls, number)):
                found.add(key)

    try:
        tf.function(run, autograph=False).get_concrete_function()
    except Exception:  # noqa: BLE001 - it is the user's code, which may do anything
        return None
    return frozenset(found)


@contextlib.contextmanager
def _recorded(
    layers: list[Any], known: Callable[[Any], bool], graph: tf.Graph
) -> Iterator[list[_Call]]:
    """Record the calls of known layers inside the block."""
    calls: list[_Call] = []

    def recording(layer: Any) -> Callable[..., Any]:
        original = layer.call

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            start = len(graph.get_operations())
            try:
                return original(*args, **kwargs)
            finally:
                held = [inner for inner, holders in walk_holders(layer) if all(map(known, holders))]
                own = frozenset(id(w) for inner in held for w in inner._trainable_variables)
                calls.append((start, len(graph.get_operations()), own))

        return call

    with contextlib.ExitStack() as stack:
        for layer in filter(known, layers):
            held = vars(layer)  # not by `setattr`, which tracks what it sets
            before = held.get("call")
            held["call"] = recording(layer)
            undo = (held.pop, "call") if before is None else (held.__setitem__, "call", before)
            stack.callback(*undo)
        yield calls


def _is_to_read(reader: tf.Operation, key: int, calls: list[_Call], number: dict[str, int]) -> bool:
    """Whether an operation that reads a known layer's weight is part of a call of that layer.

    Where variables are handed on, as to functions and loops over time, nobody can tell.
    """
    if _is_function(reader) or any(y.dtype == tf.resource for y in reader.outputs):
        return True
    k = number[reader.name]
    return any(start <= k < end and key in own for start, end, own in calls)


def _above(inputs: list[tf.Tensor], operations: list[tf.Operation]) -> set[str]:
    """The names of the tensors that depend on inputs; operations are in an order of execution."""
    found = {x.name for x in inputs}
    for operation in operations:
        if not _is_function(operation):
            below = ((y, _below(y)) for y in operation.outputs)
            found.update(y.name for y, made_of in below if any(x.name in found for x in made_of))
    return found


def _below(tensor: tf.Tensor) -> Sequence[tf.Tensor]:
    """Tensors that a tensor is made of."""
    inputs = tensor.op.inputs
    # custom gradients, as of `tf.recompute_grad`, put everything through one operation
    return [inputs[tensor.value_index]] if tensor.op.type == "IdentityN" else inputs


def _is_function(operation: tf.Operation) -> bool:
    """Whether an operation has operations inside: it may hand a weight out as it is."""
    return any(attribute.HasField("func") for attribute in operation.node_def.attr.values())


def _read_by(
    gradients: list[tf.Tensor], activities: set[str]
) -> Iterator[tuple[str, tf.Operation]]:
    """Names of the tensors that gradients are made of, each with an operation that reads it.

    Activities, and what they are made of, are left out.
    """
    seen: set[str] = set()
    left = list(gradients)
    while left:
        tensor = left.pop()
        if tensor.name in seen or tensor.name in activities:
            continue
        seen.add(tensor.name)
        if tensor.op.type not in _SHAPES:
            left.extend(_below(tensor))
            yield from ((x.name, tensor.op) for x in _below(tensor))

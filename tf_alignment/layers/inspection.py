"""Inspection of a model: its layers with feedback, and its kernels and connections by path.

The function `walk` finds every layer, also inside nested models, wrappers and composite layers.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from tf_alignment._support.arguments import instance
from tf_alignment.feedback import Feedback
from tf_alignment.layers.connection import Connection, FeedbackWeights
from tf_alignment.layers.direct import DirectConnection, OutputTap

__all__ = [
    "Kernel",
    "connections",
    "direct_connections",
    "feedback_layers",
    "kernels",
    "layers_of",
    "output_taps",
    "walk",
    "walk_holders",
]

_MAY_HOLD_LAYERS = (keras.layers.Layer, list, tuple, set, dict)


def walk(root: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Iterate over all layers in a model or layer, the root first, each layer once.

    Args:
        root: Keras model or layer.

    Yields:
        Pair of a layer and the names of the layers that contain it, outermost first, without the
        root.
    """
    for layer, holders in walk_holders(root):
        yield layer, tuple(holder.name for holder in holders)


def walk_holders(root: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Iterate like `walk`, with the layers that contain a layer in place of their names.

    Args:
        root: Keras model or layer.

    Yields:
        Pair of a layer and the layers that contain it, outermost first, without the root.
    """
    visited: set[int] = set()

    def visit(value: Any, scope: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        if id(value) in visited:
            return
        visited.add(id(value))
        if isinstance(value, dict):
            held: Iterable[Any] = list(value.values())
        elif isinstance(value, keras.layers.Layer):
            yield value, scope
            scope = () if value is root else (*scope, value)
            held = [v for v in vars(value).values() if isinstance(v, _MAY_HOLD_LAYERS)]
        elif isinstance(value, list | tuple | set):
            held = value
        else:
            return
        for item in held:
            yield from visit(item, scope)

    yield from visit(root, ())


def layers_of(root: Any) -> list[Any]:
    """List a model or layer and all layers inside, without the stores of feedback weights.

    Args:
        root: Keras model or layer.
    """
    return [layer for layer, _ in walk(root) if not isinstance(layer, FeedbackWeights)]


def feedback_layers(model: Any) -> list[Any]:
    """All layers with a feedback method in a model, including nested models and wrappers.

    Args:
        model: Keras model or layer.

    Returns:
        List of the layers whose `feedback` is not None, each once, in the order of the model.

    Example:
    >>> import keras, tf_alignment as ta
    >>> hidden = ta.layers.Dense(8, feedback="fa", name="hidden")
    >>> model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(3)])
    >>> [layer.name for layer in ta.layers.feedback_layers(model)]
    ['hidden']
    """
    instance("model", model, keras.layers.Layer, "a Keras model or layer")
    found = []
    for layer, _ in walk(model):
        own = getattr(layer, "connections", ())  # a recurrent layer's are those of its cell
        if getattr(layer, "feedback", None) is not None and own and own[0].layer is layer:
            found.append(layer)
    return found


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One forward kernel of a model.

    Attributes:
        path: Path of the kernel's connection. In a stock layer, path of the layer, followed by
            `/depthwise`, `/recurrent` ... for a kernel of that name and by `/input` for the other
            kernel of a recurrent cell. If several kernels of a model would have the same path, as
            in nested models with layers of equal names, the names of the nested models are put
            before it.
        variable: Keras variable of the kernel.
        connection: Connection of the kernel; None in a stock layer.
    """

    path: str
    variable: keras.Variable
    connection: Connection | None = None

    @property
    def method(self) -> Feedback | None:
        """Feedback method of the kernel's layer; None in a stock layer."""
        return None if self.connection is None else self.connection.layer.feedback


def kernels(model: keras.Model) -> list[Kernel]:
    """All kernels of a built model that are trainable or have feedback.

    Args:
        model: Built Keras model.

    Returns:
        List with one entry per kernel, in the order of the model's weights. Biases, weights of
        normalisation layers and feedback weights are left out.
    """
    with_feedback = [c for layer in feedback_layers(model) for c in layer.connections]
    own = {id(c.kernel): c for c in with_feedback}
    feedback = {id(weight) for c in with_feedback for weight in c.weights.values()}
    recurrent = {w.path for w in model.weights if w.name == "recurrent_kernel"}
    found: dict[int, Kernel] = {}
    for weight in model.weights:
        if id(weight) in own:
            found[id(weight)] = Kernel(own[id(weight)].path, weight, own[id(weight)])
        elif weight.trainable and id(weight) not in feedback and len(weight.shape) > 1:
            layer, _, name = weight.path.rpartition("/")
            if name == "kernel" and f"{layer}/recurrent_kernel" in recurrent:
                found[id(weight)] = Kernel(f"{layer}/input", weight)
            elif name == "kernel":
                found[id(weight)] = Kernel(layer, weight)
            elif name.endswith("_kernel"):
                found[id(weight)] = Kernel(f"{layer}/{name.removesuffix('_kernel')}", weight)
    paths = unique_paths(
        model, [k.path for k in found.values()], [k.variable for k in found.values()]
    )
    return [
        dataclasses.replace(kernel, path=path)
        for kernel, path in zip(found.values(), paths, strict=True)
    ]


def own_path(model: keras.Model, path: str) -> str:
    """Path without the model's name if Keras made the name by counting, like `sequential_3/`.

    Args:
        model: Keras model.
        path: Path of a kernel in the model.

    Example:
    >>> import keras
    >>> from tf_alignment.layers.inspection import own_path
    >>> own_path(keras.Sequential(name="sequential_3"), "sequential_3/head")
    'head'
    >>> own_path(keras.Sequential(name="mine"), "mine/head")
    'mine/head'
    """
    counted = re.fullmatch(r"(sequential|functional)(_\d+)?", model.name)
    return path.removeprefix(f"{model.name}/") if counted else path


def connections(model: keras.Model) -> dict[str, Connection]:
    """All connections of a built model by path, in the order of its layers.

    Paths are the same as in `kernels`.

    Args:
        model: Built Keras model.
    """
    paths = {kernel.connection: kernel.path for kernel in kernels(model)}
    every = [c for layer in feedback_layers(model) for c in layer.connections]
    return {paths.get(c, c.path): c for c in every}


def direct_connections(model: keras.Model) -> dict[str, DirectConnection]:
    """All connections of direct feedback in a model, from the output to a hidden layer, by path.

    Args:
        model: Keras model.
    """
    every = [c for tap in output_taps(model) for c in tap.direct_connections]
    paths = unique_paths(
        model, [c.path for c in every], [c.weights["feedback_kernel"] for c in every]
    )
    return dict(zip(paths, every, strict=True))


def output_taps(model: Any) -> list[OutputTap]:
    """Layers of a model that send the output error to hidden layers."""
    return [layer for layer, _ in walk(model) if isinstance(layer, OutputTap)]


def unique_paths(
    model: keras.Model, paths: Sequence[str], variables: Sequence[keras.Variable]
) -> list[str]:
    """Unique names made from paths that may be equal.

    Keras' path of a layer names the models in which Keras built the layer, not the models that
    contain it: layers of a functional model inside another model have only their own name.

    Args:
        model: Model that contains everything.
        paths: Paths that Keras gives, possibly equal.
        variables: One weight for each path, which shows the nested models that contain it.

    Returns:
        Paths made unique: equal paths get the names of the nested models before them, and a number
        behind them if they are still equal.
    """
    counts = collections.Counter(paths)
    if len(counts) == len(paths):
        return list(paths)
    scopes = _scopes(model)
    found: dict[str, None] = {}
    for path, variable in zip(paths, variables, strict=True):
        name = _below(scopes.get(id(variable), ()), path) if counts[path] > 1 else path
        numbered = (f"{name}_{count}" for count in range(1, len(paths)))
        found[name if name not in found else next(n for n in numbered if n not in found)] = None
    return list(found)


def _scopes(model: keras.Model) -> dict[int, tuple[str, ...]]:
    """Names of the layers that contain each weight's layer, outermost first, by weight id."""
    found: dict[int, tuple[str, ...]] = {}
    for layer, scope in walk(model):
        # a layer has those of the layers inside too, which come after it and put that right
        found.update(dict.fromkeys((id(weight) for weight in layer.weights), scope))
    return found


def _below(scope: tuple[str, ...], path: str) -> str:
    """Path inside the scope, which may already start with the end of the scope."""
    parts = tuple(path.split("/"))
    shared = max(k for k in range(len(parts) + 1) if not k or scope[-k:] == parts[:k])
    return "/".join((*scope, *parts[shared:]))

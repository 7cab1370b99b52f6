"""Layers of a model with weights, and whether a layer below them could use the error they send.

The graph of a functional or Sequential model is known. In a layer or model with a `call` of its
own, the order of the sublayers is not known: each is taken to lie above the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from tf_alignment._support.compat import ReversibleEmbedding
from tf_alignment.conversion.graph import Call, functional_class, record, transparent
from tf_alignment.conversion.registry import STOCK, is_leaf, stock_class, version
from tf_alignment.layers.connection import FeedbackWeights
from tf_alignment.layers.inspection import walk, walk_holders

__all__ = ["Site", "is_stock", "matrices", "own_weights", "sites"]


@dataclasses.dataclass(frozen=True)
class Site:
    """Layer that has weights of its own, or whose class can be exchanged for one with feedback.

    Attributes:
        layer: Layer at the site.
        holders: Layers that contain it, outermost first, without the model.
        fed: Whether weights that learn, or would learn if they were not frozen, lie below the
            layer, so that the error it sends down is used.
    """

    layer: Any
    holders: tuple[Any, ...]
    fed: bool

    @property
    def path(self) -> str:
        """Names of the holders and of the layer, separated by slashes."""
        return "/".join(layer.name for layer in (*self.holders, self.layer))

    def told(self, model: keras.Model) -> bool:
        """Whether the configuration of the model names the class of the layer.

        Args:
            model: Model that contains the layer.
        """
        if type(self.layer) not in STOCK:  # a version of a class of the user's own
            return False
        return all(_tells_layers(holder) for holder in (model, *self.holders))

    def tells(self, cls: type) -> bool:
        """Whether a layer that contains others must have, or may have, a class with feedback.

        Attention inside a custom layer keeps its class, so that its file loads in plain Keras.

        Args:
            cls: Class of the layer.
        """
        return hasattr(cls, "cell_class") or all(_tells_layers(h) for h in self.holders)

    @property
    def leaf(self) -> bool:
        """Whether the layer would have connections itself, and not only in its sublayers."""
        cls = version(type(self.layer))
        return cls is not None and is_leaf(cls)


def sites(model: keras.Model) -> list[Site]:
    """All sites of a built model, in the order of calls where it is known.

    Args:
        model: Built Keras model.
    """
    fed = dict(_fed(model))
    held = {
        id(layer): (layer, holders)
        for layer, holders in walk_holders(model)
        if layer.built and (own_weights(layer) or version(type(layer)) is not None)
    }
    order = [key for key in fed if key in held] + [key for key in held if key not in fed]
    return [Site(*held[key], fed.get(key, False)) for key in order]


def own_weights(layer: Any) -> list[keras.Variable]:
    """Weights of a layer that could learn, frozen or not, without the weights of its sublayers.

    Args:
        layer: Keras layer.
    """
    if isinstance(layer, FeedbackWeights):
        return []
    return list(layer._trainable_variables)  # Keras has no public name for it


def matrices(layer: Any) -> list[keras.Variable]:
    """Kernels of a layer itself: weights that mix the units of its input, by name and shape.

    A weight is a kernel if its name says so, or if it has at least two axes longer than 1 and is
    not a bias, a position or a table of embeddings, which are added or looked up. Other weights
    scale each unit separately.
    """
    if isinstance(layer, keras.layers.PReLU):
        return []
    looks_up = isinstance(layer, keras.layers.Embedding)
    reversible = isinstance(layer, ReversibleEmbedding)
    found = []
    for weight in own_weights(layer):
        name = weight.name
        if name == "kernel" or name.endswith("_kernel"):
            found.append(weight)
        elif looks_up or "embedding" in name:
            if reversible and (name == "reverse_embeddings" or layer.tie_weights):
                found.append(weight)
        elif "bias" not in name and sum(d > 1 for d in weight.shape) > 1:
            found.append(weight)
    return found


def is_stock(cls: type) -> bool:
    """Whether a class of layers is part of Keras.

    Args:
        cls: Class of a layer.
    """
    return cls.__module__.startswith("keras.src.")


def _tells_layers(holder: Any) -> bool:
    """Whether the configuration of a model or layer contains the configuration of each sublayer."""
    cls = type(holder)
    if isinstance(holder, keras.Sequential):
        return cls.get_config is keras.Sequential.get_config
    if isinstance(holder, functional_class()):
        return cls.get_config is functional_class().get_config
    if cls in STOCK:
        return getattr(holder, "feedback", None) is not None
    wraps = keras.layers.Wrapper | keras.layers.RNN | keras.layers.StackedRNNCells
    return isinstance(holder, wraps) and is_stock(cls)


def _fed(model: keras.Model) -> dict[int, bool]:
    """Layers below which a weight could learn, `{id of a layer: bool}`, in the order of calls."""
    found: dict[int, bool] = {}
    calls = _calls(model)
    if calls is None:
        _mark(model, False, found)
        return found
    for call, below in calls:
        _mark(call.layer, below, found)
    return found


def _calls(model: keras.Model) -> list[tuple[Call, bool]] | None:
    """Calls of a model whose graph is known, each with whether a layer below it learns."""
    if not transparent(model):
        return None
    try:
        graph = record(model)
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # no graph to be had
        return None
    learns = graph.learns_below(lambda call: any(True for _ in _owners(call.layer)))
    return [(call, any(learns[ref] for ref in call.inputs)) for call in graph.calls]


def _mark(layer: Any, below: bool, found: dict[int, bool]) -> None:
    """Note whether a layer, and each of its sublayers, has a layer below it that could learn."""
    if not isinstance(layer, keras.layers.Layer):
        return
    owners = list(_owners(layer))
    among = below or len(owners) > 1
    for inner, _ in walk(layer):
        fed = among or _several_kernels(inner)
        found[id(inner)] = found.get(id(inner), False) or fed


def _owners(layer: Any) -> Iterator[Any]:
    """Layer and sublayers that have weights which could learn."""
    if isinstance(layer, keras.layers.Layer):
        yield from (inner for inner, _ in walk(layer) if own_weights(inner))


def _several_kernels(layer: Any) -> bool:
    """Whether the layer's first kernel learns from the error that its last kernel sends down."""
    cls = version(type(layer))
    if cls is None or not own_weights(layer):
        return False
    stock = stock_class(cls) or cls
    return any(
        issubclass(stock, several)
        for several in STOCK.values()
        if several.__name__ in ("SeparableConv1D", "SeparableConv2D")
        or several.__name__.endswith("Cell")
    )

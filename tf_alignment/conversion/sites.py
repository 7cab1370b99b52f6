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
from tf_alignment.conversion.carriers import carriers
from tf_alignment.conversion.graph import Call, functional_class, record, transparent
from tf_alignment.conversion.registry import (
    STOCK,
    is_kernel_layer,
    is_ours,
    is_stock,
    stock_class,
    version,
)
from tf_alignment.layers.connection import FeedbackWeights
from tf_alignment.layers.direct import Cut
from tf_alignment.layers.inspection import layers_of, output_taps, walk, walk_holders

__all__ = ["Site", "matrices", "own_weights", "sites"]


@dataclasses.dataclass(frozen=True)
class Site:
    """Layer that has weights of its own, or whose class can be exchanged for one with feedback.

    Attributes:
        layer: Layer at the site.
        holders: Layers that contain it, outermost first, without the model.
        fed: Whether weights that learn, or would learn if they were not frozen, lie below the
            layer, so that the error it sends down is used.
        read: Ids of the weights that the error passes, if the class does not tell and tracing
            could find out; else None.
        elsewhere: Name of a layer, model or operation that uses a kernel of the layer outside of
            the layer's call, so that the error passes it there, if tracing could find one.
    """

    layer: Any
    holders: tuple[Any, ...]
    fed: bool
    read: frozenset[int] | None = None
    elsewhere: str | None = None

    @property
    def path(self) -> str:
        """Names of the holders and of the layer, separated by slashes."""
        return "/".join(layer.name for layer in (*self.holders, self.layer))

    @property
    def matrices(self) -> list[keras.Variable]:
        """The weights of the layer's own that the error passes, as far as can be told."""
        if self.read is None:
            return matrices(self.layer)
        return [weight for weight in _possible(self.layer) if id(weight) in self.read]

    @property
    def sends(self) -> bool:
        """Whether an error that is of use passes the layer's weights, as far as can be told."""
        return self.fed and (self.read is None or bool(self.matrices))

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
        return is_kernel_layer(self.layer)


def sites(model: keras.Model) -> list[Site]:
    """All sites of a built model, in the order of calls where it is known.

    Args:
        model: Built Keras model.
    """
    fed, read, elsewhere = _fed(model)
    held = {
        id(layer): (layer, holders)
        for layer, holders in walk_holders(model)
        if layer.built and (own_weights(layer) or version(type(layer)) is not None)
    }
    order = [key for key in fed if key in held] + [key for key in held if key not in fed]

    def site(layer: Any, holders: tuple[Any, ...]) -> Site:
        found = (elsewhere[id(w)] for w in own_weights(layer) if id(w) in elsewhere)
        key = id(layer)
        return Site(layer, holders, fed.get(key, False), read.get(key), next(found, None))

    return [site(*held[key]) for key in order]


def own_weights(layer: Any) -> list[keras.Variable]:
    """Weights of a layer that could learn, frozen or not, without the weights of its sublayers.

    Args:
        layer: Keras layer.
    """
    if isinstance(layer, FeedbackWeights) or not layer._trainable_variables:
        return []
    below = [inner for inner, _ in walk(layer) if inner is not layer]
    # `SpectralNormalization` has the kernel of the layer inside as an attribute
    theirs = {id(weight) for inner in below for weight in inner._trainable_variables}
    own = layer._trainable_variables  # Keras has no public name for it
    return [weight for weight in own if id(weight) not in theirs]


def matrices(layer: Any) -> list[keras.Variable]:
    """Kernels of a layer itself: weights that mix the units of its input, by name and shape.

    A weight is a kernel if its name says so, or if it has at least two axes longer than 1 and is
    not a bias, a position or a table of embeddings, which are added or looked up. Other weights
    scale each unit separately.
    """
    if isinstance(layer, keras.layers.PReLU):
        return []
    looks_up = isinstance(layer, keras.layers.Embedding)
    found = []
    for weight in own_weights(layer):
        name = weight.name
        if name == "kernel" or name.endswith("_kernel"):
            found.append(weight)
        elif looks_up or "embedding" in name:
            if _reversible(layer) and (name == "reverse_embeddings" or layer.tie_weights):
                found.append(weight)
        elif "bias" not in name and _wide(weight):
            found.append(weight)
    return found


def _tells_layers(holder: Any) -> bool:
    """Whether the configuration of a model or layer contains the configuration of each sublayer."""
    cls = type(holder)
    if isinstance(holder, keras.Sequential):
        return cls.get_config is keras.Sequential.get_config
    if isinstance(holder, functional_class()):
        return cls.get_config is functional_class().get_config
    if cls in STOCK and hasattr(holder, "feedback"):
        return holder.feedback is not None
    wraps = keras.layers.Wrapper | keras.layers.RNN | keras.layers.StackedRNNCells
    return isinstance(holder, wraps) and (is_stock(cls) or cls in STOCK)


def _fed(
    model: keras.Model,
) -> tuple[dict[int, bool], dict[int, frozenset[int]], dict[int, str]]:
    """`{id of a layer: ...}`, in the order of calls: what lies below, and what the error passes.

    That is whether something below could learn; the ids of the weights that carry the error, of
    layers that had to be traced and could be; and `{id of a weight: name}` of what uses a kernel
    outside of the calls of its layer.
    """
    found: dict[int, bool] = {}
    read: dict[int, frozenset[int] | None] = {}
    elsewhere: dict[int, str] = {}
    layers = layers_of(model)
    calls = _calls(model)
    if calls is None:
        _mark(model, False, found)
        _mark_repeated(model, None, found)
        _look(model, None, found, read, elsewhere, layers)
    for call, below in calls or ():
        _mark(call.layer, below, found)
        if isinstance(call.layer, keras.layers.Layer):
            _mark_repeated(call.layer, call.specs, found)
            _look(call.layer, call.specs, found, read, elsewhere, layers)
        elif below and call.variables and call.specs is not None:
            args, kwargs = call.specs
            seen = carriers(call.layer, args, kwargs, others=layers)
            elsewhere.update(dict.fromkeys(seen or (), call.layer.name))
    kernels = {id(w) for layer in layers for w in own_weights(layer) if _may_mix(w)}
    elsewhere = {key: name for key, name in elsewhere.items() if key in kernels}
    return found, {key: ids for key, ids in read.items() if ids is not None}, elsewhere


def _look(
    outer: Any,
    call: tuple[tuple[Any, ...], dict[str, Any]] | None,
    fed: dict[int, bool],
    read: dict[int, frozenset[int] | None],
    elsewhere: dict[int, str],
    layers: list[Any],
) -> None:
    """Note which weights the error passes in the layers of a call whose class does not tell."""
    inside = [inner for inner, _ in walk(outer)]
    unsure = [inner for inner in inside if fed[id(inner)] and not _sure(inner)]
    opaque = fed[id(outer)] and any(_is_opaque(inner) for inner in inside)
    if not unsure and not opaque:
        return
    args, kwargs = call or ((), {})
    seen = carriers(outer, args, kwargs, known=_tells, others=layers)
    for layer in unsure:
        ids = seen
        if seen is None and not _reversible(layer):  # others do not use its weights
            ids = carriers(layer)
        before = read.get(id(layer), frozenset())
        read[id(layer)] = None if ids is None or before is None else before | ids
    own = {id(w) for layer in unsure for w in own_weights(layer)}
    elsewhere.update(dict.fromkeys((seen or frozenset()) - own, outer.name))


def _tells(layer: Any) -> bool:
    """Whether the class of a layer says what the error passes in its calls."""
    if isinstance(layer, keras.Model) or _reversible(layer):
        return False
    cls = type(layer)
    return is_stock(cls) or is_ours(cls) or version(cls) is not None


def _is_opaque(layer: Any) -> bool:
    """Whether a layer has a `call` of the user's own."""
    if isinstance(layer, keras.layers.Lambda):
        return True
    return not _tells(layer) and not transparent(layer) and not _reversible(layer)


def _sure(layer: Any) -> bool:
    """Whether the class of a layer tells if an error passes its weights."""
    known = version(type(layer)) is not None and not _reversible(layer)
    return known or not layer.built or not _possible(layer)


def _possible(layer: Any) -> list[keras.Variable]:
    """The weights of a layer's own that may mix what passes it, whatever their names."""
    sure = is_stock(type(layer)) and not _reversible(layer)
    if isinstance(layer, FeedbackWeights) or sure:
        return matrices(layer)
    return [w for w in own_weights(layer) if _may_mix(w)]


def _may_mix(weight: keras.Variable) -> bool:
    return weight.name == "kernel" or _wide(weight)


def _wide(weight: keras.Variable) -> bool:
    return sum(d > 1 for d in weight.shape) > 1


def _reversible(layer: Any) -> bool:
    return isinstance(layer, ReversibleEmbedding)


def _calls(model: keras.Model) -> list[tuple[Call, bool]] | None:
    """Calls of a model whose graph is known, each with whether a layer below it learns."""
    if not transparent(model):
        return None
    try:
        graph = record(model)
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # no graph to be had
        return None
    if output_taps(model):  # what was frozen when the graph was cut was not cut off
        learns = graph.learns_below(stops=lambda call: isinstance(call.layer, Cut))
    else:
        learns = graph.learns_below(lambda call: any(True for _ in _owners(call.layer)))
    return [(call, any(learns[ref] for ref in call.inputs)) for call in graph.calls]


def _mark(layer: Any, below: bool, found: dict[int, bool]) -> None:
    """Note whether a layer, and each of its sublayers, has a layer below it that could learn."""
    if not isinstance(layer, keras.layers.Layer):
        return
    owners = list(_owners(layer))
    among = below or len(owners) > 1
    for inner, _ in walk(layer):
        # a layer may hold others as its activation, which lie above its kernel
        above = below if inner is layer and is_kernel_layer(inner) else among
        fed = above or _several_kernels(inner)
        found[id(inner)] = found.get(id(inner), False) or fed


def _mark_repeated(
    outer: Any, call: tuple[tuple[Any, ...], dict[str, Any]] | None, fed: dict[int, bool]
) -> None:
    """Note that a layer lies above itself, where a `call` of the user's own calls it repeatedly."""
    inside = [inner for inner, _ in walk(outer)]
    opaque = any(_is_opaque(inner) for inner in inside)
    kernels = {id(w) for inner in inside for w in own_weights(inner) if _may_mix(w)}
    if fed[id(outer)] or not opaque or not kernels:
        return
    args, kwargs = call or ((), {})
    seen = carriers(outer, args, kwargs, of_input=False)
    if seen is None or seen & kernels:
        fed.update(dict.fromkeys((id(inner) for inner in inside), True))


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

"""`convert`, which adds feedback weights to a Keras model, and `strip`, which removes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import boolean, is_config
from tf_alignment._support.seeds import named_initializer
from tf_alignment._support.training_step import own_step
from tf_alignment.conversion.choice import Selection, Selector
from tf_alignment.conversion.copies import copy_model
from tf_alignment.conversion.direct import convert_direct, strip_direct
from tf_alignment.conversion.files import remember
from tf_alignment.conversion.inplace import adapt_loops, give, give_holders, take
from tf_alignment.conversion.registry import is_ours, stock_class, version
from tf_alignment.conversion.renewal import compile_like, renew
from tf_alignment.conversion.sites import Site, sites
from tf_alignment.conversion.training import unwatch, warn_of_frozen, watch
from tf_alignment.conversion.verdict import check_model, lossy_time, stays, transported
from tf_alignment.layers.direct import Cut, OutputTap
from tf_alignment.layers.inspection import feedback_layers, output_taps, walk

__all__ = ["convert", "strip"]


def convert(
    model: keras.Model,
    feedback: Any,
    include: Selector | Iterable[Selector] | None = None,
    exclude: Selector | Iterable[Selector] | None = None,
    feedback_initializer: Any = "glorot_uniform",
    inplace: bool = False,
) -> keras.Model:
    """Give the layers of a Keras model feedback weights.

    The model may be of any kind: functional, Sequential, subclassed, with layers inside layers.
    The class of each layer with a kernel is exchanged for the class in `tf_alignment.layers` that
    replaces it. Weights and outputs stay the same bit for bit, and so does everything else about
    the model. A subclass of a Keras layer is exchanged too if it overrides nothing that the layer
    computes with.

    A layer stays stock if no layer below it has weights that could learn, frozen weights included:
    nothing would use the error it sends down. Name it in `include` to convert it all the same.
    In layers and models with a `call` of their own, the order of the sublayers is not known, so all
    sublayers are converted. A warning names each layer that has to stay stock although a layer
    below it could learn. In a model that has feedback already, the new method replaces the old one.

    "dfa" changes the network. One layer at the output, `tf_alignment.layers.direct.OutputTap`,
    takes the logits and the output of every hidden block and sends the output error to the blocks;
    the ordinary error path below each block is cut. A block is a layer with weights together with
    the operations that follow it, up to the next fork, merge or layer with a kernel. Sequential and
    nested models become one flat functional model. Inside a layer with several kernels (separable,
    recurrent, attention) the error passes as in backprop.

    Args:
        model: Built Keras model.
        feedback: Id of a method, or a `tf_alignment.feedback.Feedback` object. Or a dict of
            methods, `{selector: method}`, with selectors as in `include`: each layer gets the
            method of the first selector that matches it, and layers that none matches stay stock.
        include: Layers to convert: a name, a regular expression (which must match the whole name
            of the layer, or its whole path `holder/layer`), a function of the layer, or several of
            these. A match with a model or layer includes all layers inside it. `None` includes all
            layers.
        exclude: Layers to leave stock, given in the same ways as `include`.
        feedback_initializer: Initializer of the feedback weights; each weight gets its own seed. By
            default the default of the layers. `None` takes the kernel initializer of each layer;
            with "dfa", whose feedback weights and kernels differ in shape, Glorot's uniform
            initializer.
        inplace: Whether to change the model itself, as Keras' `quantize` and `enable_lora` do. A
            layer that is part of several models is then converted in all of them, and the other
            models have to be compiled again.

    Returns:
        The model itself if `inplace=True`; otherwise a new model of the same class and state,
        compiled like the original.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, or cannot be copied with `inplace=False`, if a
            selector matches nothing, if `include` is given with a dict of methods, if `include`,
            `exclude` or `inplace` is given with "dfa", or "dfa" cannot see the model's graph, or if
            `feedback_initializer` is no initializer.

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    >>> model = ta.convert(keras.Sequential(layers), "fa")
    >>> [type(layer).__module__.split(".")[0] for layer in model.layers]
    ['keras', 'tf_alignment']
    >>> # a method per layer: e-prop in a recurrent layer, Kolen-Pollack in its readout
    >>> layers = [keras.Input((5, 4)), keras.layers.GRU(8, name="gru"), keras.layers.Dense(3)]
    >>> model = ta.convert(keras.Sequential(layers), {"gru": "eprop", "dense.*": "kp"})
    >>> [layer.feedback.id for layer in model.layers]
    ['eprop', 'kp']
    """
    boolean("inplace", inplace)
    several = isinstance(feedback, Mapping) and not is_config(feedback)
    if several:
        named = _named_methods(feedback, include)
        include = list(named)
    else:
        named = {None: _method(feedback)}
    named_initializer("feedback_initializer", feedback_initializer)  # a check: each layer makes one
    check_model(model)
    if not inplace:
        _warn_of_own_step(model)
    only = named.get(None)
    if isinstance(only, methods.DirectFeedback):
        _check_direct(include, exclude, inplace)
        return _convert_direct(model, only, feedback_initializer)
    if output_taps(model):
        if inplace:
            raise _no_surgery("convert")
        direct = model
        model, weights = strip_direct(model)
        compile_like(direct, model, weights)
    found = sites(model)
    _refuse_own_subclasses(found)
    leaves = [s for s in found if s.leaf and lossy_time(s) is None]
    selection = Selection(include, exclude, leaves, "feedback" if several else "include")
    chosen = selection.chosen()
    if not chosen:
        warnings.warn(
            f"No layer of model '{model.name}' was converted: it will learn as stock Keras does. "
            "See `tf_alignment.summary(model)`.",
            stacklevel=2,
        )
    _warn_of_stock(model, [site for site in found if selection.wanted(site)])
    target, layers, weights = (model, None, {}) if inplace else copy_model(model)
    _take_all(target)
    chosen, found = _like(layers, chosen), _like(layers, found)
    own = {id(s.layer): named[selection.first(s) if several else None] for s in chosen}
    _give_all(chosen, found, own, feedback_initializer)
    remember(target, chosen)
    renew(target)
    if not inplace:
        compile_like(model, target, weights)
    warn_of_frozen(target)
    watch(target)
    return target


def strip(model: keras.Model, inplace: bool = False) -> keras.Model:
    """Turn a model with feedback back into a stock Keras model, for export and deployment.

    Args:
        model: Built Keras model, made by `convert` or with layers of this library.
        inplace: Whether to change the model itself.

    Returns:
        Model of stock Keras layers with the same forward weights and, bit for bit, the same
        outputs. If `inplace=True` this is the model itself, still compiled; otherwise a new model
        of the same class, not compiled.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, or cannot be copied with `inplace=False`, if a class
            of the user's own is derived from one of this library, or if `inplace` is given with
            direct feedback, which is taken out of the graph.

    Example:
    >>> import keras, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="fa")])
    >>> type(ta.strip(model).layers[0]).__module__
    'keras.src.layers.core.dense'
    """
    boolean("inplace", inplace)
    check_model(model)
    _refuse_own_subclasses(sites(model))
    if not inplace:
        _warn_of_own_step(model)
    if _has_surgery(model):
        if inplace:
            raise _no_surgery("strip")
        return _without_surgery(model)[0]
    target = model if inplace else copy_model(model)[0]
    _take_all(target, fused=True)
    unwatch(target)
    if inplace:
        renew(target)
    else:
        target.compiled = False
    return target


def _warn_of_own_step(model: keras.Model) -> None:
    """Warn that a copy does not get the `train_step` that was set on the model itself."""
    if own_step(model) is not None:
        warnings.warn(
            f"The copy of model '{model.name}' trains with the `train_step` of class "
            f"{type(model).__name__}: the one that was set on the model itself cannot be copied. "
            "Set it on the copy, or use `inplace=True`.",
            stacklevel=3,
        )


def _convert_direct(
    model: keras.Model, method: methods.DirectFeedback, feedback_initializer: Any
) -> keras.Model:
    original, before = model, dict[int, keras.Variable]()
    if _has_surgery(model):
        model, before = _without_surgery(model)
    elif feedback_layers(model):
        model, _, before = copy_model(model)
        _take_all(model, fused=True)
    _refuse_channels_first(model, method.over_space)
    initializer = feedback_initializer or "glorot_uniform"
    converted, weights = convert_direct(model, initializer, method.over_space)
    left = transported(sites(converted), direct=True)
    _warn(model, [(s.path, why) for s, why in left], 4)
    compile_like(original, converted, _chained(before, weights) if before else weights)
    watch(converted)
    return converted


def _refuse_channels_first(model: keras.Model, over_space: str) -> None:
    """Raise for layers whose channels a kernel for places, or positions, would take for places."""
    places = any(len(t.shape) > 2 for t in getattr(model, "outputs", None) or ())
    found = [v.name for v, _ in walk(model) if getattr(v, "data_format", "") == "channels_first"]
    if found and (places or over_space == "shared"):
        raise ValueError(
            "Direct feedback with one kernel for all places of a map, or for all positions of an "
            "output, finds the channels on the last axis: build the model with "
            f"data_format='channels_last'. Received: layers {found}"
        )


def _without_surgery(model: keras.Model) -> tuple[keras.Model, dict[int, keras.Variable]]:
    stock, weights = strip_direct(model)
    _take_all(stock, fused=True)
    return stock, weights


def _chained(
    first: dict[int, keras.Variable], second: dict[int, keras.Variable]
) -> dict[int, keras.Variable]:
    """The copies of copies, `{id of a weight: copy of its copy}`."""
    return {key: second[id(copy)] for key, copy in first.items() if id(copy) in second}


def _method(feedback: Any) -> methods.Feedback:
    method = methods.get(feedback)
    if method is None:
        raise ValueError(
            "Argument `feedback` must be a method; to take feedback away use "
            "`tf_alignment.strip(model)`. Received: feedback=None"
        )
    return method


def _named_methods(feedback: Mapping[Any, Any], include: Any) -> dict[Any, methods.Feedback]:
    """Methods by selector."""
    if include is not None or not feedback:
        raise ValueError(
            "Argument `feedback`, as a dict, must name the layers itself, and at least one: "
            f"without `include`. Received: feedback={feedback!r}, include={include!r}"
        )
    named = {selector: _method(own) for selector, own in feedback.items()}
    if any(isinstance(method, methods.DirectFeedback) for method in named.values()):
        raise ValueError(
            "Argument `feedback` must not have 'dfa' in a dict of methods: it cuts and taps the "
            f"whole network. Received: feedback={feedback!r}"
        )
    return named


def _check_direct(include: Any, exclude: Any, inplace: bool) -> None:
    if include is not None or exclude is not None:
        raise ValueError(
            "Arguments `include` and `exclude` do not go with 'dfa', which cuts and taps the "
            f"whole network. Received: include={include!r}, exclude={exclude!r}"
        )
    if inplace:
        raise _no_surgery("convert")


def _no_surgery(what: str) -> ValueError:
    return ValueError(
        "Argument `inplace` must be False with direct feedback, which changes the graph of a "
        f"model. Received: tf_alignment.{what}(..., inplace=True)"
    )


def _has_surgery(model: keras.Model) -> bool:
    return any(isinstance(layer, Cut | OutputTap) for layer, _ in walk(model))


def _refuse_own_subclasses(found: list[Site]) -> None:
    own = [s.path for s in found if is_ours(type(s.layer)) and stock_class(type(s.layer)) is None]
    if own:
        raise ValueError(
            "Layers of a class that is derived from one of this library have no stock class, and "
            f"keep the method they were made with. Received: a model with {own}"
        )


def _like(layers: dict[int, Any] | None, found: list[Site]) -> list[Site]:
    """Sites of the copy that belong to the given sites of the original."""
    if layers is None:
        return found
    return [
        Site(layers[id(s.layer)], tuple(layers[id(h)] for h in s.holders), s.fed) for s in found
    ]  # which weights of the copies an error passes is asked no more


def _take_all(model: keras.Model, fused: bool = False) -> None:
    """Make every layer of this library stock; with `fused`, also the layers without feedback."""
    for layer in [layer for layer, _ in walk(model)]:
        cls = type(layer)
        if is_ours(cls) and (fused or version(cls) is not None):
            take(layer)


def _give_all(
    chosen: list[Site],
    found: list[Site],
    own: dict[int, methods.Feedback],
    initializer: Any,
) -> None:
    """Give all chosen layers their methods, or none, and then the layers that contain them.

    Args:
        chosen: Sites of the layers.
        found: All sites of the model.
        own: Methods by the id of the layer.
        initializer: Initializer of the feedback weights.
    """
    given: list[Any] = []
    try:
        for site in chosen:
            give(site.layer, own[id(site.layer)], feedback_initializer=initializer)
            given.append(site.layer)
        give_holders(chosen, found)
        adapt_loops(chosen)
    except BaseException:
        for layer in given:
            take(layer)
        raise


def _warn_of_stock(model: keras.Model, found: list[Site]) -> None:
    _warn(model, [(s.path, why) for s in found if (why := stays(s)) is not None], 4)


def _warn(model: keras.Model, left: list[tuple[str, str]], stacklevel: int) -> None:
    if left:
        some = "; ".join(f"'{path}' ({why})" for path, why in left[:8])
        more = f" and {len(left) - 8} more" if left[8:] else ""
        warnings.warn(
            f"The error still passes the forward weights of {len(left)} layers of model "
            f"'{model.name}': {some}{more}. See `tf_alignment.summary(model)`.",
            stacklevel=stacklevel,
        )

"""Conversion of a built layer by an exchange of its class, and the way back.

Nothing is rebuilt: the variables and their values, the graph that the layer is part of, and the
optimizer's state stay. Keras' own `enable_lora` and `quantize` add weights to a built layer in the
same way, by unlocking its tracker.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment.conversion.registry import is_kernel_layer, is_leaf, stock_class, version
from tf_alignment.conversion.sites import Site
from tf_alignment.layers.base import (
    FEEDBACK_ARGUMENTS,
    check_feedback,
    feedback_config,
    set_feedback_arguments,
)
from tf_alignment.layers.connection import FeedbackWeights
from tf_alignment.layers.recurrent import RNN, fed
from tf_alignment.layers.wrappers import TimeDistributed

__all__ = ["adapt_loops", "built_shape", "give", "give_holders", "has_dynamic_time", "take"]

# what layers with feedback hold besides the feedback arguments
_OWN = ("feedback_store", "_connections", "_on_training", "_pass", "_said_frozen")


def give(layer: Any, method: methods.Feedback, **arguments: Any) -> None:
    """Give a built layer a feedback method, in place.

    Args:
        layer: Layer without a method, whose class can be exchanged for one with feedback.
        method: Feedback method.
        **arguments: Further arguments of the layer, for instance `feedback_initializer`.

    Raises:
        ValueError: If the layer cannot have the method. The layer is then unchanged.
    """
    cls = version(type(layer))
    if cls is None:
        raise ValueError(f"Layers of class {type(layer).__name__} have no version with feedback.")
    check_feedback(method, layer, cls)
    before = type(layer)
    with _scope(layer):
        become(layer, cls)
        try:
            set_feedback_arguments(layer, method, **arguments)
            if is_leaf(cls):
                layer._connections = ()
                layer._build_feedback(built_shape(layer) if layer.needs_shape else ())
                _keep_record(layer)
        except BaseException:
            take(layer, before)
            raise


def give_holders(given: list[Site], found: list[Site]) -> list[Any]:
    """Exchange the class of layers, such as attention, whose kernels are all in sublayers.

    Args:
        given: Sites of the layers that have been given feedback.
        found: All sites of the model.

    Returns:
        Layers whose class was exchanged.
    """
    ids = {id(site.layer) for site in given}
    inside: dict[int, list[Any]] = {}
    for site in found:
        for holder in site.holders:
            inside.setdefault(id(holder), []).append(site.layer)
    holders = []
    for site in found:
        cls, held = version(type(site.layer)), inside.get(id(site.layer), [])
        if cls is None or is_leaf(cls):
            continue
        kernels = [layer for layer in held if is_kernel_layer(layer)]
        if not kernels or any(id(layer) not in ids for layer in kernels):
            continue
        first = kernels[0]
        if all(layer.feedback == first.feedback for layer in kernels) and site.tells(cls):
            arguments = {name: getattr(first, name) for name in FEEDBACK_ARGUMENTS}
            give(site.layer, arguments.pop("feedback"), **arguments)
            holders.append(site.layer)
    return holders


def adapt_loops(given: list[Site]) -> None:
    """Exchange the classes of Keras' loops over time around layers with feedback, where needed.

    `TimeDistributed` would lose their backward passes if the number of steps is unknown, and `RNN`
    does not tell its cells which time steps a mask hides.

    Args:
        given: Sites of the layers that have been given feedback.
    """
    for holder in {id(holder): holder for site in given for holder in site.holders}.values():
        if type(holder) is keras.layers.TimeDistributed and has_dynamic_time(holder):
            become(holder, TimeDistributed)
        elif type(holder) is keras.layers.RNN and any(
            cell.learns_from_inputs for cell in fed(holder.cell)
        ):
            become(holder, RNN)


def has_dynamic_time(layer: Any) -> bool:
    """Whether a layer is Keras' `TimeDistributed`, and was built for any number of steps.

    Args:
        layer: A layer.
    """
    if not isinstance(layer, keras.layers.TimeDistributed) or isinstance(layer, TimeDistributed):
        return False
    shape = (layer.get_build_config() or {}).get("input_shape")
    return shape is None or shape[1] is None


def take(layer: Any, cls: type | None = None) -> None:
    """Remove the feedback of a layer, in place.

    Args:
        layer: Layer of this library.
        cls: New class of the layer; by default the class that this library's class replaces.
    """
    ours = type(layer)
    if is_leaf(ours):
        held = vars(layer)
        random = getattr(held.get("feedback"), "random", None)
        names = [name for name in _OWN if name in held]
        if random and held.get("_connections"):
            names.append("seed_generator")
        for name in names:
            layer._tracker.untrack(held[name])
            delattr(layer, name)
    for name in FEEDBACK_ARGUMENTS:
        if name in vars(layer):
            delattr(layer, name)
    become(layer, cls or stock_class(ours) or ours)


def _keep_record(layer: Any) -> None:
    """Prepare the layer to save a record of its method, also if the method has no weights."""
    if "feedback_store" not in vars(layer):
        store = FeedbackWeights(name="feedback", dtype=layer.dtype_policy)
        store.populate(lambda: None)
        layer.feedback_store = store
    layer.feedback_store.record = feedback_config(layer)


def become(layer: Any, cls: type) -> None:
    """Exchange the class of a layer, and what Keras derived from the class in its constructor."""
    layer.__class__ = cls
    for name in ("build", "quantize"):
        _rebind(layer, name)
    signature = inspect.signature(layer.call)
    parameters = [p.name for p in signature.parameters.values()]
    layer._call_signature = signature
    layer.call_signature_parameters = parameters
    layer._call_has_training_arg = "training" in parameters
    layer._call_has_mask_arg = "mask" in parameters
    layer._call_has_context_arg = {name: name in parameters for name in layer._call_context_args}


def built_shape(layer: Any) -> tuple[int | None, ...]:
    """Input shape that a layer was built with."""
    config = layer.get_build_config() or {}
    shape = config.get("input_shape")
    if shape is None:
        shapes = list((config.get("shapes_dict") or {}).values())
        shape = shapes[0] if shapes else None
    if shape is None:
        raise ValueError(
            f"Layer '{layer.path}' was built without an input shape, so that nobody can tell what "
            "its feedback weights have to be like. Received: a layer with "
            f"get_build_config()={config!r}"
        )
    return tuple(shape)


def _rebind(layer: Any, name: str) -> None:
    """Let Keras' wrapper of a method call the method of the layer's present class.

    Keras wraps `build` and `quantize` when a layer is made. The wrapper holds the method of the
    class that the layer had at that time.
    """
    wrapper = vars(layer).get(name)
    for cell in getattr(wrapper, "__closure__", None) or ():
        held = cell.cell_contents
        if inspect.ismethod(held) and held.__self__ is layer and held.__name__ == name:
            cell.cell_contents = getattr(type(layer), name).__get__(layer)


@contextlib.contextmanager
def _scope(layer: Any) -> Iterator[None]:
    """Scope for new weights of a built layer: its name scope, strategy and unlocked tracker."""
    with contextlib.ExitStack() as stack:
        strategy = _strategy(layer)
        if strategy is not None and not tf.distribute.has_strategy():
            stack.enter_context(strategy.scope())
        for part in (layer.path or layer.name).split("/"):
            stack.enter_context(keras.name_scope(part))
        locked = layer._tracker.locked
        layer._tracker.unlock()
        if locked:
            stack.callback(layer._tracker.lock)
        yield


def _strategy(layer: Any) -> Any | None:
    """Strategy of `tf.distribute` under which the layer's weights were made."""
    for weight in layer.weights:
        strategy = getattr(weight.value, "distribute_strategy", None)
        if strategy is not None:
            return strategy
    return None

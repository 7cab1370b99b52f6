"""Checks of a converted model that are possible only when it is trained.

When the training step is traced, they test whether the optimizer suits the feedback weights,
whether layers have been frozen, whether stock layers with kernels have been added, and whether the
backward pass of every connection was traced.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import optimizers
from tf_alignment._support import training_step, watching
from tf_alignment._support.whereabouts import outermost_layer
from tf_alignment.conversion.sites import matrices, sites
from tf_alignment.conversion.verdict import listed, transported
from tf_alignment.layers.inspection import connections, feedback_layers, output_taps, walk

__all__ = ["unwatch", "warn_of_frozen", "watch"]

_Seen = list[Callable[[], Any]]


def watch(model: keras.Model) -> None:
    """Arrange that a converted model is checked when its training begins.

    Args:
        model: Model that has just been converted.
    """
    for inner in _models(model)[1:]:
        if training_step.additions(inner).check is not None:  # of a conversion before this one
            _set_check(inner, _checks(inner))
    check = _checks(model)
    for layer in feedback_layers(model):
        layer.on_training(check)
    _set_check(model, check)
    _renew_phases(model)


def unwatch(model: keras.Model) -> None:
    """Take the checks and interleaved phases out of a model and the models inside.

    Args:
        model: Keras model.
    """
    for inner in _models(model):
        training_step.take_out(inner, "check", "phase")


def _checks(model: keras.Model) -> Callable[[], None]:
    """Function that makes all checks but that of the passes that were traced."""
    if output_taps(model):
        known = {id(site.layer) for site, _ in transported(sites(model), direct=True)}
    else:
        known = {id(layer) for layer in _stock_kernels(model)}
    reference = weakref.ref(model)
    seen: _Seen = []
    roots: weakref.WeakKeyDictionary[Any, _Seen] = weakref.WeakKeyDictionary()

    def check() -> None:
        model = reference()
        _check_root(model, roots)
        if model is not None and _check(model, seen):
            _warn_of_new_transport(model, known)

    return check


def _set_check(model: keras.Model, check: Callable[[], None]) -> None:
    """Check the model's training step, or no longer if the model has no feedback."""
    if output_taps(model) or any(layer.connections for layer in feedback_layers(model)):
        training_step.install(model).added.check = _watcher(model, check)
    else:
        training_step.take_out(model, "check")


def _models(model: keras.Model) -> list[keras.Model]:
    """A model and all models inside, the model first."""
    return [layer for layer, _ in walk(model) if isinstance(layer, keras.Model)]


def _renew_phases(model: keras.Model) -> None:
    """Build interleaved phases for the new connections, and take out those that cannot be built."""
    for inner in _models(model):
        phase = training_step.additions(inner).phase
        if phase is None:
            continue
        try:
            phase.build(inner)
        except ValueError as error:
            training_step.take_out(inner, "phase")
            warnings.warn(
                f"The phase that was interleaved into the training of model '{inner.name}' was "
                f"taken out, because it cannot learn in the model as it is now. {error}",
                stacklevel=4,
            )


def _check(model: keras.Model, seen: _Seen) -> bool:
    """Check the optimizer and the frozen layers, once for each time that the model is compiled.

    Args:
        model: Keras model.
        seen: The optimizer and the compiled step of the last check; the present ones take their
            place.

    Returns:
        Whether the model was checked.
    """
    if not model.compiled or model.optimizer is None:
        return False
    now = [model.optimizer, model.train_function]  # the step is made anew after `compile`
    if seen and all(held() is one for held, one in zip(seen, now, strict=True)):
        return False
    seen[:] = [(lambda: None) if one is None else weakref.ref(one) for one in now]
    optimizers.check(model)
    warn_of_frozen(model)
    return True


def _check_root(model: Any, checked: weakref.WeakKeyDictionary[Any, _Seen]) -> None:
    """Check a model that a converted one, or layers of it, were put into, as in transfer learning.

    Args:
        model: The model that was converted.
        checked: The models that this was done for, with what `_check` keeps of each.
    """
    root = outermost_layer()
    if root is model or not isinstance(root, keras.Model):
        return
    if training_step.additions(root).check is not None:  # it was converted itself
        return
    known = root in checked
    _check(root, checked.setdefault(root, []))
    if known:
        return
    left = [f"'{site.path}' ({why})" for site, why in transported(sites(root))]
    if left and not output_taps(root):
        warnings.warn(
            f"Model '{root.name}' contains layers with feedback, and was not converted itself: the "
            f"error still passes the forward weights of {listed(left)}. Call "
            "`tf_alignment.convert` on the whole model, before training.",
            stacklevel=3,
        )


def warn_of_frozen(model: keras.Model) -> None:
    """Warn of feedback weights that freezing keeps from following the kernel, once per layer.

    Those that learn by alignment stand still in a frozen layer. Those that receive the learning of
    a kernel go on without it if the kernel alone is frozen.

    Args:
        model: Keras model.
    """
    names, drifting = [], []
    for layer in feedback_layers(model):
        learns = layer.feedback.learns
        stands = not layer.trainable and learns == "alignment"
        drifts = learns == "error" and any(
            weight.trainable and not connection.kernel.trainable
            for connection in layer.connections
            for weight in connection.weights.values()
        )
        if not vars(layer).get("_said_frozen", False):
            names += [f"'{layer.path}'"] * stands
            drifting += [f"'{layer.path}'"] * drifts
        layer._said_frozen = stands or drifts
    if drifting:
        warnings.warn(
            f"The feedback weights of {listed(drifting)} learn what the kernels learn, and these "
            "kernels are frozen: the feedback weights go on alone and drift away from them. Freeze "
            "the layers (`layer.trainable = False`), which freezes both.",
            stacklevel=3,
        )
    if names:
        warnings.warn(
            f"The feedback weights of {listed(names)} learn by alignment, and their layers are "
            "frozen (`trainable=False`): they never will, and what they send down is no better "
            "than with fixed random feedback. Freeze the kernels alone "
            "(`layer.kernel.trainable = False`), or take a method that needs no alignment.",
            stacklevel=3,
        )


def _warn_of_new_transport(model: keras.Model, known: set[int]) -> None:
    direct = bool(output_taps(model))
    if not direct and all(id(layer) in known for layer in _stock_kernels(model)):
        return
    left = [site for site, _ in transported(sites(model), direct) if id(site.layer) not in known]
    new = [f"'{s.path}'" for s in left if getattr(s.layer, "feedback", None) is None]
    if new:
        warnings.warn(
            f"Since model '{model.name}' was converted, weight transport has come into it: layers "
            f"without feedback, {listed(new)}. Convert the model again.",
            stacklevel=3,
        )


def _stock_kernels(model: keras.Model) -> list[Any]:
    """Layers that have kernels and no method."""
    return [
        layer
        for layer, _ in walk(model)
        if layer.built and matrices(layer) and getattr(layer, "feedback", None) is None
    ]


def _watcher(model: keras.Model, check: Callable[[], None]) -> Callable[[Callable[[], Any]], Any]:
    """Function for `Additions.check`, which warns if a backward pass was not traced.

    The other checks are made here too, since a model whose `call` has no argument `training` does
    not tell its layers that they are being trained.
    """
    reference = weakref.ref(model)
    said: set[Any] = set()
    ran_eagerly = False

    def watched(proceed: Callable[[], Any]) -> Any:
        nonlocal ran_eagerly
        if ran_eagerly:  # further steps show nothing new
            return proceed()
        with tf.init_scope():  # a step is being traced; a check may read variables
            check()
        with watching.watch() as seen:
            result = proceed()
        model = reference()
        if model is not None:
            _warn_of_lost(model, seen, said)
        ran_eagerly = tf.executing_eagerly()
        return result

    return watched


def _warn_of_lost(model: keras.Model, seen: watching.Seen, said: set[Any]) -> None:
    lost = []
    for path, connection in connections(model).items():
        if not connection.kernel.trainable or connection in said:
            continue
        why = _lost(connection, seen)
        if why:
            said.add(connection)
            lost.append(f"'{path}' ({why})")
    if lost:
        warnings.warn(
            f"The training step of model '{model.name}' does not use the feedback of "
            f"{listed(lost)}. Where a layer's output is used all the same, the error goes another "
            "way, or none.",
            stacklevel=3,
        )


def _lost(connection: Any, seen: watching.Seen) -> str:
    """Description of the passes of a connection that are missing, or the empty string."""
    if connection not in seen.called:
        # inside a loop over time cells run their own way
        return "" if getattr(connection.layer, "over_time", False) else "it was not called"
    if connection not in seen.sent:
        return "no error came back to it"
    if connection.aligned and connection not in seen.aligned and connection.layer.trainable:
        return "its alignment rule was not run, B stands still"
    return ""

"""The checks of `check_rule`, one function each: they return, or raise `Mismatch`."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment.feedback import Alignment, Backprop, Feedback
from tf_alignment.primitives import Primitive
from tf_alignment.testing.numbers import as_float, close, compare, well_formed
from tf_alignment.testing.report import Mismatch, NotApplicable
from tf_alignment.testing.table import LayerCase, activity, gradients, normal
from tf_alignment.testing.trial import Trial

__all__ = [
    "backward",
    "check_saving",
    "closed_form",
    "config",
    "effective_kernel",
    "forward",
    "save",
    "state",
    "transport",
]

Gradients = Sequence[tf.Tensor | None]


def forward(trial: Trial) -> None:
    """The output and the kernel are the Keras layer's, bit for bit."""
    try:
        found = trial.layer(trial.x)
    except Mismatch as error:
        raise NotApplicable(f"it needs what 'gradients' finds: {error}") from None
    expected = trial.stock(trial.x)
    pairs = [("the output", found, expected)]
    pairs += [
        (f"`{stock.name}`", own, stock)
        for own, stock in zip(trial.layer.weights, trial.stock.weights, strict=False)
    ]
    for what, own, stock in pairs:
        a, b = np.asarray(own), np.asarray(stock)
        if not np.array_equal(a, b):
            raise Mismatch(f"{what} of the Keras layer, bit for bit", compare(a, b))


def backward(trial: Trial) -> None:
    """Shapes, finiteness, and the gradients that are Keras' own."""
    _ = trial.formed
    (_, found), (_, expected) = trial.found, trial.expected
    names = trial.weight_names(trial.layer)
    for i, (name, gradient) in enumerate(zip(names, found, strict=True)):
        if trial.first <= i < len(expected) and not close(gradient, expected[i], 1e-4):
            raise Mismatch(
                f"Keras' own gradient for {name}",
                compare(gradient, expected[i]),
                "`couple` has to let the forward kernel's gradient through (see "
                "`tf_alignment.ops.copy_gradient`).",
            )


def transport(trial: Trial) -> None:
    """Neither the error nor a stored weight is that of backpropagation."""
    _ = trial.formed
    dx, true = trial.found[1][0], trial.expected[1][0]
    if isinstance(trial.rule, Backprop):  # the control
        if not close(dx, true, 1e-4):
            raise Mismatch("backpropagation's error, of the control", compare(dx, true))
        return
    if close(dx, true, 1e-5):
        raise Mismatch("an error that differs from backpropagation's", "backpropagation's error")
    fresh = trial.case.layer(trial.rule, name="checked", dtype="float32")
    fresh.build(trial.case.input_shape)
    for c in fresh.connections:
        for name, weight in c.weights.items():
            if weight.shape == c.kernel.shape and close(weight, c.kernel, 1e-6):
                raise Mismatch(
                    "feedback weights that start at numbers of their own",
                    f"`{name}` equal to the forward kernel",
                )


def effective_kernel(trial: Trial) -> None:
    """The kernel's shape; and the error is sent along it."""
    layer = trial.rewind()
    if not trial.rule.has_kernel:
        raise NotApplicable("the rule has no effective feedback kernel")
    kernels = trial.kernels
    _ = trial.formed
    if len(kernels) > 1 or trial.over_time or trial.rule.random:
        return
    seen = activity(layer, trial.x)
    with tf.GradientTape() as tape:
        tape.watch(seen.z)
        y = seen.activation(seen.add_bias(seen.z))
        loss = tf.reduce_sum(y * normal(tuple(y.shape), 1))
    expected = seen.map.transpose(tape.gradient(loss, seen.z), kernels[0], seen.x)
    a, b = (as_float(v).ravel() for v in (trial.found[1][0], expected))
    cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
    degrees = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if degrees > 30.0:  # clipping or normalising the error turns it by less
        raise Mismatch(
            "the error to point where δ · feedback_kernelᵀ points", f"an angle of {degrees:.0f}°"
        )


def closed_form(trial: Trial) -> None:
    """The layer's alignment gradient and each primitive's, against automatic differentiation."""
    rule: Any = trial.rule
    if rule.learns != "alignment" or not hasattr(rule, "loss"):
        raise NotApplicable("the rule has no loss of its own")
    if getattr(rule, "normalize", None) == "covariance":
        raise NotApplicable("a conditioned gradient is that of no loss")
    _ = trial.formed
    layer = trial.rewind()
    for index, c in enumerate(layer.connections):
        seen = activity(layer, trial.x, index)
        weights = {name: tf.convert_to_tensor(c.weights[name]) for name in c.aligned}
        for primitive, _ in getattr(rule, "terms", ()):
            _closed_primitive(rule, primitive, seen, weights)
        loss = functools.partial(rule.loss, seen, weights)
        what = f"`{type(rule).__name__}.loss`"
        expected, scale = _differentiate(loss, weights, what)
        with tf.GradientTape() as tape:
            layer(trial.x, training=False)  # the numbers that `activity` saw
            zero = tf.add_n([*layer.losses, tf.zeros(())])
        found = tape.gradient(zero, {name: c.weights[name] for name in weights})
        _same_gradients(what, found, expected, scale)


def _closed_primitive(
    rule: Alignment, primitive: Primitive, seen: Any, weights: Mapping[str, tf.Tensor]
) -> None:
    local = rule.local(seen, weights)
    found = primitive.gradient(local).resolve(local)
    what = f"`{type(primitive).__name__}.value`"
    expected, scale = _differentiate(
        lambda: primitive.value(rule.local(seen, weights)), weights, what
    )
    _same_gradients(what, found, expected, scale)


def _differentiate(
    value: Callable[[], tf.Tensor], weights: Mapping[str, tf.Tensor], what: str
) -> tuple[dict[str, tf.Tensor], float]:
    """The gradients, and the size of the numbers whose rounding is in them."""
    with tf.GradientTape() as tape:
        tape.watch(dict(weights))
        loss = value()
    if tuple(loss.shape) != () or loss.dtype != tf.float32:
        raise Mismatch(
            f"{what} to be a float32 scalar",
            f"shape {tuple(loss.shape)}, {loss.dtype.name}",
            "the sum over the batch is missing: `local.mean(tf.reduce_sum(...))`.",
        )
    # A loss that its weights cannot change has gradients of zero: sums of terms of its own size.
    scale = max(1.0, abs(float(loss)))
    return tape.gradient(loss, dict(weights), unconnected_gradients="zero"), scale


def _same_gradients(
    what: str,
    found: Mapping[str, tf.Tensor | None],
    expected: Mapping[str, tf.Tensor],
    scale: float,
) -> None:
    for name, want in expected.items():
        gradient = found.get(name)
        well_formed(f"`{name}`", gradient, tuple(want.shape))
        if not close(gradient, want, 1e-3, scale):
            raise Mismatch(
                f"for `{name}` the gradient of {what} by automatic differentiation",
                compare(gradient, want),
            )


def state(trial: Trial) -> None:
    """The rule changes nothing in itself; one state of the layer gives one result."""
    rule = trial.rule
    before = snapshot(rule)
    held = [n for n, v in vars(rule).items() if isinstance(v, tf.Variable | keras.Variable)]
    if held:
        raise Mismatch(
            "no variables on the rule",
            f"{held}",
            "a variable made in the constructor: nobody saves it, and all layers share it. "
            "`setup.add` in `build` gives each layer its own.",
        )
    _ = trial.formed
    first, again = (gradients(trial.rewind(), trial.x)[1] for _ in range(2))
    after = snapshot(rule)
    changed = [name for name in after if after[name] != before.get(name)]
    if changed:
        shown = ", ".join(f"`{n}`: {before.get(n)!r} became {after[n]!r}" for n in changed)
        raise Mismatch("no attribute of the rule to change", shown)
    names = trial.weight_names(trial.layer)
    odd = [n for n, a, b in zip(names, first, again, strict=True) if not close(a, b, 1e-5)]
    if odd:
        raise Mismatch(
            "the same gradients from the same state",
            f"others for {', '.join(odd)}",
            "random numbers that are not drawn from the seed (`c.seed`, `activity.seed`; set "
            "`random`), or Python state outside of the rule.",
        )
    if rule.random:
        following = gradients(trial.layer, trial.x)[1]  # a step on
        if all(close(a, b, 1e-6) for a, b in zip(again, following, strict=True)):
            raise Mismatch(
                f"new numbers at every training step, since random = {rule.random!r}",
                "the same at two steps",
                "numbers that are not drawn from `c.seed` or `activity.seed`.",
            )


def snapshot(thing: Any) -> Any:
    """Attributes of a rule in a form that can be compared."""
    if isinstance(thing, Feedback | Primitive):
        return {name: _comparable(value) for name, value in vars(thing).items()}
    return _comparable(thing)


def _comparable(value: Any) -> Any:
    if isinstance(value, Feedback | Primitive):
        return type(value).__name__, snapshot(value)
    if hasattr(value, "get_config"):  # a Keras object is what its config says
        return type(value).__name__, repr(value.get_config())
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    if isinstance(value, np.ndarray) or tf.is_tensor(value):
        return repr(value)
    return value


def config(trial: Trial) -> None:
    """The rule, and every primitive of its own, comes back from its config."""
    terms = [primitive for primitive, _ in getattr(trial.rule, "terms", ())]
    if terms:
        _ = trial.registered
    for thing in (*terms, trial.rule):
        _round_trip(thing)


def _round_trip(thing: Any) -> None:
    cls, given = type(thing), thing.get_config()
    missing = [name for name in _arguments(cls) if name not in given]
    if missing:
        raise Mismatch(
            f"`{cls.__name__}.get_config` to name the arguments {_arguments(cls)}",
            f"a config without {missing}",
        )
    try:
        json.dumps(keras.saving.serialize_keras_object(thing))
    except TypeError as error:
        raise Mismatch(f"the config of `{cls.__name__}` to be serialisable", str(error)) from None
    again = cls.from_config(copy.deepcopy(given))
    if type(again) is not cls:
        raise Mismatch(f"a `{cls.__name__}` from its config", f"a `{type(again).__name__}`")
    differing = [n for n, v in snapshot(thing).items() if snapshot(again).get(n) != v]
    if differing:
        raise Mismatch(
            f"`{cls.__name__}` from its config to have the same attributes",
            ", ".join(
                f"`{n}`: {snapshot(thing)[n]!r} became {snapshot(again).get(n)!r}"
                for n in differing
            ),
        )
    if isinstance(thing, Feedback) and (again != thing or hash(again) != hash(thing)):
        raise Mismatch(f"an equal `{cls.__name__}`, with an equal hash", f"{again!r}")


def _arguments(cls: type) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(cls).parameters.values())
    return [p.name for p in parameters if p.kind not in kinds]


def save(trial: Trial) -> None:
    """Registration, `.keras` in safe mode, and `clone_model`."""
    _ = trial.registered
    check_saving(trial.case, trial.build(dtype="float32"), trial.x)


def check_saving(case: LayerCase, layer: Any, x: tf.Tensor) -> None:
    """Save, load and clone a model of one layer."""
    entry = keras.Input(case.input_shape[1:], name="entry", dtype="float32")
    model = keras.Sequential([entry, layer], name="model")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path, safe_mode=True)
    clone = keras.models.clone_model(model)
    for how, other in (("loaded", loaded), ("cloned", clone)):
        method = other.layers[0].feedback
        if method != layer.feedback:
            raise Mismatch(f"the {how} layer to have {layer.feedback!r}", f"{method!r}")
        shapes = [tuple(w.shape) for w in model.weights], [tuple(w.shape) for w in other.weights]
        if shapes[0] != shapes[1]:
            raise Mismatch(f"the {how} layer's weights to have shapes {shapes[0]}", f"{shapes[1]}")
    for own, other in zip(model.weights, loaded.weights, strict=True):
        if not np.array_equal(own, other):
            raise Mismatch(f"the saved `{own.name}` in the loaded model", compare(other, own))
    if not np.array_equal(loaded(x), model(x)):
        raise Mismatch("the loaded model to give the same output", compare(loaded(x), model(x)))

"""Separate optimizer for feedback weights that learn by alignment.

Feedback weights that learn by alignment (`"sa"`, `"aa"`, `"wm"`, `"ia"`, `Alignment(...)`) follow
the forward weights, and need a fast optimizer without momentum: with momentum they oscillate around
the forward weights, and training can diverge. `split` gives them such an optimizer, and `check`
warns if a model needs it. Feedback weights that copy the forward kernel's gradient (`"kp"`,
`"pfa"`, `"pfa_o"`) stay with the forward optimizer, as their rules require.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import instance, optimizer_of
from tf_alignment._support.compat import MultiOptimizer, OptimizerMap
from tf_alignment.layers.inspection import feedback_layers
from tf_alignment.optimizers.replicated import ReplicatedSGD
from tf_alignment.optimizers.sgd import SGD

__all__ = ["ALIGNED", "TOO_LARGE_A_STEP", "check", "largest_step", "split"]

_Updater = Callable[[keras.Variable], Any]

ALIGNED = r".*_aligned"
"""Pattern that the whole path of a feedback weight created with `aligned=True` matches."""


def split(forward: Any, feedback: Any = None) -> keras.optimizers.Optimizer:
    r"""Combine two optimizers: one for feedback weights that learn by alignment, one for the rest.

    By default, `B` descends its alignment loss P by plain gradient descent,

    $$ B \leftarrow B - 0.5 \, \nabla_B P(B) $$

    and all other weights are updated by `forward`. The result is a
    `keras.optimizers.MultiOptimizer`, which is saved and loaded with the model.

    Some settings of `forward` do not affect the feedback weights that learn by alignment: momentum,
    weight decay (alignment rules have decay terms of their own), `clipnorm` and `global_clipnorm`
    (norms are taken only over the weights of `forward`), `use_ema` (only these weights are
    averaged), and a learning rate schedule given as `learning_rate`.

    Both optimizers must accumulate gradients over the same number of steps. The default feedback
    optimizer copies `gradient_accumulation_steps` from `forward`; an optimizer given as `feedback`
    must have the same number.

    Callbacks: `keras.callbacks.LearningRateScheduler` sets, and `ReduceLROnPlateau` lowers, the
    learning rate of *both* optimizers. To schedule `forward` alone, give it a
    `LearningRateSchedule`. Under `mixed_float16`, Keras wraps the result in a `LossScaleOptimizer`,
    for which both callbacks raise an error; a schedule works. A step in which any gradient
    overflows is skipped for both optimizers. `keras.callbacks.TensorBoard` logs the learning rates
    as `learning_rate_<name of the optimizer>`.

    Args:
        forward: Optimizer of all other weights: a Keras optimizer, its string id, or its config.
            `"sgd"` means `ta.optimizers.SGD`, a faster version of Keras' SGD.
        feedback: Optimizer of the feedback weights that learn by alignment, in the same forms as
            `forward`. By default `SGD(0.5)` without momentum or decay, named `"feedback"`.

    Returns:
        Optimizer for `model.compile`.

    Raises:
        TypeError: If an argument is no optimizer, id or config.
        ValueError: If an id or config is unknown, if an argument is a wrapper (`MultiOptimizer`,
            `LossScaleOptimizer`), if both are the same object, or if they accumulate gradients over
            different numbers of steps.

    Example:
    >>> import keras, tf_alignment as ta
    >>> optimizer = ta.optimizers.split(keras.optimizers.SGD(0.05, momentum=0.9))
    >>> [(round(float(inner.learning_rate), 2), inner.momentum) for inner in optimizer.optimizers]
    [(0.5, 0.0), (0.05, 0.9)]
    """
    forward = _optimizer("forward", forward)
    steps = forward.gradient_accumulation_steps
    if feedback is None:
        feedback = SGD(0.5, name="feedback", gradient_accumulation_steps=steps)
    feedback = _optimizer("feedback", feedback)
    if feedback is forward:
        raise ValueError(
            "`forward` and `feedback` must be two optimizers. "
            f"Received: the same {type(forward).__name__} object as both"
        )
    if (feedback.gradient_accumulation_steps or 1) != (steps or 1):
        raise ValueError(
            "`feedback` must accumulate gradients over as many steps as `forward`, here "
            f"gradient_accumulation_steps={steps}. Received: "
            f"feedback.gradient_accumulation_steps={feedback.gradient_accumulation_steps}"
        )
    # A fixed factor belongs to the whole: the loss is scaled once, for both.
    scale = forward.loss_scale_factor
    return Split(OptimizerMap(forward, {ALIGNED: feedback}), loss_scale_factor=scale)


@keras.saving.register_keras_serializable(package="tf_alignment")
class Split(MultiOptimizer):
    """`MultiOptimizer` that `tf.train.Checkpoint` saves with the state of its optimizers.

    Args:
        optimizer_map, loss_scale_factor, name: Arguments of `keras.optimizers.MultiOptimizer`.
    """

    def __init__(self, optimizer_map: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer_map, *args, **kwargs)
        self.owner = optimizer_map
        for i, optimizer in enumerate(self.optimizers):
            setattr(self, f"optimizer_{i}", optimizer)


def _optimizer(argument: str, value: Any) -> keras.optimizers.Optimizer:
    """Optimizer object for `value`, checked to be allowed inside a `MultiOptimizer`."""
    optimizer = SGD() if value == "sgd" else optimizer_of(argument, value)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            f"Argument `{argument}` must not be a LossScaleOptimizer: wrap the result instead, "
            "`LossScaleOptimizer(split(...))`, or leave it to `model.compile`, which does so under "
            f"the policy mixed_float16. Received: {argument}={value!r}"
        )
    if isinstance(optimizer, MultiOptimizer):
        raise ValueError(
            f"Argument `{argument}` must be a single optimizer, not a MultiOptimizer. For more "
            "than two, build a MultiOptimizer yourself and give it the pattern "
            f"`ta.optimizers.ALIGNED`. Received: {argument}={value!r}"
        )
    return optimizer


def check(model: keras.Model) -> list[str]:
    """Warn of feedback weights whose optimizer does not suit their rule.

    There are three cases: weights that learn by alignment under momentum; weights of product
    feedback under any optimizer of Keras except SGD; and feedback weights that share a
    `global_clipnorm` with forward weights, since their gradients then shorten the forward weights'
    steps. It is an error if weights would differ between replicas because `ReplicatedSGD` does not
    sum their gradients.

    The function looks inside `LossScaleOptimizer` and `MultiOptimizer` to find the optimizer of
    each of these weights. It is called at the start of training by `ta.callbacks.AlignmentMonitor`
    and by models that `ta.convert` returned; models that were built by hand, loaded or cloned do
    not call it. Weights whose optimizer cannot be determined (in a `MultiOptimizer` over a function
    that does not serialize) are skipped.

    Args:
        model: Compiled Keras model.

    Returns:
        List of the paths of the feedback weights concerned; empty if there are none.

    Raises:
        ValueError: If `model` has not been compiled with an optimizer, or `ReplicatedSGD` updates
            weights whose gradient depends on more than weights.

    Example:
    >>> import keras, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="sa")])
    >>> model.compile(ta.optimizers.split(keras.optimizers.SGD(0.05, momentum=0.9)), "mse")
    >>> ta.optimizers.check(model)
    []
    """
    instance("model", model, keras.Model, "a Keras model")
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "`model` must have been compiled with an optimizer. "
            f"Received: a model named '{model.name}' with optimizer={optimizer!r}"
        )
    updater = _updaters(optimizer)
    _check_replicated(model, optimizer, updater)
    found: list[str] = []
    wrong: dict[str, dict[str, str]] = {}  # {what: {connection: what its optimizer has}}
    for layer in feedback_layers(model):
        for connection in layer.connections:
            name = f"'{connection.path}' ({layer.feedback.id})"
            for weight in connection.weights.values():
                for what, has in _unsuited(connection, weight, updater):
                    wrong.setdefault(what, {})[name] = has
                    found.append(weight.path)
    for what, text in _TEXTS.items():
        if what in wrong:
            last = list(wrong[what].values())[-1]
            warnings.warn(text.format(some=_some(wrong[what]), last=last), stacklevel=2)
    return list(dict.fromkeys(found))


TOO_LARGE_A_STEP = (
    "The feedback weights of {some} learn through devices with a mismatch, and learning rate times "
    "coefficient times the largest gain is {last}: from 2 on, synapses with large gains can "
    "diverge. Take smaller coefficients, for instance 0.5 and 0.5."
)
_TEXTS = {
    "momentum": "The feedback weights of {some} learn by alignment, under an optimizer with "
    "momentum ({last}). Momentum makes them swing around the forward weights, and training can "
    "blow up. Compile with `ta.optimizers.split(optimizer)`, which gives them a fast plain SGD of "
    "their own.",
    "step": TOO_LARGE_A_STEP,
    "nonlinear": "The product feedback weights of {some} learn what the forward weights learn only "
    "under SGD, with or without momentum; under {last} the path of the error grows past them and "
    "need not align. Take SGD, or `ta.feedback.ProductFeedback(collapsed=True)`.",
    "norm": "The gradients of the feedback weights of {some} count in the norm that {last} clips: "
    "they shorten the steps of the forward weights. Take `clipnorm`, for each weight by itself; "
    "for weights that learn by alignment `ta.optimizers.split(optimizer)` does.",
}


def _unsuited(
    connection: Any, weight: keras.Variable, updater: _Updater
) -> Iterator[tuple[str, str]]:
    """What does not suit a feedback weight, keys of `_TEXTS`, and what its optimizer has."""
    method = connection.layer.feedback
    inner = updater(weight) if weight.trainable else None
    if inner is None:
        return
    if inner.global_clipnorm and updater(connection.kernel) is inner:
        yield "norm", f"{type(inner).__name__}(global_clipnorm={inner.global_clipnorm})"
    alone = method.learns == "alignment" and re.fullmatch(ALIGNED, weight.path)
    if alone and _momentum(inner):
        yield "momentum", _momentum(inner)
    elif alone and (step := largest_step(method, connection, inner)) >= 2.0:
        yield "step", f"{step:.1f}"
    elif method.linear and _is_nonlinear(inner):
        yield "nonlinear", type(inner).__name__


def _check_replicated(model: keras.Model, optimizer: Any, updater: _Updater) -> None:
    outer = optimizer
    while isinstance(outer, keras.optimizers.LossScaleOptimizer):
        outer = outer.inner_optimizer
    if not any(isinstance(o, ReplicatedSGD) for o in (outer, *getattr(outer, "optimizers", ()))):
        return
    alike = {
        id(weight)
        for layer in feedback_layers(model)
        if layer.feedback.weights_only
        for connection in layer.connections
        for weight in connection.weights.values()
    }
    for weight in model.trainable_variables:
        if id(weight) not in alike and isinstance(updater(weight), ReplicatedSGD):
            raise ValueError(
                "`ReplicatedSGD` is for feedback weights whose gradient depends on weights alone "
                "(feedback 'sa'): others differ between replicas, which it would let drift apart. "
                f"Received: '{weight.path}'. Take `keras.optimizers.SGD` for it."
            )


def _some(names: dict[str, str]) -> str:
    shown = list(names)
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if shown[4:] else "")


def _is_nonlinear(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer is one of Keras' and not linear; False for optimizers of others."""
    own = type(optimizer).__module__.startswith("keras.")
    return own and not isinstance(optimizer, keras.optimizers.SGD)


def _updaters(optimizer: Any) -> _Updater:
    """Function `variable -> optimizer` that finds the optimizer of a variable, None if unknown.

    The result may be a copy with the same configuration. The function is made once for all
    variables, since the map of a `MultiOptimizer` that was made elsewhere has to be deserialised.
    """
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if not isinstance(optimizer, MultiOptimizer):
        return lambda variable: optimizer
    if isinstance(optimizer, Split):
        # A copy would create variables, and a step in which variables are created is traced twice.
        return optimizer.owner
    # Keras keeps the map to itself; its config is public.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a map that is a lambda warns, and is refused below
        try:
            config = optimizer.get_config()["optimizer_map"]
            found = keras.saving.deserialize_keras_object(config)
        except (TypeError, ValueError):
            found = None
    return found if callable(found) else lambda variable: None


def largest_step(rule: Any, connection: Any, optimizer: keras.optimizers.Optimizer) -> float:
    """Share of the way to its target that one step takes a device with a large gain, or 0.

    It is known for rules in weights alone and for steps that the input's covariance conditions,
    under SGD and with constant coefficients.

    Args:
        rule: Rule by which the connection's feedback weights learn.
        connection: Connection of a built layer.
        optimizer: Optimizer of these weights.
    """
    inner, gain = rule.unwrapped, connection.weights.get("imperfect_gain")
    known = rule.weights_only or getattr(inner, "normalize", None) == "covariance"
    coefficients = [coefficient for _, coefficient in getattr(inner, "terms", ())]
    constant = coefficients and all(isinstance(c, int | float) for c in coefficients)
    if gain is None or not known or not constant or not isinstance(optimizer, keras.optimizers.SGD):
        return 0.0
    return float(optimizer.learning_rate) * max(coefficients) * float(tf.reduce_max(gain))


def _momentum(optimizer: keras.optimizers.Optimizer) -> str:
    """Momentum of an optimizer in the form `"SGD(momentum=0.9)"`; empty if there is none."""
    config = optimizer.get_config()
    # beta_1 is the momentum of the Adam family and of Lion; Muon uses Adam for some weights.
    for name in ("momentum", "beta_1", "adam_beta_1"):
        value = config.get(name)
        if isinstance(value, int | float) and value > 0:
            return f"{type(optimizer).__name__}({name}={value})"
    return ""

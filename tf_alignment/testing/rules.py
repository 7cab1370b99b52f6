"""`check_rule`: checks of a feedback rule."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment.feedback import Alignment, Feedback
from tf_alignment.primitives import Primitive
from tf_alignment.testing import rule_checks as checking
from tf_alignment.testing import running_checks as running
from tf_alignment.testing.report import Report, Runner
from tf_alignment.testing.table import LAYERS, undisturbed
from tf_alignment.testing.trial import RuleCheck, Trial

__all__ = ["CHECKS", "check_rule"]

_BUILT_IN = Primitive.__module__
_DENSE = ("dense",)
_TWO = ("dense", "conv2d-strided")
_OWN_KIND = (
    "`send`, `feedback_kernel` or `align` is written for one kind of layer. What holds for all: "
    "`map.apply(x, kernel)`, `map.transpose(dz, kernel, x)`, `map.outer(x, dz, kernel)`."
)
_PYTHON = (
    "Python (`if`, `float()`, `.numpy()`, NumPy, an attribute that changes) acts on values that a "
    "compiled step does not have: it runs once, when the step is traced. Use TensorFlow's "
    "operations."
)
_CAST_LOCAL = (
    "two dtypes in one product. `local.x`, `local.y`, `reconstruction` and `projection` are in the "
    "compute dtype, `local.kernel` and `local.feedback` in float32: cast the kernels to "
    "`local.x.dtype` before a product with activity, and parts of B's shape (`direct`) to "
    "`local.feedback.dtype`; the value is a float32 scalar."
)
_CAST_ALIGN = (
    "two dtypes in one product. In `align`, `activity.x`, `activity.z` and `activity.kernel` are "
    "in the compute dtype, the weights in float32: cast what meets."
)
_CAST = (
    "a fixed dtype, as in `tf.cast(..., tf.float32)` or `tf.constant(0.5)`. In the backward pass "
    "all is in the compute dtype: cast to `c.kernel.dtype`, and hand `dx` back in it."
)

_ALL: dict[str, RuleCheck] = {
    "forward": RuleCheck(
        checking.forward,
        "the layer builds, and its forward pass is the Keras layer's, bit for bit",
        "`build` or `couple` changes the forward kernel; `couple` has to return the same numbers.",
    ),
    "gradients": RuleCheck(
        checking.backward,
        "the backward pass: an error shaped like the input, finite gradients for all that learns, "
        "and Keras' own gradient for the forward kernel and bias",
        _OWN_KIND,
    ),
    "transport": RuleCheck(
        checking.transport,
        "the error sent down is not backpropagation's: no weight transport (in `Backprop`, it is)",
        "the feedback kernel is the forward kernel, or was initialised with its numbers. "
        "`setup.draw` never gives those.",
    ),
    "effective_kernel": RuleCheck(
        checking.effective_kernel,
        "`feedback_kernel` is what carries the error: of the forward kernel's shape, and `send` "
        "sends the error along it",
        "`send` was overridden and `feedback_kernel` was not. A rule without a kernel that carries "
        "the error leaves `feedback_kernel` as it is in `Feedback`.",
    ),
    "closed_form": RuleCheck(
        checking.closed_form,
        "the gradient in closed form against automatic differentiation of the loss",
        "a sign or a factor: N is the batch size alone, and `local.mean` divides by it; the parts "
        "of `Gradient` that go through `y Bᵀ` and `x B` are the gradients for these, times N.",
    ),
    "state": RuleCheck(
        checking.state,
        "the rule is configuration: it changes nothing in itself, and from one state of the layer "
        "it gives one result",
        _PYTHON,
        ("dense", "conv2d"),
    ),
    "config": RuleCheck(
        checking.config,
        "`from_config(get_config())` is an equal rule",
        "`get_config` has to return every argument of the constructor.",
        _DENSE,
    ),
    "save": RuleCheck(
        checking.save,
        "a model with the rule can be saved as .keras, loaded in safe mode, and cloned",
        "`get_config` returns what cannot be serialised (objects go through "
        "`keras.saving.serialize_keras_object`, and back in `from_config`).",
        ("dense", "separable2d"),
    ),
    "graph": RuleCheck(
        functools.partial(running.compiled, jit=False),
        "a compiled step (tf.function) gives what eager mode gives, on every batch",
        _PYTHON,
        ("dense", "conv2d-strided", "separable2d"),
    ),
    "xla": RuleCheck(
        functools.partial(running.compiled, jit=True),
        "a step compiled by XLA (jit_compile=True) gives what eager mode gives",
        _PYTHON + " XLA also needs shapes that do not depend on values, and knows no strings, "
        "`tf.py_function` or `tf.print`.",
        _TWO,
    ),
    "mixed_float16": RuleCheck(
        functools.partial(running.precision, policy="mixed_float16"),
        "under the policy mixed_float16 the rule runs, and learns what it learns in float32",
        _CAST,
        _TWO,
    ),
    "mixed_bfloat16": RuleCheck(
        functools.partial(running.precision, policy="mixed_bfloat16"),
        "under the policy mixed_bfloat16 the rule runs, and learns what it learns in float32",
        _CAST,
        _TWO,
    ),
    "replicas": RuleCheck(
        running.replicas,
        "two replicas of a strategy give what one device gives for their share of the batch, and "
        "share or do not share random numbers as the rule's `random` says",
        "random numbers that do not come from the seed that the rule is given, or a `random` that "
        "does not say what the rule does.",
        _DENSE,
    ),
}
CHECKS: tuple[str, ...] = tuple(_ALL)
"""The names of the checks of `check_rule`."""


def check_rule(
    rule: Any,
    *,
    checks: Iterable[str] | None = None,
    layers: Iterable[str] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    seed: int = 0,
) -> Report:
    """Check a feedback rule with the tests that this library's own methods pass.

    Some checks run on every layer of `LAYERS`, those that cost more and do not depend on the kind
    of layer on one to three of them. All of them take about ten seconds. The dtype policy and
    the states of random generators are restored. If TensorFlow has not been initialised and finds
    one CPU, the check of replicas splits this CPU into two logical devices, for the rest of the
    process.

    Args:
        rule: A `tf_alignment.feedback.Feedback`, or what `tf_alignment.feedback.get` turns into
            one; or a `tf_alignment.primitives.Primitive`, as the only term of an `Alignment`.
        checks: Names out of `CHECKS`; `None` for all.
        layers: Names out of `LAYERS`; `None` for all that can have the rule. A check whose usual
            layers are not among them runs on the first.
        strategy: The strategy for the check of replicas; `None` for a `MirroredStrategy` on two
            logical devices.
        seed: For weights, inputs and errors.

    Returns:
        A `Report` of what passed and what was skipped, and why.

    Raises:
        CheckFailed: An `AssertionError` that says of each check that failed what was checked on
            which layer, what was expected, what was received, and what usually causes it.
        TypeError: If `rule` is no rule.
        ValueError: For unknown names, and for a rule that belongs to a network ("dfa").

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> class Half(ta.feedback.FeedbackAlignment):
    ...     \"\"\"Sends the error through B / 2, and forgets that TensorFlow has dtypes.\"\"\"
    ...     def feedback_kernel(self, c):
    ...         return tf.cast(c.weights["feedback_kernel"], tf.float32) / 2.0
    >>> ta.testing.check_rule(Half(), checks=["mixed_float16"], layers=["dense"])
    Traceback (most recent call last):
    ...
    tf_alignment.testing.report.CheckFailed: Half(): 0 passed, 1 failed, 0 skipped
    <BLANKLINE>
    mixed_float16 failed on dense
        checked:  under the policy mixed_float16 the rule runs, and learns what it learns in float32
    ...
    """
    method = _rule(rule)
    chosen = choose("checks", checks, CHECKS)
    names = choose("layers", layers, tuple(LAYERS))
    if layers is None and not method.through_time:
        names = [n for n in names if getattr(LAYERS[n].layer_class, "over_time", False)]
    runner = Runner(repr(rule if isinstance(rule, Primitive) else method))
    if "replicas" in chosen and strategy is None:
        running.split_cpu()
    with undisturbed(seed):
        trials = {name: Trial(method, LAYERS[name], seed, strategy) for name in names}
        for check in chosen:
            described = _ALL[check]
            if check.startswith("mixed_") and method.learns == "alignment":
                own = any(type(p).__module__ != _BUILT_IN for p, _ in getattr(method, "terms", ()))
                hint = _CAST_LOCAL if own else _CAST_ALIGN
                described = dataclasses.replace(described, cause=f"{hint} Or, in `send`, {_CAST}")
            for name in described.on(names):
                described.run(check, name, trials[name], runner)
    return runner.finish()


def _rule(rule: Any) -> Feedback:
    """The rule as a method of a layer."""
    if isinstance(rule, type) and issubclass(rule, Primitive):
        rule = rule()
    if isinstance(rule, Primitive):
        return Alignment([(rule, 1.0)])
    method = methods.get(rule)
    if method is None:
        raise TypeError(
            "Argument `rule` must be a `tf_alignment.feedback.Feedback` or a "
            f"`tf_alignment.primitives.Primitive`. Received: rule={rule!r}"
        )
    if isinstance(method, methods.DirectFeedback):
        raise ValueError(
            "Argument `rule` must be the rule of a layer; 'dfa' belongs to a network. "
            f"Received: rule={rule!r}"
        )
    return method


def choose(argument: str, given: Iterable[str] | None, known: tuple[str, ...]) -> list[str]:
    """The chosen names in the order of `known`, or in the caller's for layers."""
    if given is None:
        return list(known)
    names = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"Argument `{argument}` must name some of {list(known)}. Received: {argument}={names}"
        )
    return names

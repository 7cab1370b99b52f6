"""`check_layer`: a layer class with feedback against its Keras parent."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_alignment import feedback as methods
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS
from tf_alignment.testing import rule_checks as checking
from tf_alignment.testing import running_checks as running
from tf_alignment.testing.numbers import close, compare
from tf_alignment.testing.report import Mismatch, NotApplicable, Report, Runner
from tf_alignment.testing.rules import choose
from tf_alignment.testing.table import LayerCase, gradients, keras_parent, undisturbed
from tf_alignment.testing.trial import RuleCheck, Trial, registered

__all__ = ["LAYER_CHECKS", "check_layer"]


@dataclasses.dataclass(frozen=True)
class _ClassCase(LayerCase):
    """A case of classes that need not be in this library."""

    classes: tuple[type, type] = (keras.layers.Layer, keras.layers.Layer)

    @property
    def parent(self) -> Any:
        return self.classes[1]

    @property
    def layer_class(self) -> Any:
        return self.classes[0]


def check_layer(
    layer: Any,
    parent: type | None = None,
    arguments: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] = (4, 6),
    *,
    checks: Iterable[str] | None = None,
    seed: int = 0,
) -> Report:
    """Check a layer class with feedback against the Keras class that it stands for.

    It has to have one input and, like `tf_alignment.layers.Dense`, the arguments and attributes of
    `tf_alignment.layers.base.FeedbackLayer`. Takes one to two seconds. Dtype policy and random
    states are afterwards what they were.

    Args:
        layer: A layer class with feedback, or a layer, whose config then gives the arguments.
        parent: The Keras class; `None` for the first one among the bases of the class.
        arguments: Arguments of the constructor that both classes take.
        input_shape: Shape of the input, with the batch.
        checks: Names out of `LAYER_CHECKS`; `None` for all.
        seed: For weights, inputs and errors.

    Returns:
        A `Report` of what passed.

    Raises:
        CheckFailed: An `AssertionError` that says of each check that failed what was checked, what
            was expected, what was received, and what usually causes it.
        TypeError: If `layer` is no layer.
        ValueError: For unknown names.

    Example:
    >>> import tf_alignment as ta
    >>> report = ta.testing.check_layer(
    ...     ta.layers.Dense, arguments={"units": 3}, input_shape=(2, 4),
    ...     checks=["signature", "stock", "backprop"],
    ... )
    >>> print(report)
    Dense(units=3) with an input of shape (2, 4): 3 passed, 0 failed, 0 skipped
    """
    cls = layer if isinstance(layer, type) else type(layer)
    if not issubclass(cls, keras.layers.Layer):
        raise TypeError(f"Argument `layer` must be a layer or its class. Received: layer={layer!r}")
    given = {} if isinstance(layer, type) else _own_arguments(layer)
    chosen = choose("checks", checks, LAYER_CHECKS)
    case = _ClassCase(
        cls.__name__,
        {**given, **(arguments or {})},
        tuple(input_shape),
        (cls, parent or keras_parent(cls)),
    )
    runner = Runner(str(case))
    with undisturbed(seed):
        trial = Trial(methods.SymmetricAlignment(), case, seed)
        for check in chosen:
            _ALL[check].run(check, cls.__name__, trial, runner)
    return runner.finish()


def _own_arguments(layer: Any) -> dict[str, Any]:
    """The arguments of a layer that its Keras parent has too."""
    leave = {*FEEDBACK_ARGUMENTS, "name", "dtype"}
    return {name: value for name, value in layer.get_config().items() if name not in leave}


def _signature(trial: Trial) -> None:
    """The parent's arguments and defaults, then those of the feedback."""
    own = inspect.signature(trial.case.layer_class).parameters
    parent = inspect.signature(trial.case.parent).parameters
    rest = [name for name in own if name not in FEEDBACK_ARGUMENTS]
    if rest != list(parent):
        raise Mismatch(f"the parent's arguments {list(parent)}", f"{rest}")
    defaults = {**{n: p.default for n, p in parent.items()}, **FEEDBACK_ARGUMENTS}
    found = {name: parameter.default for name, parameter in own.items()}
    other = {name for name in defaults if found.get(name, inspect) != defaults[name]}
    if other:
        raise Mismatch(
            f"the defaults { {n: defaults[n] for n in other} }",
            f"{ {n: found.get(n) for n in other} }",
        )


def _stock(trial: Trial) -> None:
    """Without feedback: the parent's output, gradients, weights and config."""
    weights = trial.stock.weights
    layer = trial.case.layer(None, name="stock", dtype="float32")
    layer(trial.x)
    if len(layer.weights) != len(weights) or layer.feedback_weights != {}:
        raise Mismatch(f"{len(weights)} weights, as in Keras", f"{[w.name for w in layer.weights]}")
    for source, target in zip(weights, layer.weights, strict=True):
        target.assign(source)
    y, found = gradients(layer, trial.x)
    expected_y, expected = trial.expected
    names = trial.weight_names(layer)
    for name, own, stock in zip(
        ["the output", *names], [y, *found], [expected_y, *expected], strict=True
    ):
        if not np.array_equal(own, stock):
            raise Mismatch(f"for {name} what Keras gives, bit for bit", compare(own, stock))
    own_config, config = layer.get_config(), trial.stock.get_config()
    differing = [name for name in config if own_config.get(name, trial) != config[name]]
    if differing:
        raise Mismatch("the parent's config", f"other values for {differing}")


def _backprop(trial: Trial) -> None:
    """With B set to W by hand, every gradient is the parent's."""
    for method in ("fa", "kp", "sa"):
        layer = trial.case.layer(method, name="checked", dtype="float32")
        layer.build(trial.case.input_shape)
        for source, target in zip(trial.stock.weights, layer.weights, strict=False):
            target.assign(source)
        for c in layer.connections:
            c.weights["feedback_kernel"].assign(c.kernel)
        found = gradients(layer, trial.x)[1]
        names = trial.weight_names(layer)
        for name, own, stock in zip(names, found, trial.expected[1], strict=False):
            if not close(own, stock, 1e-4):
                raise Mismatch(f"with '{method}' for {name} what Keras gives", compare(own, stock))


def _numbers(trial: Trial) -> None:
    """B is not W at the start, though both be drawn by one initializer."""
    shared = keras.initializers.HeNormal(seed=trial.seed)
    names = [
        name
        for name in inspect.signature(trial.case.parent).parameters
        if name.endswith("_initializer") and name != "bias_initializer"
    ]
    for extra in ({}, {"feedback_initializer": None}, dict.fromkeys(names, shared)):
        if extra and "feedback_initializer" not in extra:
            extra = {**extra, "feedback_initializer": shared}
        layer = trial.case.layer("fa", name="checked", dtype="float32", **extra)
        layer.build(trial.case.input_shape)
        for c in layer.connections:
            w, b = (np.ravel(v) for v in (c.kernel, c.weights["feedback_kernel"]))
            cosine = float(w @ b / max(np.linalg.norm(w) * np.linalg.norm(b), 1e-30))
            if abs(cosine) > 0.999:
                raise Mismatch(
                    f"feedback weights with numbers of their own, for {extra or 'the defaults'}",
                    f"a cosine of {cosine:.3f} between B and W",
                )


def _config(trial: Trial) -> None:
    """A layer from the config has the same config."""
    config = trial.layer.get_config()
    again = trial.case.layer_class.from_config(config).get_config()
    if again != trial.layer.get_config():
        differing = [n for n in config if again.get(n, trial) != config[n]]
        raise Mismatch("the same config", f"other values for {differing}")


def _save(trial: Trial) -> None:
    """Registration, `.keras` in safe mode, and `clone_model`."""
    registered(trial.layer)
    checking.check_saving(trial.case, trial.build(dtype="float32"), trial.x)


def _weight_files(trial: Trial) -> None:
    """Files of stock weights load, with a warning, and the other way round."""
    own_name, name = trial.case.layer_class.__name__, trial.case.parent.__name__
    if own_name != name:
        raise NotApplicable(f"Keras files weights by class, and {own_name} is not called {name}")
    trial.stock  # noqa: B018 says so where Keras' layer does not run

    def model(layer: Any) -> keras.Model:
        entry = keras.Input(trial.case.input_shape[1:], name="entry", dtype="float32")
        return keras.Sequential([entry, layer], name="model")

    stock = model(trial.case.stock(name="layer", dtype="float32"))
    own = model(trial.case.layer("fa", name="layer", dtype="float32"))
    before = {n: np.array(w) for n, w in own.layers[0].feedback_weights.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stock.weights.h5"
        stock.save_weights(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            own.load_weights(path)
        _same_output("the weights of a stock file", own(trial.x), stock(trial.x))
        if not any("no feedback weights" in str(warning.message) for warning in caught):
            raise Mismatch("a warning that the file has no feedback weights", "none")
        for name, weight in own.layers[0].feedback_weights.items():
            if not np.array_equal(weight, before[name]):
                raise Mismatch(f"`{name}` untouched by a file without it", "another")
        path = Path(folder) / "own.weights.h5"
        for weight in own.layers[0].weights:
            weight.assign_add(np.ones(weight.shape))
        own.save_weights(path)
        stock.load_weights(path)
        _same_output("a stock layer with the weights of a file", stock(trial.x), own(trial.x))


def _same_output(what: str, found: Any, expected: Any) -> None:
    if not np.array_equal(found, expected):
        raise Mismatch(f"{what} to give the same output", compare(found, expected))


_MIXIN = "the base `FeedbackLayer` does not come before the Keras class, or `call` was overridden."
_CONNECT = "`_connect` names another map than the one that the Keras layer computes."
_SAVING = "arguments of the constructor that `get_config` does not return."
_DTYPE = "`call` uses weights in their own dtype, or casts to a fixed one."
_ALL: dict[str, RuleCheck] = {
    "signature": RuleCheck(
        _signature, "the arguments and defaults are the parent's plus the feedback's", _MIXIN
    ),
    "stock": RuleCheck(_stock, "with feedback=None the layer is its parent, bit for bit", _MIXIN),
    "forward": RuleCheck(checking.forward, "with feedback the output is the parent's", _CONNECT),
    "gradients": RuleCheck(
        checking.backward,
        "with feedback the kernel's gradient is the parent's; all are finite and well-shaped",
        _CONNECT,
    ),
    "backprop": RuleCheck(_backprop, "with B = W every gradient is the parent's", _CONNECT),
    "numbers": RuleCheck(
        _numbers, "B does not start with W's numbers", "one initializer with one seed for both."
    ),
    "config": RuleCheck(_config, "`from_config(get_config())` has the same config", _SAVING),
    "save": RuleCheck(_save, "a model with the layer can be saved, loaded and cloned", _SAVING),
    "weight_files": RuleCheck(
        _weight_files,
        "files of stock weights load into the layer, and the other way round",
        "weights besides the parent's are stored outside of `feedback_store`.",
    ),
    "graph": RuleCheck(
        functools.partial(running.compiled, jit=False),
        "tf.function gives what eager mode gives",
        "Python in `call` that acts on values.",
    ),
    "xla": RuleCheck(
        functools.partial(running.compiled, jit=True),
        "XLA gives what eager mode gives",
        "an operation that XLA lacks, or a shape that depends on values.",
    ),
    "mixed_float16": RuleCheck(
        functools.partial(running.precision, policy="mixed_float16"),
        "under mixed_float16 the layer runs and learns what it learns in float32",
        _DTYPE,
    ),
    "mixed_bfloat16": RuleCheck(
        functools.partial(running.precision, policy="mixed_bfloat16"),
        "under mixed_bfloat16 the layer runs and learns what it learns in float32",
        _DTYPE,
    ),
}
LAYER_CHECKS: tuple[str, ...] = tuple(_ALL)
"""The names of the checks of `check_layer`."""

"""Rows and columns of a study: variants, cases, and one run of a variant on a case."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import deprecated, integer, is_config
from tf_alignment.studies.encoding import load_reference

__all__ = ["Case", "Run", "Variant", "as_variants", "construct", "method_of"]

_NAME = re.compile(r"[^\s/\\:][^/\\:\n]*")


@dataclasses.dataclass(frozen=True)
class Variant:
    """Row of a study's table: a method and its own settings.

    Settings that are None are taken from the study.

    Attributes:
        name: Name of the row, unique in a study.
        feedback: Method for `ta.convert`: an id, a `Feedback` object or class, or a dict
            `{name of layers: method}`. None leaves the model as `build` made it.
        include: Layers to convert, see `ta.convert`.
        exclude: Layers to leave stock, see `ta.convert`.
        feedback_initializer: Initializer of the feedback weights, see `ta.convert`; None for the
            initializer of each layer's kernel.
        phases: Phases in which feedback weights learn: `functools.partial`s of phase classes, or
            functions of the `Run` that return a phase.
        every: Epochs between runs of the phases, or None, see `ta.callbacks.FeedbackCallback`; or
            `"step"` to run them within every training step (`ta.phases.interleave`).
        warmup: Number of runs of the phases before training.
        optimizer: Keras optimizer, its id, or a function of the `Run`.
        compile: Entries that replace entries of the study's `compile`.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        build: Model that replaces the study's model.
        callbacks: Functions of the `Run` that return a Keras callback, or `functools.partial`s of
            callback classes, which run after the study's callbacks.
        tuning: Values that replace the values in the study's `tuning`.
        settings: Dict of settings that functions read from `run.settings`.

    Raises:
        ValueError: If the name cannot name a file, or `every` is no interval.

    Example:
    >>> import tf_alignment as ta
    >>> ta.studies.Variant("fa, all layers", "fa", include=".*").feedback
    'fa'
    """

    name: str
    feedback: Any = "backprop"
    include: Any = None
    exclude: Any = None
    feedback_initializer: Any = "glorot_uniform"
    phases: Sequence[Any] = ()
    every: str | int | None = 1
    warmup: int = 0
    optimizer: Any = None
    compile: Mapping[str, Any] | None = None
    epochs: int | None = None
    batch_size: int | None = None
    build: Any = None
    callbacks: Sequence[Any] = ()
    tuning: Mapping[str, Sequence[Any]] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        if self.every == "epoch":
            every = deprecated(1, "every='epoch'", "every=1", level=4)  # over dataclass' __init__
            object.__setattr__(self, "every", every)
        if self.every not in (None, "step"):
            integer("every", self.every)
        for name in ("phases", "callbacks"):
            value = getattr(self, name)
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise TypeError(
                    f"Argument `{name}` must be a list of functions or classes. "
                    f"Received: {name}={value!r}"
                )
            for entry in value:
                _check_function(name, entry)
        if isinstance(self.feedback, type):
            object.__setattr__(self, "feedback", self.feedback())
        if not is_config(self.feedback):
            method_of(self.feedback)  # unknown ids fail here


@dataclasses.dataclass(frozen=True)
class Case:
    """One of several models of a study, with its own settings.

    A setting of a `Variant` takes precedence over a setting of the case.

    Attributes:
        name: Name of the case, unique in a study.
        build: Stock model, see `Study`.
        data: Data of the case, or None for the study's data.
        value: Position of the case on the axis of a figure, for instance a depth or a noise
            variance; None if there is no such axis.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        optimizer: Keras optimizer, its id, or a function of the `Run`.
        settings: Dict of settings that functions read from `run.settings`.

    Example:
    >>> import functools, tf_alignment as ta
    >>> depths = [
    ...     ta.studies.Case(f"resnet{d}", functools.partial(ta.models.resnet, d), value=d)
    ...     for d in (8, 14, 20)
    ... ]
    >>> [case.value for case in depths]
    [8, 14, 20]
    """

    name: str
    build: Any = None
    data: Any = None
    value: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Any = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("name", self.name)


@dataclasses.dataclass
class Run:
    """One training run, as the argument of a study's functions.

    Attributes:
        variant: Name of the variant.
        case: Name of the case.
        value: Value of the case, see `Case.value`.
        seed: Seed of the weights and of the order of the examples.
        feedback: Id of the method, ids separated by commas if layers have different ones, or None.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        settings: Settings of study, case and variant together, including tuned values that belong
            to no optimizer or method.
        strategy: Strategy of the training.
        data_dir: Directory of the TensorFlow Datasets, or None.
        directory: Directory of the study.
        resumed: Whether the run continues a process that was killed.
        source: Source of the training data; None before it is opened.
        steps_per_epoch: Number of batches per epoch; 0 before the data are opened.
        phases: List of the run's phases, once they are made.
        model: Converted and compiled model; None before it is made.

    Example:
    ```python
    def rate(run, learning_rate):
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, run.steps)
        return keras.optimizers.SGD(schedule)
    ```
    """

    variant: str
    case: str
    value: float | None
    seed: int
    feedback: str | None
    epochs: int
    batch_size: int
    settings: dict[str, Any]
    strategy: tf.distribute.Strategy | None = None
    data_dir: str | None = None
    directory: Path | None = None
    resumed: bool = False
    source: Any = None
    steps_per_epoch: int = 0
    phases: list[Any] = dataclasses.field(default_factory=list)
    model: keras.Model | None = None

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.epochs * self.steps_per_epoch


def construct(function: Any, run: Run, **values: Any) -> Any:
    """Call a function with the run, or construct a class.

    Args:
        function: Function, class, or a `functools.partial` of either.
        run: Run that is passed to a function; a class that takes a seed and has none gets the
            run's.
        **values: Further keyword arguments.
    """
    inner = function.func if isinstance(function, functools.partial) else function
    if not isinstance(inner, type):
        return function(run, **values)
    given = function.keywords if isinstance(function, functools.partial) else {}
    if "seed" not in given and "seed" in inspect.signature(inner).parameters:
        values.setdefault("seed", run.seed)
    return function(**values)


def as_variants(values: Any) -> list[Variant]:
    """List of `Variant` objects for the argument `variants` of a study.

    Args:
        values: List of variants, ids of methods, `Feedback` objects or classes, and references
            `"module:Rule"` or `"file.py:Rule"`.

    Raises:
        TypeError: If `values` is no list of these.
        ValueError: If the list is empty, or two variants have the same name.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise TypeError(
            "Argument `variants` must be a list of at least one method or `Variant`. "
            f"Received: variants={values!r}"
        )
    variants = [_as_variant(value) for value in values]
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "Argument `variants` must have different names; `ta.studies.Variant(name, rule)` gives "
            f"one. Received: {twice} more than once"
        )
    return variants


def method_of(feedback: Any) -> Any:
    """Method of a variant, a dict of methods for layers, or None.

    Args:
        feedback: Argument of a `Variant`.
    """
    if isinstance(feedback, Mapping) and not is_config(feedback):
        return {layers: methods.get(own) for layers, own in feedback.items()}
    return methods.get(feedback)


def _as_variant(value: Any) -> Variant:
    if isinstance(value, Variant):
        return value
    if isinstance(value, str) and ":" in value:
        value = load_reference(value)
    if isinstance(value, str):
        return Variant(value, value)
    method = methods.get(value)
    if method is None:
        return Variant("stock", None)
    # a rule that is a subclass of another and has no id of its own is not that other
    return Variant(method.id if "id" in vars(type(method)) else type(method).__name__, method)


def _check_name(argument: str, name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"Argument `{argument}` must be a string without '/', '\\' and ':'. "
            f"Received: {argument}={name!r}"
        )


def _check_function(argument: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(
            f"Argument `{argument}` must hold functions of a run, classes, or functools.partials "
            f"of these, since each run makes its own. Received: {argument}={value!r}"
        )

"""The rows and columns of a study: variants, cases, and one run of a variant on a case."""

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
from tf_alignment.studies.encoding import load_reference

__all__ = ["Case", "Run", "Variant", "as_variants", "construct"]

_NAME = re.compile(r"[^\s/\\:][^/\\:\n]*")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a study's table: a method, and what is different for it.

    What is None is the study's.

    Attributes:
        name: Of the row; unique in a study.
        feedback: What `ta.convert` gets: an id, a `Feedback` object or class. None leaves the model
            as `build` made it.
        include: See `ta.convert`.
        exclude: Likewise.
        feedback_initializer: Likewise; None for that of each layer's kernel.
        phases: What learns feedback weights besides: `functools.partial`s of phase classes, or
            functions of the `Run` that return a phase.
        every: When phases run: see `ta.callbacks.FeedbackCallback`; or `"step"`, within every
            training step (`ta.phases.interleave`).
        warmup: Runs of the phases before training.
        optimizer: A Keras optimizer, its id, or a function of the `Run`.
        compile: Entries that replace entries of the study's `compile`.
        epochs: Passes over the training data.
        batch_size: Examples a step.
        build: Another model than the study's.
        callbacks: Functions of the `Run` that return a Keras callback, or `functools.partial`s of
            callback classes; after the study's.
        tuning: Values of its own for settings that the study's `tuning` has.
        settings: Whatever functions read from `run.settings`.

    Raises:
        ValueError: If the name cannot name a file.

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
    every: str | int | None = "epoch"
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
        if not isinstance(self.feedback, dict):
            methods.get(self.feedback)  # unknown ids fail here


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of a study that has several, with what is different for it.

    Attributes:
        name: Of the case; unique in a study.
        build: See `Study`.
        data: Data of its own, or None for the study's.
        value: Where it lies on the axis of a figure, as a depth or the variance of a noise; None if
            there is no such axis.
        epochs: As in `Variant`, which comes first.
        batch_size: Likewise.
        optimizer: Likewise.
        settings: Likewise.

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
    """One training, as functions of a study see it.

    Attributes:
        variant: Name of the variant.
        case: Name of the case.
        value: `Case.value`.
        seed: Of weights and order of the examples.
        feedback: Id of the method, or None.
        epochs: Passes over the training data.
        batch_size: Examples a step.
        settings: Those of study, case and variant together; tuned values that belong to no
            optimizer or method are among them.
        strategy: That of the training.
        data_dir: Where the TensorFlow Datasets are, or None.
        directory: Of the study.
        resumed: Whether it goes on from an epoch of a process that was killed.
        source: What it trains on; None before there is any.
        steps_per_epoch: Batches an epoch; 0 before there is data.
        phases: Its phases, once made.
        model: The model, converted and compiled; None before.

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
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch


def construct(function: Any, run: Run, **values: Any) -> Any:
    """Call a function with the run, or construct a class.

    Args:
        function: A function, a class, or a `functools.partial` of either.
        run: What functions get, and whose seed classes get if they take one and have none.
        **values: Further keywords.
    """
    inner = function.func if isinstance(function, functools.partial) else function
    if not isinstance(inner, type):
        return function(run, **values)
    given = function.keywords if isinstance(function, functools.partial) else {}
    if "seed" not in given and "seed" in inspect.signature(inner).parameters:
        values.setdefault("seed", run.seed)
    return function(**values)


def as_variants(values: Any) -> list[Variant]:
    """The variants from the argument of a study.

    Args:
        values: Variants, ids of methods, `Feedback` objects or classes, and `"module:Rule"` or
            `"file.py:Rule"`.

    Raises:
        TypeError: If it is no list of these.
        ValueError: If there is none, or two have the same name.
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

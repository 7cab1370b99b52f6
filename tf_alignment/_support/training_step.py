"""The training step of a model, with what the library adds to it.

Keras calls `model.train_step` with every batch. A converted model is checked while that step is
traced, and a phase may take a step of its own before it. Objects in the place of `train_step` do
both, and what they do is kept with the model. So it can be changed or taken out later, also if
somebody has put a function around `train_step` in the meantime.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras

from tf_alignment._support import watching

__all__ = ["Additions", "TrainingStep", "additions", "install", "own_step", "take_out"]

_NAME = "_alignment_additions"


class Additions:
    """What the library adds to the training of one model.

    Attributes:
        check: Function that runs the step it is given, and checks what the step uses, or None.
        phase: Phase with a method `take_step(model, batch)`, or None.
        at: `TrainingStep` before which the phase takes its steps. A function that is put around it
            later may change the batch.
    """

    def __init__(self) -> None:
        self.check: Callable[[Callable[[], Any]], Any] | None = None
        self.phase: Any = None
        self.at: TrainingStep | None = None
        self._now = threading.local()  # replicas of a strategy are traced by threads of their own

    def run(self, step: TrainingStep, model: keras.Model, batch: Any, proceed: Any) -> Any:
        """Run a training step with what is added to it.

        The outermost of the model's steps makes the check.

        Args:
            step: The step that Keras, or a function around it, has called.
            model: Model of the step.
            batch: The batch of the step.
            proceed: Function without arguments that runs what the step replaced.
        """
        if self.phase is not None and self.at is step:
            self._now.phase_ran = True
            with watching.watch(merge=False):  # errors that come back now are no training
                self.phase.take_step(model, batch)
        if getattr(self._now, "inside", False):
            return proceed()
        self._now.inside = True
        try:
            result = proceed() if self.check is None else self.check(proceed)
            if self.phase is not None and not getattr(self._now, "phase_ran", False):
                warnings.warn(
                    f"The phase '{self.phase.name}' that was interleaved into the training of "
                    f"model '{model.name}' does not run: the model's `train_step` does not call "
                    "the one from then. Interleave the phase again.",
                    stacklevel=3,
                )
            return result
        finally:
            self._now.inside = self._now.phase_ran = False


class TrainingStep:
    """A training step of a model that also does what is added.

    Args:
        model: Keras model. The step that it has now becomes a part of the new one.
        added: What is added, which all steps of a model share.

    Attributes:
        added: See there.
        before: The `train_step` that was set on the model itself, or None for that of its class.
    """

    # without a `__dict__`, `functools.wraps` copies no attributes to a user's function
    __slots__ = ("__weakref__", "_model", "_of_class", "added", "before")

    def __init__(self, model: keras.Model, added: Additions) -> None:
        self._model = weakref.ref(model)
        self._of_class = type(model).train_step
        self.added = added
        self.before: Callable[..., Any] | None = vars(model).get("train_step")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the training step with what is added."""
        model = self._model()
        if model is None:
            raise ReferenceError("The model of this training step does not exist any more.")

        def proceed() -> Any:
            if self.before is not None:
                return self.before(*args, **kwargs)
            return self._of_class(model, *args, **kwargs)

        batch = next(iter([*args, *kwargs.values()]), None)
        return self.added.run(self, model, batch, proceed)

    def is_of(self, model: keras.Model) -> bool:
        """Whether this is a step of the model.

        Args:
            model: Keras model.
        """
        return self._model() is model


def additions(model: keras.Model) -> Additions:
    """Return what is added to the training of a model; both attributes may be None.

    Args:
        model: Keras model.
    """
    added: Additions | None = vars(model).get(_NAME)
    return Additions() if added is None else added


def install(model: keras.Model) -> TrainingStep:
    """Return the outermost step of a model, a `TrainingStep`, which is made if need be.

    Args:
        model: Keras model.
    """
    if _NAME not in vars(model):
        setattr(model, _NAME, Additions())
    step = vars(model).get("train_step")
    if not _is_step(step, model):
        model.train_step = step = TrainingStep(model, vars(model)[_NAME])
    return step


def take_out(model: keras.Model, *names: str) -> None:
    """Take out some of what is added, and the library's outermost steps if nothing is left.

    Args:
        model: Keras model.
        *names: `"check"`, `"phase"`, or both.
    """
    added = additions(model)
    for name in names:
        setattr(added, name, None)
    if added.check is not None or added.phase is not None:
        return
    while _is_step(step := vars(model).get("train_step"), model):
        if step.before is None:
            del model.train_step
        else:
            model.train_step = step.before


def own_step(model: keras.Model) -> Callable[..., Any] | None:
    """Return the `train_step` that a user has set on the model itself, or None.

    Args:
        model: Keras model.
    """
    step: Any = vars(model).get("train_step")
    while _is_step(step, model):
        step = step.before
    return step


def _is_step(step: Any, model: keras.Model) -> bool:
    return isinstance(step, TrainingStep) and step.is_of(model)

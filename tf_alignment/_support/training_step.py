"""The training step of a model, with what the library adds to it.

Keras calls `model.train_step` with every batch. A converted model is checked while that step is
traced, and a phase may take a step of its own before it. One object in the place of `train_step`
keeps both additions. Either can be changed or taken out later, also if somebody has put a function
around `train_step` in the meantime.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import keras

from tf_alignment._support import watching

__all__ = ["TrainingStep", "install", "installed", "own_step", "tidy"]

_NAME = "_alignment_step"


class TrainingStep:
    """Training step of a model, with a check around it and a step of a phase before it.

    Args:
        model: Keras model. The step that it has now becomes a part of the new one.

    Attributes:
        before: The `train_step` that was set on the model itself, or None for that of its class.
        check: Function that returns a context manager in which the step runs, or None.
        phase: Phase with a method `take_step(model, batch)`, or None.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._of_class = type(model).train_step
        self.before: Callable[..., Any] | None = vars(model).get("train_step")
        self.check: Callable[[], contextlib.AbstractContextManager[Any]] | None = None
        self.phase: Any = None

    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a step of the phase, and the training step."""
        model = self._model()
        if self.phase is not None:
            with watching.watch():  # errors that come back now are no training
                self.phase.take_step(model, data)
        with contextlib.nullcontext() if self.check is None else self.check():
            if self.before is not None:
                return self.before(data, *args, **kwargs)
            return self._of_class(model, data, *args, **kwargs)


def installed(model: keras.Model) -> TrainingStep | None:
    """Return the library's step of a model, or None if there is none.

    Args:
        model: Keras model.
    """
    step: TrainingStep | None = vars(model).get(_NAME)
    return step


def install(model: keras.Model) -> TrainingStep:
    """Return the library's step of a model, which is the outermost one, and make it if need be.

    If a function of the user's is around the step that there was, a new step is put around both
    and takes over check and phase.

    Args:
        model: Keras model.
    """
    old = installed(model)
    if old is not None and vars(model).get("train_step") is old:
        return old
    new = TrainingStep(model)
    if old is not None:
        new.check, new.phase = old.check, old.phase
        old.check = old.phase = None
    model.train_step = new
    setattr(model, _NAME, new)
    return new


def tidy(model: keras.Model) -> None:
    """Take the library's step out of a model if the step adds nothing.

    Args:
        model: Keras model.
    """
    step = installed(model)
    if step is None or step.check is not None or step.phase is not None:
        return
    delattr(model, _NAME)
    if vars(model).get("train_step") is not step:
        return
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
    return step.before if isinstance(step, TrainingStep) else step

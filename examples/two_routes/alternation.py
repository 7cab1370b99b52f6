"""Optimizers that take turns: in each step, either the task or the alignment is learned.

Every (k + 1)-th step is for alignment of the feedback weights, and the k steps after it are for the
task of the network. In the steps of the other optimizer, an optimizer still makes its update, with
a gradient of 0, so that its momentum goes on, as in the implementation of "Two Routes". Weight
decay (`weight_decay`) also goes on in all steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

__all__ = ["AlternatingAdam", "AlternatingSGD", "in_turns"]


class _Alternating:
    """Base class of optimizers whose gradients are 0 in the steps of the other optimizer.

    Args:
        learning_rate: Float or schedule.
        between: Number k of task steps between two steps of alignment.
        aligns: Whether this optimizer learns in the steps of alignment; otherwise it learns in the
            steps of the task.
        **options: Further arguments of the Keras optimizer.
    """

    def __init__(self, learning_rate: Any, between: int, aligns: bool, **options: Any) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.between, self.aligns = between, aligns

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, with a gradient of 0 in the steps of the other optimizer."""
        alignment = tf.equal(tf.cast(self.iterations, tf.int32) % (self.between + 1), 0)  # type: ignore[attr-defined]
        own = tf.equal(alignment, self.aligns)
        gradient = tf.where(own, gradient, tf.zeros_like(gradient))  # 0 times infinity is NaN
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"between": self.between, "aligns": self.aligns}
        return {**super().get_config(), **own}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="two_routes")
class AlternatingSGD(_Alternating, keras.optimizers.SGD):
    """Keras' SGD, for one of two groups of weights that learn in turns."""


@keras.saving.register_keras_serializable(package="two_routes")
class AlternatingAdam(_Alternating, keras.optimizers.Adam):
    """Keras' Adam, for one of two groups of weights that learn in turns."""


_KINDS = {
    "sgd": (keras.optimizers.SGD, AlternatingSGD),
    "adam": (keras.optimizers.Adam, AlternatingAdam),
}


def in_turns(name: str, between: int, aligns: bool) -> Callable[..., keras.optimizers.Optimizer]:
    """Return a constructor of optimizers that take the learning rate.

    Args:
        name: `"sgd"` or `"adam"`.
        between: Number of task steps between two steps of alignment. If it is not 0, the optimizer
            learns only in its own kind of steps; if it is 0, the optimizer is Keras' own.
        aligns: Whether the optimizer learns in the steps of alignment, if steps alternate.

    Raises:
        ValueError: If there is no such optimizer, or `between` is no number of steps.
    """
    if name not in _KINDS:
        raise ValueError(f"Argument `name` must be one of {sorted(_KINDS)}. Received: {name=}")
    if not isinstance(between, int) or between < 0:
        raise ValueError(
            f"Argument `between` must be an integer of at least 0. Received: {between=}"
        )
    plain, alternating = _KINDS[name]
    return functools.partial(alternating, between=between, aligns=aligns) if between else plain

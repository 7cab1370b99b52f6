"""Optimizers whose weights learn in some steps only: alternation of task and alignment.

Every (k + 1)-th step is for alignment and the k steps after it are for the task. An optimizer gets
a gradient of 0 in the steps of the other, steps all the same, and keeps its momentum, as in the
implementation of "Two Routes".
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["AlternatingAdam", "AlternatingSGD"]


class _Alternating:
    """Masks gradients in the steps that belong to the other optimizer.

    Args:
        learning_rate: Float or schedule.
        between: Number of task steps between two steps of alignment, k.
        aligns: Whether the weights learn in the steps of alignment, or in the steps of the task.
        **options: Arguments of the Keras optimizer.
    """

    def __init__(self, learning_rate: Any, between: int, aligns: bool, **options: Any) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.between, self.aligns = between, aligns

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable, by a gradient of 0 in the steps of the other optimizer."""
        alignment = tf.equal(tf.cast(self.iterations, tf.int32) % (self.between + 1), 0)  # type: ignore[attr-defined]
        own = tf.cast(tf.equal(alignment, self.aligns), gradient.dtype)
        super().update_step(own * gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"between": self.between, "aligns": self.aligns}
        return {**super().get_config(), **own}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="two_routes")
class AlternatingSGD(_Alternating, keras.optimizers.SGD):
    """Keras' SGD, for one of two groups of weights that learn in turns."""


@keras.saving.register_keras_serializable(package="two_routes")
class AlternatingAdam(_Alternating, keras.optimizers.Adam):
    """Keras' Adam, for one of two groups of weights that learn in turns."""

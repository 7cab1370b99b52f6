"""Coefficients that change with the training step.

A coefficient of an alignment rule is a number or a
`keras.optimizers.schedules.LearningRateSchedule`: Keras has the linear one (`PolynomialDecay`) and
the exponential one (`ExponentialDecay`). The two wrappers here repeat a schedule back and forth
and switch it on and off (Kunin et al. 2020, appendix B).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment._support.arguments import integer, number_or_schedule

__all__ = ["Between", "Triangular"]


def _check_schedule(schedule: Any) -> None:
    if not isinstance(schedule, LearningRateSchedule):
        raise TypeError(
            "Argument `schedule` must be a keras.optimizers.schedules.LearningRateSchedule. "
            f"Received: schedule={schedule!r}"
        )


@keras.saving.register_keras_serializable(package="tf_alignment")
class Triangular(LearningRateSchedule):
    """Schedule that repeats another one forwards and backwards: steps 0 ... period/2 ... 0.

    Args:
        schedule: Schedule to repeat.
        period: Number of steps of one full cycle, an integer of at least 2.

    Raises:
        TypeError: If `schedule` is no schedule.
        ValueError: If `period` is not an integer of at least 2.

    Example:
    >>> import keras, tf_alignment as ta
    >>> ramp = keras.optimizers.schedules.PolynomialDecay(1.0, 10, end_learning_rate=0.0)
    >>> cycle = ta.schedules.Triangular(ramp, period=20)
    >>> [round(float(cycle(step)), 1) for step in (0, 5, 10, 15, 20)]
    [1.0, 0.5, 0.0, 0.5, 1.0]
    """

    def __init__(self, schedule: LearningRateSchedule, period: int) -> None:
        _check_schedule(schedule)
        self.schedule = schedule
        self.period = integer("period", period, 2)

    def __call__(self, step: Any) -> tf.Tensor:
        """The coefficient at `step`."""
        phase = tf.cast(step, tf.float32) % float(self.period)
        return self.schedule(tf.minimum(phase, self.period - phase))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "period": self.period}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Triangular:
        """The schedule that `get_config` described."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["period"])


@keras.saving.register_keras_serializable(package="tf_alignment")
class Between(LearningRateSchedule):
    """Schedule with a coefficient from step `start` to before step `stop`, and zero otherwise.

    Args:
        value: Coefficient: a number, or a schedule whose steps are counted from `start`.
        start: First step with the coefficient.
        stop: First step without the coefficient, or None for no end.

    Raises:
        ValueError: If `value` is neither a number nor a schedule, `start` is negative or `stop` is
            not above `start`.

    Example:
    >>> import tf_alignment as ta
    >>> on = ta.schedules.Between(0.5, start=2, stop=4)
    >>> [float(on(step)) for step in range(6)]
    [0.0, 0.0, 0.5, 0.5, 0.0, 0.0]
    """

    def __init__(
        self, value: float | LearningRateSchedule, start: int = 0, stop: int | None = None
    ) -> None:
        self.value = number_or_schedule("value", value)
        self.start = integer("start", start, 0)
        self.stop = None if stop is None else integer("stop", stop, self.start + 1)

    def __call__(self, step: Any) -> tf.Tensor:
        """The coefficient at `step`."""
        step = tf.cast(step, tf.float32)
        on = step >= self.start
        if self.stop is not None:
            on = tf.logical_and(on, step < self.stop)
        value = self.value
        if isinstance(value, LearningRateSchedule):
            value = value(tf.maximum(step - self.start, 0.0))
        return tf.where(on, value, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        value = self.value
        if isinstance(value, LearningRateSchedule):
            value = keras.saving.serialize_keras_object(value)
        return {"value": value, "start": self.start, "stop": self.stop}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Between:
        """The schedule that `get_config` described."""
        value = config["value"]
        if isinstance(value, dict):
            value = keras.saving.deserialize_keras_object(value)
        return cls(value, config["start"], config["stop"])

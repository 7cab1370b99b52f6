"""Units that tell nothing: units that hardly spike, or spike nearly all the time."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["silent_and_saturated"]

# of the highest rate that the refractory period allows
_SILENT, _SATURATED = 0.01, 0.9


def silent_and_saturated(rates: tf.Tensor, highest: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Parts of the units that hardly spike, and that spike nearly as often as they can.

    A mean rate does not show them: it is inconspicuous where half of the units are silent and the
    other half saturated.

    Args:
        rates: Spike rates, of any shape and unit.
        highest: The rate at which the refractory period holds every unit, in that unit.

    Returns:
        The parts with a rate of at most 1 % and of more than 90 % of the highest.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.rates import silent_and_saturated
    >>> [float(part) for part in silent_and_saturated(tf.constant([0.0, 80.0, 95.0, 99.0]), 100.0)]
    [0.25, 0.5]
    """
    silent = tf.cast(rates <= _SILENT * highest, tf.float32)
    saturated = tf.cast(rates > _SATURATED * highest, tf.float32)
    return tf.reduce_mean(silent), tf.reduce_mean(saturated)

"""The base of all estimators."""

from __future__ import annotations

import abc

import tensorflow as tf

from tf_alignment._support.arguments import number
from tf_alignment.spiking.lif.windows import Events

__all__ = ["Estimator", "Sums", "estimated"]


Sums = dict[str, tf.Tensor]


class Estimator(abc.ABC):
    """Reads effects off events. An object is configuration alone: the sums are the caller's.

    Args:
        forgetting: Factor f on the sums before each run: a memory of 1 / (1 - f) runs. 1 keeps what
            was seen under all earlier weights, 0 starts anew.

    Raises:
        ValueError: If `forgetting` is out of range.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> class Mean(ta.spiking.lif.estimators.Estimator):  # of windows with a spike
    ...     def shapes(self, units, above):
    ...         return {"sum": (units, above), "count": (units, 1)}
    ...     def add(self, sums, events):
    ...         spike = tf.cast(events.sides()[0], tf.float32)
    ...         units = sums["sum"].shape[0]
    ...         count = events.gather(tf.reduce_sum(spike, 0)[..., None], units)
    ...         return {"sum": sums["sum"] + events.moment(spike, units),
    ...                 "count": sums["count"] + count}
    ...     def effect(self, sums, threshold):
    ...         beta = tf.math.divide_no_nan(sums["sum"], sums["count"])
    ...         return beta, tf.broadcast_to(sums["count"] > 0, beta.shape)
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, "relu", feedback="fa")])
    >>> phase = ta.phases.RDD(estimator=Mean(), seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.3)
    True
    """

    def __init__(self, forgetting: float = 1.0) -> None:
        self.forgetting = number("forgetting", forgetting, least=0, most=1)

    uses_windows = True
    """Whether effects come from windows: without, the phase does not warn if there are none."""

    @abc.abstractmethod
    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the sums, all of which start at 0, for layers of these sizes."""

    @abc.abstractmethod
    def add(self, sums: Sums, events: Events) -> Sums:
        """The sums with some events more: graph code of static shapes."""

    @abc.abstractmethod
    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The effects, and where there is an estimate.

        Args:
            sums: The sums.
            threshold: Threshold of the units.

        Returns:
            β, `(units, units above)`, finite everywhere, and booleans of the same shape.
        """

    def forget(self, sums: Sums) -> Sums:
        """The sums at the start of a run."""
        return {name: self.forgetting * value for name, value in sums.items()}


def estimated(beta: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """β where there is an estimate; exactly 0 is none: the unit above gave no spike."""
    seen = seen & tf.math.is_finite(beta) & tf.not_equal(beta, 0)
    return tf.where(seen, beta, 0.0), seen

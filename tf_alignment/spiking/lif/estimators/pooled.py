"""Weighted means of windows with a spike, against a mean of all others: the default."""

from __future__ import annotations

import tensorflow as tf

from tf_alignment._support.arguments import number
from tf_alignment.spiking.lif.estimators.base import Estimator, Sums, estimated
from tf_alignment.spiking.lif.windows import Events

__all__ = ["Pooled"]


class Pooled(Estimator):
    r"""The mean of the windows with a spike, weighted by the drive, against a mean of all others.

    $$ \beta_{ik} = \frac{\sum_R (u - \theta + o) \Delta q_k}{\sum_R (u - \theta + o)}
       - \operatorname{mean}_L \Delta q_k $$

    over the windows R of unit i with \(u = u^{max} \ge \theta\), and the windows L below the
    threshold of *all* units of the layer, of which none spiked and which therefore tell the same.

    Departs from the paper, which fits a line to each side and takes their difference at the
    threshold. The value of a line at the end of its data has four times the variance of their mean,
    and what is lost is little: a mean is biased where the response grows with the drive, but it
    grows because stronger drives cause more spikes in a window, in proportion to the same weight.

    Args:
        offset: o, which weighs windows whose drive just reached the threshold.
        forgetting: See `Estimator`. By default a memory of ten runs, as long as the memory of the
            paper's gradient descent for windows with a spike.

    Raises:
        ValueError: For values out of range.

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.lif.estimators.Pooled(forgetting=1.0)
    >>> phase = ta.phases.RDD(duration=60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    def __init__(self, offset: float = 0.5, forgetting: float = 0.9) -> None:
        super().__init__(forgetting)
        self.offset = number("offset", offset, above=0)

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """The weighted responses and the weights of each side."""
        return {"right": (units, above), "weight": (units,), "left": (above,), "count": ()}

    def add(self, sums: Sums, events: Events) -> Sums:
        """One product for the right side; the left side needs sums alone."""
        right, left = events.sides()
        units = sums["weight"].shape[0]
        weights = tf.where(right, events.peak - events.threshold + self.offset, 0.0)
        below = tf.cast(left, tf.float32)
        return {
            "right": sums["right"] + events.moment(weights, units),
            "weight": sums["weight"] + events.gather(tf.reduce_sum(weights, 0), units),
            "left": sums["left"] + events.total(below),
            "count": sums["count"] + tf.reduce_sum(below),
        }

    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The difference of the two means."""
        right = tf.math.divide_no_nan(sums["right"], sums["weight"][:, None])
        left = tf.math.divide_no_nan(sums["left"], sums["count"])
        seen = (sums["weight"] > 0) & (sums["count"] > 0)
        return estimated(right - left, seen[:, None])

"""Firing rates instead of windows, for comparison: the weight mirror."""

from __future__ import annotations

import tensorflow as tf

from tf_alignment._support.arguments import boolean, number
from tf_alignment.spiking.lif.estimators.base import Estimator, Sums, estimated
from tf_alignment.spiking.lif.windows import Events

__all__ = ["Mirror"]


class Mirror(Estimator):
    r"""The weight mirror in the same paradigm, for comparison: no spikes, firing rates alone.

    $$ \Delta Y = \eta \, r_l r_{l+1}^T - \lambda Y $$

    after each set, from the rates of its units and of the units above while it was driven. The rate
    \(\eta\) sets the scale alone, which is the phase's.

    Rates are positive, and so is every product of two: as printed, Y has hardly a negative entry,
    and its signs tell nothing. `centred` subtracts from the rates above their mean over the sets
    that are simulated together.

    Args:
        decay: \(\lambda\), a set. The published value is not known. The default forgets little:
            after two runs of 30 s from 384 to 192 units the correlation was 0.695, against
            0.700 without decay and 0.495 with 0.01 (means of two seeds).
        centred: Whether the rates above have their mean subtracted.

    Raises:
        ValueError: If `decay` is out of range.

    Reference: Guerguiev et al. 2020, equation 17, after Akrout et al. 2019, "Deep learning without
    weight transport".

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.lif.estimators.Mirror(decay=0.0)
    >>> phase = ta.phases.RDD(duration=60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    uses_windows = False

    def __init__(self, decay: float = 1e-3, centred: bool = True) -> None:
        super().__init__()
        self.decay, self.centred = (
            number("decay", decay, least=0, below=1),
            boolean("centred", centred),
        )

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Y itself."""
        return {"weights": (units, above)}

    def add(self, sums: Sums, events: Events) -> Sums:
        """Update once per set."""
        count, units = events.sets.shape[0], sums["weights"].shape[0]
        above = events.rate_above
        if self.centred:
            above -= tf.reduce_mean(above, 0)
        kept = (1.0 - self.decay) ** tf.range(count - 1, -1, -1, dtype=tf.float32)
        new = (kept[:, None] * events.rate)[:, :, None] * above[:, None, :]
        decayed = (1.0 - self.decay) ** count * sums["weights"]
        return {"weights": decayed + events.gather(new, units)}

    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Y."""
        return estimated(sums["weights"], tf.constant(True))

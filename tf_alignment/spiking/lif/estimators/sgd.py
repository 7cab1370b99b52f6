"""A line on each side of the threshold, by gradient descent: the paper's own."""

from __future__ import annotations

import tensorflow as tf

from tf_alignment._support.arguments import number
from tf_alignment.spiking.lif.estimators.base import Estimator, Sums, estimated
from tf_alignment.spiking.lif.windows import Events
from tf_alignment.spiking.loops import scan

__all__ = ["SGD"]


class SGD(Estimator):
    r"""The paper's estimator: the piecewise linear fit by gradient descent, window after window.

    A side's line \(c_1 u^{max} + c_2\) starts at 0 and takes a step on half the squared error at
    every window of that side; \(\beta\) is the difference of the lines at the threshold. At the
    default rate it moves little in a run: it remembers some 500 windows of a side, of which a run
    of 30 s gives 57 with a spike and 18 without. That, not the fit, is what makes it work where
    least squares does not: early steps add up to a mean of the windows, weighted by their drives.

    The steps of a unit depend on its drives alone and are linear in the responses, so they are
    taken for all units above at once: each window's final weight follows from the windows after it.

    Args:
        learning_rate: Rate of the steps.

    Raises:
        ValueError: If `learning_rate` is out of range.

    Reference: Guerguiev et al. 2020, equations 6 to 9; the rate is the value of the authors'
    implementation.

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.lif.estimators.SGD(learning_rate=2e-3)
    >>> phase = ta.phases.RDD(duration=60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    def __init__(self, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.learning_rate = number("learning_rate", learning_rate, above=0)

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Slopes and intercepts of the right and of the left line."""
        return {"right": (units, 2, above), "left": (units, 2, above)}

    def add(self, sums: Sums, events: Events) -> Sums:
        """The steps of all windows, in the order in which those of a unit close."""
        new = {}
        for side, mask in zip(("right", "left"), events.sides(), strict=True):
            weights, product = self._weights(tf.where(mask, events.peak, 0.0), mask)
            new[side] = self._steps(sums[side], events, weights, product)
        return new

    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The difference of the lines at the threshold."""
        lines = sums["right"] - sums["left"]
        beta = threshold * lines[:, 0] + lines[:, 1]
        seen = [tf.reduce_any(tf.not_equal(sums[side], 0), [1, 2]) for side in ("right", "left")]
        return estimated(beta, (seen[0] & seen[1])[:, None])

    def _weights(self, u: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        r"""Change of a unit's line by each window at the end of the set, and the line's decay.

        A step is \(c \leftarrow (1 - \eta \phi \phi^T) c + \eta \phi \Delta q\) with
        \(\phi = (u, 1)\).

        Args:
            u: \(u^{max}\), `(blocks, sets, units)`.
            mask: Mask of blocks in which a window of the side closes.

        Returns:
            `(blocks, sets, units, 2)`, and the product of the matrices, `(sets, units, 2, 2)`.
        """
        phi = tf.stack([u, tf.ones_like(u)], -1) * tf.cast(mask, tf.float32)[..., None]
        product, found = tf.eye(2, batch_shape=phi.shape[1:3]), []
        for own in reversed(tf.unstack(phi)):
            step = self.learning_rate * tf.linalg.matvec(product, own)
            product -= step[..., :, None] * own[..., None, :]
            found.append(step)
        return tf.stack(found[::-1]), product

    def _steps(
        self, lines: tf.Tensor, events: Events, weights: tf.Tensor, product: tf.Tensor
    ) -> tf.Tensor:
        """The lines `(units, 2, units above)` after all rounds. A unit has one set in each.

        What a step leaves is multiplied by the matrices of all later rounds, so that the steps of
        all rounds are one sum.
        """
        units = lines.shape[0]
        matrices = events.by_unit(product - tf.eye(2), units) + tf.eye(2)
        identity = tf.eye(2, batch_shape=(units,))

        def advance(later: tf.Tensor, own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return later @ own, later

        whole, later = scan(advance, identity, matrices[::-1], identity)
        rows = tf.reshape(events.sets, (events.rounds, -1))
        later = tf.gather(later[::-1], rows, batch_dims=1)
        later = tf.reshape(later, product.shape)
        weights = tf.linalg.matvec(later, weights)
        steps = tf.stack([events.moment(weights[..., c], units) for c in range(2)], 1)
        return whole @ lines + steps

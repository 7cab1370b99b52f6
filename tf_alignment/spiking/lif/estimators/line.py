"""A line on each side of the threshold, in closed form."""

from __future__ import annotations

import tensorflow as tf

from tf_alignment._support.arguments import boolean, number
from tf_alignment.spiking.lif.estimators.base import Estimator, Sums, estimated
from tf_alignment.spiking.lif.windows import Events

__all__ = ["Line"]


class Line(Estimator):
    r"""The piecewise linear fit of the paper in closed form, with a ridge on the slopes.

    On each side of the threshold \(\Delta q_k \approx a_{ik} + s_{ik} (u^{max} - \theta)\), fitted
    by least squares with \(\lambda n s^2\) added, n the number of windows; \(\beta\) is the
    difference of the intercepts a.

    With `ridge=0` and `shared_left=False` it is two-line least squares as in the textbook, unbiased
    and nearly useless at the amount of data of a run.

    Args:
        ridge: \(\lambda\), in units of u squared. The more, the closer an intercept comes to a
            mean.
        shared_left: Whether the windows below the threshold of all units of the layer are fitted
            by one line for each unit above.
        forgetting: See `Estimator`.

    Raises:
        ValueError: For values out of range.

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.lif.estimators.Line(ridge=0.5)
    >>> phase = ta.phases.RDD(duration=60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    def __init__(
        self, ridge: float = 1.0, shared_left: bool = True, forgetting: float = 0.9
    ) -> None:
        super().__init__(forgetting)
        self.ridge, self.shared_left = (
            number("ridge", ridge, least=0),
            boolean("shared_left", shared_left),
        )

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Sums of Δq and xΔq, and of 1, x and x² with x = u - θ, on each side."""
        return {
            f"{name}_{side}": shape
            for side in ("right", "left")
            for name, shape in (
                ("responses", (2, units, above)),
                ("drives", (3, units)),
            )
        }

    def add(self, sums: Sums, events: Events) -> Sums:
        """Add the windows: two products per side."""
        new = {}
        units = sums["drives_left"].shape[1]
        for side, mask in zip(("right", "left"), events.sides(), strict=True):
            one = tf.cast(mask, tf.float32)
            x = tf.where(mask, events.peak - events.threshold, 0.0)
            responses = tf.stack([events.moment(w, units) for w in (one, x)])
            drives = [events.gather(tf.reduce_sum(w, 0), units) for w in (one, x, x * x)]
            new[f"responses_{side}"] = sums[f"responses_{side}"] + responses
            new[f"drives_{side}"] = sums[f"drives_{side}"] + tf.stack(drives)
        return new

    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The difference of the two intercepts."""
        right, enough = self._intercept(sums["responses_right"], sums["drives_right"])
        responses, drives = sums["responses_left"], sums["drives_left"]
        if self.shared_left:
            responses = tf.reduce_sum(responses, 1, keepdims=True)
            drives = tf.reduce_sum(drives, 1, keepdims=True)
        left, enough_left = self._intercept(responses, drives)
        return estimated(right - left, enough & enough_left)

    def _intercept(self, responses: tf.Tensor, drives: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of the fitted line at the threshold, and where there are enough windows."""
        n, x, xx = tf.unstack(drives[..., None])
        xx = xx + self.ridge * n
        determinant = n * xx - x * x
        intercept = tf.math.divide_no_nan(xx * responses[0] - x * responses[1], determinant)
        # a determinant of rounding is none: one window, or windows of one drive, without a ridge
        return intercept, (n > 0) & (determinant > 1e-6 * n * xx)

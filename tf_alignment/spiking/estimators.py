r"""From windows to feedback weights: the causal effect \(\beta\) of a unit on each unit above.

An estimator says what sums there are, adds the events of a simulation to them, and reads the
effects off; the phase keeps the sums from run to run. Only the effects' relative size counts: the
phase gives them the scale of the feedback kernel.
"""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from tf_alignment.spiking.arguments import number
from tf_alignment.spiking.windows import Events

__all__ = ["ESTIMATORS", "SGD", "Estimator", "Line", "Mirror", "Pooled", "get"]

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
    >>> class Mean(ta.spiking.estimators.Estimator):  # of windows with a spike
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
            threshold: Of the units.

        Returns:
            β, `(units, units above)`, finite everywhere, and booleans of the same shape.
        """

    def forget(self, sums: Sums) -> Sums:
        """The sums at the start of a run."""
        return {name: self.forgetting * value for name, value in sums.items()}


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
        forgetting: See `Estimator`. By default a memory of ten runs, which is that of the paper's
            gradient descent for windows with a spike.

    Raises:
        ValueError: For values out of range.

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.estimators.Pooled(forgetting=1.0)
    >>> phase = ta.phases.RDD(60.0, estimator=estimator, seed=1, jit_compile=False)
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
        """One matrix product a set for the right side; the left side needs sums alone."""
        right, left = events.sides()
        units = sums["weight"].shape[0]
        weights = tf.where(right, events.peak - events.threshold + self.offset, 0.0)
        below = tf.transpose(tf.reduce_sum(tf.cast(left, tf.float32), 2))[:, None]
        return {
            "right": sums["right"] + events.moment(weights, units),
            "weight": sums["weight"] + events.gather(tf.reduce_sum(weights, 0), units),
            "left": sums["left"] + tf.reduce_sum(below @ events.response, [0, 1]),
            "count": sums["count"] + tf.reduce_sum(below),
        }

    def effect(self, sums: Sums, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The difference of the two means."""
        right = tf.math.divide_no_nan(sums["right"], sums["weight"][:, None])
        left = tf.math.divide_no_nan(sums["left"], sums["count"])
        seen = (sums["weight"] > 0) & (sums["count"] > 0)
        return _estimated(right - left, seen[:, None])


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
    >>> estimator = ta.spiking.estimators.Line(ridge=0.5)
    >>> phase = ta.phases.RDD(60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    def __init__(
        self, ridge: float = 1.0, shared_left: bool = True, forgetting: float = 0.9
    ) -> None:
        super().__init__(forgetting)
        self.ridge, self.shared_left = number("ridge", ridge, least=0), shared_left

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Of each side, the sums of Δq and xΔq, and of 1, x and x² with x = u - θ."""
        return {
            f"{name}_{side}": shape
            for side in ("right", "left")
            for name, shape in (
                ("responses", (2, units, above)),
                ("drives", (3, units)),
            )
        }

    def add(self, sums: Sums, events: Events) -> Sums:
        """Two matrix products a set for each side."""
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
        return _estimated(right - left, enough & enough_left)

    def _intercept(self, responses: tf.Tensor, drives: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of the fitted line at the threshold, and where there are enough windows."""
        n, x, xx = tf.unstack(drives[..., None])
        xx = xx + self.ridge * n
        determinant = n * xx - x * x
        intercept = tf.math.divide_no_nan(xx * responses[0] - x * responses[1], determinant)
        # a determinant of rounding is none: one window, or windows of one drive, without a ridge
        return intercept, (n > 0) & (determinant > 1e-6 * n * xx)


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

    Reference: Guerguiev et al. 2020, equations 6 to 9; the rate is that of the authors'
    implementation.

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.estimators.SGD(learning_rate=2e-3)
    >>> phase = ta.phases.RDD(60.0, estimator=estimator, seed=1, jit_compile=False)
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
        """The steps of all windows, set after set, in each from the first to the last window."""
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
        return _estimated(beta, (seen[0] & seen[1])[:, None])

    def _weights(self, u: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        r"""What a window adds to its unit's line at the end of the set, and what the set keeps.

        A step is \(c \leftarrow (1 - \eta \phi \phi^T) c + \eta \phi \Delta q\) with
        \(\phi = (u, 1)\).

        Args:
            u: \(u^{max}\), `(time, sets, units)`.
            mask: Where a window of the side closes.

        Returns:
            `(time, sets, units, 2)`, and the product of the matrices, `(sets, units, 2, 2)`.
        """
        phi = tf.stack([u, tf.ones_like(u)], -1) * tf.cast(mask, tf.float32)[..., None]
        identity = tf.eye(2, batch_shape=phi.shape[1:3])
        found = tf.TensorArray(tf.float32, phi.shape[0], element_shape=phi.shape[1:])

        def body(t: tf.Tensor, product: tf.Tensor, found: Any) -> tuple[tf.Tensor, ...]:
            step = self.learning_rate * tf.linalg.matvec(product, phi[t])
            product -= step[..., :, None] * phi[t][..., None, :]
            return t - 1, product, found.write(t, step)

        _, product, found = tf.while_loop(
            lambda t, *_: t >= 0,
            body,
            (phi.shape[0] - 1, identity, found),
            maximum_iterations=phi.shape[0],
        )
        return found.stack(), product

    def _steps(
        self, lines: tf.Tensor, events: Events, weights: tf.Tensor, product: tf.Tensor
    ) -> tf.Tensor:
        """The lines `(units, 2, units above)` after all sets."""
        count = events.sets.shape[0]

        def body(s: tf.Tensor, lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = events.sets[s]
            step = tf.einsum("tuc,tk->uck", weights[:, s], events.response[s])
            moved = tf.matmul(product[s], tf.gather(lines, rows)) + step
            return s + 1, tf.tensor_scatter_nd_update(lines, rows[:, None], moved)

        return tf.while_loop(lambda s, _: s < count, body, (0, lines), maximum_iterations=count)[1]


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
            after two runs of 30 s from 384 to 192 units the correlation was .695, against .700
            without decay and .495 with 0.01 (means of two seeds).
        centred: Whether the rates above have their mean subtracted.

    Raises:
        ValueError: If `decay` is out of range.

    Reference: Guerguiev et al. 2020, equation 17, after Akrout et al. 2019, "Deep learning without
    weight transport".

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((60,)), ta.layers.Dense(5, feedback="fa")])
    >>> estimator = ta.spiking.estimators.Mirror(decay=0.0)
    >>> phase = ta.phases.RDD(60.0, estimator=estimator, seed=1, jit_compile=False)
    >>> [found] = phase.run(model).values()
    >>> bool(found["correlation"] > 0.5)
    True
    """

    uses_windows = False

    def __init__(self, decay: float = 1e-3, centred: bool = True) -> None:
        super().__init__()
        self.decay, self.centred = number("decay", decay, least=0, below=1), centred

    def shapes(self, units: int, above: int) -> dict[str, tuple[int, ...]]:
        """Y itself."""
        return {"weights": (units, above)}

    def add(self, sums: Sums, events: Events) -> Sums:
        """One update a set."""
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
        return _estimated(sums["weights"], tf.constant(True))


def _estimated(beta: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """β where there is an estimate; exactly 0 is none: the unit above gave no spike."""
    seen = seen & tf.math.is_finite(beta) & tf.not_equal(beta, 0)
    return tf.where(seen, beta, 0.0), seen


ESTIMATORS: dict[str, type[Estimator]] = {
    "pooled": Pooled,
    "line": Line,
    "sgd": SGD,
    "mirror": Mirror,
}


def get(estimator: str | Estimator) -> Estimator:
    """An estimator from its id, or as it is.

    Raises:
        ValueError: If it is neither.

    Example:
    >>> import tf_alignment as ta
    >>> ta.spiking.estimators.get("line").ridge
    1.0
    """
    if isinstance(estimator, Estimator):
        return estimator
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        return ESTIMATORS[estimator]()
    raise ValueError(
        f"Argument `estimator` must be one of {list(ESTIMATORS)} or an `Estimator` object. "
        f"Received: estimator={estimator!r}"
    )

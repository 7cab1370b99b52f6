r"""Windows around the threshold: the effect of a unit's spike on the layer above.

A layer is driven by noise. Where the voltage of a unit comes close to the threshold, by chance, a
window opens. In some windows the unit just spikes, in others it just does not; all else is alike in
both, so the difference in what comes back from the units above is what the spike caused.

The drive u says how strongly a unit was driven. It follows the voltage's equation without the
reset, and is set to the voltage at every step outside a window, so that it departs from it only
inside one: \(u^{max} \ge \theta\) then says that the unit spiked. That is what the authors'
implementation does; in the paper the drive runs freely, is never set to v and carries the past of
many windows (`Window(free_drive=True)`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tf_alignment._support.arguments import boolean, number
from tf_alignment.spiking.lif.neuron import Neuron, membrane_step

__all__ = ["NO_WINDOW", "Events", "Window", "WindowState", "sparse_product", "window_step"]

NO_WINDOW = -math.inf  # peak of a window where there is none


@dataclasses.dataclass(frozen=True)
class Window:
    r"""Constants of a window: when it opens, and how long; by default as in Guerguiev et al. 2020.

    Attributes:
        alpha: \(\alpha\): a window opens where \(|v - \theta| < \alpha\), v after the reset,
            in the unit of voltages.
        length: T, in ms.
        free_drive: Whether u runs freely, as the paper prints it, instead of being set to v at
            every step outside a window, as in the authors' implementation. In rounds that start
            at rest it makes hardly a difference (docs/results/rdd.md).

    Raises:
        ValueError: For values out of range.

    Reference: Guerguiev et al. 2020, section 4.4; \(\alpha\) is the value of the authors'
    implementation.

    Example:
    >>> import tf_alignment as ta
    >>> window = ta.spiking.lif.Window(length=20.0)
    >>> ta.phases.RDD(window=window).paradigm.window.length
    20.0
    """

    alpha: float = 0.1
    length: float = 30.0
    free_drive: bool = False

    def __post_init__(self) -> None:
        for name in ("alpha", "length"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        boolean("free_drive", self.free_drive)


class WindowState(NamedTuple):
    """State of the windows of driven units from step to step, of the shape of the voltages.

    Attributes:
        u: The drive, in the unit of voltages.
        left: Time steps that the window is still open; 0 where none is.
        peak: The largest u in the window so far.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> closed = ta.spiking.lif.WindowState(*tf.zeros((3, 5)))  # five units
    >>> float(closed.left[0])
    0.0
    """

    u: tf.Tensor
    left: tf.Tensor
    peak: tf.Tensor


def window_step(
    current: tf.Tensor, v: tf.Tensor, state: WindowState, neuron: Neuron, window: Window
) -> tuple[tf.Tensor, WindowState]:
    r"""The windows of driven units one step on.

    A window holds as many values of u as it has steps, from that of its opening on. What a spike
    does is seen a step later: the feedback that belongs to the window is that of the steps after
    its opening, up to the one in which it closes.

    Args:
        current: Input I of this step, of the shape of the voltages.
        v: Voltage after this step, and after the reset.
        state: State before the step.
        neuron: Constants of the units.
        window: Constants of the windows.

    Returns:
        \(u^{max}\) of each window that closes in this step, minus infinity where none does, and the
        state.

    Reference: Guerguiev et al. 2020, section 4.4 and equation 4.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> neuron, window = ta.spiking.lif.Neuron(), ta.spiking.lif.Window(length=2.0)
    >>> state, peaks = ta.spiking.lif.WindowState(*tf.zeros((3, 1))), []
    >>> for v in (0.5, 0.95, 0.6, 0.5):  # the second opens a window of two steps
    ...     peak, state = ta.spiking.lif.window_step(
    ...         tf.constant([1.5]), tf.constant([v]), state, neuron, window)
    ...     peaks.append(round(float(peak[0]), 3))
    >>> peaks  # 0.3 * 0.95 + 0.6 * 1.5 in the second step of the window
    [-inf, -inf, -inf, 1.185]
    """
    peak = tf.where(tf.equal(state.left, 1.0), state.peak, NO_WINDOW)
    left = tf.maximum(state.left - 1.0, 0.0)
    outside = tf.equal(left, 0.0)
    u = membrane_step(state.u, current, neuron)
    if not window.free_drive:
        u = tf.where(outside, v, u)
    opens = outside & (tf.abs(v - neuron.threshold) < window.alpha)
    largest = tf.where(outside, u, tf.maximum(state.peak, u))
    left = tf.where(opens, float(neuron.steps(window.length)), left)
    return peak, WindowState(u, left, largest)


@dataclasses.dataclass
class Events:
    r"""Results of the windows of some sets of driven units.

    Time is cut into blocks no longer than a window, so that at most one window of a unit closes in
    a block: `peak` and `time` have an entry for each block, set and unit.

    Attributes:
        sets: Which units were driven, int32 `(sets, units)`.
        peak: \(u^{max}\) of the window that closes in a block, `(blocks, sets, units)`, minus
            infinity where none does.
        time: The time step in which that window closes, int32 of the same shape; 0 where none does.
        response: \(\Delta q^{avg}\) of every unit above for a window that closes in a step, `(sets,
            time, units above)`, in 1/ms.
        rate: Spike rate of each driven unit while it was driven, `(sets, units)`, in Hz.
        rate_above: Spike rates above in that time, `(sets, units above)`, in Hz.
        threshold: Threshold of the units.
        rounds: The sets come in so many rounds, in none of which a unit is driven twice.
        sparse: Whether `moment` multiplies by a sparse matrix: faster on a CPU, and neither for XLA
            nor for accelerators.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> paradigm = ta.spiking.lif.Paradigm()
    >>> events = paradigm.run(tf.ones((20, 4)), *paradigm.draw(20, 3, tf.constant([1, 2])))
    >>> with_spike, without = events.sides()
    >>> with_spike.shape  # 4 blocks of 25 steps, 3 rounds of 5 sets, 4 units
    TensorShape([4, 15, 4])
    >>> events.moment(tf.cast(with_spike, tf.float32), units=20).shape
    TensorShape([20, 4])
    """

    sets: tf.Tensor
    peak: tf.Tensor
    time: tf.Tensor
    response: tf.Tensor
    rate: tf.Tensor
    rate_above: tf.Tensor
    threshold: float
    rounds: int = 1
    sparse: bool = False

    def sides(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Masks of windows that close, with a drive that reached the threshold and without."""
        right = self.peak >= self.threshold
        return right, (self.peak > NO_WINDOW) & ~right

    def moment(self, weights: tf.Tensor, units: int) -> tf.Tensor:
        """The responses of each unit's windows, weighted and summed.

        Args:
            weights: Weight of each window, `(blocks, sets, units)`, 0 where none closes.
            units: Units of the layer.

        Returns:
            `(units, units above)`.
        """
        if self.sparse:
            return self._sparse_moment(weights, units)
        blocks, steps = weights.shape[0], self.response.shape[1]
        length = math.ceil(steps / blocks)
        spread = [
            tf.where(
                self.time[k][..., None] == tf.range(k * length, min((k + 1) * length, steps)),
                weights[k][..., None],
                0.0,
            )
            for k in range(blocks)
        ]
        return self.gather(tf.matmul(tf.concat(spread, -1), self.response), units)

    def _sparse_moment(self, weights: tf.Tensor, units: int) -> tf.Tensor:
        """The same with a matrix of a row for each unit and a column for each set and step."""
        sets, steps, above = self.response.shape
        # units, rounds, blocks: the order in which entries of a sparse matrix have to come
        weights, column = (
            tf.transpose(self.by_unit(tf.transpose(x, (1, 2, 0)), units), (1, 0, 2))
            for x in (weights, self._columns())
        )
        at = tf.where(tf.not_equal(weights, 0.0))
        indices = tf.stack([at[:, 0], tf.cast(tf.gather_nd(column, at), tf.int64)], 1)
        return sparse_product(
            indices,
            tf.gather_nd(weights, at),
            (units, sets * steps),
            tf.reshape(self.response, (-1, above)),
        )

    def total(self, weights: tf.Tensor) -> tf.Tensor:
        """The responses of all windows, weighted and summed: `(units above,)`. See `moment`."""
        sets, steps, above = self.response.shape
        of_step = tf.math.unsorted_segment_sum(weights, self._columns(), sets * steps)
        return tf.linalg.matvec(tf.reshape(self.response, (-1, above)), of_step, transpose_a=True)

    def _columns(self) -> tf.Tensor:
        """The row of `response`, one for each set and step, of each window: shaped as `time`."""
        sets, steps, _ = self.response.shape
        return self.time + steps * tf.range(sets)[:, None]

    def gather(self, values: tf.Tensor, units: int) -> tf.Tensor:
        """Sums over the sets in which a unit was driven: `(sets, units, ...)` to `(units, ...)`."""
        return tf.reduce_sum(self.by_unit(values, units), 0)

    def by_unit(self, values: tf.Tensor, units: int) -> tf.Tensor:
        """Values of driven units where the unit stands in the layer.

        Args:
            values: `(sets, units of a set, ...)`.
            units: Units of the layer.

        Returns:
            `(rounds, units, ...)`, 0 for units that are not driven in a round.
        """
        flat = tf.reshape(values, (-1, *values.shape[2:]))
        driven, count = tf.reshape(self.sets, (self.rounds, -1)), flat.shape[0]
        # Where each unit stands in each round. To fetch its row is faster than to scatter-add all.
        cell = driven + units * tf.range(self.rounds)[:, None]
        nowhere = tf.fill((self.rounds * units,), count)
        place = tf.tensor_scatter_nd_update(
            nowhere, tf.reshape(cell, (-1, 1)), tf.range(count, dtype=tf.int32)
        )
        if driven.shape[1] < units:
            flat = tf.pad(flat, ((0, 1), *[(0, 0)] * (flat.shape.rank - 1)))
        return tf.gather(flat, tf.reshape(place, (self.rounds, units)))


def sparse_product(
    indices: tf.Tensor, values: tf.Tensor, shape: tuple[int, int], dense: tf.Tensor
) -> tf.Tensor:
    """The product of a sparse matrix and a dense one, on a CPU.

    In compressed rows it takes a fifth of the time of `tf.sparse.sparse_dense_matmul`.

    Args:
        indices: Row and column of the entries, int64 `(entries, 2)`, in the order of rows.
        values: `(entries,)`.
        shape: Rows and columns of the sparse matrix.
        dense: `(columns, n)`.

    Returns:
        `(rows, n)`.
    """
    rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=indices, values=values, dense_shape=tf.constant(shape, tf.int64)
    )
    product = tf.raw_ops.SparseMatrixMatMul(a=rows, b=dense)
    return tf.ensure_shape(product, (shape[0], dense.shape[1]))

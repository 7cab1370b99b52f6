r"""What the spike of a unit does to the layer above, seen at the discontinuity of its threshold.

A layer is driven by noise. Where the voltage of a unit comes close to the threshold, by chance, a
window opens. In some windows the unit just spikes, in others it just does not; all else is alike in
both, so the difference in what comes back from the units above is what the spike caused.

The drive u says how strongly a unit was driven. It follows the voltage's equation without the
reset, and is set to the voltage at every step outside a window, so that it departs from it only
inside one: \(u^{max} \ge \theta\) then says that the unit spiked. A u that is never set to v would
carry the past of many windows.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tf_alignment.spiking.lif import (
    LIF,
    LIFState,
    SynapseState,
    lif_step,
    membrane_step,
    positive_number,
    scan,
    synapse_step,
)

__all__ = ["Drive", "Events", "Paradigm", "Window", "WindowState", "poisson", "window_step"]

NO_WINDOW = -math.inf


@dataclasses.dataclass(frozen=True)
class Drive:
    r"""Which units of a layer are driven, and how; by default as in Guerguiev et al. 2020.

    Attributes:
        rate: Of the Poisson process that drives a unit, each its own, in Hz.
        weight: \(\omega\), the input a unit gets a spike response of its Poisson process, in ms.
        fraction: Part of the layer that is driven at a time.
        hold: How long a set of units is driven, in ms, before the next.
        psi: \(\psi\), the scale of the forward weights; see `scaled_kernel`.

    Raises:
        ValueError: For values out of range.

    Reference: Guerguiev et al. 2020, equation 2 and appendix A.2. \(\omega\) and \(\psi\) are those
    of the authors' implementation.
    """

    rate: float = 200.0
    weight: float = 4.0
    fraction: float = 0.2
    hold: float = 100.0
    psi: float = 0.2

    def __post_init__(self) -> None:
        for name in ("rate", "weight", "hold", "psi"):
            positive_number(name, getattr(self, name))
        if not 0 < self.fraction <= 1:
            raise ValueError(
                "Argument `fraction` must be above 0 and at most 1. "
                f"Received: fraction={self.fraction!r}"
            )


@dataclasses.dataclass(frozen=True)
class Window:
    r"""When a window opens, and how long it is open; by default as in Guerguiev et al. 2020.

    Attributes:
        alpha: \(\alpha\): a window opens where \(|v - \theta| < \alpha\), v after the reset.
        length: T, in ms.

    Raises:
        ValueError: For values out of range.

    Reference: Guerguiev et al. 2020, section 4.4; \(\alpha\) is that of the authors'
    implementation.
    """

    alpha: float = 0.1
    length: float = 30.0

    def __post_init__(self) -> None:
        for name in ("alpha", "length"):
            positive_number(name, getattr(self, name))


class WindowState(NamedTuple):
    """The drive u, time steps that the window is still open, and the largest u in it so far."""

    u: tf.Tensor
    left: tf.Tensor
    peak: tf.Tensor


def window_step(
    current: tf.Tensor, v: tf.Tensor, state: WindowState, neuron: LIF, window: Window
) -> tuple[tf.Tensor, WindowState]:
    r"""The windows of driven units one step on.

    A window holds as many values of u as it has steps, from that of its opening on. What a spike
    does is seen a step later: the feedback that belongs to the window is that of the steps after
    its opening, up to the one in which it closes.

    Args:
        current: Input I of this step.
        v: Voltage after this step, and after the reset.
        state: State before the step.
        neuron: Constants of the units.
        window: Constants of the windows.

    Returns:
        \(u^{max}\) of each window that closes in this step, minus infinity where none does, and the
        state.
    """
    peak = tf.where(tf.equal(state.left, 1.0), state.peak, NO_WINDOW)
    left = tf.maximum(state.left - 1.0, 0.0)
    outside = tf.equal(left, 0.0)
    u = tf.where(outside, v, membrane_step(state.u, current, neuron))
    opens = outside & (tf.abs(v - neuron.threshold) < window.alpha)
    largest = tf.where(outside, u, tf.maximum(state.peak, u))
    left = tf.where(opens, float(neuron.steps(window.length)), left)
    return peak, WindowState(u, left, largest)


def poisson(uniforms: tf.Tensor, mean: float) -> tf.Tensor:
    """Poisson numbers from uniform ones, by thresholds.

    Args:
        uniforms: In [0, 1), of any shape.
        mean: Mean of the Poisson distribution. What has a probability below 1e-7 is left out.

    Returns:
        Counts, float32.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> ta.spiking.poisson(tf.constant([0.1, 0.9, 0.999]), 0.2).numpy().tolist()
    [0.0, 1.0, 3.0]
    """
    probability = below = math.exp(-mean)
    counts = tf.cast(uniforms >= below, tf.float32)
    k = 1
    while 1.0 - below > 1e-7:
        probability *= mean / k
        below += probability
        counts += tf.cast(uniforms >= below, tf.float32)
        k += 1
    return counts


@dataclasses.dataclass
class Events:
    r"""What the windows of some sets of driven units gave.

    Attributes:
        sets: Which units were driven, int32 `(sets, units)`.
        peak: \(u^{max}\) of the window that closes in a step, `(time, sets, units)`, minus infinity
            where none does.
        response: \(\Delta q^{avg}\) of every unit above for a window that closes in a step, `(sets,
            time, units above)`, in 1/ms.
        rate: Spike rate of each driven unit while it was driven, `(sets, units)`, in Hz.
        rate_above: Spike rates above in that time, `(sets, units above)`, in Hz.
        threshold: Of the units.
    """

    sets: tf.Tensor
    peak: tf.Tensor
    response: tf.Tensor
    rate: tf.Tensor
    rate_above: tf.Tensor
    threshold: float

    def moment(self, weights: tf.Tensor, units: int) -> tf.Tensor:
        """The responses of each unit's windows, weighted and summed.

        Args:
            weights: Of each window, `(time, sets, units)`, 0 where none closes.
            units: Units of the layer.

        Returns:
            `(units, units above)`.
        """
        return self.gather(tf.matmul(tf.transpose(weights, (1, 2, 0)), self.response), units)

    def gather(self, values: tf.Tensor, units: int) -> tf.Tensor:
        """Sums over the sets in which a unit was driven: `(sets, units, ...)` to `(units, ...)`."""
        flat = tf.reshape(values, (-1, *values.shape[2:]))
        return tf.math.unsorted_segment_sum(flat, tf.reshape(self.sets, (-1,)), units)


@dataclasses.dataclass(frozen=True)
class Paradigm:
    r"""Two layers of spiking units, of which the lower one is driven, a set of units at a time.

    Time comes in rounds, independent of each other and simulated side by side. In a round every
    set of a random partition of the layer is driven in its turn (five sets, with the paper's
    constants; what is left over by the division rests); then a window's length passes in which the
    last windows can close. All units start a round at rest.

    The units of a set are simulated while they are driven and for a window's length after, until
    the last windows that opened under the drive have closed and little of the drive is left; all
    others rest. As they get nothing from below, they are the
    only ones that need a state, and their spikes do not depend on the weights: the layer above
    follows in a second pass.

    Departs from the paper in the partition, which keeps a unit from being driven twice in a row,
    and in the rounds. Neither is seen in what is learned: for Gaussian weights and 30 s, rounds
    longer by factors of 4 and 20 raised the correlation with W from .408 to .416 and .416 (1600 to
    384 units), from .675 to .682 and .681 (384 to 192) and changed it from .785 to .790 and .788
    (192 to 10; means of three seeds, where the standard error of the last is about .01), and what
    they gain is the part of a round, 30 of 530 ms, in which no unit is driven.

    Args:
        neuron: Constants of the units in both layers.
        drive: Constants of the drive.
        window: Constants of the windows.

    Raises:
        ValueError: If a window is longer than a set is driven.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> paradigm = ta.spiking.Paradigm()
    >>> sets, uniforms = paradigm.draw(units=20, rounds=3, seed=tf.constant([1, 2]))
    >>> events = paradigm.run(tf.ones((20, 4)), sets, uniforms)
    >>> events.rate.shape, events.response.shape  # 3 rounds of 5 sets of 4 units
    (TensorShape([15, 4]), TensorShape([15, 100, 4]))
    """

    neuron: LIF = dataclasses.field(default_factory=LIF)
    drive: Drive = dataclasses.field(default_factory=Drive)
    window: Window = dataclasses.field(default_factory=Window)

    def __post_init__(self) -> None:
        if self.window.length > self.drive.hold:
            raise ValueError(
                "A window must not be longer than a set of units is driven. Received: "
                f"window.length={self.window.length!r}, drive.hold={self.drive.hold!r}"
            )

    @property
    def _steps(self) -> tuple[int, int]:
        """Time steps of a set's drive and of a window."""
        return self.neuron.steps(self.drive.hold), self.neuron.steps(self.window.length)

    def partition(self, units: int) -> tuple[int, int]:
        """How many sets a layer is cut into, and units a set."""
        size = max(1, int(self.drive.fraction * units))
        return min(int(1 / self.drive.fraction), units // size), size

    def round_seconds(self, units: int) -> float:
        """Simulated seconds of a round."""
        hold, length = self._steps
        return (self.partition(units)[0] * hold + length) * self.neuron.dt / 1000.0

    def draw(self, units: int, rounds: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """All that is random in `run`.

        Args:
            units: Units of the layer.
            rounds: How many rounds.
            seed: Two int32 numbers; the same give the same draws.

        Returns:
            Sets, int32 `(rounds, sets, units of a set)`, and uniform numbers, `(steps of a set's
            drive, rounds * sets, units of a set)`.
        """
        count, size = self.partition(units)
        seeds = tf.random.split(seed, 2)
        order = tf.argsort(tf.random.stateless_uniform((rounds, units), seeds[0]), -1)
        sets = tf.reshape(order[:, : count * size], (rounds, count, size))
        shape = (self._steps[0], rounds * count, size)
        return sets, tf.random.stateless_uniform(shape, seeds[1])

    def run(self, kernel: tf.Tensor, sets: tf.Tensor, uniforms: tf.Tensor) -> Events:
        """Simulate: graph code without state, of static shapes.

        Args:
            kernel: Forward weights at the scale of the spiking network, `(units, units above)`.
            sets: See `draw`.
            uniforms: See `draw`.

        Returns:
            The events, the rounds' sets one after the other.
        """
        hold, length = self._steps
        rounds, count, size = sets.shape
        flat = tf.reshape(sets, (rounds * count, size))
        spikes, peak = self._driven(uniforms)
        current = tf.matmul(tf.transpose(spikes, (1, 0, 2)), tf.gather(kernel, flat))
        above, response = self._above(self._overlapping(current, rounds, count))

        def by_set(x: tf.Tensor) -> tf.Tensor:
            """`(sets * hold, rounds, ...)` to `(rounds * sets, hold, ...)`."""
            x = tf.transpose(x, (1, 0, 2))
            return tf.reshape(x, (rounds * count, hold, x.shape[-1]))

        per_second = 1000.0 / self.neuron.dt
        return Events(
            flat,
            peak[length:],  # none can close earlier
            by_set(response[length:]),
            per_second * tf.reduce_mean(spikes[:hold], 0),
            per_second * tf.reduce_mean(by_set(above[: count * hold]), 1),
            self.neuron.threshold,
        )

    def _driven(self, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Spikes of the driven units, and peaks of their windows, `(time, sets, units)`."""
        neuron = self.neuron
        mean = self.drive.rate * neuron.dt / 1000.0
        uniforms = tf.pad(uniforms, ((0, self._steps[1]), (0, 0), (0, 0)))
        rest = tf.zeros(uniforms.shape[1:])

        def step(
            state: tuple[SynapseState, LIFState, WindowState], uniform: tf.Tensor
        ) -> tuple[tuple[SynapseState, LIFState, WindowState], tuple[tf.Tensor, ...]]:
            synapse, unit, window = state
            response, synapse = synapse_step(poisson(uniform, mean), synapse, neuron)
            current = self.drive.weight * response
            spikes, unit = lif_step(current, unit, neuron)
            peak, window = window_step(current, unit.v, window, neuron, self.window)
            return (synapse, unit, window), (spikes, peak)

        start = SynapseState(rest, rest), LIFState(rest, rest), WindowState(rest, rest, rest)
        spikes, peak = scan(step, start, uniforms, outputs=2)
        return spikes, peak

    def _overlapping(self, current: tf.Tensor, rounds: int, count: int) -> tf.Tensor:
        """Spikes of all sets of a round, weighted: `(sets, time of a set, above)` to `(time of a
        round, rounds, above)`. A set is still spiking when the next one begins to be driven."""
        hold, length = self._steps
        above = current.shape[-1]
        current = tf.reshape(current, (rounds, count, hold + length, above))
        begin = tf.reshape(current[:, :, :hold], (rounds, count * hold, above))
        end = tf.pad(current[:, :, hold:], ((0, 0), (0, 0), (0, hold - length), (0, 0)))
        end = tf.reshape(end, (rounds, count * hold, above))
        begin = tf.pad(begin, ((0, 0), (0, length), (0, 0)))
        end = tf.pad(end, ((0, 0), (hold, 0), (0, 0)))[:, : count * hold + length]
        return tf.transpose(begin + end, (1, 0, 2))

    def _above(self, weighted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Spikes of the layer above, and what a window that closes in a step would see of them."""
        neuron, length = self.neuron, self._steps[1]
        rest = tf.zeros(weighted.shape[1:])

        def step(
            state: tuple[SynapseState, LIFState, SynapseState], x: tf.Tensor
        ) -> tuple[tuple[SynapseState, LIFState, SynapseState], tuple[tf.Tensor, ...]]:
            synapse, unit, feedback = state
            current, synapse = synapse_step(x, synapse, neuron)
            spikes, unit = lif_step(current, unit, neuron)
            q, feedback = synapse_step(spikes, feedback, neuron)
            return (synapse, unit, feedback), (spikes, q)

        start = SynapseState(rest, rest), LIFState(rest, rest), SynapseState(rest, rest)
        spikes, q = scan(step, start, weighted, outputs=2)
        before = tf.pad(q, ((length, 0), (0, 0), (0, 0)))
        return spikes, moving_sum(before[1:], length) / length - before[:-length]


def moving_sum(x: tf.Tensor, length: int) -> tf.Tensor:
    """Sums over `length` successive entries of the first axis, in log2(length) additions.

    Args:
        x: `(time, ...)`.
        length: At most `time`.

    Returns:
        `(time - length + 1, ...)`, without the rounding that differences of a running sum have.
    """
    steps = x.shape[0] - length + 1
    total, done, power = None, 0, 1
    while True:
        if length & power:
            part = x[done : done + steps]
            total = part if total is None else total + part
            done += power
        if 2 * power > length:
            return total
        x = x[:-power] + x[power:]
        power *= 2

"""The paradigm: a layer is driven such that its spikes tell the weights to the layer above."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_alignment._support.arguments import instance, number, tensor
from tf_alignment.spiking.lif.neuron import (
    Neuron,
    State,
    SynapseState,
    step,
    synapse_step,
)
from tf_alignment.spiking.lif.windows import (
    NO_WINDOW,
    Events,
    Window,
    WindowState,
    sparse_product,
    window_step,
)
from tf_alignment.spiking.loops import moving_sum, scan

__all__ = ["AboveState", "Drive", "DrivenState", "Paradigm", "poisson"]

# Input spikes per step, in the mean: a threshold for each possible count, all of them in float32.
MOST_AT_ONCE = 20.0


@dataclasses.dataclass(frozen=True)
class Drive:
    r"""Constants of the drive of a layer; by default as in Guerguiev et al. 2020.

    Attributes:
        rate: Rate of the Poisson process that drives a unit, each its own, in Hz.
        weight: \(\omega\), the input per spike response of a unit's Poisson process, in ms.
        fraction: Part of the layer that is driven at a time.
        hold: Time for which a set of units is driven, in ms, before the next.
        psi: \(\psi\), the scale of the forward weights; see `scaled_kernel`.

    Raises:
        ValueError: For values out of range.

    Reference: Guerguiev et al. 2020, equation 2 and appendix A.2. \(\omega\) and \(\psi\) are those
    of the authors' implementation.

    Example:
    >>> import tf_alignment as ta
    >>> drive = ta.spiking.lif.Drive(fraction=0.5)
    >>> ta.spiking.lif.Paradigm(drive=drive).partition(units=11)  # two sets of five; one unit rests
    (2, 5)
    """

    rate: float = 200.0
    weight: float = 4.0
    fraction: float = 0.2
    hold: float = 100.0
    psi: float = 0.2

    def __post_init__(self) -> None:
        for name, most in (
            ("rate", math.inf),
            ("weight", math.inf),
            ("fraction", 1.0),
            ("hold", math.inf),
            ("psi", math.inf),
        ):
            value = number(name, getattr(self, name), above=0, most=most)
            object.__setattr__(self, name, value)


def poisson(uniforms: tf.Tensor, mean: float) -> tf.Tensor:
    """Poisson numbers from uniform ones, by thresholds.

    Args:
        uniforms: In [0, 1), of any shape.
        mean: Mean of the Poisson distribution, above 0 and at most 20. What has a probability below
            1e-7 is left out.

    Returns:
        Counts, float32.

    Raises:
        ValueError: If `mean` is out of range.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> ta.spiking.lif.poisson(tf.constant([0.1, 0.9, 0.999]), 0.2).numpy().tolist()
    [0.0, 1.0, 3.0]
    """
    mean = number("mean", mean, above=0, most=MOST_AT_ONCE)
    uniforms = tensor("uniforms", uniforms)
    return _counts(uniforms, _cumulative(mean))


def _cumulative(mean: float) -> list[float]:
    """Probabilities of at most 0, 1, 2, ... spikes, up to that which leaves 1e-7."""
    probability = math.exp(-mean)
    found = [probability]
    while 1.0 - found[-1] > 1e-7:
        probability *= mean / len(found)
        found.append(found[-1] + probability)
    return found


def _counts(x: tf.Tensor, thresholds: Sequence[float]) -> tf.Tensor:
    """How many thresholds each entry has reached, float32."""
    reached = (tf.cast(x >= tf.constant(t, x.dtype), tf.float32) for t in thresholds)
    return functools.reduce(tf.add, reached, tf.zeros_like(x, tf.float32))


class DrivenState(NamedTuple):
    """State of driven units from step to step, each part of the shape of the voltages.

    Attributes:
        synapse: Of the synapses through which they are driven.
        unit: Of the units.
        window: Of their windows.

    Example:
    >>> import tf_alignment as ta
    >>> ta.spiking.lif.DrivenState.at_rest((5,)).unit.v.shape  # five units
    TensorShape([5])
    """

    synapse: SynapseState
    unit: State
    window: WindowState

    @classmethod
    def at_rest(cls, shape: tuple[int, ...]) -> DrivenState:
        """The state before the first step."""
        rest = tf.zeros(shape)
        return cls(SynapseState(rest, rest), State(rest, rest), WindowState(rest, rest, rest))


class AboveState(NamedTuple):
    """State of the layer above from step to step, each part of the shape of its voltages.

    Attributes:
        synapse: Of the synapses from the driven units.
        unit: Of the units.
        feedback: Of the synapses through which they answer.

    Example:
    >>> import tf_alignment as ta
    >>> ta.spiking.lif.AboveState.at_rest((3, 4)).feedback.long.shape  # four units, three times
    TensorShape([3, 4])
    """

    synapse: SynapseState
    unit: State
    feedback: SynapseState

    @classmethod
    def at_rest(cls, shape: tuple[int, ...]) -> AboveState:
        """The state before the first step."""
        rest = tf.zeros(shape)
        return cls(SynapseState(rest, rest), State(rest, rest), SynapseState(rest, rest))


@dataclasses.dataclass(frozen=True)
class Paradigm:
    r"""Two layers of spiking units, of which the lower one is driven, a set of units at a time.

    Time comes in rounds, independent of each other and simulated side by side. In a round every
    set of a random partition of the layer is driven in its turn (five sets, with the paper's
    constants; what is left over by the division rests); then a window's length passes in which the
    last windows can close. All units start a round at rest.

    The units of a set are simulated while they are driven and for a window's length after, until
    the last windows that opened under the drive have closed and little of the drive is left; all
    others rest. As they get nothing from below, they are the only ones that need a state, and their
    spikes do not depend on the weights: the layer above follows in a second pass.

    Departs from the paper in the partition, which keeps a unit from being driven twice in a row,
    and in the rounds, of which little is seen: with Gaussian weights and 30 s, the correlation of
    estimate and weight was 0.408 (1600 to 384 units), 0.676 (384 to 192) and 0.785 (192 to 10), and
    0.416, 0.682 and 0.793 in rounds four to six times as long, 0.415, 0.681 and 0.792 in rounds
    twenty to sixty times as long (means of three seeds; the standard error of the last column is
    0.005).
    What longer rounds gain is the window's length at their end, in which no unit is driven.

    Args:
        neuron: Constants of the units in both layers.
        drive: Constants of the drive.
        window: Constants of the windows.

    Raises:
        ValueError: If a window is longer than a set is driven, or if the drive has more than 20
            spikes in a time step.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> paradigm = ta.spiking.lif.Paradigm()
    >>> sets, bits = paradigm.draw(units=20, rounds=3, seed=tf.constant([1, 2]))
    >>> events = paradigm.run(tf.ones((20, 4)), sets, bits)
    >>> events.rate.shape, events.response.shape  # 3 rounds of 5 sets of 4 units
    (TensorShape([15, 4]), TensorShape([15, 100, 4]))
    """

    neuron: Neuron = dataclasses.field(default_factory=Neuron)
    drive: Drive = dataclasses.field(default_factory=Drive)
    window: Window = dataclasses.field(default_factory=Window)

    def __post_init__(self) -> None:
        instance("neuron", self.neuron, Neuron, "a `Neuron` of `tf_alignment.spiking.lif`")
        instance("drive", self.drive, Drive, "a `Drive`")
        instance("window", self.window, Window, "a `Window`")
        if self.window.length > self.drive.hold:
            raise ValueError(
                "A window must not be longer than a set of units is driven. Received: "
                f"window.length={self.window.length!r}, drive.hold={self.drive.hold!r}"
            )
        if self._spikes_a_step > MOST_AT_ONCE:
            raise ValueError(
                f"A Poisson process must have at most {MOST_AT_ONCE:g} spikes in a time step: "
                "lower the drive's `rate`, and raise its `weight` instead. Received: "
                f"drive.rate={self.drive.rate!r}, neuron.dt={self.neuron.dt!r}"
            )

    @property
    def _spikes_a_step(self) -> float:
        """Mean of the Poisson numbers that drive a unit."""
        return self.drive.rate * self.neuron.dt / 1000.0

    @property
    def _steps(self) -> tuple[int, int]:
        """Time steps of a set's drive and of a window."""
        return self.neuron.steps(self.drive.hold), self.neuron.steps(self.window.length)

    def partition(self, units: int) -> tuple[int, int]:
        """Number of sets that a layer is cut into, and of units per set."""
        size = max(1, int(self.drive.fraction * units))
        return min(int(1 / self.drive.fraction), units // size), size

    def round_seconds(self, units: int) -> float:
        """Simulated seconds of a round."""
        hold, length = self._steps
        return (self.partition(units)[0] * hold + length) * self.neuron.dt / 1000.0

    def draw(self, units: int, rounds: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw all random numbers of `run`.

        Args:
            units: Units of the layer.
            rounds: Number of rounds.
            seed: Two int32 numbers; the same give the same draws.

        Returns:
            Sets, int32 `(rounds, sets, units of a set)`, and 16 random bits for each step and unit,
            uint16 `(steps of a set's drive, rounds * sets, units of a set)`. The bits decide how
            many spikes drive a unit, so probabilities are multiples of 1/65536.
        """
        count, size = self.partition(units)
        seeds = tf.random.split(seed, 2)
        order = tf.argsort(tf.random.stateless_uniform((rounds, units), seeds[0]), -1)
        sets = tf.reshape(order[:, : count * size], (rounds, count, size))
        shape = (self._steps[0], rounds * count, size)
        words = (math.ceil(math.prod(shape) / 2),)  # of 32 bits
        bits = tf.random.stateless_uniform(words, seeds[1], None, None, tf.uint32)
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), (-1,))[: math.prod(shape)]
        return sets, tf.reshape(bits, shape)

    def spikes_in(self, bits: tf.Tensor) -> tf.Tensor:
        """Count the spikes that drive a unit in a step.

        Args:
            bits: Random bits, uint16, of any shape; b stands for the uniform number (b + 1/2) /
                65536, and 0 for no spike.

        Returns:
            Poisson numbers, float32, of the same shape.
        """
        least = (math.ceil(2**16 * p - 0.5) for p in _cumulative(self._spikes_a_step))
        return _counts(bits, [max(1, bit) for bit in least if bit < 2**16])

    def run(self, kernel: tf.Tensor, sets: tf.Tensor, bits: tf.Tensor) -> Events:
        """Simulate: graph code without state, of static shapes.

        Args:
            kernel: Forward weights at the scale of the spiking network, `(units, units above)`.
            sets: See `draw`.
            bits: See `draw`.

        Returns:
            The events, the rounds' sets one after the other.
        """
        rounds = sets.shape[0]
        sets = tf.reshape(sets, (-1, sets.shape[-1]))
        spikes, *below = self.driven(bits)
        above = self.above(self.weighted(kernel, sets, spikes), rounds)
        return self.events(sets, tuple(below), above, rounds)

    def step_driven(
        self, state: DrivenState, bits: tf.Tensor
    ) -> tuple[DrivenState, tuple[tf.Tensor, tf.Tensor]]:
        """Simulate a step of driven units; `run` is made of such steps and those of `step_above`.

        Args:
            state: State before the step.
            bits: Of the units in this step, uint16, see `draw`; 0 is no drive.

        Returns:
            The state after the step; and spikes, 0 or 1, with the largest drive of each window that
            closes, minus infinity where none does, see `window_step`.
        """
        response, synapse = synapse_step(self.spikes_in(bits), state.synapse, self.neuron)
        current = self.drive.weight * response
        spikes, unit = step(current, state.unit, self.neuron)
        peak, window = window_step(current, unit.v, state.window, self.neuron, self.window)
        return DrivenState(synapse, unit, window), (spikes, peak)

    def step_above(
        self, state: AboveState, weighted: tf.Tensor
    ) -> tuple[AboveState, tuple[tf.Tensor, tf.Tensor]]:
        """Simulate a step of the layer above.

        Args:
            state: State before the step.
            weighted: Sum of the weights of the units that spike in this step, of the shape of the
                voltages.

        Returns:
            The state after the step; and spikes, 0 or 1, with the feedback q that they send down,
            in 1/ms.
        """
        current, synapse = synapse_step(weighted, state.synapse, self.neuron)
        spikes, unit = step(current, state.unit, self.neuron)
        q, feedback = synapse_step(spikes, state.feedback, self.neuron)
        return AboveState(synapse, unit, feedback), (spikes, q)

    def driven(self, bits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Simulate the driven units, which get nothing from the layer above.

        Args:
            bits: See `draw`.

        Returns:
            Spikes, booleans `(sets, time, units)`; and `peak`, `time` and `rate` of `Events`.
        """
        hold, length = self._steps
        spikes, peak = self._driven(bits)
        rate = (1000.0 / self.neuron.dt) * tf.reduce_mean(spikes[:hold], 0)
        peak = peak[length:]  # no window can close earlier
        blocks = math.ceil(hold / length)
        size = math.ceil(hold / blocks)
        rest = ((0, blocks * size - hold), (0, 0), (0, 0))
        peak = tf.pad(peak, rest, constant_values=NO_WINDOW)
        peak = tf.reshape(peak, (blocks, size, *peak.shape[1:]))
        steps = tf.reshape(tf.range(blocks * size), (blocks, size, 1, 1))
        time = tf.reduce_max(tf.where(peak > NO_WINDOW, steps, 0), 1)
        spikes = tf.transpose(spikes > 0, (1, 0, 2))
        return spikes, tf.reduce_max(peak, 1), time, rate

    def weighted(
        self, kernel: tf.Tensor, sets: tf.Tensor, spikes: tf.Tensor, sparse: bool = False
    ) -> tf.Tensor:
        """Sum the weights of the units that spike in a step.

        Args:
            kernel: See `run`.
            sets: `(sets, units)`, see `Events`.
            spikes: See `driven`.
            sparse: See `Events`.

        Returns:
            `(sets, time, units above)`.
        """
        if not sparse:
            return tf.matmul(tf.cast(spikes, kernel.dtype), tf.gather(kernel, sets))
        count, time, _ = spikes.shape
        at = tf.where(spikes)
        unit = tf.gather_nd(sets, tf.stack([at[:, 0], at[:, 2]], 1))
        indices = tf.stack([at[:, 0] * time + at[:, 1], tf.cast(unit, tf.int64)], 1)
        ones = tf.ones_like(unit, kernel.dtype)
        product = sparse_product(indices, ones, (count * time, kernel.shape[0]), kernel)
        return tf.reshape(product, (count, time, kernel.shape[1]))

    def above(self, weighted: tf.Tensor, rounds: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Simulate the layer above.

        Args:
            weighted: See `weighted`.
            rounds: Number of rounds.

        Returns:
            `response` and `rate_above` of `Events`.
        """
        hold, length = self._steps
        count = weighted.shape[0] // rounds
        spikes, response = self._above(self._overlapping(weighted, rounds, count))

        def by_set(x: tf.Tensor) -> tf.Tensor:
            """`(sets * hold, rounds, ...)` to `(rounds * sets, hold, ...)`."""
            x = tf.transpose(x, (1, 0, 2))
            return tf.reshape(x, (rounds * count, hold, x.shape[-1]))

        rate = tf.reduce_mean(by_set(spikes[: count * hold]), 1)
        return by_set(response[length:]), (1000.0 / self.neuron.dt) * rate

    def events(
        self,
        sets: tf.Tensor,
        below: tuple[tf.Tensor, ...],
        above: tuple[tf.Tensor, ...],
        rounds: int,
        sparse: bool = False,
    ) -> Events:
        """Put together what `driven` (without its spikes) and `above` give."""
        (peak, time, rate), (response, rate_above) = below, above
        threshold = self.neuron.threshold
        return Events(sets, peak, time, response, rate, rate_above, threshold, rounds, sparse)

    def _driven(self, bits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Spikes of the driven units, and peaks of their windows, `(time, sets, units)`."""
        # 0 is no spike: what follows the drive is the time in which the last windows close
        bits = tf.pad(bits, ((0, self._steps[1]), (0, 0), (0, 0)))
        start = DrivenState.at_rest(bits.shape[1:])
        _, (spikes, peak) = scan(self.step_driven, start, bits, (start.unit.v, start.unit.v))
        return spikes, peak

    def _overlapping(self, current: tf.Tensor, rounds: int, count: int) -> tf.Tensor:
        """The input that the sets of a round send up, one set after the other.

        A set is still spiking when the next one begins to be driven.

        Args:
            current: Weighted spikes of each set, `(sets, time of a set, above)`.
            rounds: Number of rounds.
            count: Sets per round.

        Returns:
            `(time of a round, rounds, above)`.
        """
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
        """Spikes of the layer above, and the response in a window that closes in a step."""
        length, start = self._steps[1], AboveState.at_rest(weighted.shape[1:])
        _, (spikes, q) = scan(self.step_above, start, weighted, (start.unit.v, start.unit.v))
        before = tf.pad(q, ((length, 0), (0, 0), (0, 0)))
        return spikes, moving_sum(before[1:], length) / length - before[:-length]

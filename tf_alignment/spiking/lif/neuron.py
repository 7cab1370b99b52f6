r"""Leaky integrate-and-fire units and their synapses, one time step after the other.

A unit's voltage follows \(dv/dt = -g_L v + g_D (I - v)\), taken in Euler steps. Where it reaches
the threshold outside the refractory period the unit spikes, and the voltage is reset. It goes on
being integrated in the refractory period, in which only the spike is withheld.

Spikes reach the next layer through the kernel

$$ \kappa(t) = (e^{-t/\tau_L} - e^{-t/\tau_s}) / (\tau_L - \tau_s), \quad t \ge 0, $$

the difference of two traces, each of which is exact from one step to the next.

Everything works on tensors of any shape, elementwise; time is the first axis where there is one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tf_alignment._support.arguments import instance, number, tensor
from tf_alignment.spiking.loops import scan

__all__ = [
    "Neuron",
    "State",
    "SynapseState",
    "membrane_step",
    "respond",
    "scaled_kernel",
    "simulate",
    "step",
    "synapse_step",
]


@dataclasses.dataclass(frozen=True)
class Neuron:
    r"""Constants of a unit and of its synapses, by default as in Guerguiev et al. 2020.

    Attributes:
        dt: Time step, in ms.
        leak: Leak conductance \(g_L\), in 1/ms.
        dendritic: Dendritic conductance \(g_D\), in 1/ms.
        threshold: Voltage \(\theta\) of a spike, the unit of all voltages.
        reset: Voltage after a spike, in those units.
        refractory: Shortest interval between two spikes, in ms.
        tau_long: Slow time constant \(\tau_L\) of a synapse, in ms.
        tau_short: Fast time constant \(\tau_s\) of a synapse, in ms.

    Raises:
        ValueError: For values out of range, or a time step too long for the conductances.

    Reference: Guerguiev, Kording and Richards 2020, "Spike-based causal inference for weight
    alignment", equation 3 and appendix A.1. The conductances and the refractory period are those
    of the authors' implementation.

    Example:
    >>> import tf_alignment as ta
    >>> ta.spiking.lif.Neuron(refractory=5.0).highest_rate
    200.0
    """

    dt: float = 1.0
    leak: float = 0.1
    dendritic: float = 0.6
    threshold: float = 1.0
    reset: float = -1.0
    refractory: float = 3.0
    tau_long: float = 10.0
    tau_short: float = 3.0

    def __post_init__(self) -> None:
        for name in ("dt", "leak", "dendritic", "threshold", "refractory", "tau_short"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        for name in ("reset", "tau_long"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if not self.reset < self.threshold:
            raise ValueError(
                "Argument `reset` must be below `threshold`. "
                f"Received: reset={self.reset!r}, threshold={self.threshold!r}"
            )
        if not self.tau_long > self.tau_short:
            raise ValueError(
                "Argument `tau_long` must be above `tau_short`. "
                f"Received: tau_long={self.tau_long!r}, tau_short={self.tau_short!r}"
            )
        if self.dt * (self.leak + self.dendritic) > 1:
            raise ValueError(
                "Argument `dt` must be at most 1 / (leak + dendritic), or the voltage swings from "
                f"step to step. Received: dt={self.dt!r}, leak={self.leak!r}, "
                f"dendritic={self.dendritic!r}"
            )

    def steps(self, milliseconds: float) -> int:
        """The fewest time steps that last at least this long."""
        return math.ceil(milliseconds / self.dt - 1e-9)

    @property
    def highest_rate(self) -> float:
        """The rate, in Hz, at which the refractory period holds every unit."""
        return 1000.0 / (self.steps(self.refractory) * self.dt)


class State(NamedTuple):
    """State of units from step to step.

    Attributes:
        v: Voltage, of any shape.
        refractory: Time steps of the refractory period that are left, of the same shape.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> at_rest = ta.spiking.lif.State(v=tf.zeros(5), refractory=tf.zeros(5))
    """

    v: tf.Tensor
    refractory: tf.Tensor


class SynapseState(NamedTuple):
    """State of synapses from step to step: sums over spikes, each fading exponentially.

    Attributes:
        long: The slow trace, with `tau_long`, of any shape, in spikes.
        short: The fast trace, with `tau_short`, of the same shape.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> silent = ta.spiking.lif.SynapseState(long=tf.zeros(5), short=tf.zeros(5))
    """

    long: tf.Tensor
    short: tf.Tensor


def membrane_step(v: tf.Tensor, current: tf.Tensor, neuron: Neuron) -> tf.Tensor:
    """A voltage one step on, without spike or reset.

    Args:
        v: Voltage.
        current: Input I, of the voltage's shape.
        neuron: Constants.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> neuron = ta.spiking.lif.Neuron()
    >>> v = ta.spiking.lif.membrane_step(tf.constant(0.5), tf.constant(1.0), neuron)
    >>> round(float(v), 3)  # 0.5 - 0.1 * 0.5 + 0.6 * (1.0 - 0.5)
    0.75
    """
    kept = 1.0 - neuron.dt * (neuron.leak + neuron.dendritic)
    return kept * v + (neuron.dt * neuron.dendritic) * current


def step(current: tf.Tensor, state: State, neuron: Neuron) -> tuple[tf.Tensor, State]:
    """A unit one step on.

    Args:
        current: Input I, of the shape of the voltages.
        state: State before the step.
        neuron: Constants.

    Returns:
        Spikes, 1.0 where a unit spikes and 0.0 elsewhere, and the state, after the reset.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> state = ta.spiking.lif.State(tf.constant(0.5), tf.constant(0.0))
    >>> spike, state = ta.spiking.lif.step(tf.constant(2.0), state, ta.spiking.lif.Neuron())
    >>> float(spike), float(state.v), float(state.refractory)
    (1.0, -1.0, 3.0)
    """
    v = membrane_step(state.v, current, neuron)
    refractory = tf.maximum(state.refractory - 1.0, 0.0)
    fires = (v >= neuron.threshold) & (refractory == 0.0)
    blocked = float(neuron.steps(neuron.refractory))
    v = tf.where(fires, neuron.reset, v)
    return tf.cast(fires, v.dtype), State(v, tf.where(fires, blocked, refractory))


def synapse_step(
    spikes: tf.Tensor, state: SynapseState, neuron: Neuron
) -> tuple[tf.Tensor, SynapseState]:
    r"""A synapse one step on: what spikes up to this step evoke, \(\sum \kappa(t - t_k)\).

    As \(\kappa(0) = 0\), a spike has no effect in its own step.

    Args:
        spikes: Spikes of this step, of the state's shape, or any sum of them: the synapse is
            linear.
        state: State before the step.
        neuron: Constants.

    Returns:
        The response, in 1/ms, and the state.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> neuron, rest = ta.spiking.lif.Neuron(), tf.constant(0.0)
    >>> state, responses = ta.spiking.lif.SynapseState(rest, rest), []
    >>> for spike in (1.0, 0.0, 0.0):
    ...     response, state = ta.spiking.lif.synapse_step(tf.constant(spike), state, neuron)
    ...     responses.append(round(float(response), 3))
    >>> responses
    [0.0, 0.027, 0.044]
    """
    long = math.exp(-neuron.dt / neuron.tau_long) * state.long + spikes
    short = math.exp(-neuron.dt / neuron.tau_short) * state.short + spikes
    return (long - short) / (neuron.tau_long - neuron.tau_short), SynapseState(long, short)


def simulate(current: tf.Tensor, neuron: Neuron | None = None) -> tf.Tensor:
    """Spikes of units that start at rest.

    Args:
        current: Input I, `(time, ...)`, one entry a time step.
        neuron: Constants, by default `Neuron()`.

    Returns:
        Spikes, 0.0 or 1.0, of the input's shape.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> spikes = ta.spiking.lif.simulate(tf.fill((30, 1), 100.0))
    >>> int(tf.reduce_sum(spikes))  # one every three steps
    10
    """
    current = tf.cast(tensor("current", current, 1), tf.float32)
    return _simulate(current, _constants(neuron))


def _constants(neuron: Neuron | None) -> Neuron:
    neuron = Neuron() if neuron is None else neuron
    return instance("neuron", neuron, Neuron, "a `Neuron` of `tf_alignment.spiking.lif` or None")


@tf.function(autograph=False)
def _simulate(current: tf.Tensor, neuron: Neuron) -> tf.Tensor:
    rest = tf.zeros(current.shape[1:])

    def advance(state: State, x: tf.Tensor) -> tuple[State, tf.Tensor]:
        return step(x, state, neuron)[::-1]

    return scan(advance, State(rest, rest), current, rest)[1]


def respond(spikes: tf.Tensor, neuron: Neuron | None = None) -> tf.Tensor:
    """Response that spikes evoke in the next layer, before its weights.

    Args:
        spikes: `(time, ...)`, one entry a time step.
        neuron: Constants, by default `Neuron()`.

    Returns:
        Spike responses p, in 1/ms, of the same shape.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> spike = tf.one_hot([0], 100)[0]
    >>> response = ta.spiking.lif.respond(spike)
    >>> int(tf.argmax(response)), round(float(tf.reduce_sum(response)), 2)
    (5, 1.0)
    """
    spikes = tf.cast(tensor("spikes", spikes, 1), tf.float32)
    return _respond(spikes, _constants(neuron))


@tf.function(autograph=False)
def _respond(spikes: tf.Tensor, neuron: Neuron) -> tf.Tensor:
    rest = tf.zeros(spikes.shape[1:])

    def advance(state: SynapseState, x: tf.Tensor) -> tuple[SynapseState, tf.Tensor]:
        return synapse_step(x, state, neuron)[::-1]

    return scan(advance, SynapseState(rest, rest), spikes, rest)[1]


def scaled_kernel(kernel: tf.Tensor, psi: float = 0.2) -> tf.Tensor:
    r"""A kernel at a scale that does not depend on its own: for layers of about 50 inputs and more.

    $$ W^{LIF} = \psi m W / \sigma_W $$

    The input of a unit grows like \(m^{3/2}\) all the same, which matters where m is small: with
    Gaussian W and a fifth of the layer driven, as in `Paradigm`, units above fire at about 150 Hz
    from 200 inputs on, at 80 Hz with 50, at 10 Hz with 20 and not at all with 8. Raise \(\psi\)
    there.

    Args:
        kernel: W, `(in, out)`, whose entries are not all the same: else the result is not finite.
        psi: \(\psi\).

    Returns:
        The scaled kernel, with m the number of inputs and \(\sigma_W\) the standard deviation of
        the entries.

    Reference: Guerguiev et al. 2020, equation 16, whose \(\sigma^2\) is a standard deviation too.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> ta.spiking.lif.scaled_kernel(tf.constant([[3.0], [-3.0]]), psi=0.5).numpy().ravel().tolist()
    [1.0, -1.0]
    """
    kernel, psi = tensor("kernel", kernel, 2, 2), number("psi", psi, above=0)
    return psi * kernel.shape[0] * kernel / tf.math.reduce_std(kernel)

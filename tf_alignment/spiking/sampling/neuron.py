r"""Stochastic spiking neurons whose network samples from a Boltzmann distribution.

Time goes in steps. A spike makes a neuron refractory for \(\tau\) steps and gives every neuron it
reaches a rectangular postsynaptic potential (PSP) of the same length. With its potential

$$ u_k(t) = b_k + \sum_j W_{jk} \, \mathrm{PSP}_j(t), \qquad
   \mathrm{PSP}_j(t) = 1 \text{ if } j \text{ spiked in } [t - \tau, t - 1] \text{, else } 0 $$

a neuron that is not refractory spikes with probability \(\sigma(u_k - \ln \tau)\). Read as
\(z_k = 1\) for the \(\tau\) steps from a spike on, the states of a network with symmetric weights
are samples of \(p(z) \propto \exp(\tfrac12 z^T W z + b^T z)\): exactly where neurons are not
connected, and else the better the longer \(\tau\).

What a network computes from PSPs is a function, `potential`; everything else is here. Neurons are
one tensor, `(..., n)`, or a tuple of them, one for each population.

Reference: Buesing et al. 2011, "Neural dynamics as sampling".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_alignment._support.arguments import instance, integer, integers
from tf_alignment.spiking.loops import scan

__all__ = [
    "Neuron",
    "Potential",
    "State",
    "initial_state",
    "sample",
    "step",
    "uniforms",
]

Potential = Callable[[Any], Any]
"""From the PSPs of all neurons, `(..., n)`, to their potentials, of the same shapes."""

LONG_AGO = 1e6


@dataclasses.dataclass(frozen=True)
class Neuron:
    """Constants of sampling neurons.

    Attributes:
        tau: Refractory time and length of a PSP, in steps: 10 in the deep networks of Gierlich et
            al., 50 in their sampling network.
        interval: Fewest steps between two spikes of a neuron. By default `tau`, which samples
            exactly; the published deep and sampling networks have `tau + 1`.
        delay: Steps by which every PSP arrives late; 0 means in the step after the spike.

    Raises:
        ValueError: For values out of range.

    Example:
    >>> from tf_alignment.spiking.sampling import Neuron
    >>> Neuron(tau=50).shortest
    50
    """

    tau: int = 10
    interval: int | None = None
    delay: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        object.__setattr__(self, "tau", integer("tau", self.tau))
        object.__setattr__(self, "delay", integer("delay", self.delay, 0))
        if self.interval is not None:
            object.__setattr__(self, "interval", integer("interval", self.interval, self.tau))

    @property
    def shortest(self) -> int:
        """Fewest steps between two spikes."""
        return self.tau if self.interval is None else self.interval


class State(NamedTuple):
    """State of sampling neurons between two steps.

    Attributes:
        age: Steps since the last spike, `(..., n)`, of each population.
        travelling: PSPs that have not arrived yet, `delay` times as `age`, the next one first.

    Example:
    >>> from tf_alignment.spiking.sampling import Neuron, initial_state
    >>> initial_state((1, 3), Neuron(delay=2))._fields
    ('age', 'travelling')
    """

    age: Any
    travelling: tuple[Any, ...]


def initial_state(shape: Sequence[int], neuron: Neuron) -> State:
    """One population of neurons that have not spiked for a long time.

    Args:
        shape: Shape of the neurons, `(..., n)`: axes before n are independent networks.
        neuron: Constants of the neurons.

    Example:
    >>> from tf_alignment.spiking.sampling import Neuron, initial_state
    >>> state = initial_state((2, 3), Neuron(delay=4))
    >>> tuple(state.age.shape), len(state.travelling)
    ((2, 3), 4)
    """
    shape = integers("shape", shape)
    instance("neuron", neuron, Neuron, "a `Neuron` of `tf_alignment.spiking.sampling`")
    return State(tf.fill(shape, LONG_AGO), neuron.delay * (tf.zeros(shape),))


def step(potential: Potential, state: State, uniform: Any, neuron: Neuron) -> tuple[Any, State]:
    """One step of all neurons at once.

    Args:
        potential: Potentials from PSPs.
        state: State before the step.
        uniform: One number in [0, 1) a neuron, as `state.age`.
        neuron: Constants of the neurons.

    Returns:
        The spikes, 0.0 or 1.0, as `state.age`, and the new state.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import Neuron, initial_state, step
    >>> neuron = Neuron(tau=2)
    >>> state, counts = initial_state((1,), neuron), []
    >>> for _ in range(6):
    ...     spikes, state = step(lambda psp: psp + 9.0, state, tf.constant([0.5]), neuron)
    ...     counts.append(int(spikes[0]))
    >>> counts
    [1, 0, 1, 0, 1, 0]
    """
    return _step(potential, state, _each(lambda x: 1.0 - x, uniform), neuron)[:2]


def _step(potential: Potential, state: State, left: Any, neuron: Neuron) -> tuple[Any, State, Any]:
    """One step with numbers in (0, 1], `left`; also returns them as the step leaves them.

    A neuron spikes where its number, divided by the probability not to, exceeds 1. Where it does
    not, the quotient is again uniform and independent of all before: it serves for the next step.
    """

    def divide(y: tf.Tensor, u: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
        return tf.where(age >= neuron.shortest, y + y * tf.exp(u - math.log(neuron.tau)), y)

    psp = _each(lambda age: tf.cast(age <= neuron.tau, tf.float32), state.age)
    psp, *travelling = *state.travelling, psp
    left = _each(divide, left, potential(psp), state.age)
    fires = _each(lambda y, age: (y > 1.0) & (age >= neuron.shortest), left, state.age)
    age = _each(lambda fired, age: tf.where(fired, 1.0, age + 1.0), fires, state.age)
    spikes = _each(lambda fired: tf.cast(fired, tf.float32), fires)
    return spikes, State(age, tuple(travelling)), left


def sample(
    potential: Potential, state: State, uniform: Any, neuron: Neuron, every: int = 1
) -> tuple[Any, State]:
    """Simulate `every` steps for each number; to be called inside a `tf.function`.

    Args:
        potential: Potentials from PSPs.
        state: State before the first step.
        uniform: Numbers in [0, 1), `(steps / every, ..., n)` of each population, of static shape;
            see `uniforms`.
        neuron: Constants of the neurons.
        every: Steps that a number serves, at most `neuron.shortest`. It is exact for any: what a
            step without a spike leaves of a number is as good as a new one, and a neuron that has
            spiked is refractory until it gets its next.

    Returns:
        The spikes, 0.0 or 1.0, `(steps, ..., n)` of each population, and the state after the last
        step.

    Raises:
        ValueError: If `every` is not from 1 to `neuron.shortest`.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import Neuron, initial_state, sample, uniforms
    >>> neuron = Neuron(tau=10)
    >>> @tf.function
    ... def run():
    ...     draws = uniforms((2000, 64, 1), [1, 2])
    ...     state = initial_state((64, 1), neuron)
    ...     return sample(lambda psp: 0 * psp - 1.0, state, draws, neuron)[0]
    >>> bool(abs(10 * run().numpy().mean() - tf.sigmoid(-1.0)) < 0.01)
    True
    """
    every = integer("every", every)
    if every > neuron.shortest:
        raise ValueError(
            "Argument `every` must be at most `neuron.shortest`, so that each spike has a number "
            f"of its own. Received: every={every}, neuron.shortest={neuron.shortest}"
        )

    def advance(carried: tuple[State, Any], _: Any) -> tuple[tuple[State, Any], Any]:
        spikes, state, left = _step(potential, *carried, neuron)
        return (state, left), spikes

    def serve(state: State, draws: Any) -> tuple[State, Any]:
        carried = state, _each(lambda x: 1.0 - x, draws)
        (state, _), spikes = scan(advance, carried, tf.range(every), state.age)
        return state, spikes

    like = _each(lambda age: tf.zeros((every, *age.shape)), state.age)
    state, spikes = scan(serve, state, uniform, like)
    return _each(lambda s: tf.reshape(s, (-1, *s.shape[2:])), spikes), state


def uniforms(shape: Sequence[int], seed: tf.Tensor, compiled: bool = False) -> tf.Tensor:
    """Numbers in [0, 1) that follow from a seed.

    Args:
        shape: Shape of the result.
        seed: Two int32 numbers.
        compiled: Whether XLA compiles the function around. Then a generator is taken that is fast
            there: the numbers are others.

    Example:
    >>> from tf_alignment.spiking.sampling import uniforms
    >>> tuple(uniforms((2, 3), [1, 2]).shape)
    (2, 3)
    """
    # under XLA on CPU the default generator took 150 times as long
    algorithm = "threefry" if compiled else "auto_select"
    return tf.random.stateless_uniform(shape, seed, alg=algorithm)


def _each(function: Callable[..., tf.Tensor], *populations: Any) -> Any:
    """Apply to each population."""
    return tf.nest.map_structure(function, *populations)

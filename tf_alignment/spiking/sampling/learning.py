"""Feedback kernels of a layered network that learn by spike-based alignment, in one compiled loop.

All layers learn at once and from the same spikes. Forward kernels stand still; feedback kernels act
on the spikes while they learn, and change after each block of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment._support.arguments import boolean, instance, integer, number_or_schedule
from tf_alignment._support.seeds import derived_seed
from tf_alignment._support.tracing import traced_once
from tf_alignment.spiking.sampling.alignment import SpikeAlignment
from tf_alignment.spiking.sampling.layered import LayeredNetwork, Layers
from tf_alignment.spiking.sampling.neuron import (
    Neuron,
    State,
    sample,
    uniforms,
)

__all__ = ["FeedbackLearning", "LearningState"]

# Random numbers and spikes are kept for so many steps at a time.
_CHUNK = 100
# Fewest chains that are split into two groups.
_SPLIT = 32


class LearningState(NamedTuple):
    """State that goes on from block to block.

    Attributes:
        feedback: B of each connection, `(lower, upper)`.
        neurons: State of the neurons.
        past: The last spikes of each layer, `(history, chains, n)`.
        counts: Spikes of each neuron so far, over all chains, `(n,)` for each layer.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import FeedbackLearning, LayeredNetwork
    >>> from tf_alignment.spiking.sampling import Neuron, SpikeAlignment
    >>> network = LayeredNetwork([3, 2])
    >>> learning = FeedbackLearning(network, Neuron(5), SpikeAlignment(5), seed=1)
    >>> state = learning.start([tf.zeros((3, 2))])
    >>> [tuple(count.shape) for count in state.counts]
    [(3,), (2,)]
    """

    feedback: Layers
    neurons: State
    past: Layers
    counts: Layers


_Group = tuple[State, Layers]  # neurons of some of the chains, and their past spikes


class FeedbackLearning:
    """Spike-based alignment of all connections of a layered network.

    Args:
        network: Layers and connections.
        neurons: Constants of the neurons.
        rule: The rule.
        rate: η of the rule, a number, or a schedule that counts blocks.
        chains: Networks that run in parallel, with the same weights.
        block: Steps after which B changes.
        seed: Seed of the spikes, and of differences between synapses.
        jit_compile: Whether XLA compiles the loop.
        balanced: Whether PSPs count by how far they are from one half, so that a neuron without
            bias is active about half of the time whatever its weights are.

    Raises:
        ValueError: For values out of range, or if neurons and rule differ in `tau`.

    Example:
    >>> import numpy as np, tensorflow as tf
    >>> from tf_alignment.spiking.sampling import FeedbackLearning, LayeredNetwork
    >>> from tf_alignment.spiking.sampling import Neuron, SpikeAlignment
    >>> learning = FeedbackLearning(LayeredNetwork([1, 1]), Neuron(5),
    ...                             SpikeAlignment(5), rate=0.02, seed=1)
    >>> state = learning.start([tf.zeros((1, 1))])
    >>> state = learning.run(state, [tf.ones((1, 1))], [tf.zeros(1)] * 2, blocks=200)
    >>> bool(abs(state.feedback[0] - 1) < 0.2)
    True
    """

    def __init__(
        self,
        network: LayeredNetwork,
        neurons: Neuron,
        rule: SpikeAlignment,
        rate: float | LearningRateSchedule = 0.07,
        chains: int = 64,
        block: int = 50,
        seed: int = 0,
        jit_compile: bool = False,
        balanced: bool = False,
    ) -> None:
        instance("network", network, LayeredNetwork, "a `LayeredNetwork`")
        instance("neurons", neurons, Neuron, "a `Neuron` of `tf_alignment.spiking.sampling`")
        instance("rule", rule, SpikeAlignment, "a `SpikeAlignment`")
        if neurons.tau != rule.tau:
            raise ValueError(
                "Arguments `neurons` and `rule` must have the same `tau`. Received: "
                f"neurons.tau={neurons.tau}, rule.tau={rule.tau}"
            )
        self.network, self.neurons, self.rule = network, neurons, rule
        self.rate = number_or_schedule("rate", rate, above=0)
        self.chains, self.block = integer("chains", chains), integer("block", block)
        self.seed, self.jit_compile = (
            integer("seed", seed, 0, 2**31 - 1),
            boolean("jit_compile", jit_compile),
        )
        self._resting = 0.5 if boolean("balanced", balanced) else 0.0
        sizes = network.sizes
        self._gains = [
            rule.gains((sizes[lower], sizes[upper]), derived_seed(self.seed, i))
            for i, (lower, upper) in enumerate(network.connections)
        ]
        self._seeds = [derived_seed(self.seed, "spikes", i) for i in range(len(sizes))]
        # Under XLA two groups of chains run side by side: its loops use one processor each.
        self._groups = 2 if jit_compile and self.chains % 2 == 0 and self.chains >= _SPLIT else 1
        self._sample = tf.function(self._spikes, jit_compile=jit_compile, autograph=False)
        self._run = traced_once(self._blocks, autograph=False)

    def start(self, feedback: Any) -> LearningState:
        """Silent neurons with these feedback kernels."""
        return LearningState(
            tuple(tf.convert_to_tensor(b, tf.float32) for b in feedback),
            self.network.initial_state(self.chains, self.neurons),
            tuple(tf.zeros((self.rule.history, self.chains, n)) for n in self.network.sizes),
            tuple(tf.zeros(n) for n in self.network.sizes),
        )

    def run(
        self, state: LearningState, kernels: Any, biases: Any, blocks: int, first: int = 0
    ) -> LearningState:
        """Let the feedback kernels learn for some blocks.

        Args:
            state: State that `start` or an earlier run returned.
            kernels: W of each connection, `(lower, upper)`.
            biases: Biases of each layer, `(n,)`.
            blocks: Number of blocks.
            first: Number of the first block: schedules and random numbers depend on it.

        Returns:
            The new state.
        """
        constants = tuple(
            tuple(tf.convert_to_tensor(a, tf.float32) for a in group) for group in (kernels, biases)
        )
        return self._run(state, *constants, tf.constant(first), tf.constant(blocks))

    def _blocks(
        self, state: LearningState, kernels: Any, biases: Any, first: tf.Tensor, blocks: tf.Tensor
    ) -> LearningState:
        def body(
            number: tf.Tensor, feedback: Layers, groups: list[_Group], counts: Layers
        ) -> tuple[Any, ...]:
            rate = self.rate(number) if callable(self.rate) else self.rate
            step = tf.cast(rate, tf.float32) / self.chains
            found = [
                self._one_block(i, group, kernels, feedback, biases, number)
                for i, group in enumerate(groups)
            ]
            new, sums, seen = (list(part) for part in zip(*found, strict=True))
            feedback = tuple(b + step * tf.add_n(s) for b, *s in zip(feedback, *sums, strict=True))
            return number + 1, feedback, new, tuple(map(_add, zip(counts, *seen, strict=True)))

        last = first + blocks
        start = first, state.feedback, self._split(state), state.counts
        _, feedback, groups, counts = tf.while_loop(lambda number, *_: number < last, body, start)
        return LearningState(feedback, *self._join(groups), counts)

    def _split(self, state: LearningState) -> list[_Group]:
        """Neurons and their past spikes, of each group of chains."""
        size = self.chains // self._groups

        def part(axis: int, group: int, structure: Any) -> Any:
            return tf.nest.map_structure(
                lambda x: tf.split(x, [size] * self._groups, axis)[group], structure
            )

        return [
            (part(0, group, state.neurons), part(1, group, state.past))
            for group in range(self._groups)
        ]

    def _join(self, groups: list[_Group]) -> _Group:
        neurons, past = zip(*groups, strict=True)
        return (
            tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *neurons),
            tf.nest.map_structure(lambda *parts: tf.concat(parts, 1), *past),
        )

    def _one_block(
        self,
        group: int,
        state: _Group,
        kernels: Any,
        feedback: Layers,
        biases: Any,
        number: tf.Tensor,
    ) -> tuple[_Group, Layers, Layers]:
        """A group's block: its state, sums over pairs of each connection, spikes of each neuron."""
        whole, rest = divmod(self.block, _CHUNK)

        def chunk(steps: int) -> Callable[..., tuple[Any, ...]]:
            def run(
                index: tf.Tensor, state: _Group, sums: Layers, counts: Layers
            ) -> tuple[Any, ...]:
                draws = self._draws(steps, number * (whole + 1) + index, group)
                new, neurons = self._sample(kernels, feedback, biases, state[0], draws)
                spikes = [tf.concat(both, 0) for both in zip(state[1], new, strict=True)]
                return (
                    index + 1,
                    (neurons, tuple(s[steps:] for s in spikes)),
                    # outside of XLA, whose products of transposed matrices are slow on a CPU
                    tuple(map(tf.add, sums, self._sums(spikes))),
                    tuple(c + tf.reduce_sum(s, (0, 1)) for c, s in zip(counts, new, strict=True)),
                )

            return run

        sums = tuple(tf.zeros_like(b) for b in feedback)
        counts = tuple(tf.zeros(n) for n in self.network.sizes)
        found: tuple[Any, ...] = tf.constant(0), state, sums, counts
        if whole:
            found = tf.while_loop(lambda index, *_: index < whole, chunk(_CHUNK), found)
        if rest:
            found = chunk(rest)(*found)
        return found[1], found[2], found[3]

    def _spikes(
        self, kernels: Any, feedback: Layers, biases: Any, neurons: State, draws: Layers
    ) -> tuple[Layers, State]:
        potential = self.network.potential(kernels, feedback, biases, self._resting)
        return sample(potential, neurons, draws, self.neurons)

    def _draws(self, steps: int, number: tf.Tensor, group: int = 0) -> Layers:
        """Uniform numbers of a group for some steps of each layer."""
        # drawn outside of XLA, whose own generator is slower on a CPU
        return tuple(
            uniforms(
                (steps, self.chains // self._groups, n),
                tf.stack([seed, number * self._groups + group]),
            )
            for n, seed in zip(self.network.sizes, self._seeds, strict=True)
        )

    def _sums(self, spikes: list[tf.Tensor]) -> list[tf.Tensor]:
        return [
            self.rule.sums(spikes[lower], spikes[upper], self.rule.history, gains)
            for (lower, upper), gains in zip(self.network.connections, self._gains, strict=True)
        ]


def _add(tensors: Any) -> tf.Tensor:
    return tf.add_n(list(tensors))

"""Feedback kernels of a layered network that learn by spike-based alignment, in one compiled loop.

All layers learn at once and from the same spikes. Forward kernels stand still; feedback kernels act
on the spikes while they learn, and change after each block of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment._support.arguments import (
    boolean,
    instance,
    integer,
    number,
    number_or_schedule,
)
from tf_alignment._support.seeds import derived_seed
from tf_alignment._support.tracing import traced_once
from tf_alignment.spiking.sampling.alignment import SpikeAlignment, mismatched
from tf_alignment.spiking.sampling.layered import LayeredNetwork, Layers
from tf_alignment.spiking.sampling.neuron import (
    Neuron,
    Potential,
    State,
    sample,
    uniforms,
)

__all__ = ["FeedbackLearning", "LearningState"]

# Random numbers and spikes are kept for so many steps at a time.
_CHUNK = 100


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
        jit_compile: Whether XLA compiles the steps. Even `chains` then run in two groups at once.
        balanced: Whether PSPs count by how far they are from one half, so that a neuron without
            bias is active about half of the time whatever its weights are.
        neuron_mismatch: Standard deviation of the gain of each neuron, around 1: its potential is
            multiplied by it. B then comes to rest where the effective weights agree, at W times the
            gain of the upper neuron over that of the lower.

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
        neuron_mismatch: float = 0.0,
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
        spread = number("neuron_mismatch", neuron_mismatch, least=0)
        self._neuron_gains = None
        if spread:
            self._neuron_gains = [
                mismatched((n,), spread, derived_seed(self.seed, "gains", i))
                for i, n in enumerate(sizes)
            ]
        self._seeds = [derived_seed(self.seed, "spikes", i) for i in range(len(sizes))]
        # Two groups of chains keep two cores busy with products too small to share. XLA compiles
        # the steps alone: sums over pairs, which have transposed products, take longer under it.
        self._groups = 2 if jit_compile and self.chains % 2 == 0 else 1
        self._group = self._steps
        if jit_compile:
            self._group = tf.function(self._steps, jit_compile=True, autograph=False)
        self._run = traced_once(self._blocks)

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
        def body(number: tf.Tensor, state: LearningState) -> tuple[tf.Tensor, LearningState]:
            rate = self.rate(number) if callable(self.rate) else self.rate
            step = tf.cast(rate, tf.float32) / self.chains
            state, sums = self._one_block(state, kernels, biases, number)
            learned = zip(state.feedback, sums, strict=True)
            return number + 1, state._replace(feedback=tuple(b + step * s for b, s in learned))

        last = first + blocks
        return tf.while_loop(lambda number, _: number < last, body, (first, state))[1]

    def _one_block(
        self, state: LearningState, kernels: Any, biases: Any, number: tf.Tensor
    ) -> tuple[LearningState, Layers]:
        """Spikes of one block and the sums over their pairs, of each connection."""
        whole, rest = divmod(self.block, _CHUNK)

        def chunk(steps: int) -> Callable[..., tuple[tf.Tensor, LearningState, Layers]]:
            def run(
                index: tf.Tensor, state: LearningState, sums: Layers
            ) -> tuple[tf.Tensor, LearningState, Layers]:
                drawn = number * (whole + 1) + index
                new, neurons = self._sampled(steps, state, kernels, biases, drawn)
                spikes = [tf.concat(both, 0) for both in zip(state.past, new, strict=True)]
                state = LearningState(
                    state.feedback,
                    neurons,
                    tuple(s[steps:] for s in spikes),
                    tuple(
                        c + tf.reduce_sum(s, (0, 1)) for c, s in zip(state.counts, new, strict=True)
                    ),
                )
                return index + 1, state, tuple(map(tf.add, sums, self._sums(spikes)))

            return run

        found = tf.constant(0), state, tuple(tf.zeros_like(b) for b in state.feedback)
        if whole:
            found = tf.while_loop(lambda index, *_: index < whole, chunk(_CHUNK), found)
        if rest:
            found = chunk(rest)(*found)
        return found[1], found[2]

    def _sampled(
        self, steps: int, state: LearningState, kernels: Any, biases: Any, number: tf.Tensor
    ) -> tuple[Any, State]:
        """Spikes of some steps, and the state of the neurons after them."""
        groups = self._groups
        split = [tf.split(a, groups) for a in tf.nest.flatten(state.neurons)]
        spikes, neurons = zip(
            *(
                self._group(
                    steps,
                    tf.nest.pack_sequence_as(state.neurons, group),
                    kernels,
                    state.feedback,
                    biases,
                    groups * number + i,
                )
                for i, group in enumerate(zip(*split, strict=True))
            ),
            strict=True,
        )
        return (
            tf.nest.map_structure(lambda *parts: tf.concat(parts, 1), *spikes),
            tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *neurons),
        )

    def _steps(
        self,
        steps: int,
        neurons: State,
        kernels: Any,
        feedback: Layers,
        biases: Any,
        number: tf.Tensor,
    ) -> tuple[Any, State]:
        """Some steps of one group of chains."""
        potential = self._potential(kernels, feedback, biases)
        every = self._every(steps)
        draws = self._draws(steps // every, number)
        return sample(potential, neurons, draws, self.neurons, every)

    def _every(self, steps: int) -> int:
        """Steps that one random number serves: as many as it can, and a part of `steps`."""
        return max(k for k in range(1, self.neurons.shortest + 1) if steps % k == 0)

    def _potential(self, kernels: Any, feedback: Layers, biases: Any) -> Potential:
        inputs = self.network.potential(kernels, feedback, biases, self._resting)
        gains = self._neuron_gains
        if gains is None:
            return inputs
        return lambda psp: tuple(g * u for g, u in zip(gains, inputs(psp), strict=True))

    def _draws(self, count: int, number: tf.Tensor) -> Layers:
        """Uniform numbers, so many for each neuron of a group of chains."""
        chains = self.chains // self._groups
        return tuple(
            uniforms((count, chains, n), tf.stack([seed, number]), self.jit_compile)
            for n, seed in zip(self.network.sizes, self._seeds, strict=True)
        )

    def _sums(self, spikes: list[tf.Tensor]) -> list[tf.Tensor]:
        return [
            self.rule.sums(spikes[lower], spikes[upper], self.rule.history, gains)
            for (lower, upper), gains in zip(self.network.connections, self._gains, strict=True)
        ]

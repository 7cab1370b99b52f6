"""Spike-based alignment learning as a phase: B learns W from the timing of spikes."""

from __future__ import annotations

import random
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment import metrics
from tf_alignment.callbacks.divergence import DivergenceError
from tf_alignment.initializers import derived_seed
from tf_alignment.layers.base import Connection
from tf_alignment.linear_maps import Matmul
from tf_alignment.phases.base import Phase, Results
from tf_alignment.phases.compiled import positive
from tf_alignment.phases.stacks import Stack, stacks
from tf_alignment.spiking import (
    FeedbackLearning,
    LayeredNetwork,
    LearningState,
    SamplingParameters,
    SpikeAlignment,
)

__all__ = ["SAL"]

SILENT, SATURATED = 0.01, 0.95  # of the highest rate that refractory neurons can have
RUNAWAY = 2.0  # norm of B over that of W; noise as large as the signal makes it √2


class SAL(Phase):
    r"""Aligns dense layers by spikes alone: what W does to their timing teaches B.

    Dense layers that follow each other become a network of stochastic spiking neurons with their W,
    B and biases (the lowest neurons, the inputs of the first layer, have bias 0), in which spikes
    travel both ways. It runs in many independent chains with the same weights. After each block of
    steps B changes by spike-based alignment learning: pairs of spikes in which the lower neuron
    comes first strengthen it, others weaken it (`tf_alignment.spiking.SpikeAlignment`). Only B goes
    back to the model, at the end of the run, so that one that fails half-way changes nothing.

    To first order B drifts by a multiple of W − B. What is left is noise: less of it with more
    steps, more chains, or a lower rate from run to run. Neurons whose rates differ much, above all
    by their biases, move the value at which B comes to rest.

    The defaults depart from the published deep network in a shorter refractory time (5 instead of
    10), more frequent (every 50 steps instead of 2000) and larger steps of B (0.07 instead of 0.002
    a pair), more chains (64 instead of 32), balanced neurons, and mean rates that are subtracted.

    Args:
        steps: Simulated steps of one run, a multiple of `block`.
        chains: Networks that run in parallel.
        layers: See `Phase`; only layers that act by one matrix product. By default all of those.
        seed: Integer, or None for a random one.
        rate: Change of B by one pair of weight 1, the mean over chains: a number, or a
            `keras.optimizers.schedules.LearningRateSchedule` that counts blocks over all runs.
        block: Steps after which B changes.
        tau: Refractory time, length of a PSP and time constant of the kernel, in steps.
        interval: See `tf_alignment.spiking.SamplingParameters`; the published network has
            `tau + 1`.
        delay: Transmission delay in steps.
        kernel: `"exponential"` or `"triangular"`.
        subtract_rates, lobe_mismatch, synapse_mismatch: See
            `tf_alignment.spiking.SpikeAlignment`.
        bias: Bias of all neurons, instead of the model's.
        balanced: Whether PSPs count by how far they are from one half, so that weights do not drive
            neurons away from the activity that their bias gives them. The published network has
            plain PSPs (False), and unequal rates leave an angle of their own: in a perceptron
            trained on MNIST 25°, 24° and 17° against 17°, 12° and 6°.
        jit_compile: Whether XLA compiles the simulation: it takes about 60 % of the time, and a
            second or two once.

    Raises:
        ValueError: For values out of range; when it runs, if the model has no dense layer with a
            feedback kernel, or if no neuron spikes.
        DivergenceError: If W, B or biases contain NaN or infinity, before the run or after it.

    A run reports for every connection `weight_angle_before`, and `spike_rate_below` and
    `spike_rate_above`: spikes of a neuron in the time `tau`, the mean of each layer. It warns of
    layers that are silent or saturated, and if B runs away.

    Reference: Gierlich et al. 2026, "Spike-based alignment learning solves the weight transport
    problem".

    Example:
    >>> import keras, tf_alignment as ta
    >>> layer = ta.layers.Dense(20, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((20,)), layer], name="net")
    >>> results = ta.phases.SAL(steps=4000, seed=1).run(model)["net/top"]
    >>> bool(results["weight_angle_before"] > 60 and results["weight_angle"] < 25)
    True
    """

    name = "sal"

    def __init__(
        self,
        steps: int = 10000,
        chains: int = 64,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        *,
        rate: float | LearningRateSchedule = 0.07,
        block: int = 50,
        tau: int = 5,
        interval: int | None = None,
        delay: int = 0,
        kernel: str = "exponential",
        subtract_rates: bool = True,
        lobe_mismatch: float = 0.0,
        synapse_mismatch: float = 0.0,
        bias: float | None = None,
        balanced: bool = True,
        jit_compile: bool = True,
    ) -> None:
        super().__init__(layers)
        self.steps, self.chains = positive("steps", steps), positive("chains", chains)
        self.block = positive("block", block)
        if steps % block:
            raise ValueError(
                f"Argument `steps` must be a multiple of `block`. Received: steps={steps}, "
                f"block={block}"
            )
        if not isinstance(rate, LearningRateSchedule) and not rate > 0:
            raise ValueError(f"Argument `rate` must be above 0. Received: rate={rate!r}")
        self.rate = rate
        self.neurons = SamplingParameters(tau, interval, delay)
        self.rule = SpikeAlignment(
            tau,
            kernel,
            subtract_rates=subtract_rates,
            lobe_mismatch=lobe_mismatch,
            synapse_mismatch=synapse_mismatch,
        )
        self.bias = bias
        self.balanced = balanced
        self.jit_compile = jit_compile
        self.seed = random.randint(1, 10**9) if seed is None else int(seed)
        self._model: Callable[[], keras.Model | None] = lambda: None
        self._compiled: dict[Any, FeedbackLearning] = {}

    def connections(self, model: keras.Model) -> dict[str, Connection]:
        """As every phase's, but only those that act by one matrix product."""
        found = super().connections(model)
        dense = {path: c for path, c in found.items() if isinstance(c.map, Matmul)}
        if not dense or (self.layers is not None and len(dense) < len(found)):
            raise ValueError(
                f"Phase '{self.name}' serves layers that act by one matrix product, with a stored "
                f"feedback kernel. Received: {sorted(set(found) - set(dense))}"
            )
        return dense

    def build(self, model: keras.Model) -> None:
        """Find the spiking networks of `model`, and count blocks from 0."""
        if self._model() is model:
            return
        self._stacks = stacks(model, list(self._receiving(model).values()))
        self._learnings = [self._learning(i, stack) for i, stack in enumerate(self._stacks)]
        with model.distribute_strategy.scope():
            self._count = keras.Variable(
                0, dtype="int32", trainable=False, aggregation="only_first_replica"
            )
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The count of blocks; nothing before the phase is built."""
        return [] if self._model() is None else [self._count]

    def update(
        self, model: keras.Model, connections: dict[str, Connection], verbose: int = 0
    ) -> Results:
        """Simulate all networks, then change their feedback kernels."""
        total = self.steps * len(self._stacks)
        bar = keras.utils.Progbar(total, unit_name="step") if verbose else None
        results: Results = {}
        learned: list[tuple[Connection, np.ndarray]] = []
        for index, (stack, learning) in enumerate(zip(self._stacks, self._learnings, strict=True)):

            def progress(steps: int, before: int = index * self.steps) -> None:
                if bar is not None:
                    bar.update(before + steps)

            state = self._simulate(stack, learning, progress if verbose else None)
            learned += self._checked(stack, state)
            results.update(self._rates(stack, learning, state))
        for path, c in connections.items():
            before = metrics.weight_angle(c.kernel, c.weights["feedback_kernel"])
            results[path]["weight_angle_before"] = float(before)
        for c, feedback in learned:
            c.weights["feedback_kernel"].assign(feedback)
        self._count.assign_add(self.steps // self.block)
        return results

    def _learning(self, index: int, stack: Stack) -> FeedbackLearning:
        """The compiled simulation, kept for models of the same shape."""
        key = index, tuple(stack.sizes), tuple(stack.edges)
        if key not in self._compiled:
            self._compiled[key] = FeedbackLearning(
                LayeredNetwork(stack.sizes, stack.edges),
                self.neurons,
                self.rule,
                self.rate,
                self.chains,
                self.block,
                derived_seed(self.seed, index),
                self.jit_compile,
                self.balanced,
            )
        return self._compiled[key]

    def _simulate(
        self, stack: Stack, learning: FeedbackLearning, progress: Callable[[int], None] | None
    ) -> LearningState:
        """Copy the weights into the spiking network and let its feedback learn."""
        kernels = [tf.convert_to_tensor(c.kernel) for c in stack.connections]
        feedback = [tf.convert_to_tensor(c.weights["feedback_kernel"]) for c in stack.connections]
        biases = [tf.zeros(stack.sizes[0])]
        for c, size in zip(stack.connections, stack.sizes[1:], strict=True):
            own = c.layer.bias
            biases.append(tf.zeros(size) if own is None else tf.convert_to_tensor(own))
        for c, *weights in zip(stack.connections, kernels, feedback, biases[1:], strict=True):
            for name, weight in zip(("kernel", "feedback kernel", "bias"), weights, strict=True):
                self._check_finite(c, name, weight)
        if self.bias is not None:
            biases = [tf.fill([size], float(self.bias)) for size in stack.sizes]
        blocks, first = self.steps // self.block, int(self._count.numpy())
        part = max(1, blocks // 20) if progress else blocks
        state = learning.start(feedback)
        for done in range(0, blocks, part):
            count = min(part, blocks - done)
            state = learning.run(state, kernels, biases, count, first + done)
            if progress:
                progress((done + count) * self.block)
        return state

    def _check_finite(self, connection: Connection, name: str, weight: tf.Tensor) -> None:
        if not np.all(np.isfinite(weight)):
            raise DivergenceError(
                f"Phase '{self.name}' cannot run: the {name} of '{connection.path}' contains NaN "
                "or infinity. Training diverged; lower its learning rate."
            )

    def _checked(self, stack: Stack, state: LearningState) -> list[tuple[Connection, np.ndarray]]:
        """What was learned, if it can be used; a warning if B runs away."""
        learned = []
        for c, tensor in zip(stack.connections, state.feedback, strict=True):
            feedback = tensor.numpy()
            if not np.all(np.isfinite(feedback)):
                raise DivergenceError(
                    f"Phase '{self.name}' diverged: the feedback kernel of '{c.path}' would "
                    "contain NaN or infinity, and was left as it was. Lower the phase's `rate`."
                )
            before = float(metrics.norm_ratio(c.kernel, c.weights["feedback_kernel"]))
            after = float(metrics.norm_ratio(c.kernel, feedback))
            if after > max(RUNAWAY, before):
                warnings.warn(
                    f"Phase '{self.name}': the feedback kernel of '{c.path}' grew to {after:.1f} "
                    "times the norm of the forward kernel: the noise of single spikes outweighs "
                    "what they teach. Lower `rate`, or raise `chains`.",
                    stacklevel=2,
                )
            learned.append((c, feedback))
        return learned

    def _rates(self, stack: Stack, learning: FeedbackLearning, state: LearningState) -> Results:
        """Mean spike rates of the layers; a warning where they are out of bounds."""
        scale = self.neurons.tau / (self.steps * self.chains)
        rates = [scale * float(np.mean(c)) for c in learning.network.split(state.counts)]
        paths = [c.path for c in stack.connections]
        names = [f"inputs of '{paths[0]}'", *(f"units of '{path}'" for path in paths)]
        if not any(rates):
            raise ValueError(
                f"Phase '{self.name}': not one neuron spiked, of {', '.join(names)}. Raise the "
                "biases (argument `bias`), or shrink the weights."
            )
        for rate, name in zip(rates, names, strict=True):
            part = rate * self.neurons.shortest / self.neurons.tau
            if SILENT < part < SATURATED:
                continue
            state_of, remedy = (
                ("hardly spike", "Raise") if part <= SILENT else ("spike all the time", "Lower")
            )
            warnings.warn(
                f"Phase '{self.name}': the {name} {state_of} ({rate:.3f} times in the refractory "
                f"time) and teach their feedback next to nothing. {remedy} their biases (argument "
                "`bias`), or shrink the weights.",
                stacklevel=2,
            )
        return {
            c.path: {"spike_rate_below": rates[lower], "spike_rate_above": rates[upper]}
            for c, (lower, upper) in zip(stack.connections, stack.edges, strict=True)
        }

"""Spike-based alignment learning as a phase: B learns W from the timing of spikes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment import metrics
from tf_alignment._support.arguments import boolean, integer, number, number_or_schedule
from tf_alignment._support.seeds import derived_seed
from tf_alignment.errors import DivergenceError
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.base import Results
from tf_alignment.phases.spiking.base import DensePhase
from tf_alignment.phases.spiking.stacks import Stack, stacks
from tf_alignment.spiking.rates import silent_and_saturated
from tf_alignment.spiking.sampling import (
    FeedbackLearning,
    LayeredNetwork,
    LearningState,
    Neuron,
    SpikeAlignment,
)

__all__ = ["SAL"]

RUNAWAY = 2.0  # norm of B over the norm of W; noise as large as the signal makes it √2


@dataclasses.dataclass
class _Result:
    """Result of a simulation for one stack of layers."""

    stack: Stack
    feedback: list[tf.Tensor]
    rates: list[dict[str, float]]  # of each population


class SAL(DensePhase):
    r"""Learns the feedback kernels of dense layers from the relative timing of spikes.

    Dense layers that follow each other become a network of stochastic spiking neurons with their W,
    B and biases (the lowest neurons, the inputs of the first layer, have bias 0), in which spikes
    travel both ways. It runs in many independent chains with the same weights. After each block of
    steps B changes by spike-based alignment learning: pairs of spikes in which the lower neuron
    comes first strengthen it, others weaken it (`tf_alignment.spiking.sampling.SpikeAlignment`).
    Only B goes back to the model, at the end of the run, so that one that fails half-way changes
    nothing.

    To first order B drifts by a multiple of W − B. What is left is noise and bias. Noise is less
    with more steps, more chains, or a lower rate from run to run. Neurons whose rates differ much,
    above all by their biases, move the value at which B comes to rest, which no longer run changes:
    two neurons with W = 1, of which the upper one has the bias 3, bring B to 4.1 where PSPs are
    balanced, and to 2.8 where they are not (docs/results/sal.md).

    In training, W grows after the noise in B, which is another after every run: let the learning
    rate of W fall, or let W decay. A perceptron on MNIST with neither diverged after ten epochs.
    Leave `rate` as it is from run to run, so that B can follow.

    The defaults depart from the published deep network in a shorter refractory time (5 instead of
    10), more frequent (every 50 steps instead of 2000) and larger steps of B (0.07 instead of 0.002
    a pair), more chains (64 instead of 32), balanced neurons, and mean rates that are subtracted.

    Arguments are read once: attributes that are set after a run change nothing.

    Args:
        steps: Simulated steps of one run, a multiple of `block`.
        chains: Networks that run in parallel.
        rate: Change of B by one pair of weight 1, the mean over chains: a number, or a
            `keras.optimizers.schedules.LearningRateSchedule` that counts blocks over all runs.
        block: Steps after which B changes.
        tau: Refractory time, length of a PSP and time constant of the kernel, in steps.
        interval: See `tf_alignment.spiking.sampling.Neuron`; the published network has
            `tau + 1`.
        delay: Transmission delay in steps.
        kernel: `"exponential"` or `"triangular"`.
        subtract_rates, lobe_mismatch, synapse_mismatch: See
            `tf_alignment.spiking.sampling.SpikeAlignment`.
        neuron_mismatch: See `tf_alignment.spiking.sampling.FeedbackLearning`.
        bias: Bias of all neurons, instead of the model's.
        balanced: Whether PSPs count by how far they are from one half, so that weights do not drive
            neurons away from the activity that their bias gives them. The published network has
            plain PSPs (False), and unequal rates leave an angle of their own: in a perceptron
            trained on MNIST 25°, 24° and 17° against 17°, 12° and 6°.
        jit_compile: Whether XLA compiles the steps: the run takes about half of the time, and a
            second or two once.
        layers: See `Phase`. By default all layers that act by one matrix product and store a
            feedback kernel.
        seed, name: See `Phase`.

    Raises:
        ValueError: For values out of range; when it runs, for a model without dense layers with
            feedback kernels, for layers named that are not dense, for kernels of zeros, and if no
            neuron spikes at all.
        DivergenceError: If W, B or biases contain NaN or infinity, before the run or after it. As
            for other errors, no feedback kernel has changed then.

    Warns:
        UserWarning: When it runs, of layers most of whose neurons are silent, or many saturated,
            and of feedback kernels that run away.

    A run reports for every connection, besides what every phase does, `weight_angle_before`, and of
    the neurons that it comes from ("below") and leads to ("above") the mean number of spikes in the
    time `tau`, `spike_rate_below_per_tau` and `spike_rate_above_per_tau`, and the parts that are
    silent and saturated, `silent_below`, `saturated_below` and so on.

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
        *,
        steps: int = 10000,
        chains: int = 64,
        rate: float | LearningRateSchedule = 0.07,
        block: int = 50,
        tau: int = 5,
        interval: int | None = None,
        delay: int = 0,
        kernel: str = "exponential",
        subtract_rates: bool = True,
        lobe_mismatch: float = 0.0,
        synapse_mismatch: float = 0.0,
        neuron_mismatch: float = 0.0,
        bias: float | None = None,
        balanced: bool = True,
        jit_compile: bool = True,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(jit_compile=jit_compile, layers=layers, seed=seed, name=name)
        self.steps, self.chains = integer("steps", steps), integer("chains", chains)
        self.block = integer("block", block)
        if self.steps % self.block:
            raise ValueError(
                f"Argument `steps` must be a multiple of `block`. Received: steps={steps}, "
                f"block={block}"
            )
        self.rate = number_or_schedule("rate", rate, above=0)
        self.neurons = Neuron(tau, interval, delay)
        self.rule = SpikeAlignment(
            tau,
            kernel,
            subtract_rates=subtract_rates,
            lobe_mismatch=lobe_mismatch,
            synapse_mismatch=synapse_mismatch,
        )
        self.bias = None if bias is None else number("bias", bias)
        self.balanced = boolean("balanced", balanced)
        self.neuron_mismatch = number("neuron_mismatch", neuron_mismatch, least=0)
        self._compiled: dict[Any, FeedbackLearning] = {}

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Find the spiking networks of `model`."""
        self._paths = {connection: path for path, connection in connections.items()}
        self._stacks = stacks(model, list(connections.values()))
        self._learnings = [self._learning(i, stack) for i, stack in enumerate(self._stacks)]
        return []

    def update(
        self, model: keras.Model, connections: dict[str, Receiver], verbose: int = 0
    ) -> Results:
        """Simulate all networks, then change their feedback kernels."""
        total = self.steps * len(self._stacks)
        bar = keras.utils.Progbar(total, unit_name="step") if verbose else None
        found = []
        for stack, learning in zip(self._stacks, self._learnings, strict=True):
            state = self._simulate(stack, learning, bar)
            found.append(_Result(stack, list(state.feedback), self._rates(state)))
        if not any(rates["spike_rate"] for result in found for rates in result.rates):
            raise ValueError(
                f"Phase '{self.name}': not one neuron spiked, of {list(connections)} and what "
                "feeds them. Raise the biases (argument `bias`), or shrink the weights"
            )
        results: Results = {}
        for result in found:
            results.update(self._checked(result))
        for result in found:
            for c, feedback in zip(result.stack.connections, result.feedback, strict=True):
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
                self.neuron_mismatch,
            )
        return self._compiled[key]

    def _simulate(
        self, stack: Stack, learning: FeedbackLearning, bar: keras.utils.Progbar | None
    ) -> LearningState:
        """Copy the weights into the spiking network and let its feedback learn."""
        biases = [tf.zeros(stack.sizes[0])]
        for c, size in zip(stack.connections, stack.sizes[1:], strict=True):
            path = self._paths[c]
            bias = getattr(c.layer, "bias", None)
            bias = tf.zeros(size) if bias is None else bias
            feedback = c.weights["feedback_kernel"]
            self.check_finite(path, kernel=c.kernel, feedback_kernel=feedback, bias=bias)
            if not np.any(_float32(c.kernel)):
                raise ValueError(
                    f"Phase '{self.name}' needs a forward kernel to learn. Received: '{path}' "
                    "with zeros alone; initialise it with random numbers"
                )
            biases.append(_float32(bias))
        if self.bias is not None:
            biases = [tf.fill([size], self.bias) for size in stack.sizes]
        kernels = [_float32(c.kernel) for c in stack.connections]
        state = learning.start([_float32(c.weights["feedback_kernel"]) for c in stack.connections])
        blocks, first = self.steps // self.block, int(self._count.numpy())
        part = max(1, blocks // 20) if bar else blocks
        for done in range(0, blocks, part):
            count = min(part, blocks - done)
            state = learning.run(state, kernels, biases, count, first + done)
            if bar:
                bar.add(count * self.block)
        return state

    def _rates(self, state: LearningState) -> list[dict[str, float]]:
        """Spikes in `tau` of each population, and the parts that are silent and saturated."""
        scale, highest = self.neurons.tau / (self.steps * self.chains), self.neurons.tau
        found = []
        for counts in state.counts:
            silent, saturated = silent_and_saturated(
                scale * counts, highest / self.neurons.shortest
            )
            found.append(
                {
                    "spike_rate": scale * float(tf.reduce_mean(counts)),
                    "silent": float(silent),
                    "saturated": float(saturated),
                }
            )
        return found

    def _checked(self, result: _Result) -> Results:
        """The report; raises and warns where the feedback learned is of no use."""
        first, *_ = paths = [self._paths[c] for c in result.stack.connections]
        names = [f"inputs of '{first}'", *(f"units of '{path}'" for path in paths)]
        for name, rates in zip(names, result.rates, strict=True):
            remedy = "{} their biases (argument `bias`), or shrink the weights"
            self.warn_of_rates(name, rates["silent"], rates["saturated"], remedy)
        found: Results = {}
        for path, c, feedback, edge in zip(
            paths, result.stack.connections, result.feedback, result.stack.edges, strict=True
        ):
            if not np.all(np.isfinite(feedback)):
                raise DivergenceError(
                    f"Phase '{self.name}' diverged: the feedback kernel of '{path}' would "
                    "contain NaN or infinity, and was left as it was. Lower the phase's `rate`."
                )
            kernel, before = _float32(c.kernel), _float32(c.weights["feedback_kernel"])
            ratio = float(metrics.norm_ratio(kernel, feedback))
            if ratio > max(RUNAWAY, float(metrics.norm_ratio(kernel, before))):
                self.warn(
                    f"the feedback kernel of '{path}' grew to {ratio:.1f} times the norm of the "
                    "forward kernel. Either strong biases of its units move the point where it "
                    "comes to rest: give all neurons one (argument `bias`), or try `balanced="
                    f"{not self.balanced}`. Or the noise of single spikes outweighs what they "
                    "teach: lower `rate`, or raise `chains`"
                )
            found[path] = {"weight_angle_before": float(metrics.weight_angle(kernel, before))}
            for side, population in zip(("below", "above"), edge, strict=True):
                rates = result.rates[population]
                found[path][f"spike_rate_{side}_per_tau"] = rates["spike_rate"]
                found[path][f"silent_{side}"] = rates["silent"]
                found[path][f"saturated_{side}"] = rates["saturated"]
        return found


def _float32(weight: Any) -> tf.Tensor:
    """The spiking network is float32, whatever the model is."""
    return tf.cast(tf.convert_to_tensor(weight), tf.float32)

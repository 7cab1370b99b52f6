r"""Spike-based alignment learning: feedback synapses that learn from the order of spikes.

A feedback synapse B leads from an upper (presynaptic) to a lower (postsynaptic) neuron; W leads
back. Chance apart, the upper neuron fires after the lower because of W, and the lower after the
upper because of B. So let every pair of spikes in which the lower fires first strengthen B, and
every other pair weaken it:

$$ \Delta B = \eta \sum_\mathrm{pairs} \kappa(\Delta t), \qquad
   \Delta t = t_\mathrm{lower} - t_\mathrm{upper}, \qquad
   \kappa(\Delta t) = -\mathrm{sign}(\Delta t) \, e^{-|\Delta t| / \tau} $$

To first order B drifts by something proportional to W − B: the feedback becomes the forward weight
itself, scale included. The synapse sees spikes alone, never W.

One normalisation of the learning rate η is used throughout: it is the change of B by one pair of
weight 1, the mean over networks that run in parallel. Published rates in it: 0.002 in the deep
network (0.04 over 2 τ, τ = 10), 0.0025 for two layers of 50 (0.05 over 2 τ, τ = 10), 1e-5 in the
sampling network (0.01 for the mean over 1000 τ).

Reference: Gierlich et al. 2026, "Spike-based alignment learning solves the weight transport
problem".
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import boolean, integer, number, one_of
from tf_alignment.spiking.sampling.pairs import chance, exponential, pair_sums, triangular

__all__ = ["SpikeAlignment", "mismatched"]

_KERNELS = ("exponential", "triangular")


@dataclasses.dataclass(frozen=True)
class SpikeAlignment:
    """The SAL rule, for ideal and for imperfect synapses.

    Attributes:
        tau: Time constant of the traces in steps; published: the refractory time, 10 in the deep
            network.
        kernel: `"exponential"`, or `"triangular"` as in the published sampling network.
        cut: Length at which exponential traces are cut off, in units of `tau`; published: 2.
        subtract_rates: Whether each lobe of the kernel is counted beyond chance: less the product
            of the mean rates. For equal lobes this changes nothing. Where they differ by 10 %, two
            layers of 50 align to 12° with it and to 77° without. The published rule is without it.
        lobe_mismatch: By which fraction the lobe that strengthens B is larger in all synapses.
        synapse_mismatch: Standard deviation of the gain of each lobe of each synapse, around 1.

    Raises:
        ValueError: For values out of range.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import SpikeAlignment
    >>> lower = tf.reshape([1.0, 0.0, 0.0, 0.0], (4, 1, 1))
    >>> upper = tf.reshape([0.0, 1.0, 0.0, 0.0], (4, 1, 1))
    >>> rule = SpikeAlignment(tau=1, subtract_rates=False)
    >>> print(f"{float(rule.sums(lower, upper)[0, 0]):.2f}")
    0.37
    """

    tau: int = 10
    kernel: str = "exponential"
    cut: float = 2.0
    subtract_rates: bool = True
    lobe_mismatch: float = 0.0
    synapse_mismatch: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("kernel", self.kernel, _KERNELS)
        object.__setattr__(self, "tau", integer("tau", self.tau))
        boolean("subtract_rates", self.subtract_rates)
        for name, bounds in (
            ("cut", {"above": 0.0}),
            ("lobe_mismatch", {"above": -1.0}),
            ("synapse_mismatch", {"least": 0.0}),
        ):
            object.__setattr__(self, name, number(name, getattr(self, name), **bounds))
        _ = self.weights  # checks what else there is

    @property
    def weights(self) -> np.ndarray:
        """Weights of Δt = −m, ..., m, with unequal lobes if so asked."""
        kernel = (
            exponential(self.tau, self.cut)
            if self.kernel == "exponential"
            else triangular(self.tau)
        )
        return np.where(kernel > 0, (1 + self.lobe_mismatch) * kernel, kernel).astype(np.float32)

    @property
    def history(self) -> int:
        """Steps of the past that have to be known."""
        return len(self.weights) // 2

    def gains(self, shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Gains of both lobes of every synapse, or None if all are 1.

        Args:
            shape: `(lower, upper)`.
            seed: They follow from.

        Returns:
            Of the lobe that strengthens and of the other.
        """
        if not self.synapse_mismatch:
            return None
        up, down = mismatched((2, *shape), self.synapse_mismatch, seed)
        return up, down

    def sums(self, lower: tf.Tensor, upper: tf.Tensor, history: int = 0, gains: Any = None) -> Any:
        """The sum over pairs for every feedback synapse, over all networks; η makes it ΔB.

        Args:
            lower: Spikes of the lower neurons, `(history + steps, networks, lower)`.
            upper: Spikes of the upper neurons, `(history + steps, networks, upper)`.
            history: So many first steps are old.
            gains: See `gains`.

        Returns:
            `(lower, upper)`.
        """
        if gains is None:
            return self._beyond_chance(lower, upper, self.weights, history)
        up, down = (
            self._beyond_chance(lower, upper, lobe(self.weights, 0.0), history)
            for lobe in (np.maximum, np.minimum)
        )
        return gains[0] * up + gains[1] * down

    def _beyond_chance(
        self, lower: tf.Tensor, upper: tf.Tensor, kernel: np.ndarray, history: int
    ) -> tf.Tensor:
        found = pair_sums(lower, upper, kernel, history)
        if not self.subtract_rates:
            return found
        return found - chance(lower, upper, kernel, history)


def mismatched(shape: tuple[int, ...], spread: float, seed: int) -> np.ndarray:
    """Draw fixed gains of devices or cells that differ: normal around 1, and none below 0.

    Args:
        shape: Shape of the array.
        spread: Standard deviation of the gains.
        seed: Seed of the draw.

    Returns:
        Array of float32.
    """
    drawn = np.random.default_rng(seed).normal(1.0, spread, shape)
    return np.maximum(drawn, 0.0).astype(np.float32)

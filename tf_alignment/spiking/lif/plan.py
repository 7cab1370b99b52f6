"""A plan that cuts a spiking simulation into parts: as much as caches hold, on all processors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_alignment._support.devices import on_cpu
from tf_alignment._support.tracing import traced_once
from tf_alignment.spiking.lif import estimators
from tf_alignment.spiking.lif.neuron import scaled_kernel
from tf_alignment.spiking.lif.paradigm import Paradigm
from tf_alignment.spiking.rates import silent_and_saturated

__all__ = ["Plan", "Statistics", "mean"]

Statistics = dict[str, tf.Tensor]
"""Numbers about a simulation, by name."""

# Units that are driven side by side, at most. XLA is fastest where their states stay in the cache;
# without it, wider tensors make up for the time that each operation takes to start, until their
# operations are so long that TensorFlow hands them from thread to thread.
_UNITS = {True: 2**13, False: 2**14}
# Weights of driven units, which dense products fetch in an order of its own for each round, in all
# rounds together.
_WEIGHTS = 4 * 10**7
_WIDE = 64  # units above, from which on sparse products pay on a CPU
_BRANCHES = 4  # at most: simulations of so many, independent of each other and run in parallel


class Plan:
    """The simulation of one layer and what it sends spikes to, compiled once, in equal parts.

    Args:
        paradigm: The paradigm that is simulated.
        estimator: The estimator that is given its windows.
        units: Units of the layer.
        above: Units above.
        duration: Simulated seconds, rounded up.
        seed: Integer.
        jit_compile: Whether XLA compiles it.
        sparse: Whether products with spikes and windows are those of sparse matrices. By default
            they are on a CPU, where the layer above is wide enough for it to pay.

    Attributes:
        parts: Calls of `advance` for one run.
        seconds: Simulated seconds of a run.
    """

    def __init__(
        self,
        paradigm: Paradigm,
        estimator: estimators.Estimator,
        units: int,
        above: int,
        duration: float,
        seed: int,
        jit_compile: bool,
        sparse: bool | None = None,
    ) -> None:
        needed = max(1, math.ceil(duration / paradigm.round_seconds(units) - 1e-6))
        wide, room = _UNITS[jit_compile], max(1, _WEIGHTS // (units * above))
        self._branches = min(_BRANCHES, math.ceil(needed * units / wide), needed, room)
        most = min(
            max(1, wide // units), math.ceil(needed / self._branches), room // self._branches
        )
        self._rounds = min(  # as many as needed and hardly more
            range(most, (most - 1) // 2, -1),
            key=lambda rounds: rounds * math.ceil(needed / (rounds * self._branches)),
        )
        together = self._rounds * self._branches
        self.parts = math.ceil(needed / together)
        self.seconds = self.parts * together * paradigm.round_seconds(units)
        self._paradigm, self._estimator = paradigm, estimator
        self._units, self._seed = units, seed
        self._sparse = on_cpu() and above >= _WIDE if sparse is None else sparse
        compiled = functools.partial(tf.function, jit_compile=jit_compile, autograph=False)
        self._driven, self._above = compiled(paradigm.driven), compiled(paradigm.above)
        # XLA has no sparse matrices
        with_products = (lambda function: function) if self._sparse else compiled
        self._weigh: Callable[..., Any] = with_products(self._weighted)
        self._add: Callable[..., Any] = with_products(self._add_events)
        self._part = traced_once(self._advance)

    def advance(
        self, kernel: tf.Tensor, sums: estimators.Sums, number: int
    ) -> tuple[estimators.Sums, Statistics]:
        """Simulate a part.

        Args:
            kernel: Forward weights, `(units, units above)`, at any scale.
            sums: The estimator's.
            number: Number of the part, for the seed.

        Returns:
            The sums with the part's events, and of the driven units ("below") and those above the
            mean spike rate in Hz and the parts that are silent and saturated while a set is driven;
            and how many windows a unit has with and without a spike, in a whole run.
        """
        return self._part(kernel, sums, tf.constant([self._seed, number], tf.int32))

    def _advance(
        self, kernel: tf.Tensor, sums: estimators.Sums, seed: tf.Tensor
    ) -> tuple[estimators.Sums, Statistics]:
        found = []
        for own in tf.unstack(tf.random.split(seed, self._branches)):
            # drawn outside of XLA, whose own generator is another, and slower on a CPU
            sets, bits = self._paradigm.draw(self._units, self._rounds, own)
            sets = tf.reshape(sets, (-1, sets.shape[-1]))
            spikes, *below = self._driven(bits)
            above = self._above(self._weigh(kernel, sets, spikes), self._rounds)
            sums, statistics = self._add(sums, sets, tuple(below), above)
            found.append(statistics)
        return sums, mean(found)

    def _weighted(self, kernel: tf.Tensor, sets: tf.Tensor, spikes: tf.Tensor) -> tf.Tensor:
        scaled = scaled_kernel(kernel, self._paradigm.drive.psi)
        return self._paradigm.weighted(scaled, sets, spikes, self._sparse)

    def _add_events(
        self,
        sums: estimators.Sums,
        sets: tf.Tensor,
        below: tuple[tf.Tensor, ...],
        above: tuple[tf.Tensor, ...],
    ) -> tuple[estimators.Sums, Statistics]:
        events = self._paradigm.events(sets, below, above, self._rounds, self._sparse)
        statistics: Statistics = {}
        for side, rates in (("below", events.rate), ("above", events.rate_above)):
            silent, saturated = silent_and_saturated(rates, self._paradigm.neuron.highest_rate)
            statistics[f"spike_rate_{side}_hz"] = tf.reduce_mean(rates)
            statistics[f"silent_{side}"], statistics[f"saturated_{side}"] = silent, saturated
        a_unit = self.parts * self._branches / self._units
        for side, mask in zip(("with", "without"), events.sides(), strict=True):
            number = tf.reduce_sum(tf.cast(mask, tf.float32))
            statistics[f"windows_{side}_spike"] = a_unit * number
        return self._estimator.add(sums, events), statistics


def mean(statistics: Sequence[Statistics]) -> Statistics:
    """The mean of each of the numbers that simulations of the same length gave."""
    return {name: sum(s[name] for s in statistics) / len(statistics) for name in statistics[0]}

"""How much of a spiking simulation runs at a time: as much as caches hold, on all processors."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_alignment.spiking import Events, Paradigm, estimators, scaled_kernel

__all__ = ["Plan"]

# Units that are driven side by side, at most. XLA is fastest where their states stay in the cache;
# without it, wide tensors make up for the time that each operation takes to start.
_UNITS = {True: 2**13, False: 2**15}
_BRANCHES = 4  # at most: simulations of so many, independent of each other and run in parallel


class Plan:
    """The simulation of one layer and what it sends spikes to, compiled once, in equal parts.

    Args:
        paradigm: What is simulated.
        estimator: What is made of it.
        units: Units of the layer.
        duration: Simulated seconds, rounded up.
        seed: Integer.
        jit_compile: Whether XLA compiles it.

    Attributes:
        parts: Calls of `advance` for one run.
        seconds: What a run simulates.
    """

    def __init__(
        self,
        paradigm: Paradigm,
        estimator: estimators.Estimator,
        units: int,
        duration: float,
        seed: int,
        jit_compile: bool,
    ) -> None:
        needed = math.ceil(duration / paradigm.round_seconds(units) - 1e-6)
        self._branches = min(_BRANCHES, math.ceil(needed * units / _UNITS[jit_compile]), needed)
        most = min(max(1, _UNITS[jit_compile] // units), math.ceil(needed / self._branches))
        self._rounds = min(  # as many as needed and hardly more
            range(most, (most - 1) // 2, -1),
            key=lambda rounds: rounds * math.ceil(needed / (rounds * self._branches)),
        )
        together = self._rounds * self._branches
        self.parts = math.ceil(needed / together)
        self.seconds = self.parts * together * paradigm.round_seconds(units)
        self._paradigm, self._estimator = paradigm, estimator
        self._units, self._seed = units, seed
        self._observe = tf.function(self._observe_rounds, jit_compile=jit_compile)
        self._add = tf.function(self._add_rounds, jit_compile=jit_compile)
        self._part = tf.function(self._advance)

    def advance(
        self, kernel: tf.Tensor, sums: estimators.Sums, number: int
    ) -> tuple[estimators.Sums, tf.Tensor]:
        """Simulate a part.

        Args:
            kernel: Forward weights, `(units, units above)`, at any scale.
            sums: The estimator's.
            number: Of the part, for the seed.

        Returns:
            The sums with the part's events, and four numbers: the mean spike rates in Hz of the
            driven units and of those above, and how many windows closed with and without a spike.
        """
        return self._part(kernel, sums, tf.constant([self._seed, number], tf.int32))

    def _advance(
        self, kernel: tf.Tensor, sums: estimators.Sums, seed: tf.Tensor
    ) -> tuple[estimators.Sums, tf.Tensor]:
        # drawn outside of XLA, whose own generator is another, and slower on a CPU
        draws = [
            self._paradigm.draw(self._units, self._rounds, own)
            for own in tf.unstack(tf.random.split(seed, self._branches))
        ]
        rates, windows = tf.zeros(2), tf.zeros(2)
        for observed in [self._observe(kernel, *drawn) for drawn in draws]:
            sums, new_rates, new_windows = self._add(sums, observed)
            rates += new_rates / self._branches
            windows += new_windows
        return sums, tf.concat([rates, windows], 0)

    def _observe_rounds(
        self, kernel: tf.Tensor, sets: tf.Tensor, uniforms: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        scaled = scaled_kernel(kernel, self._paradigm.drive.psi)
        events = self._paradigm.run(scaled, sets, uniforms)
        return events.sets, events.peak, events.response, events.rate, events.rate_above

    def _add_rounds(
        self, sums: estimators.Sums, observed: tuple[tf.Tensor, ...]
    ) -> tuple[estimators.Sums, tf.Tensor, tf.Tensor]:
        sets, peak, response, rate, above = observed
        threshold = self._paradigm.neuron.threshold
        events = Events(sets, peak, response, rate, above, threshold, self._rounds)
        windows = [tf.reduce_sum(tf.cast(m, tf.float32)) for m in estimators.sides(events)]
        rates = [tf.reduce_mean(events.rate), tf.reduce_mean(events.rate_above)]
        return self._estimator.add(sums, events), tf.stack(rates), tf.stack(windows)

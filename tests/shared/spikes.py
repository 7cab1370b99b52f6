"""Spike trains, and sums over them pair by pair."""

import functools
import itertools
import math

import numpy as np
import tensorflow as tf

from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def simulated(weights, bias, uniform, parameters, spikes=None, start=0, every=1):
    """One chain, step after step, by the definitions; before step `start` the spikes are given.

    A row of `uniform` serves `every` steps; what a step without a spike leaves of it, given that it
    was not below p, is spread over [0, 1) again.
    """
    uniform = np.repeat(uniform, every, 0)
    spikes = np.zeros(uniform.shape) if spikes is None else spikes[: len(uniform)].copy()
    for t in range(start, len(uniform)):
        late = t - parameters.delay
        psp = spikes[max(late - parameters.tau, 0) : max(late, 0)].any(0).astype(float)
        refractory = spikes[max(t - parameters.shortest + 1, 0) : t].any(0)
        p = sigmoid(bias + psp @ weights - math.log(parameters.tau))
        spikes[t] = ~refractory & (uniform[t] < p)
        if (t + 1) % every:
            missed = ~refractory & (uniform[t] >= p)
            uniform[t + 1] = np.where(missed, (uniform[t] - p) / (1 - p), uniform[t])
    return spikes


def pairwise(post, pre, kernel):
    """κ summed over every pair of spikes of two trains."""
    reach = len(kernel) // 2
    times = itertools.product(np.flatnonzero(post), np.flatnonzero(pre))
    return sum(kernel[int(a - b) + reach] for a, b in times if abs(a - b) <= reach)


@functools.cache
def trains(steps=200, networks=3, n=4, tau=5, seed=0):
    """Spikes of unconnected neurons, `(steps, networks, n)`."""
    uniform = np.random.default_rng(seed).random((steps, networks, n)).astype("float32")
    parameters = Neuron(tau)

    @tf.function(autograph=False)
    def run(uniform):
        state = sampling.initial_state((networks, n), parameters)
        return sampling.sample(tf.zeros_like, state, uniform, parameters)[0]

    spikes = run(tf.constant(uniform)).numpy()
    spikes.flags.writeable = False  # the next test sees the same array
    return spikes

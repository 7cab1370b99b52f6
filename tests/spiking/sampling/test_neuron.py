"""Stochastic neurons: their dynamics, and what a network of them samples from."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from spikes import sigmoid, simulated

from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron


def recurrent(n, seed=1, scale=0.8):
    rng = np.random.default_rng(seed)
    weights = scale * rng.standard_normal((n, n))
    np.fill_diagonal(weights, 0.0)
    return weights, rng.standard_normal(n)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        Neuron(4),
        Neuron(4, interval=5),
        Neuron(5, delay=1),
        Neuron(3, interval=7, delay=9),
    ],
    ids=str,
)
def test_spike_for_spike(parameters, jit_compile):
    n, chains, steps = 6, 3, 150
    weights, bias = recurrent(n)
    uniform = np.random.default_rng(2).random((steps, chains, n)).astype("float32")
    w, b = tf.constant(weights, tf.float32), tf.constant(bias, tf.float32)

    @tf.function(jit_compile=jit_compile)
    def run(uniform):
        state = sampling.initial_state((chains, n), parameters)
        first, state = sampling.sample(lambda p: b + p @ w, state, uniform[:70], parameters)
        second, _ = sampling.sample(lambda p: b + p @ w, state, uniform[70:], parameters)
        return tf.concat([first, second], 0)

    found = run(tf.constant(uniform)).numpy()
    assert 0.03 < found.mean() < 0.3
    for c in range(chains):
        expected = simulated(weights, bias, uniform[:, c].astype(float), parameters)
        np.testing.assert_array_equal(found[:, c], expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_number_serves_several_steps(jit_compile):
    n, chains, steps, every, parameters = 6, 3, 120, 4, Neuron(4, interval=5)
    weights, bias = recurrent(n)
    uniform = np.random.default_rng(2).random((steps // every, chains, n)).astype("float32")
    w, b = tf.constant(weights, tf.float32), tf.constant(bias, tf.float32)

    @tf.function(jit_compile=jit_compile)
    def run(uniform):
        state = sampling.initial_state((chains, n), parameters)
        return sampling.sample(lambda p: b + p @ w, state, uniform, parameters, every)[0]

    found = run(tf.constant(uniform)).numpy()
    assert 0.03 < found.mean() < 0.3
    for c in range(chains):
        drawn = uniform[:, c].astype(float)
        expected = simulated(weights, bias, drawn, parameters, every=every)
        np.testing.assert_array_equal(found[:, c], expected)


def test_a_number_serves_no_two_spikes():
    with pytest.raises(ValueError, match=r"`every` must be at most .*every=5, .*shortest=4"):
        sampling.sample(None, None, None, Neuron(4), every=5)


@pytest.mark.parametrize("interval", [10, 11])
def test_activity_of_neurons_alone(interval):
    """σ(b) of the time at the shortest interval τ; one step more is one step of rest more."""
    parameters, bias = Neuron(10, interval), np.array([-2.0, 0.0, 1.5])
    chains, steps = 8000, 1200
    uniform = np.random.default_rng(1).random((steps, chains, 3), "float32")

    @tf.function(autograph=False)
    def run(uniform):
        state = sampling.initial_state((chains, 3), parameters)
        potential = lambda psp: tf.zeros_like(psp) + tf.constant(bias, tf.float32)  # noqa: E731
        return sampling.sample(potential, state, uniform, parameters)[0]

    spikes = run(tf.constant(uniform)).numpy()
    expected = 10 / (10 + np.exp(-bias) * 10 + (interval - 10))
    if interval == 10:
        np.testing.assert_allclose(expected, sigmoid(bias))
    # the rarest spikes are 94,000: a standard error of 0.3 %
    np.testing.assert_allclose(10 * spikes[200:].mean((0, 1)), expected, rtol=0.01)


def test_a_network_samples_from_its_boltzmann_distribution():
    weights = np.array([[0.0, 0.8, -0.6], [0.8, 0.0, 0.5], [-0.6, 0.5, 0.0]])
    bias, tau, chains, steps = np.array([-0.3, 0.2, -0.5]), 25, 400, 3000
    parameters = Neuron(tau)
    w, b = tf.constant(weights, tf.float32), tf.constant(bias, tf.float32)

    @tf.function(jit_compile=True)
    def run():
        draws = sampling.uniforms((steps, chains, 3), [3, 4], compiled=True)
        state = sampling.initial_state((chains, 3), parameters)
        return sampling.sample(lambda p: b + p @ w, state, draws, parameters)[0]

    spikes = run().numpy()
    total = np.cumsum(spikes, 0)
    states = (total[tau:] - total[:-tau])[500::5].reshape(-1, 3).astype(int)
    found = np.bincount(states @ [4, 2, 1], minlength=8) / len(states)
    z = np.array(list(itertools.product([0, 1], repeat=3)))
    expected = np.exp(0.5 * np.einsum("si,ij,sj->s", z, weights, z) + z @ bias)
    expected /= expected.sum()
    np.testing.assert_allclose(found, expected, atol=0.01)
    independent = np.prod(np.where(z, found @ z, 1 - found @ z), 1)
    assert np.abs(independent - expected).max() > 0.03  # the weights matter

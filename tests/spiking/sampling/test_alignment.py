"""Spike-based alignment learning of two neurons."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from spikes import trains

from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron, SpikeAlignment

FAIR = SpikeAlignment(5)


@functools.cache
def two_neurons(rule, parameters, chains=2000, steps=1000):
    """Mean of the rule's sum a chain and refractory time, for weights and biases."""

    @tf.function(jit_compile=True)
    def run(weights, biases):
        draws = sampling.uniforms((steps, chains, 2), [5, 6], compiled=True)
        state = sampling.initial_state((chains, 2), parameters)
        spikes, _ = sampling.sample(lambda p: p @ weights + biases, state, draws, parameters)
        return rule.sums(spikes[:, :, :1], spikes[:, :, 1:]) * (5 / (chains * steps))

    return run


def drift(w, b, rule=FAIR, biases=(0.0, 0.0), **neurons):
    """Of the feedback weight of two neurons that stand still; 0 is the lower one.

    The standard deviation is about 0.0013.
    """
    run = two_neurons(rule, Neuron(5, **neurons))
    return float(run(tf.constant([[0.0, w], [b, 0.0]]), tf.constant(biases))[0, 0])


def test_feedback_drifts_towards_the_forward_weight():
    for w in (-1.0, 0.5, 1.0):
        assert drift(w, w) == pytest.approx(0.0, abs=0.004)
    assert drift(1.0, 0.0) > 0.05 and drift(1.0, 1.5) < -0.03
    assert drift(-1.0, 0.0) < -0.03 and drift(-1.0, -1.5) > 0.01
    # proportional to W − B while both are small
    small = [(0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5), (0.5, -0.5), (-0.5, 0.5)]
    slopes = [drift(w, b) / (w - b) for w, b in small]
    assert max(slopes) / min(slopes) < 1.35


def test_unequal_biases_move_the_fixed_point():
    assert drift(1.0, 1.0, biases=(-2.0, 1.0)) > 0.005
    assert drift(1.0, 1.0, biases=(1.0, -2.0)) < -0.005


def test_delays_slow_it_down():
    assert 0.1 < drift(1.0, 0.0, delay=2) / drift(1.0, 0.0) < 0.4
    assert drift(1.0, 1.0, delay=2) == pytest.approx(0.0, abs=0.004)


def test_unequal_lobes_need_the_mean_rates_subtracted():
    subtracted, plain = (
        SpikeAlignment(5, lobe_mismatch=0.1, subtract_rates=subtract) for subtract in (True, False)
    )
    fair = drift(1.0, 0.0, FAIR)
    assert drift(1.0, 0.0, subtracted) == pytest.approx(fair, rel=0.2)
    assert drift(1.0, 1.0, subtracted) == pytest.approx(0.0, abs=0.15 * fair)
    assert drift(1.0, 1.0, plain) > 0.4 * fair  # B = W is no fixed point


def test_equal_lobes_do_not_mind_the_mean_rates():
    lower, upper = tf.constant(trains(seed=0)), tf.constant(trains(seed=1))
    with_rates, without = (SpikeAlignment(5, subtract_rates=s) for s in (True, False))
    np.testing.assert_allclose(
        with_rates.sums(lower, upper, 10), without.sums(lower, upper, 10), atol=1e-4
    )


def test_gains_of_synapses():
    rule, shape = SpikeAlignment(5, synapse_mismatch=0.2), (40, 50)
    up, down = rule.gains(shape, seed=1)
    assert up.std() == pytest.approx(0.2, rel=0.1)
    assert abs(np.corrcoef(up.ravel(), down.ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(up, rule.gains(shape, seed=1)[0])
    assert SpikeAlignment(5).gains(shape, seed=1) is None
    lower, upper = tf.constant(trains(n=4, seed=0)), tf.constant(trains(n=3, seed=1))
    plain = SpikeAlignment(5, subtract_rates=False)
    kernel, ones = plain.weights, np.ones((4, 3), np.float32)
    zeros = np.zeros_like(ones)
    positive = sampling.pair_sums(lower, upper, np.maximum(kernel, 0))
    np.testing.assert_allclose(plain.sums(lower, upper, 0, (ones, zeros)), positive, atol=1e-4)
    np.testing.assert_allclose(
        plain.sums(lower, upper, 0, (ones, ones)), plain.sums(lower, upper), atol=1e-4
    )

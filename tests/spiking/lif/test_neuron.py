"""Units and synapses follow their equations."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_alignment.spiking import lif
from tf_alignment.spiking.loops import moving_sum

NEURON = lif.Neuron()


def kappa(t, neuron=NEURON):
    slow, fast = (np.exp(-t / tau) for tau in (neuron.tau_long, neuron.tau_short))
    return np.where(t >= 0, (slow - fast) / (neuron.tau_long - neuron.tau_short), 0.0)


def plain(current, neuron):
    """Spikes, one unit and one time step after the other."""
    spikes = np.zeros(current.shape)
    for unit in np.ndindex(*current.shape[1:]):
        v, last = 0.0, -math.inf
        for t in range(len(current)):
            i = current[(t, *unit)]
            v += neuron.dt * (-neuron.leak * v + neuron.dendritic * (i - v))
            if v >= neuron.threshold and (t - last) * neuron.dt >= neuron.refractory:
                spikes[(t, *unit)], v, last = 1.0, neuron.reset, t
    return spikes


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [
        NEURON,
        lif.Neuron(dt=0.5, leak=0.05, dendritic=0.2, reset=0.0, refractory=4.0),
        lif.Neuron(refractory=2.5),
    ],
)
def test_spikes_are_those_of_a_plain_simulation(neuron, jit_compile):
    rng = np.random.default_rng(0)
    current = (1.2 + rng.standard_normal((300, 4, 6))).astype("float32")
    run = tf.function(lambda x: lif.simulate(x, neuron), jit_compile=jit_compile)
    found, expected = run(current).numpy(), plain(current.astype("float64"), neuron)
    assert 0.02 < expected.mean() < 0.3
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("function", ["simulate", "respond"])
def test_no_python_runs_for_each_step(function, monkeypatch):
    calls = []
    for name in ("step", "synapse_step"):
        step = getattr(lif.neuron, name)
        monkeypatch.setattr(
            lif.neuron, name, lambda *args, step=step: calls.append(0) or step(*args)
        )
    for _ in range(2):
        getattr(lif, function)(tf.ones((123, 2)), lif.Neuron(tau_long=11.0))
    assert 1 <= len(calls) < 5  # for 246 steps


def test_strong_input_brings_the_highest_rate_and_none_brings_none():
    spikes = lif.simulate(tf.stack([tf.fill((600,), 50.0), tf.zeros((600,))], 1)).numpy()
    assert 1000.0 * spikes[:, 0].mean() == pytest.approx(NEURON.highest_rate)
    assert np.diff(np.flatnonzero(spikes[:, 0])).tolist() == [3] * 199
    assert not spikes[:, 1].any()


def test_a_voltage_goes_to_where_leak_and_input_balance():
    v = tf.zeros(())
    for _ in range(50):
        v = lif.membrane_step(v, tf.constant(0.7), NEURON)
    assert float(v) == pytest.approx(0.7 * 0.6 / 0.7, rel=1e-5)


@pytest.mark.parametrize("neuron", [NEURON, lif.Neuron(dt=0.5, tau_long=20.0, tau_short=1.0)])
def test_a_synapse_is_the_sum_over_all_spikes(neuron):
    rng = np.random.default_rng(1)
    spikes = (rng.random((200, 5)) < 0.1).astype("float32")
    state = lif.SynapseState(tf.zeros(5), tf.zeros(5))
    for t in range(200):
        response, state = lif.synapse_step(tf.constant(spikes[t]), state, neuron)
        elapsed = neuron.dt * (t - np.arange(200.0))
        expected = kappa(elapsed, neuron) @ spikes
        np.testing.assert_allclose(response, expected, rtol=1e-4, atol=1e-6)


def test_responses_of_a_whole_simulation():
    spikes = (np.random.default_rng(1).random((100, 2, 3)) < 0.1).astype("float32")
    expected = [np.tensordot(kappa(t - np.arange(100.0)), spikes, 1) for t in range(100)]
    np.testing.assert_allclose(lif.respond(spikes), expected, rtol=1e-4, atol=1e-6)


def test_the_kernel_has_an_area_of_about_one():
    assert kappa(np.arange(200.0)).sum() == pytest.approx(1.0, abs=0.01)


def test_scaled_kernel():
    rng = np.random.default_rng(0)
    kernel = (3.0 + 5.0 * rng.standard_normal((40, 6))).astype("float32")
    scaled = lif.scaled_kernel(tf.constant(kernel), psi=0.3).numpy()
    np.testing.assert_allclose(scaled, 0.3 * 40 * kernel / kernel.std(), rtol=1e-5)
    again = lif.scaled_kernel(tf.constant(0.01 * kernel), psi=0.3)
    np.testing.assert_allclose(again, scaled, rtol=1e-5)


@pytest.mark.parametrize("mean", [0.01, 0.2, 3.0, 20.0])
def test_poisson_numbers_have_their_probabilities(mean):
    grid = (np.arange(200_000) + 0.5) / 200_000
    counts = lif.poisson(tf.constant(grid, tf.float32), mean).numpy().astype(int)
    for k, found in enumerate(np.bincount(counts) / len(grid)):
        expected = math.exp(-mean) * mean**k / math.factorial(k)
        assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("mean", [0.0, -1.0, 20.5, 1000.0, math.nan])
def test_poisson_numbers_of_a_mean_without_thresholds(mean):
    with pytest.raises(ValueError, match=f"mean={mean}"):
        lif.poisson(tf.constant([0.5]), mean)


@pytest.mark.parametrize("length", [1, 2, 7, 30, 32])
def test_moving_sum(length):
    x = np.random.default_rng(0).standard_normal((50, 3)).astype("float32")
    expected = [x[t : t + length].sum(0) for t in range(50 - length + 1)]
    np.testing.assert_allclose(moving_sum(tf.constant(x), length), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"dt": 0.0}, "dt=0.0"),
        ({"leak": -0.1}, "leak=-0.1"),
        ({"dendritic": math.inf}, "dendritic=inf"),
        ({"threshold": "high"}, "threshold='high'"),
        ({"reset": 1.0}, "reset=1.0"),
        ({"refractory": 0.0}, "refractory=0.0"),
        ({"reset": -math.inf}, "reset=-inf"),
        ({"tau_long": 3.0}, "tau_long=3.0"),
        ({"tau_long": "a"}, "tau_long='a'"),
        ({"tau_long": math.inf}, "tau_long=inf"),
        ({"tau_short": True}, "tau_short=True"),
        ({"dt": 2.0}, "dt=2.0"),
    ],
)
def test_wrong_constants(constants, message):
    with pytest.raises(ValueError, match=message):
        lif.Neuron(**constants)


def test_numbers_of_numpy_are_numbers():
    neuron = lif.Neuron(dt=np.float32(0.5), refractory=np.int64(2))
    assert neuron == lif.Neuron(dt=0.5, refractory=2.0) and type(neuron.dt) is float


def test_constants_are_fixed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NEURON.dt = 2.0

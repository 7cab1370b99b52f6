"""Sums over pairs of spikes, against the sums over all pairs."""

import math

import numpy as np
import pytest
import tensorflow as tf
from spikes import pairwise, trains

from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron, SpikeAlignment


def test_kernels():
    t = np.arange(-10, 11)
    np.testing.assert_allclose(
        sampling.exponential(5), -np.sign(t) * np.exp(-abs(t) / 5), rtol=1e-6
    )
    t = np.arange(-4, 5)
    np.testing.assert_allclose(sampling.triangular(5), -np.sign(t) * (1 - abs(t) / 5), rtol=1e-6)
    np.testing.assert_allclose(sampling.hebbian(5), 1 - abs(t) / 5, rtol=1e-6)


@pytest.mark.parametrize("kernel", [sampling.exponential(5), sampling.triangular(6)])
def test_pair_sums_are_sums_over_pairs(kernel):
    post, pre = trains(n=4, seed=0), trains(n=3, seed=1)
    expected = [
        [sum(pairwise(post[:, c, i], pre[:, c, k], kernel) for c in range(3)) for k in range(3)]
        for i in range(4)
    ]
    found = sampling.pair_sums(tf.constant(post), tf.constant(pre), kernel)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_trace_form_is_the_same():
    """Σ y S − S x, with traces of earlier spikes, in numpy step after step and in TensorFlow."""
    tau, post, pre = 5, trains(n=4, seed=0), trains(n=3, seed=1)
    kernel, reach = sampling.exponential(tau), 2 * tau

    def trace(spikes):
        found = np.zeros_like(spikes)
        for t in range(len(spikes)):
            for d in range(1, min(reach, t) + 1):
                found[t] += math.exp(-d / tau) * spikes[t - d]
        return found

    y, x = trace(post), trace(pre)
    expected = np.einsum("tci,tck->ik", y, pre) - np.einsum("tci,tck->ik", post, x)
    found = sampling.pair_sums(tf.constant(post), tf.constant(pre), kernel)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_windows_add_up_to_the_whole():
    kernel = sampling.exponential(5)
    post, pre = tf.constant(trains(n=4, seed=0)), tf.constant(trains(n=3, seed=1))
    whole = sampling.pair_sums(post, pre, kernel)
    parts = sampling.pair_sums(post[:80], pre[:80], kernel)
    parts += sampling.pair_sums(post[70:150], pre[70:150], kernel, history=10)
    parts += sampling.pair_sums(post[140:], pre[140:], kernel, history=10)
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_the_hebbian_kernel_counts_common_time():
    tau, spikes = 5, trains(networks=1, n=2).copy()
    spikes[-tau:] = 0.0  # so that no state outlasts the window
    states = np.stack([spikes[max(t - tau + 1, 0) : t + 1, 0].sum(0) for t in range(len(spikes))])
    found = sampling.pair_sums(
        tf.constant(spikes[:, :, :1]), tf.constant(spikes[:, :, 1:]), sampling.hebbian(tau)
    )
    assert tau * float(found[0, 0]) == pytest.approx((states[:, 0] * states[:, 1]).sum(), rel=1e-5)


def test_the_triangular_kernel_pairs_nearest_neighbours():
    tau, spikes = 6, trains(networks=1, n=2, tau=6)[:, 0]
    expected = 0.0
    other = np.flatnonzero(spikes[:, 1])
    for t in np.flatnonzero(spikes[:, 0]):
        later, earlier = other[other > t], other[other < t]
        if len(later) and later[0] - t < tau:
            expected += 1 - (later[0] - t) / tau
        if len(earlier) and t - earlier[-1] < tau:
            expected -= 1 - (t - earlier[-1]) / tau
    found = sampling.pair_sums(
        tf.constant(spikes[:, None, :1]), tf.constant(spikes[:, None, 1:]), sampling.triangular(tau)
    )
    assert float(found[0, 0]) == pytest.approx(expected, abs=1e-4)


def test_chance_is_what_strangers_do():
    """Independent neurons: each lobe beyond chance is small against chance itself."""
    spikes = tf.constant(trains(steps=400, networks=200, n=6))
    lobe = np.maximum(sampling.exponential(5), 0.0)
    expected = sampling.chance(spikes[:, :, :3], spikes[:, :, 3:], lobe)
    found = sampling.pair_sums(spikes[:, :, :3], spikes[:, :, 3:], lobe)
    np.testing.assert_allclose(found, expected, rtol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neuron(0), "tau=0"),
        (lambda: Neuron(2.5), "tau=2.5"),
        (lambda: Neuron(5, interval=4), "interval=4"),
        (lambda: Neuron(5, delay=-1), "delay=-1"),
        (lambda: SpikeAlignment(kernel="square"), "kernel='square'"),
        (lambda: SpikeAlignment(tau=0), "tau=0"),
        (lambda: SpikeAlignment(tau=1, cut=0.5), "cut=0.5"),
        (lambda: SpikeAlignment(lobe_mismatch=-1.0), "lobe_mismatch=-1.0"),
        (lambda: SpikeAlignment(synapse_mismatch=-0.1), "synapse_mismatch=-0.1"),
        (lambda: SpikeAlignment(tau=2.5), "tau=2.5"),
        (lambda: SpikeAlignment(lobe_mismatch="a"), "lobe_mismatch='a'"),
        (lambda: SpikeAlignment(lobe_mismatch=math.inf), "lobe_mismatch=inf"),
        (lambda: sampling.exponential(math.inf), "tau=inf"),
        (lambda: sampling.triangular(1), "Argument `tau` must be so long.*tau=1"),
        (lambda: sampling.LayeredNetwork([2, 0]), r"sizes=\[2, 0\]"),
        (lambda: sampling.LayeredNetwork([2, 3], [(0, -1)]), r"connections=\[\(0, -1\)\]"),
        (lambda: sampling.LayeredNetwork([2, 3], [(0, 2)]), r"connections=\[\(0, 2\)\]"),
        (lambda: sampling.LayeredNetwork([2, 3], [(1, 1)]), r"connections=\[\(1, 1\)\]"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kernel", [np.ones(4), np.ones((3, 3)), 1.0])
def test_kernels_are_of_odd_length(kernel):
    with pytest.raises(ValueError, match="Argument `kernel` must be an array of odd length"):
        sampling.pair_sums(tf.ones((5, 1, 1)), tf.ones((5, 1, 1)), kernel)

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
    tau, spikes = 5, trains(networks=1, n=2)
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


<<<<<<< HEAD
=======
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


# ---- layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "connections"),
    [((3, 4, 2, 5), None), ((3, 4, 2, 5), [(0, 1), (3, 0), (2, 3)]), ((3, 4), None)],
)
def test_potentials_of_layers(sizes, connections):
    rng = np.random.default_rng(0)
    network = sampling.LayeredNetwork(sizes, connections)
    edges = connections or [(i, i + 1) for i in range(len(sizes) - 1)]
    w, b = ([rng.standard_normal((sizes[i], sizes[j])) for i, j in edges] for _ in range(2))
    biases = [rng.standard_normal(n) for n in sizes]
    psp = [rng.standard_normal((2, n)) for n in sizes]
    expected = [np.tile(bias, (2, 1)) for bias in biases]
    for (i, j), forward, back in zip(edges, w, b, strict=True):
        expected[j] += psp[i] @ forward
        expected[i] += psp[j] @ back.T
    f = [[tf.constant(a, tf.float32) for a in group] for group in (w, b, biases, psp)]
    for a, e in zip(network.potential(*f[:3])(f[3]), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)
    shifted = network.potential(*f[:3], resting=0.5)([p + 0.5 for p in f[3]])
    for a, e in zip(shifted, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("jit_compile", "delay", "balanced"),
    [(False, 0, False), (True, 0, False), (False, 2, False), (False, 0, True)],
)
def test_learning_is_the_definition(jit_compile, delay, balanced):
    """Step by step, pair by pair: spikes of both directions, B changed after every block."""
    sizes, edges, chains, block, blocks, rate = (3, 2, 4), [(0, 1), (1, 2)], 2, 130, 3, 0.2
    neurons, rule = Neuron(5, delay=delay), SpikeAlignment(5, subtract_rates=False)
    rng = np.random.default_rng(3)
    w, b = ([rng.standard_normal((sizes[i], sizes[j])) for i, j in edges] for _ in range(2))
    biases = [rng.standard_normal(n) for n in sizes]
    learning = sampling.FeedbackLearning(
        sampling.LayeredNetwork(sizes, edges),
        neurons,
        rule,
        rate,
        chains,
        block,
        7,
        jit_compile,
        balanced,
    )
    state = learning.start(b)
    state = learning.run(state, w, biases, 1, first=0)
    state = learning.run(state, w, biases, blocks - 1, first=1)

    @tf.function
    def numbers():
        """What the blocks draw, each in chunks of 100 and 30 steps."""
        return tf.concat(
            [
                tf.concat(learning._draws(steps, tf.constant(2 * number + chunk)), -1)
                for number in range(blocks)
                for chunk, steps in ((0, 100), (1, 30))
            ],
            0,
        )

    uniform = numbers().numpy().astype(float)
    places = np.split(np.arange(9), [3, 5])
    spikes = np.zeros((blocks * block, chains, 9))
    kernel = sampling.exponential(5)
    for number in range(blocks):
        end = (number + 1) * block
        weights = np.zeros((9, 9))
        for (i, j), forward, back in zip(edges, w, b, strict=True):
            weights[np.ix_(places[i], places[j])] = forward
            weights[np.ix_(places[j], places[i])] = back.T
        bias = np.concatenate(biases) - balanced * 0.5 * weights.sum(0)
        again = [
            simulated(
                weights,
                bias,
                uniform[:end, c],
                neurons,
                spikes[:, c],
                end - block,
            )
            for c in range(chains)
        ]
        before = spikes[: end - block].copy()
        spikes[:end] = np.stack(again, 1)
        np.testing.assert_array_equal(spikes[: end - block], before)
        for e, (i, j) in enumerate(edges):
            sums = np.zeros_like(b[e])
            for a, k, c in itertools.product(range(sizes[i]), range(sizes[j]), range(chains)):
                low, up = spikes[:, c, places[i][a]], spikes[:, c, places[j][k]]
                sums[a, k] += pairwise(low[:end], up[:end], kernel)
                sums[a, k] -= pairwise(low[: end - block], up[: end - block], kernel)
            b[e] = b[e] + rate / chains * sums
    for found, expected in zip(state.feedback, b, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate(state.counts), spikes.sum((0, 1)))


# ---- errors ----------------------------------------------------------------------------------


>>>>>>> f9ac166 (SAL under XLA: two groups of chains side by side, pair sums and draws outside of it)
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
<<<<<<< HEAD
=======


def test_long_simulations_are_filtered_in_parts():
    """The same as in windows, of a simulation whose square would not fit into memory."""
    kernel, steps = sampling.exponential(5), 60_000
    rng = np.random.default_rng(0)
    post, pre = ((rng.random((steps, 1, 2)) < 0.1).astype("float32") for _ in range(2))
    found = sampling.pair_sums(tf.constant(post), tf.constant(pre), kernel)
    expected = np.zeros((2, 2))
    for lag in range(-10, 11):  # t_post - t_pre
        late, early = post[max(lag, 0) :], pre[max(-lag, 0) :]
        length = min(len(late), len(early))
        expected += kernel[lag + 10] * np.einsum(
            "tci,tck->ik", late[:length], early[:length], dtype=np.float64
        )
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.abs(expected).max() > 10.0


def test_groups_of_chains_learn_as_one():
    """Under XLA many chains are split; what they learn together is the definition's sum."""
    network, neurons = sampling.LayeredNetwork((3, 2)), Neuron(5)
    rng = np.random.default_rng(5)
    w, b = [tf.constant(rng.standard_normal((3, 2)), tf.float32) for _ in range(2)]
    biases, chains, rate = [tf.zeros(3), tf.zeros(2)], 32, 0.1
    rule = SpikeAlignment(5, subtract_rates=False)
    learning = sampling.FeedbackLearning(
        network, neurons, rule, rate, chains, block=40, seed=3, jit_compile=True
    )
    state = learning.run(learning.start([b]), [w], biases, 1)
    draws = [learning._draws(40, tf.constant(0), group) for group in range(2)]
    assert not np.array_equal(draws[0][0], draws[1][0])
    both = tuple(tf.concat(parts, 1) for parts in zip(*draws, strict=True))
    potential = network.potential([w], [b], biases)
    start = network.initial_state(chains, neurons)
    spikes, end = tf.function(lambda: sampling.sample(potential, start, both, neurons))()
    expected = b + rate / chains * rule.sums(*spikes)
    np.testing.assert_allclose(state.feedback[0], expected, atol=1e-5)
    for one, other in zip(state.neurons.age, end.age, strict=True):
        np.testing.assert_array_equal(one, other)
    for count, seen in zip(state.counts, spikes, strict=True):
        np.testing.assert_array_equal(count, tf.reduce_sum(seen, (0, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate=0.0"),
        ({"rate": "x"}, "rate='x'"),
        ({"chains": -1}, "chains=-1"),
        ({"block": 0}, "block=0"),
        ({"seed": 2**40}, f"seed={2**40}"),
        ({"rule": SpikeAlignment(6)}, r"neurons\.tau=5, rule\.tau=6"),
    ],
)
def test_wrong_arguments_of_learning(options, message):
    options = {"rule": SpikeAlignment(5), **options}
    with pytest.raises(ValueError, match=message):
        sampling.FeedbackLearning(sampling.LayeredNetwork([2, 3]), neurons=Neuron(5), **options)
>>>>>>> f9ac166 (SAL under XLA: two groups of chains side by side, pair sums and draws outside of it)

"""Sampling neurons, and sums over pairs of their spikes, against definitions in plain numpy."""

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron, SpikeAlignment


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def simulated(weights, bias, uniform, parameters, spikes=None, start=0):
    """One chain, step after step, by the definitions; before step `start` the spikes are given."""
    spikes = np.zeros(uniform.shape) if spikes is None else spikes[: len(uniform)].copy()
    for t in range(start, len(uniform)):
        late = t - parameters.delay
        psp = spikes[max(late - parameters.tau, 0) : max(late, 0)].any(0).astype(float)
        refractory = spikes[max(t - parameters.shortest + 1, 0) : t].any(0)
        p = sigmoid(bias + psp @ weights - math.log(parameters.tau))
        spikes[t] = ~refractory & (uniform[t] < p)
    return spikes


def pairwise(post, pre, kernel):
    """κ summed over every pair of spikes of two trains."""
    reach = len(kernel) // 2
    times = itertools.product(np.flatnonzero(post), np.flatnonzero(pre))
    return sum(kernel[int(a - b) + reach] for a, b in times if abs(a - b) <= reach)


def trains(steps=200, networks=3, n=4, tau=5, seed=0):
    """Spikes of unconnected neurons, `(steps, networks, n)`."""
    uniform = np.random.default_rng(seed).random((steps, networks, n)).astype("float32")
    parameters = Neuron(tau)
    state = sampling.initial_state((networks, n), parameters)
    return sampling.sample(tf.zeros_like, state, tf.constant(uniform), parameters)[0].numpy()


def recurrent(n, seed=1, scale=0.8):
    rng = np.random.default_rng(seed)
    weights = scale * rng.standard_normal((n, n))
    np.fill_diagonal(weights, 0.0)
    return weights, rng.standard_normal(n)


# ---- dynamics --------------------------------------------------------------------------------


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


@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("interval", [10, 11])
def test_activity_of_a_neuron_alone(bias, interval):
    """σ(b) of the time at the shortest interval τ; one step more is one step of rest more."""
    parameters = Neuron(10, interval)
    chains, steps = 500, 2000
    uniform = np.random.default_rng(1).random((steps, chains, 1)).astype("float32")
    state = sampling.initial_state((chains, 1), parameters)
    spikes, _ = sampling.sample(
        lambda psp: tf.zeros_like(psp) + bias, state, tf.constant(uniform), parameters
    )
    cycle = 10 + math.exp(-bias) * 10 + (interval - 10)
    expected = 10 / cycle
    if interval == 10:
        assert expected == pytest.approx(sigmoid(bias))
    # a chain has 1000000 / cycle intervals: a standard error below 0.3 %
    assert 10 * float(tf.reduce_mean(spikes[200:])) == pytest.approx(expected, rel=0.01)


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


# ---- pairs of spikes -------------------------------------------------------------------------


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


# ---- the rule --------------------------------------------------------------------------------


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


def test_chance_is_what_strangers_do():
    """Independent neurons: each lobe beyond chance is small against chance itself."""
    spikes = tf.constant(trains(steps=400, networks=200, n=6))
    lobe = np.maximum(sampling.exponential(5), 0.0)
    expected = sampling.chance(spikes[:, :, :3], spikes[:, :, 3:], lobe)
    found = sampling.pair_sums(spikes[:, :, :3], spikes[:, :, 3:], lobe)
    np.testing.assert_allclose(found, expected, rtol=0.03)


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

    @tf.function(jit_compile=jit_compile)
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

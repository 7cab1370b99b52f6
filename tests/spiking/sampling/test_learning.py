"""Learning of feedback in blocks of steps, against its definition."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from spikes import pairwise, simulated

import tf_alignment as ta
from tf_alignment.spiking import sampling
from tf_alignment.spiking.sampling import Neuron, SpikeAlignment


@pytest.mark.parametrize(
    ("jit_compile", "delay", "balanced", "mismatch"),
    [
        (False, 0, False, 0.0),
        (True, 0, False, 0.0),
        (False, 2, False, 0.0),
        (False, 0, True, 0.0),
        (False, 0, True, 0.3),
    ],
)
def test_learning_is_the_definition(jit_compile, delay, balanced, mismatch):
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
        mismatch,
    )
    gains = np.concatenate(learning._neuron_gains) if mismatch else np.ones(9)
    assert gains.std() == pytest.approx(mismatch, rel=0.5)
    state = learning.start(b)
    state = learning.run(state, w, biases, 1, first=0)
    state = learning.run(state, w, biases, blocks - 1, first=1)

    @tf.function(jit_compile=jit_compile)
    def numbers():
        """What the blocks draw for five steps at a time, in chunks of 100 and 30 steps."""
        groups = learning._groups

        def drawn(number):
            parts = [
                tf.concat(
                    learning._draws(count, tf.constant(groups * (2 * number + chunk) + i)), -1
                )
                for chunk, count in ((0, 20), (1, 6))
                for i in range(groups)
            ]
            whole = [tf.concat(parts[:groups], 1), tf.concat(parts[groups:], 1)]
            return tf.concat(whole, 0)

        return tf.concat([drawn(number) for number in range(blocks)], 0)

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
        bias = gains * (np.concatenate(biases) - balanced * 0.5 * weights.sum(0))
        weights = weights * gains
        again = [
            simulated(
                weights,
                bias,
                uniform[: end // 5, c],
                neurons,
                spikes[:, c],
                end - block,
                every=5,
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


@pytest.mark.slow
def test_angles_do_not_depend_on_how_numbers_are_drawn(monkeypatch):
    """A number for five steps, or one for each, without XLA and with its two groups of chains."""
    rng, sizes = np.random.default_rng(1), (60, 40, 20)
    shapes = list(itertools.pairwise(sizes))
    kernels, start = ([0.2 * rng.standard_normal(s) for s in shapes] for _ in range(2))

    def angles(jit_compile, every):
        learning = sampling.FeedbackLearning(
            sampling.LayeredNetwork(sizes),
            Neuron(5),
            SpikeAlignment(5),
            chains=128,  # of few, angles differ by a degree from draw to draw
            jit_compile=jit_compile,
        )
        monkeypatch.setattr(learning, "_every", lambda _: every)
        state = learning.run(learning.start(start), kernels, [np.zeros(n) for n in sizes], 100)
        pairs = zip(kernels, state.feedback, strict=True)
        return [float(ta.metrics.weight_angle(np.float32(w), b)) for w, b in pairs]

    single = angles(False, 1)
    assert max(single) < 40  # from 90
    for jit_compile in (False, True):
        np.testing.assert_allclose(angles(jit_compile, 5), single, atol=1.0)


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
        ({"neuron_mismatch": -1.0}, r"neuron_mismatch=-1\.0"),
        ({"seed": 2**40}, f"seed={2**40}"),
        ({"rule": SpikeAlignment(6)}, r"neurons\.tau=5, rule\.tau=6"),
    ],
)
def test_wrong_arguments_of_learning(options, message):
    options = {"rule": SpikeAlignment(5), **options}
    with pytest.raises(ValueError, match=message):
        sampling.FeedbackLearning(sampling.LayeredNetwork([2, 3]), neurons=Neuron(5), **options)

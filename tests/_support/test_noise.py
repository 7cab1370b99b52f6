"""Noise: its words, its moments, and the numbers of a seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment._support.noise import KINDS, Noise, draw, kind_of, noise_of

SEED = tf.constant([3, 4])


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_mean_zero_and_the_deviation_asked_for(kind):
    drawn = draw(kind, 0.3, (200, 500), SEED).numpy()
    assert abs(drawn.mean()) < 0.005
    assert drawn.std() == pytest.approx(0.3, rel=0.01)
    assert draw(kind, 0.3, (2, 3), SEED, tf.float16).dtype == tf.float16


def test_a_seed_gives_the_numbers_it_always_gave():
    shape = (4, 5)
    normal = tf.random.stateless_normal(shape, SEED, stddev=0.3)
    uniform = tf.random.stateless_uniform(shape, SEED, -(3.0**0.5) * 0.3, 3.0**0.5 * 0.3)
    words = tf.random.stateless_uniform([1], SEED, None, None, tf.int32).numpy().view(np.uint8)
    bits = (words[:, None] >> np.arange(8) & 1).ravel()[:20].reshape(shape)
    expected = {"gaussian": normal, "uniform": uniform, "rademacher": 0.3 * (2.0 * bits - 1.0)}
    for kind in KINDS:
        numbers = np.asarray(expected[kind], "float32")
        np.testing.assert_array_equal(draw(kind, 0.3, shape, SEED), numbers)
        np.testing.assert_array_equal(Noise(kind, 0.3).sample(shape, SEED), numbers)


def test_normal_is_another_word_for_gaussian_everywhere():
    rule = ta.feedback.WeightMirror(noise="normal")
    assert rule == ta.feedback.WeightMirror(noise="gaussian")
    assert rule.get_config()["noise"] == "gaussian"
    old, new = (ta.feedback.BatchRandomSignSymmetry(word) for word in ("normal", "gaussian"))
    assert old == new and old.get_config() == {"distribution": "gaussian"}
    assert type(old).from_config({"distribution": "normal"}) == new  # of a saved file
    assert Noise("normal").kind == "gaussian"
    for word in ("normal", "gaussian"):
        assert ta.phases.Alignment("wm", noise=word).rule.noise.kind == "gaussian"
        loss = keras.losses.MeanSquaredError(reduction=None)
        assert ta.phases.NodePerturbation(loss, noise=word).noise.kind == "gaussian"
    with pytest.raises(ValueError, match=r"`kind` must be one of .*kind='pink'"):
        kind_of("kind", "pink")
    with pytest.raises(ValueError, match=r"`kind`"):
        kind_of("kind", ["normal"])


@pytest.mark.parametrize(
    ("given", "noise"),
    [
        ("uniform", Noise("uniform", 0.1)),
        (0.2, Noise("rademacher", 0.2)),
        (Noise("gaussian", 3.0), Noise("gaussian", 3.0)),
    ],
)
def test_one_spelling(given, noise):
    assert noise_of("noise", given, stddev=0.1) == noise
    rule = ta.feedback.Alignment({"amp": 1.0}, noise=noise)
    assert type(rule).from_config(rule.get_config()) == rule and rule.noise == noise
    assert rule != ta.feedback.Alignment({"amp": 1.0}, noise=noise.stddev + 0.1)


def test_noise_of_a_distribution_is_saved_by_its_parameters():
    distributions = pytest.importorskip("tensorflow_probability").distributions
    rule = ta.feedback.WeightMirror(noise=distributions.Laplace(0.0, 0.5))
    again = type(rule).from_config(rule.get_config())
    assert again == rule and again.noise.variance == pytest.approx(0.5)
    layer = ta.layers.Dense(3, feedback=rule)
    layer(tf.ones((2, 4)), training=True)
    with pytest.raises(ValueError, match="plain numbers"):
        Noise(distributions.Laplace(tf.constant(0.0), 0.5)).get_config()


def test_the_former_spelling_is_understood_in_files():
    new = ta.feedback.WeightMirror(noise=Noise("uniform", 0.5))
    config = {**ta.feedback.WeightMirror().get_config(), "noise": "uniform", "noise_stddev": 0.5}
    assert type(new).from_config(config) == new


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Noise(0.1), TypeError, "kind=0.1"),
        (lambda: Noise("pink"), ValueError, "kind='pink'"),
        (lambda: Noise("uniform", 0.0), ValueError, "stddev=0.0"),
        (lambda: noise_of("noise", [1.0]), TypeError, r"ta.Noise`. Received: noise=\[1.0\]"),
        (lambda: noise_of("noise", True), TypeError, "noise=True"),
        (lambda: noise_of("noise", "pink"), ValueError, "noise='pink'"),
        (lambda: noise_of("noise", 0.0), ValueError, "noise=0.0"),
    ],
)
def test_what_is_no_noise(make, error, message):
    with pytest.raises(error, match=message):
        make()

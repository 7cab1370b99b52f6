"""Noise: its words, its moments, and the numbers of a seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment._support.noise import KINDS, Noise, draw, kind_of

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
        np.testing.assert_array_equal(Noise(0.3, kind).sample(shape, SEED), numbers)


def test_normal_is_another_word_for_gaussian_everywhere():
    rule = ta.feedback.WeightMirror(noise="normal")
    assert rule == ta.feedback.WeightMirror(noise="gaussian")
    assert rule.get_config()["noise"] == "gaussian"
    old, new = (ta.feedback.BatchRandomSignSymmetry(word) for word in ("normal", "gaussian"))
    assert old == new and old.get_config() == {"distribution": "gaussian"}
    assert type(old).from_config({"distribution": "normal"}) == new  # of a saved file
    assert Noise(1.0, "normal").kind == "gaussian"
    for word in ("normal", "gaussian"):
        assert ta.phases.Alignment("wm", noise=word).rule.noise == "gaussian"
        loss = keras.losses.MeanSquaredError(reduction=None)
        assert ta.phases.NodePerturbation(None, loss, kind=word).noise.kind == "gaussian"
    with pytest.raises(ValueError, match=r"`kind` must be one of .*kind='pink'"):
        kind_of("kind", "pink")
    with pytest.raises(ValueError, match=r"`kind`"):
        kind_of("kind", ["normal"])

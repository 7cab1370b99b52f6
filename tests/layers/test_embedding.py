"""`ReversibleEmbedding`: the lookup is Keras', the reverse product sends its error through B."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.testing.table import normal

K = keras.layers
IDS = np.array([[1, 2, 0], [3, 1, 2]])


def both(method, **arguments):
    """A stock layer and one with feedback and the same embeddings, both called both ways."""
    stock = K.ReversibleEmbedding(7, 4, **arguments)
    layer = ta.layers.ReversibleEmbedding(7, 4, feedback=method, **arguments)
    for one in (stock, layer):
        one.build((None, 3))
    for source, target in zip(stock.weights, layer.weights, strict=False):
        target.assign(source)
    return stock, layer


def run(layer, x, **training):
    """Logits of the lookup and of x, and gradients for x and for the layer's weights."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        h = x + layer(IDS)
        z = layer(h, reverse=True, **training)
        loss = tf.reduce_sum(tf.cast(z, "float32") * normal(tuple(z.shape), 1))
        loss += tf.add_n([*layer.losses, tf.zeros(())])
    weights = layer.trainable_weights
    found = tape.gradient(loss, [x, *weights])
    return z, [tf.convert_to_tensor(g) for g in found]


VARIANTS = ({}, {"tie_weights": False}, {"logit_soft_cap": 0.5}, {"mask_zero": True})


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_forward_is_keras_and_backward_is_b(arguments):
    stock, layer = both("fa", **arguments)
    x = normal((2, 3, 4), 0)
    z, (dx, *_) = run(layer, x)
    expected, (true, *others) = run(stock, x)
    np.testing.assert_array_equal(z, expected)
    b = layer.feedback_weights["feedback_kernel"].numpy()
    cap = arguments.get("logit_soft_cap")
    slope = 1 if cap is None else 1 - np.square(z / cap)
    delta = normal((2, 3, 7), 1) * slope
    rows = b if layer.tie_weights else b.T
    np.testing.assert_allclose(dx, delta @ rows, rtol=1e-4, atol=1e-5)
    assert not np.allclose(dx, true, rtol=0.1)
    cases.set_feedback_to_forward(layer)
    _, found = run(layer, x)
    for own, one in zip(found, [true, *others], strict=True):
        np.testing.assert_allclose(own, one, rtol=1e-5, atol=1e-6)


def test_a_mask_is_kept():
    _, layer = both("kp", mask_zero=True)
    np.testing.assert_array_equal(layer(IDS)._keras_mask, IDS != 0)


@pytest.mark.parametrize("tie_weights", [True, False])
def test_kolen_pollack_gets_all_of_the_gradient(tie_weights):
    """B follows E only if both get the same: that of the lookup is a part."""
    _, layer = both("kp", tie_weights=tie_weights)
    cases.set_feedback_to_forward(layer)
    found = dict(
        zip(
            [w.name for w in layer.trainable_weights],
            run(layer, normal((2, 3, 4), 0))[1][1:],
            strict=True,
        )
    )
    name = "embeddings" if tie_weights else "reverse_embeddings"
    np.testing.assert_array_equal(found["feedback_kernel"], found[name])
    assert np.any(found["embeddings"][1])


METHODS = [m for m in ta.feedback.METHODS if m not in ("dfa", "eprop")]


@pytest.mark.parametrize("method", cases.mostly_slow(METHODS, "fa", "brsf", "kp", "wm", "pfa"))
def test_every_method_learns_in_a_model(method):
    """Under float16 too, of which the cast to `reverse_dtype` is a part."""
    keras.utils.set_random_seed(1)
    layer = ta.layers.ReversibleEmbedding(
        7, 4, feedback=method, dtype="mixed_float16", reverse_dtype="float32"
    )
    ids = keras.Input((3,), dtype="int32")
    h = ta.layers.Dense(4, feedback=method)(K.Dense(4, "relu")(layer(ids)))
    model = keras.Model(ids, layer(h, reverse=True))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.5)), loss)
    history = model.fit(np.repeat(IDS, 8, 0), np.repeat(IDS, 8, 0), epochs=10, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]

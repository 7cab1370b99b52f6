"""`TimeDistributed`: Keras' outputs, and gradients of one call on all steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

K = keras.layers
RULES = [m for m in ta.feedback.METHODS if m != "dfa"]


@pytest.mark.parametrize("time", [5, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda: K.Dense(3, "tanh"),
        lambda: K.Conv2D(2, 3, padding="same"),
        lambda: keras.Sequential([K.Conv2D(2, 3), K.Flatten(), K.Dense(4)]),
    ],
    ids=["dense", "conv", "model"],
)
def test_outputs_are_those_of_the_layer_at_each_step(make, time):
    layer = make()
    inputs = keras.Input((time, 6, 6, 2))
    outputs = ta.layers.TimeDistributed(layer)(inputs)
    assert outputs.shape[:2] == (None, time)
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 6, 2)).astype("float32")
    want = np.stack([layer(x[:, t]) for t in range(5)], 1)
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-5)
    assert outputs.shape[2:] == want.shape[2:]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("feedback", RULES)
def test_with_an_unknown_number_of_steps_gradients_are_those_of_the_folded_batch(
    feedback, compiled
):
    keras.utils.set_random_seed(3)
    layer = ta.layers.Dense(3, "tanh", feedback=feedback)
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, ta.layers.TimeDistributed(layer)(inputs))
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 5, 4)), tf.float32)
    if layer.feedback.random:
        state = layer.seed_generator.state.numpy()

    def gradients(call, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(call(x, training=True) ** 3) + sum(call.losses)
        return tape.gradient(value, [x, *layer.trainable_variables])

    error, *found = (tf.function(gradients) if compiled else gradients)(model, x)
    if layer.feedback.random:
        layer.seed_generator.state.assign(state)
    folded, *want = gradients(layer, tf.reshape(x, (10, 4)))
    assert np.abs(error).max() > 0
    np.testing.assert_allclose(tf.reshape(error, (10, 4)), folded, atol=1e-5)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_masks_and_training_reach_the_layer():
    seen = {}

    class Look(keras.layers.Layer):
        supports_masking = True

        def call(self, x, training=None, mask=None):
            seen.update(training=training, mask=mask)
            return x

    x = tf.ones((2, 3, 4))
    mask = tf.constant([[True, True, False], [True, False, False]])
    ta.layers.TimeDistributed(Look())(x, training=True, mask=mask)
    assert seen["training"] is True
    np.testing.assert_array_equal(seen["mask"], tf.reshape(mask, [-1]))


def test_it_is_saved_and_loaded_and_trains(tmp_path):
    inputs = keras.Input((None, 4))
    hidden = ta.layers.TimeDistributed(ta.layers.Dense(6, "tanh", feedback="sa"))(
        K.Dense(4)(inputs)
    )
    model = keras.Model(inputs, K.Dense(2)(hidden))
    model.compile(ta.optimizers.split("adam"), "mse")
    x, y = np.ones((8, 5, 4), "float32"), np.ones((8, 5, 2), "float32")
    [inner] = ta.layers.feedback_layers(model)
    before = ta.metrics.weight_angle(inner.kernel, inner.effective_feedback_kernel())
    model.fit(x, y, epochs=2, verbose=0)
    assert ta.metrics.weight_angle(inner.kernel, inner.effective_feedback_kernel()) < before
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    assert isinstance(again.layers[2], ta.layers.TimeDistributed)

"""Where noise is put: inputs of connections, and the ends of blocks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from perturbed import (
    SIZES,
    K,
    N,
    data,
    estimates,
    squared,
    stream,
)

import tf_alignment as ta
from tf_alignment._support.noise import Noise
from tf_alignment.layers.direct import OutputTap
from tf_alignment.phases import NodePerturbation


def test_same_dropout_in_both_passes():
    """Were the masks different, the loss would change by much more than the noise explains."""
    keras.utils.set_random_seed(1)
    layers = [K.Dense(20, "tanh"), K.Dropout(0.5), K.Dense(8, name="top")]
    model = ta.convert(keras.Sequential([keras.Input((6,)), *layers], name="net"), "fa")
    sizes = []
    for noise in (1e-2, 1e-3):
        phase = NodePerturbation(squared, dataset=stream(*data()), noise=noise, seed=1)
        found, _ = estimates(phase, model, data(), repeats=20)
        sizes.append(np.linalg.norm(found["net/top"]))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_a_models_own_input_is_not_perturbed():
    keras.utils.set_random_seed(1)
    layers = [ta.layers.Dense(n, activation="tanh", feedback="fa") for n in (12, 10)]
    layers += [ta.layers.Dense(8, feedback="fa", name="top")]
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        model = keras.Sequential([keras.Input(SIZES[:1]), K.Flatten(), *layers], name="net")
        phase = NodePerturbation(squared, dataset=stream(*data()), noise=0.1, seed=1)
        found, _ = estimates(phase, model, data())
        assert len(found) == 2
        first = layers[0].feedback_weights["feedback_kernel"]
        before = first.numpy()
        phase.run(model)
        np.testing.assert_array_equal(first, before)
        layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    keras.config.set_dtype_policy("float32")
    alone = keras.Sequential([keras.Input((6,)), ta.layers.Dense(8, feedback="fa")], name="net")
    with pytest.raises(ValueError, match="needs a hidden layer"):
        NodePerturbation(squared, dataset=data()).run(alone)


def test_direct_form_perturbs_the_ends_of_blocks_alone(monkeypatch):
    """Noise enters after batch normalisation, activation, dropout and pooling, and never the
    output; every site predicts with the error at the logits."""
    shapes = []

    def sample(self, shape, seed):
        shapes.append(tuple(tf.get_static_value(shape)[1:]))
        return tf.zeros(shape)

    monkeypatch.setattr(Noise, "sample", sample)
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((8, 8, 2)),
        K.Conv2D(4, 3, padding="same", name="conv"),
        K.BatchNormalization(),
        K.ReLU(),
        K.MaxPooling2D(),
        K.Flatten(),
        K.Dense(6, "tanh", name="dense"),
        K.Dropout(0.5),
        K.Dense(3, "softmax", name="out"),
    ]
    model = ta.convert(keras.Sequential(layers, name="net"), "dfa")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 8, 8, 2)).astype("float32")
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, N)]
    loss = keras.losses.CategoricalCrossentropy(reduction=None)
    phase = NodePerturbation(loss, dataset=(x, y), form="dfa", batch_size=N)
    phase.build(model)
    before = [v.numpy() for v in model.variables]
    sent, targets = tf.function(lambda: phase.estimate((x, y)))()
    flattened = [shapes.index(s) for s in ((64,), (6,))]  # one draw for every block
    assert len(shapes) == 2 and flattened == [0, 1]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    errors = [e for s in sent.values() for e in s.errors.values()]
    np.testing.assert_allclose(errors[0], errors[1])
    np.testing.assert_allclose(tf.reduce_sum(errors[0], 1), np.zeros(N), atol=1e-6)
    for target in targets.values():
        np.testing.assert_array_equal(target, np.zeros(target.shape))


def test_direct_form_with_two_outputs():
    """Both outputs' errors reach the shared block, and are fitted together."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    h = K.Dense(12, name="shared")(inputs)
    outputs = [K.Dense(3, name="one")(h), K.Dense(2, name="two")(h)]
    model = ta.convert(keras.Model(inputs, outputs, name="net"), "dfa")
    x = data(512)[0]
    targets = tuple(np.tanh(x[:, :n]) for n in (3, 2))
    for solver in ("ridge", "nlms"):
        phase = NodePerturbation(
            [squared, squared],
            dataset=(x, targets),
            solver=solver,
            form="dfa",
            steps=1500,
            seed=1,
        )
        phase.run(model)
        taps = [layer for layer in model.layers if isinstance(layer, OutputTap)]
        assert len(taps) == 2
        for tap, name in zip(taps, ("one", "two"), strict=True):
            kernel = model.get_layer(f"{name}_kernel").kernel
            learned = tap.feedback_weights["shared"]
            assert float(ta.metrics.weight_angle(kernel, learned)) < 3.0

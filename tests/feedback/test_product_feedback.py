"""Product feedback in its cheaper forms: the same numbers as the way through the population."""

import warnings

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
import training

import tf_alignment as ta
from tf_alignment.feedback import error_driven

LAYERS = [
    "dense-3d",
    "einsum-heads",
    "einsum-shared",
    "conv1d-causal",
    "conv2d-strided",
    "conv2d-grouped",
    "conv2d-first",
    "depthwise2d",
    "separable2d",
    "transpose2d",
]


def layer(name, **options):
    keras.utils.set_random_seed(3)
    made = cases.ours(name, ta.feedback.ProductFeedback(2.5, **options))
    made(cases.inputs(name))
    return made


def gradients(made, name):
    x = tf.constant(cases.inputs(name))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = made(x, training=True)
        loss = tf.reduce_sum(y * np.random.default_rng(1).standard_normal(y.shape))
    return tape.gradient(loss, [x, *made.trainable_weights])


@pytest.mark.parametrize("name", LAYERS)
def test_both_orders_of_the_products_agree(name, monkeypatch):
    found = []
    for cheaper in (False, True):
        monkeypatch.setattr(error_driven, "_path_is_cheaper", lambda wide, value=cheaper: value)
        found.append(gradients(layer(name), name))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_collapsed_is_the_product_under_sgd(name, orthogonal):
    pair = [layer(name, orthogonal=orthogonal, collapsed=c) for c in (False, True)]
    for a, b in zip(*(paths(m) for m in pair), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    before = paths(pair[0])
    for made in pair:
        decaying = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=1.0)
        optimizer_gradients(made, name, decaying)
    for a, b, start in zip(*(paths(m) for m in pair), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        assert np.abs(a - start).max() > 1e-2
    for a, b in zip(*(m.trainable_weights[:1] for m in pair), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def optimizer_gradients(made, name, optimizer, steps=6):
    optimizer.build(made.trainable_weights)
    compiled = tf.function(lambda: gradients(made, name)[1:], autograph=False)
    for _ in range(steps):
        found = compiled()
        optimizer.apply(found, made.trainable_weights)


def paths(made):
    kernels = made.effective_feedback_kernel()
    return [k.numpy() for k in (kernels.values() if isinstance(kernels, dict) else [kernels])]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_collapsed_trains_and_decays_like_the_product(policy):
    """With an L2 regularizer, in `fit`, where the layers hand the errors to each other."""
    keras.config.set_dtype_policy(policy)
    x, y = training.toy()
    found = []
    for collapsed in (False, True):
        stock = training.perceptron(kernel_regularizer=keras.regularizers.L2(0.01))
        model = ta.convert(stock, ta.feedback.ProductFeedback(4, collapsed=collapsed))
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
        model.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
        found.append([v.numpy() for v in model.layers[-1].weights[:2]])
        found[-1] += [
            c.feedback_kernel().numpy()
            for made in ta.layers.feedback_layers(model)
            for c in made.connections
        ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 if policy == "float32" else 0.03)


def test_collapsed_has_a_tenth_of_the_weights_and_saves(tmp_path):
    model = ta.convert(training.perceptron(), ta.feedback.ProductFeedback(collapsed=True))
    [first, _] = ta.layers.feedback_layers(model)
    assert {n: tuple(w.shape) for n, w in first.feedback_weights.items()} == {
        "product_gram": (10, 10),
        "product_path": (12, 10),
    }
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_semi_orthogonal_collapsed_feedback_is_kolen_pollack():
    [first, _] = ta.layers.feedback_layers(
        ta.convert(
            training.perceptron(), ta.feedback.ProductFeedback(orthogonal=True, collapsed=True)
        )
    )
    gram = first.feedback_weights["product_gram"]
    np.testing.assert_allclose(gram, np.eye(10), atol=1e-5)


def test_an_optimizer_that_is_not_linear_is_warned_of():
    def fit(optimizer, **options):
        model = ta.convert(training.perceptron(), ta.feedback.ProductFeedback(**options))
        model.compile(optimizer, "mse")
        model.fit(*training.toy(), epochs=1, verbose=0)

    with pytest.warns(UserWarning, match="under Adam the path of the error grows past them"):
        fit("adam")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(keras.optimizers.SGD(0.01))
        fit(keras.optimizers.SGD(0.01, momentum=0.9), collapsed=True)
        fit("adam", collapsed=True)


@pytest.mark.slow
def test_a_collapsed_path_aligns_under_adam_where_two_matrices_grow():
    def ends(**options):
        keras.utils.set_random_seed(5)
        model = ta.convert(training.perceptron(), ta.feedback.ProductFeedback(**options))
        adam = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        model.compile(adam, "mse", steps_per_execution=16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(*training.toy(examples=512), epochs=40, verbose=0)
        layer = ta.layers.feedback_layers(model)[0]
        pair = layer.kernel, layer.effective_feedback_kernel()
        return float(ta.metrics.weight_angle(*pair)), float(ta.metrics.norm_ratio(*pair))

    angle, ratio = ends(collapsed=True)
    assert angle < 25 and 0.9 < ratio < 1.1  # 18.6° and 1.00; theory has 17.55° under SGD
    assert ends()[1] > 2  # 3.7

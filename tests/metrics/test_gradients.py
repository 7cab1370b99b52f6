"""`GradientProbe`: angles of gradients and errors to those of backpropagation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment import metrics


def batch(n=16, features=8, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, features)).astype("float32"),
        rng.integers(0, classes, n).astype("int32"),
    )


def network(feedback, dropout=0.0, regularizer=None, normalise=False):
    """8-16-12-4, stock and then converted: the first layer stays stock."""
    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((8,))
    for name, units in (("low", 16), ("mid", 12)):
        dense = keras.layers.Dense(units, "relu", kernel_regularizer=regularizer, name=name)
        x = dense(x)
        if normalise:
            x = keras.layers.BatchNormalization()(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=3)(x)
    outputs = keras.layers.Dense(4, name="top")(x)
    model = ta.convert(keras.Model(inputs, outputs), feedback)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def kernel_gradients(model, x, y):
    kernels = {name: model.get_layer(name).kernel for name in ("low", "mid", "top")}
    with tf.GradientTape() as tape:
        logits = model(x)
        loss = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
        loss = tf.reduce_mean(loss)
    gradients = tape.gradient(loss, [k.value for k in kernels.values()])
    return dict(zip(kernels, gradients, strict=True))


@pytest.mark.parametrize(
    "feedback", [m for m in ta.feedback.METHODS if ta.feedback.get(m).random != "shared"]
)
def test_kernel_angles_are_those_of_two_plain_tapes(feedback):
    model = network(feedback)
    x, y = batch()
    own, true = (kernel_gradients(m, x, y) for m in (model, ta.strip(model)))
    found = metrics.gradient_angle(model, x, y)
    assert sorted(found) == ["low", "mid", "top"]
    for name in found:
        expected = float(metrics.weight_angle(own[name], true[name]))
        assert found[name]["kernel"] == pytest.approx(expected, abs=1e-3)
    assert found["top"]["kernel"] == pytest.approx(0.0, abs=1e-4)
    if feedback == "backprop":
        assert found["low"]["kernel"] == pytest.approx(0.0, abs=1e-4)
    else:
        assert found["low"]["kernel"] > 5.0


def test_error_angles_are_those_of_hand_written_backward_passes():
    model = network("fa")
    x, y = batch()
    mid, top = model.get_layer("mid"), model.get_layer("top")
    below_mid = model.get_layer("low")(x)
    below_top = mid(below_mid)
    delta = (tf.nn.softmax(top(below_top)) - tf.one_hot(y, 4)) / len(x)
    active = tf.cast(below_top > 0, "float32")
    errors = {"own": {}, "true": {}}
    for kind, kernel in (
        ("own", lambda layer: layer.effective_feedback_kernel()),
        ("true", lambda layer: tf.convert_to_tensor(layer.kernel)),
    ):
        errors[kind]["top"] = delta @ tf.transpose(kernel(top))
        errors[kind]["mid"] = (errors[kind]["top"] * active) @ tf.transpose(kernel(mid))
    found = metrics.GradientProbe(model)(x, y)
    for name in ("mid", "top"):
        own, true = errors["own"][name], errors["true"][name]
        each = [float(metrics.weight_angle(o, t)) for o, t in zip(own, true, strict=True)]
        assert found[name]["error"] == pytest.approx(
            float(metrics.weight_angle(own, true)), abs=1e-3
        )
        assert found[name]["error_per_example"] == pytest.approx(np.mean(each), abs=1e-3)
        assert found[name]["error_norm_ratio"] == pytest.approx(
            float(tf.norm(own) / tf.norm(true)), rel=1e-4
        )
    lengths = np.linalg.norm(below_top, axis=1)
    assert found["top"]["input_norm"] == pytest.approx(lengths.mean(), rel=1e-4)
    assert set(found["low"]) == {"kernel", "kernel_norm_ratio"}


def test_direct_feedback_has_kernel_angles_only():
    found = metrics.gradient_angle(network("dfa"), *batch())
    assert [set(angles) for angles in found.values()] == [{"kernel"}] * 3


def test_symmetric_weights_give_zero():
    model = network("fa")
    for name in ("mid", "top"):
        layer = model.get_layer(name)
        layer.feedback_weights["feedback_kernel"].assign(layer.kernel)
    for angles in metrics.gradient_angle(model, *batch()).values():
        assert max(angles.values()) < 1e-3


def test_dropout_draws_the_same_masks_in_both_passes_and_nothing_is_changed():
    model = network("backprop", dropout=0.5, normalise=True)
    x, y = batch()
    model.fit(x, y, verbose=0)
    state = [v.numpy() for v in (*model.variables, *model.metrics_variables)]
    found = metrics.gradient_angle(model, x, y, training=True)
    assert max(a for angles in found.values() for a in angles.values()) < 1e-3
    for before, v in zip(state, (*model.variables, *model.metrics_variables), strict=True):
        np.testing.assert_array_equal(before, v.numpy())


def test_masks_matter_in_training_mode():
    model = network("fa", dropout=0.5)
    x, y = batch()
    off, on = (metrics.gradient_angle(model, x, y, training=t) for t in (False, True))
    assert off["mid"]["kernel"] != on["mid"]["kernel"]


def test_regularizers_do_not_make_angles_look_smaller():
    plain, decayed = network("fa"), network("fa", regularizer=keras.regularizers.L2(10.0))
    x, y = batch()
    found, with_decay = (metrics.gradient_angle(m, x, y) for m in (plain, decayed))
    assert found["low"]["kernel"] == pytest.approx(with_decay["low"]["kernel"], abs=1e-3)


def test_a_probe_is_traced_once_and_reads_weights_live(monkeypatch):
    model = network("fa")
    x, y = batch()
    traces = []
    compare = metrics.GradientProbe._compare
    monkeypatch.setattr(
        metrics.GradientProbe, "_compare", lambda self, *a: traces.append(1) or compare(self, *a)
    )
    probe = metrics.GradientProbe(model)
    first = probe(x, y)
    for name in ("mid", "top"):
        layer = model.get_layer(name)
        layer.feedback_weights["feedback_kernel"].assign(layer.kernel)
    second = probe(x + 1.0, y)
    assert len(traces) == 1
    assert first["low"]["kernel"] > 5.0
    assert second["low"]["kernel"] < 1e-3
    probe(x[:4], y[:4])
    assert len(traces) == 2


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda y, p: keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True),
    ],
)
def test_a_loss_of_ones_own(loss):
    model = network("sa")
    x, y = batch()
    found = metrics.gradient_angle(model, x, y, loss=loss)
    assert 0.0 < found["low"]["kernel"] < 180.0
    if not isinstance(loss, str):
        compiled = metrics.gradient_angle(model, x, y)
        assert found["low"]["kernel"] == pytest.approx(compiled["low"]["kernel"], abs=1e-3)


@pytest.mark.parametrize("own_loss", [False, True])
def test_sample_weights_select_examples(own_loss):
    model = network("fa")
    x, y = batch()
    weight = np.array([1.0] * 4 + [0.0] * 12, "float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if own_loss else None
    found = metrics.gradient_angle(model, x, y, loss, sample_weight=weight)
    alone = metrics.gradient_angle(model, x[:4], y[:4], loss)
    assert found["low"]["kernel"] == pytest.approx(alone["low"]["kernel"], abs=1e-3)


@pytest.mark.parametrize("shape", [(16, 1), (16, 4), (1,)])
def test_sample_weights_have_the_shapes_that_keras_takes(shape):
    model, (x, y) = network("fa"), batch()
    y = np.eye(4, dtype="float32")[y]
    weight = np.array([1.0] * 4 + [0.0] * 12, "float32")
    if shape == (16, 4):  # of a loss for each output
        weight = np.repeat(weight[:, None], 4, 1)

        def loss(y, p):
            return (y - p) ** 2

    elif shape == (16, 1):
        loss, weight = "mse", weight[:, None]
    else:  # one weight for all

        def loss(y, p):
            return tf.reduce_mean((y - p) ** 2)

        weight = np.ones(1, "float32")
    chosen = slice(None) if shape == (1,) else slice(4)
    found = metrics.gradient_angle(model, x, y, loss, sample_weight=weight)
    alone = metrics.gradient_angle(model, x[chosen], y[chosen], loss)
    assert found["low"]["kernel"] == pytest.approx(alone["low"]["kernel"], abs=1e-3)


def test_weights_and_a_loss_whose_first_axis_is_unknown():
    model, (x, y) = network("fa"), batch()

    def loss(y, p):
        found = keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)
        return tf.boolean_mask(found, tf.ones(16, bool))

    weight = np.array([[1.0]] * 4 + [[0.0]] * 12, "float32")
    found = metrics.gradient_angle(model, x, y, loss, sample_weight=weight)
    alone = metrics.gradient_angle(model, x[:4], y[:4])
    assert found["low"]["kernel"] == pytest.approx(alone["low"]["kernel"], abs=1e-3)


def test_weights_of_examples_need_a_loss_of_each_example():
    x, y = batch()
    for loss, weight in (
        (lambda y, p: tf.reduce_mean(p), np.ones(16, "float32")),
        ("sparse_categorical_crossentropy", np.ones((16, 4), "float32")),
    ):
        with pytest.raises(ValueError, match=r"`sample_weight` .* Received: .*\(16"):
            metrics.gradient_angle(network("fa"), x, y, loss, sample_weight=weight)


def test_two_zero_gradients_have_no_angle():
    model = network("fa")
    x, y = batch()
    top = model.get_layer("top")
    top.kernel.assign(np.zeros(top.kernel.shape))
    found = metrics.GradientProbe(model)(x, y)
    assert found["top"]["kernel"] == pytest.approx(0.0, abs=1e-4)
    for path, name in (("low", "kernel"), ("mid", "kernel"), ("top", "error")):
        assert found[path][name] == 90.0  # only backpropagation's is zero
    assert np.isnan(found["top"]["error_per_example"])  # of examples with an error
    assert np.isinf(found["top"]["error_norm_ratio"])
    model.get_layer("mid").bias.assign(np.full(12, -100.0))  # no unit is active
    dead = metrics.GradientProbe(model)(x, y)
    for path in ("low", "mid"):
        assert np.isnan([v for n, v in dead[path].items() if n != "input_norm"]).all()
    assert np.isnan(dead["top"]["kernel"]) and np.isnan(dead["top"]["kernel_norm_ratio"])


def test_shared_layers_several_heads_and_nested_models():
    keras.utils.set_random_seed(0)
    shared = keras.layers.Dense(6, "tanh", name="shared")
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, name="deep")], name="inner")
    inputs = keras.Input((6,), name="x")
    hidden = shared(inner(shared(inputs)))
    outputs = {n: keras.layers.Dense(2, name=n)(hidden) for n in ("left", "right")}
    model = ta.convert(keras.Model(inputs, outputs), "fa")
    model.compile("sgd", {"left": "mse", "right": "mae"}, loss_weights={"left": 1.0, "right": 2.0})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 6)).astype("float32")
    y = {n: rng.normal(size=(5, 2)).astype("float32") for n in outputs}
    found = metrics.gradient_angle(model, x, y)  # before any `fit`: the loss is not built
    assert {path.rsplit("/")[-1] for path in found} == {"shared", "deep", "left", "right"}
    model.fit(x, y, verbose=0)
    assert all(0 <= a <= 180 for angles in found.values() for a in angles.values())


def test_attention_and_separable_convolutions_have_a_row_for_each_kernel():
    inputs = keras.Input((6, 6, 4))
    x = ta.layers.SeparableConv2D(4, 3, padding="same", feedback="fa", name="separable")(inputs)
    x = keras.layers.Reshape((36, 4))(x)
    x = ta.layers.MultiHeadAttention(2, 2, feedback="fa", name="attention")(x, x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    model.compile("sgd", "mse")
    found = metrics.gradient_angle(model, np.ones((2, 6, 6, 4)), np.ones((2, 4)))
    assert {"separable/depthwise", "separable/pointwise"} < set(found)
    assert sum(path.startswith("attention/") for path in found) == 4


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = network("backprop")
        found = metrics.gradient_angle(model, *batch())
    finally:
        keras.config.set_dtype_policy("float32")
    assert max(a for angles in found.values() for a in angles.values()) < 1.0


def test_eager_models():
    model = network("fa")
    x, y = batch()
    expected = metrics.gradient_angle(model, x, y)
    model.run_eagerly = True
    found = metrics.gradient_angle(model, x, y)
    assert found["low"]["kernel"] == pytest.approx(expected["low"]["kernel"], abs=1e-3)


def test_wrong_arguments_are_refused():
    x, y = batch()
    with pytest.raises(TypeError, match=r"`model` must be a Keras model. Received: model=3"):
        metrics.gradient_angle(3, x, y)
    bare = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r"`loss` must be given .* Received: loss=None"):
        metrics.gradient_angle(bare, x, y)
    unbuilt = keras.Sequential([keras.layers.Dense(4)], name="unbuilt")
    unbuilt.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"must be built .* 'unbuilt' with built=False"):
        metrics.gradient_angle(unbuilt, x, y)

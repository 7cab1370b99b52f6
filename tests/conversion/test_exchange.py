"""Any Keras model, converted and stripped."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import mostly_slow, set_feedback_to_forward
from stock_models import MODELS, example, gradients, nested, residual, same, sequential, text

import tf_alignment as ta
from tf_alignment.conversion import graph

K = keras.layers
STOCK_STAYS = pytest.mark.filterwarnings("ignore:The error still passes the forward weights")


# no weights, fixed, aligned, random, two, and by surgery of the graph
METHODS = "brsf", "fa", "sa", "wm", "pfa", "dfa"
# models that take long; the default suite converts them to two methods alone
COSTLY = "text", "residual"
QUICK = "pfa", "dfa"
CASES = [
    pytest.param(
        name, method, marks=pytest.mark.slow if name in COSTLY and method not in QUICK else ()
    )
    for name in MODELS
    for method in METHODS
]


@pytest.mark.parametrize(("name", "method"), CASES)
@STOCK_STAYS
def test_convert_and_strip_leave_outputs_alone(name, method, tmp_path):
    model = MODELS[name]()
    x = example(model)
    converted = ta.convert(model, method)
    same(converted(x), model(x))
    assert all(g is not None for g in gradients(converted, x))
    stripped = ta.strip(converted)
    same(stripped(x), converted(x))
    assert not ta.layers.feedback_layers(stripped)
    assert all(not type(v).__module__.startswith("tf_alignment") for v in stripped.layers)
    assert len(stripped.get_weights()) == len(model.get_weights())
    if name != "normalised":  # lambdas do not load in safe mode, here as in Keras
        converted.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
        same(loaded(x), converted(x))
        same(loaded.get_weights(), converted.get_weights())
        # where nothing is drawn: neither dropout nor noise
        if ta.feedback.get(method).random is None and name != "sequential":
            for a, b in zip(gradients(loaded, x), gradients(converted, x), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50V2", "EfficientNetB0", "ConvNeXtTiny"])
def test_keras_applications(name):
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(64, 64, 3), classes=5, include_top=name != "ConvNeXtTiny"
    )
    converted = ta.convert(model, "fa")
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    same(converted(x), model(x))
    rows = [row for row in ta.summary(converted, None) if "Conv" in row.kind or row.kind == "Dense"]
    assert len(rows) > 50
    assert 1 <= sum(row.method == "stock" for row in rows) <= 2  # the first
    same(ta.strip(converted)(x), model(x))


def methods_of(model):
    return {row.path: row.method for row in ta.summary(model, print_fn=None)}


def test_layers_below_which_nothing_learns_stay_stock():
    assert methods_of(ta.convert(sequential(), "fa")) == {
        "first": "stock",
        "norm": "stock",
        "second": "fa",
        "head": "fa",
    }
    model = sequential()
    model.get_layer("first").trainable = False
    model.get_layer("norm").trainable = False
    # what is frozen now may be trained later: what lies above is converted all the same
    assert methods_of(ta.convert(model, "fa")) == methods_of(ta.convert(sequential(), "fa"))
    named = ta.convert(sequential(), "fa", include=["first", "head"])
    assert methods_of(named)["first"] == "fa"
    assert methods_of(named)["second"] == "stock"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"include": "head"}, {"head"}),
        ({"include": "sec.*|head"}, {"second", "head"}),
        ({"include": re.compile("f.*")}, {"first"}),
        ({"include": lambda layer: isinstance(layer, K.Dense)}, {"head"}),
        ({"exclude": "head"}, {"second"}),
        (
            {
                "include": ["head", "second"],
                "exclude": lambda layer: layer.units == 3 if isinstance(layer, K.Dense) else False,
            },
            {"second"},
        ),
    ],
)
def test_include_and_exclude(arguments, expected):
    converted = ta.convert(sequential(), "kp", **arguments)
    assert {n for n, m in methods_of(converted).items() if m == "kp"} == expected


def test_nested_layers_are_named_by_path():
    converted = ta.convert(nested(), "fa", include="inner/dense.*")
    assert {n for n, m in methods_of(converted).items() if m == "fa"} == {
        f"inner/{v.name}" for v in converted.get_layer("inner").layers
    }


def test_names_inputs_and_trainability_survive():
    model = sequential()
    model.get_layer("second").trainable = False
    converted = ta.convert(model, "kp")
    assert [v.name for v in converted.layers] == [v.name for v in model.layers]
    assert converted.inputs[0].name == "image"
    assert not converted.get_layer("second").trainable
    assert converted.get_layer("second").trainable_weights == []


def test_features_are_taken_from_a_copy_as_from_the_original():
    """`layer.output` is the copy's own tensor, also of layers without weights."""
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Rescaling(2.0)(keras.layers.RandomFlip()(inputs))
    x = keras.layers.ReLU(name="features")(keras.layers.Conv2D(3, 3)(x))
    stock = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    models = [stock, ta.convert(stock, "fa"), ta.strip(ta.convert(stock, "fa"))]
    found = [keras.Model(m.input, m.get_layer("features").output)(x) for m in models]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_new_method_replaces_the_old_one():
    model = residual()
    x = example(model)
    for method in ("fa", "dfa", "pfa", "dfa", "sa"):
        model = ta.convert(model, method)
        found = set(methods_of(model).values()) - {"stock"}
        assert found == {method}
    same(model(x), ta.strip(model)(x))


def test_feedback_weights_start_as_in_layers_made_by_hand():
    def model(dense):
        keras.utils.set_random_seed(0)
        layers = [K.Dense(40), dense(400, kernel_initializer=keras.initializers.HeNormal(seed=3))]
        return keras.Sequential([keras.Input((50,)), *layers])

    by_hand = model(lambda *a, **k: ta.layers.Dense(*a, feedback="fa", **k))
    [own] = ta.layers.feedback_layers(by_hand)
    for inplace in (False, True):
        [layer] = ta.layers.feedback_layers(ta.convert(model(K.Dense), "fa", inplace=inplace))
        same(layer.feedback_weights, own.feedback_weights)
        same(layer.kernel, own.kernel)


def test_feedback_weights_can_start_like_the_kernels_own_initializer():
    model = keras.Sequential(
        [keras.Input((50,)), K.Dense(40), K.Dense(400, kernel_initializer="he_normal")]
    )
    [layer] = ta.layers.feedback_layers(ta.convert(model, "fa", feedback_initializer=None))
    b, w = layer.feedback_weights["feedback_kernel"].numpy(), layer.kernel.numpy()
    assert b.std() == pytest.approx(w.std(), rel=0.1)
    assert abs(np.corrcoef(b.ravel(), w.ravel())[0, 1]) < 0.1
    [layer] = ta.layers.feedback_layers(ta.convert(model, "fa"))
    glorot = (2 / (40 + 400)) ** 0.5
    assert layer.feedback_weights["feedback_kernel"].numpy().std() == pytest.approx(glorot, rel=0.1)
    zeros = keras.Sequential(
        [keras.Input((50,)), K.Dense(40), K.Dense(40, kernel_initializer="zeros")]
    )
    [layer] = ta.layers.feedback_layers(ta.convert(zeros, "fa", feedback_initializer=None))
    assert layer.feedback_weights["feedback_kernel"].numpy().std() > 0.1  # B = W = 0 is no feedback


@pytest.mark.parametrize("make", [sequential, pytest.param(residual, marks=pytest.mark.slow)])
def test_a_compiled_model_stays_compiled(make):
    model = make()
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    x = example(model, 8)
    for method in ("fa", "dfa", "sa", "fa"):  # also where there was feedback before
        model = ta.convert(model, method)
        assert model.compiled and type(model.optimizer).__name__ == "SGD"
        assert "accuracy" in model.fit(x, np.arange(8) % 3, verbose=0).history
        assert not ta.strip(model).compiled


def test_a_recording_makes_no_weights_and_leaves_the_model_alone(monkeypatch):
    model = nested()
    model.compile("sgd", "mse")
    before = [len(layer.variables) for layer in model.layers]
    made = []
    add = K.Layer.add_weight
    monkeypatch.setattr(K.Layer, "add_weight", lambda *a, **k: made.append(a) or add(*a, **k))
    assert len(graph.record(model).calls) == 9
    assert not made and [len(layer.variables) for layer in model.layers] == before
    assert model.layers[1].output is not None and model.compiled


def test_a_nested_sequential_model_without_an_input_of_its_own():
    inner = keras.Sequential([K.Dense(5, activation="relu"), K.Dense(4)], name="inner")
    model = keras.Sequential([keras.Input((6,)), K.Dense(6), inner, K.Dense(2)])
    x = example(model)
    converted = ta.convert(model, "fa")
    same(converted(x), model(x))
    same(ta.strip(converted)(x), model(x))


def over_time(steps, wrapper=K.TimeDistributed):
    x = inputs = keras.Input((steps, 6))
    x = wrapper(K.Dense(5, "tanh"), name="first")(x)
    x = wrapper(keras.Sequential([K.Dense(5), K.Dense(4)]), name="second")(x)
    return keras.Model(inputs, K.Dense(3)(K.GlobalAveragePooling1D()(x)))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_dynamic_time_axis_keeps_the_backward_pass(inplace):
    """Keras' own `TimeDistributed` would lose it, so it is exchanged, and given back."""
    model, fixed = over_time(None), over_time(4)
    fixed.set_weights(model.get_weights())
    assert list(methods_of(ta.convert(fixed, "fa")).values()) == ["stock", *["fa"] * 3]
    converted = ta.convert(model, "fa", inplace=inplace)
    assert list(methods_of(converted).values()) == ["stock", *["fa"] * 3]
    second = converted.get_layer("second")
    assert type(second) is ta.layers.TimeDistributed
    assert type(converted.get_layer("first")) is K.TimeDistributed  # nothing in it was converted
    for layer in ta.layers.feedback_layers(converted):
        set_feedback_to_forward(layer)
    x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
    # Keras' own loop over a dynamic axis takes its length from the batch: compare what is above
    upper = [keras.Model(m.get_layer("second").input, m.output) for m in (converted, fixed)]
    h = x[..., :5]
    values, found = zip(*(input_gradient(m, h) for m in upper), strict=True)
    np.testing.assert_allclose(*values, rtol=1e-5)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)
    ta.convert(converted, "kp", inplace=True)
    assert list(methods_of(converted).values()) == ["stock", *["kp"] * 3]
    stock = ta.strip(converted, inplace=inplace)
    assert type(stock.get_layer("second")) is K.TimeDistributed
    assert not ta.layers.feedback_layers(stock)


def input_gradient(model, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        loss = tf.reduce_sum(tf.sin(y))
    return y, tape.gradient(loss, x)


def test_a_dynamic_time_axis_in_a_class_of_ones_own_is_named():
    class Own(K.TimeDistributed):
        pass

    with pytest.warns(UserWarning, match="'second', a subclass of TimeDistributed with a dynamic"):
        converted = ta.convert(over_time(None, Own), "fa")
    assert list(methods_of(converted).values()) == ["stock", "stock", "stock", "fa"]


def explained(model, x, how):
    """Attributions of the first output to the input."""
    rng, steps = np.random.default_rng(0), 32

    def slope(points):
        points = tf.convert_to_tensor(points)
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = model(points)[:, 0]
        return tape.gradient(y, points).numpy()

    if how == "saliency":
        return slope(x)
    if how == "expected gradients":  # those of SHAP: baselines and places between are drawn
        weights = rng.uniform(size=(steps, len(x), *[1] * (x.ndim - 1))).astype("float32")
        baselines = x[rng.integers(len(x), size=(steps, len(x)))]
    else:  # integrated gradients, from zero
        weights = (np.arange(steps, dtype="float32") + 0.5) / steps
        weights, baselines = weights.reshape(steps, *[1] * x.ndim), np.zeros((steps, *x.shape), "f")
    points = baselines + weights * (x - baselines)  # one large batch: examples do not interact
    slopes = slope(points.reshape(-1, *x.shape[1:])).reshape(points.shape)
    return np.mean((x - baselines) * slopes, 0)


@pytest.mark.parametrize("how", ["saliency", "integrated gradients", "expected gradients"])
@pytest.mark.parametrize("method", mostly_slow(["fa", "sa", "pfa", "dfa"], "fa", "dfa"))
def test_explanations_of_a_stripped_model_are_those_of_the_stock_model(how, method):
    """Attributions add up to the change of the output only if gradients are gradients."""
    model = residual()
    x = np.random.default_rng(1).standard_normal((4, *model.input_shape[1:])).astype("float32")
    include = None if method == "dfa" else ".*"
    converted = ta.convert(model, method, include=include)
    stock, own, stripped = (explained(m, x, how) for m in (model, converted, ta.strip(converted)))
    np.testing.assert_array_equal(stripped, stock)
    assert not np.allclose(own, stock, rtol=0.1)
    if how == "integrated gradients":
        change = (model(x) - model(np.zeros_like(x)))[:, 0]
        left, lost = (np.abs(a.reshape(len(x), -1).sum(1) - change).max() for a in (stripped, own))
        assert left < 0.05 * np.abs(change).max() < lost


@STOCK_STAYS
def test_summary_says_why(capsys):
    rows = ta.summary(ta.convert(text(), "pfa", exclude="dense.*"))
    why = {row.kind: row.why for row in rows}
    assert why["Embedding"] == "looks rows up, and sends no error"
    assert why["Dense"] == "excluded, or never converted"
    assert why["LayerNormalization"] == "has no kernel"
    printed = capsys.readouterr().out
    assert "MultiHeadAttention" in printed and "product_fixed" in printed
    assert printed.splitlines()[-1].startswith("Weight transport remains: the error passes")
    why = {row.kind: row.why for row in ta.summary(ta.convert(sequential(), "dfa"), None)}
    assert why["Conv2D"] == "the output error comes from the output tap, its own input is cut"


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: ta.convert("model", "fa"), TypeError, "must be a Keras model"),
        (lambda: ta.convert(keras.Sequential([K.Dense(2)]), "fa"), ValueError, "must be built"),
        (lambda: ta.convert(sequential(), "dfa", inplace=True), ValueError, "must be False"),
        (
            lambda: ta.strip(ta.convert(sequential(), "dfa"), inplace=True),
            ValueError,
            "must be False",
        ),
        (lambda: ta.convert(sequential(), None), ValueError, "strip"),
        (lambda: ta.convert(sequential(), "xy"), ValueError, "Received: feedback='xy'"),
        (lambda: ta.convert(sequential(), "fa", include="hed"), ValueError, "matches none"),
        (lambda: ta.convert(sequential(), "fa", exclude=["hed"]), ValueError, "matches none"),
        (lambda: ta.convert(sequential(), "fa", include=3), TypeError, "`include`"),
        (lambda: ta.convert(sequential(), "dfa", include="head"), ValueError, "do not go with"),
        *(
            (
                lambda method=method: ta.convert(sequential(), method, feedback_initializer="foo"),
                ValueError,
                "`feedback_initializer` must be .*Received: feedback_initializer='foo'",
            )
            for method in ("fa", "dfa")
        ),
        (lambda: ta.strip(3), TypeError, "must be a Keras model"),
    ],
)
def test_errors_say_what_to_do(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_converting_nothing_warns():
    model = keras.Sequential([keras.Input((4,)), K.Dense(3)])
    with pytest.warns(UserWarning, match="No layer of model"):
        ta.convert(model, "fa")


@pytest.mark.parametrize("first", ["SeparableConv2D", "MultiHeadAttention"])
def test_layers_with_kernels_in_a_row_are_converted_even_at_the_input(first):
    x = inputs = keras.Input((6, 6, 3) if first == "SeparableConv2D" else (6, 3))
    x = (
        K.SeparableConv2D(4, 3)(x)
        if first == "SeparableConv2D"
        else K.MultiHeadAttention(2, 3)(x, x)
    )
    model = keras.Model(inputs, K.Dense(2)(K.Flatten()(x)))
    assert list(methods_of(ta.convert(model, "fa")).values()) == ["fa", "fa"]


def test_a_nested_direct_model_gets_the_new_method():
    inner = ta.convert(sequential(), "dfa")
    x = keras.Input((8, 8, 1))
    outer = keras.Model(x, K.Dense(3)(inner(x)))
    assert set(methods_of(ta.convert(outer, "fa")).values()) == {"stock", "fa"}


def test_wrong_expressions_name_the_argument():
    with pytest.raises(ValueError, match="`include` must be a name or a valid regular expression"):
        ta.convert(sequential(), "fa", include="(")
    model = keras.Sequential([keras.Input((4,)), K.Dense(3, name="fc(1)"), K.Dense(3)])
    assert methods_of(ta.convert(model, "fa", include="fc(1)"))["fc(1)"] == "fa"
    model = keras.Sequential(
        [keras.Input((4,)), K.Dense(3), K.Dense(3, name="block(1"), K.Dense(3)]
    )
    named = ta.convert(model, "fa", include=["block(1", "dense.*"], exclude=model.layers[2].name)
    assert list(methods_of(named).values()) == ["fa", "fa", "stock"]


def test_a_method_per_layer():
    def stock():
        layers = [
            keras.layers.GRU(3, name="gru_1", return_sequences=True),
            keras.layers.GRU(3, name="gru_2"),
            keras.layers.Dense(4, name="middle"),
            keras.layers.Dense(2, name="head"),
        ]
        model = keras.Sequential([keras.Input((4, 5)), *layers])
        model.compile(keras.optimizers.SGD(0.1, weight_decay=0.01), "mse", run_eagerly=True)
        return model

    given = {re.compile("gru.*"): "eprop", lambda layer: layer.name == "head": "kp"}
    x, y = np.ones((4, 4, 5), "float32"), np.ones((4, 2), "float32")
    for inplace in (False, True):
        model = stock()
        found = ta.convert(model, given, inplace=inplace)
        assert (found is model) == inplace
        methods = {r.path: r.method for r in ta.summary(found, print_fn=lambda _: None)}
        kept = {n: m for n, m in methods.items() if n in ("gru_1", "gru_2", "middle", "head")}
        assert kept == {"gru_1": "eprop", "gru_2": "eprop", "middle": "stock", "head": "kp"}
        found.fit(x, y, verbose=0)
        np.testing.assert_allclose(ta.strip(found)(x), found(x), rtol=1e-6)
    first = ta.convert(stock(), {"gru_1": "fa", "gru.*": "kp"}, exclude="gru_2")
    assert [getattr(layer, "feedback", None) for layer in first.layers][1:] == [None] * 3
    assert first.layers[0].feedback == ta.feedback.FeedbackAlignment()


def test_heads_of_one_attention_with_different_methods(tmp_path):
    entry = keras.Input((3, 4))
    h = keras.layers.Dense(4)(entry)
    h = keras.layers.MultiHeadAttention(2, 2, name="attention")(h, h)
    model = keras.Model(entry, h)
    given = {"attention/(query|key)": "fa", "attention/.*": "kp"}
    found = ta.convert(model, given)
    with pytest.warns(UserWarning, match=r"Load the file with `tf_alignment.load_model`"):
        found.save(tmp_path / "model.keras")
    loaded = ta.load_model(tmp_path / "model.keras")
    for each in (found, loaded):
        table = ta.summary(each, print_fn=lambda _: None)
        assert [r.method for r in table] == ["stock", "fa", "fa", "kp", "kp"]
    x = np.ones((2, 3, 4), "float32")
    np.testing.assert_array_equal(found(x), loaded(x))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"at least one.*Received: feedback=\{\}"),
        ({"a": "dfa"}, r"'dfa' in a dict.*Received: feedback="),
        ({"nothing": "fa"}, r"`feedback` must match layers.*Received: 'nothing'"),
        ({"a": None}, "take feedback away"),
        ({"a": "eprop"}, r"'eprop' in layer 'a', which is not recurrent.*`include`"),
    ],
)
def test_a_dict_of_methods_that_cannot_be(given, message):
    layers = [keras.layers.Dense(3, name="low"), keras.layers.Dense(3, name="a")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    with pytest.raises(ValueError, match=message):
        ta.convert(model, given)
    with pytest.raises(ValueError, match=r"without `include`.*include='low'"):
        ta.convert(model, {"a": "fa"}, include="low")
    with pytest.raises(ValueError, match=r"not recurrent"):
        ta.convert(model, "rflo")

"""What goes wrong around conversion is said in words that name the argument and the remedy."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from stock_models import same

import tf_alignment as ta

K = keras.layers
X = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
Y = np.zeros((8, 2), "float32")


def mlp():
    layers = [K.Dense(4, "relu", name="a"), K.Dense(4, name="b"), K.Dense(2, name="c")]
    return keras.Sequential([keras.Input((4,)), *layers])


class Own(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.low, self.high = K.Dense(4), K.Dense(2)

    def call(self, x):
        return self.high(self.low(x))


def own():
    model = Own()
    model(X)
    return model


def step(model, optimizer, losses):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(X, training=True) - Y))
        loss += sum(model.losses) if losses else 0.0
    found = tape.gradient(loss, model.trainable_weights)
    pairs = zip(found, model.trainable_weights, strict=True)
    optimizer.apply_gradients([(g, w) for g, w in pairs if g is not None])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("losses", [False, True])
def test_an_own_loop_that_leaves_the_losses_out_is_told(compiled, losses):
    model, optimizer = ta.convert(mlp(), "sa"), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_weights)
    run = tf.function(step) if compiled else step
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            run(model, optimizer, losses)
        model(X)  # a validation, say
    told = [str(w.message) for w in caught if "stand still" in str(w.message)]
    assert len(told) == (0 if losses else 2)  # once for each of two layers
    assert all("add `sum(model.losses)` to the loss" in text for text in told)


@pytest.mark.parametrize("losses", [False, True])
@pytest.mark.parametrize("kind", ["dense", "lstm", "cell"])
def test_a_compiled_loop_that_leaves_the_losses_out_is_told_at_once(kind, losses):
    first = {
        "dense": lambda: ta.layers.TimeDistributed(ta.layers.Dense(3, feedback="sa")),
        "lstm": lambda: ta.layers.LSTM(3, return_sequences=True, feedback="sa"),
        "cell": lambda: K.RNN(ta.layers.GRUCell(3, feedback="sa"), return_sequences=True),
    }[kind]
    model = keras.Sequential([keras.Input((5, 4)), K.Dense(4), first()])
    x = tf.random.stateless_normal((2, 5, 4), (0, 0))

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True)))
            loss += sum(model.losses) if losses else 0.0
        return tape.gradient(loss, model.trainable_weights)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    told = [str(w.message) for w in caught if "stand still" in str(w.message)]
    assert len(told) == (0 if losses else 1 if kind == "dense" else 2)


@pytest.mark.parametrize("losses", [False, True])
def test_an_eager_loop_over_a_recurrent_layer_is_told(losses):
    layer = ta.layers.GRU(3, feedback="sa", return_sequences=True)
    model = keras.Sequential([keras.Input((5, 4)), K.Dense(4), layer])
    x = tf.random.stateless_normal((2, 5, 4), (0, 0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x, training=True)))
                loss += sum(model.losses) if losses else 0.0
            tape.gradient(loss, model.trainable_weights)
    told = [str(w.message) for w in caught if "stand still" in str(w.message)]
    assert len(told) == (0 if losses else 2)


def test_gradients_of_the_input_are_no_training():
    model = ta.convert(mlp(), "sa")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with tf.GradientTape() as tape:
                x = tf.convert_to_tensor(X)
                tape.watch(x)
                y = model(x)
            tape.gradient(y, x)


@pytest.mark.parametrize("make", [mlp, own])
@pytest.mark.parametrize("method", ["fa", "kp"])
def test_a_compiled_copy_has_the_losses_of_the_original(make, method):
    """Lambdas too, which no file can hold, and functions that Keras does not know by name."""

    def error(y, z):
        return keras.ops.mean(keras.ops.square(y - z), -1)

    for loss in (lambda y, z: error(y, z), error):
        model = make()
        metric = keras.metrics.MeanMetricWrapper(error, name="own")
        sgd = keras.optimizers.SGD(0.1, momentum=0.9)
        model.compile(sgd, loss, metrics=[metric, "mae"], run_eagerly=True)
        model.fit(X, Y, verbose=0)
        before = [v.numpy() for v in model.optimizer.variables]
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*lambda")
            copy = ta.convert(model, method)
        assert int(copy.optimizer.iterations) == 1
        for value in before[2:4]:  # the momenta of a layer
            assert any(np.array_equal(value, v) for v in copy.optimizer.variables)
        assert copy.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))
        assert copy.fit(X, Y, verbose=0).history.keys() == {"loss", "own", "mae"}
        same([v.numpy() for v in model.optimizer.variables], before)


def test_a_metric_that_cannot_be_made_again_is_named():
    class Stubborn(keras.metrics.MeanSquaredError):
        def get_config(self):
            raise NotImplementedError

    model = mlp()
    model.compile("sgd", "mse", metrics=[Stubborn(name="stubborn")])
    with pytest.raises(ValueError, match=r"Stubborn.*`inplace=True`.*Received: inplace=False"):
        ta.convert(model, "fa")
    ta.convert(model, "fa", inplace=True).fit(X, Y, verbose=0)


@pytest.mark.parametrize("inplace", [False, True])
def test_lora_and_feedback_exclude_each_other_layer_by_layer(inplace, tmp_path):
    model = mlp()
    model.get_layer("b").enable_lora(2)
    with pytest.raises(ValueError, match=r"'b'.*Exclude the layer.*Received: lora_rank=2"):
        ta.convert(model, "fa", inplace=inplace)
    assert not ta.layers.feedback_layers(model)
    model.save_weights(tmp_path / "m.weights.h5")  # which merges
    merged = mlp()
    merged.load_weights(tmp_path / "m.weights.h5")
    merged = ta.convert(merged, "fa")
    assert [v.name for v in ta.layers.feedback_layers(merged)] == ["b", "c"]
    np.testing.assert_allclose(merged(X), model(X), rtol=1e-5)
    converted = ta.convert(model, "fa", exclude="b", inplace=inplace)
    assert [v.name for v in ta.layers.feedback_layers(converted)] == ["c"]
    with pytest.raises(ValueError, match=r"'c'.*strip\(model\).*Received: feedback="):
        converted.get_layer("c").enable_lora(2)
    stock = ta.strip(converted)
    stock.get_layer("c").enable_lora(2)
    np.testing.assert_allclose(stock(X), model(X), rtol=1e-5)


def test_old_files_of_stock_weights(tmp_path):
    """Keras reads them by number of weights: so into the stock model, which is then converted."""
    model = mlp()
    model.save(tmp_path / "old.h5")
    with pytest.raises(ValueError, match=r"expects 3 weight.*Received 2"):
        ta.convert(mlp(), "fa").load_weights(tmp_path / "old.h5")
    stock = mlp()
    stock.load_weights(tmp_path / "old.h5")
    same(ta.convert(stock, "fa")(X), model(X))
    same(ta.convert(keras.models.load_model(tmp_path / "old.h5"), "kp")(X), model(X))


CALLS = {
    "include=Variable": lambda: ta.convert(mlp(), "fa", include=tf.Variable(1.0)),
    "include=layer": lambda: ta.convert(mlp(), "fa", include=K.Dense(2)),
    "include=class": lambda: ta.convert(mlp(), "fa", include=K.Dense),
    "exclude=[Variable]": lambda: ta.convert(mlp(), "fa", exclude=[tf.Variable(1.0)]),
    "include=bytes": lambda: ta.convert(mlp(), "fa", include=b"a"),
    "feedback=array": lambda: ta.convert(mlp(), np.array("fa")),
    "feedback_initializer=array": lambda: ta.convert(
        mlp(), "fa", feedback_initializer=np.ones((4, 4))
    ),
    "inplace=Variable": lambda: ta.convert(mlp(), "fa", inplace=tf.Variable(True)),
    "noise=1e308": lambda: ta.feedback.Imperfect("fa", noise=1e308),
    "amp=1e308": lambda: ta.feedback.Alignment({"amp": 1e308}),
    "expansion=1e308": lambda: ta.feedback.ProductFeedback(1e308),
    "classes=1e308": lambda: ta.models.resnet(20, classes=1e308),
    "classes=array": lambda: ta.models.resnet(20, classes=np.array([3])),
    "input_shape=0-d": lambda: ta.models.lenet(np.array(28)),
    "sizes=0-d": lambda: ta.models.perceptron(np.array(4)),
    "x=0-d": lambda: ta.metrics.gradient_angle(ta.convert(mlp(), "fa"), np.array(1.0), Y, "mse"),
}


@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_argument(name):
    argument = name.partition("=")[0]
    with pytest.raises((TypeError, ValueError)) as raised:
        CALLS[name]()
    assert f"`{argument}`" in str(raised.value)
    assert re.search("Received: ", str(raised.value))


def test_numbers_of_numpy_are_numbers():
    assert ta.models.lenet(classes=np.int64(3)).output_shape == (None, 3)
    small = {"input_shape": (8, 8, 3), "width": np.int32(4)}
    assert ta.models.resnet(np.int64(20), classes=np.int32(3), **small).output_shape == (None, 3)
    assert ta.models.perceptron(np.array([4, 5, 2])).output_shape == (None, 2)

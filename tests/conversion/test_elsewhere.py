"""What uses a kernel outside of the call of its layer passes the error through it, and is named."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from stock_models import same

import tf_alignment as ta

K = keras.layers
X = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
NAMED = pytest.mark.filterwarnings("ignore:The error still passes the forward weights")


class Back(K.Layer):
    """Decodes by the transpose of the kernel that encodes."""

    def __init__(self, dense, **arguments):
        super().__init__(**arguments)
        self.dense = dense

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.dense.kernel))

    def compute_output_shape(self, shape):
        return shape


class Own(K.Layer):
    """Holds a layer and does what it would do."""

    def build(self, shape):
        self.inner = K.Dense(4, name="inner")
        self.inner.build(shape)

    def call(self, x):
        return ops.matmul(x, self.inner.kernel) + self.inner.bias


class Tied(keras.Model):
    """Logits by the transpose of a table, of inputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden = K.Embedding(7, 4, name="used"), K.Dense(4)

    def call(self, x):
        h = self.hidden(ops.mean(self.table(x["words"]), 1))
        return ops.matmul(h, ops.transpose(self.table.embeddings))


def functional(use):
    inputs = keras.Input((4,))
    layer = K.Dense(4, name="used")
    h = use(layer)(layer(K.Dense(4)(inputs)))
    return keras.Model(inputs, K.Dense(2)(h)), X


def own():
    inputs = keras.Input((4,))
    return keras.Model(inputs, K.Dense(2)(Own(name="used")(K.Dense(4)(inputs)))), X


def tied():
    model, x = Tied(), {"words": np.arange(15).reshape(5, 3) % 7}
    model(x)
    return model, x


def in_time():
    inputs = keras.Input((3, 4))
    layer = K.Dense(4, name="used")
    h = K.TimeDistributed(Back(layer))(layer(K.Dense(4)(inputs)))
    return keras.Model(inputs, K.Dense(2)(h)), np.stack([X] * 3, 1)


def by_operation():
    return functional(lambda layer: lambda x: ops.matmul(x, layer.kernel))


def by_lambda():
    return functional(lambda layer: K.Lambda(lambda x: ops.matmul(x, ops.transpose(layer.kernel))))


def by_layer():
    return functional(Back)


MAKE = [by_operation, by_lambda, by_layer, in_time, own, tied]


@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_it_is_named_when_the_model_is_converted_and_in_the_verdict(make):
    model, x = make()
    before = model(x)
    with pytest.warns(UserWarning, match="'used.*outside of its call"):
        ta.convert(model, "fa", inplace=True)
    same(model(x), before)
    lines = []
    ta.summary(model, lines.append)
    assert lines[-1].startswith("Weight transport remains") and "'used" in lines[-1]


@NAMED
@pytest.mark.parametrize("make", [by_operation, by_lambda], ids=lambda make: make.__name__)
@pytest.mark.parametrize("method", ["fa", "dfa"])
def test_a_copy_would_use_the_kernel_of_the_original(make, method):
    model, _ = make()
    with pytest.raises(
        ValueError, match=r"inplace=True.* outside of that layer's call|call.*`inplace=True`"
    ):
        ta.convert(model, method)


def test_what_only_looks_like_it_is_no_transport():
    """Shapes, biases, sums, and calls of layers inside layers of all kinds."""

    class Good(K.Layer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.norm = K.SpectralNormalization(K.Dense(4))
            self.lstm, self.many = K.LSTM(4), K.TimeDistributed(K.Dense(4))
            self.attention = K.MultiHeadAttention(2, 2)
            self.table = K.Embedding(9, 4)
            self.again = K.Dense(4)

        def build(self, shape):
            for layer in (self.norm, self.lstm, self.many, self.again):
                layer.build(shape)
            self.attention.build(shape, shape)
            self.table.build()

        def call(self, x):
            width = ops.cast(ops.shape(self.many.layer.kernel)[0], "float32")
            rows = self.table(ops.zeros(ops.shape(x)[:2], "int32"))
            x = self.many(self.norm(x + rows)) / width + self.many.layer.bias
            x = keras.remat(self.again)(x)
            return self.lstm(self.attention(x, x))

    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, K.Dense(2)(Good()(K.Dense(4)(inputs))))
    ta.convert(model, "fa", inplace=True)
    lines = []
    ta.summary(model, lines.append)
    assert lines[-1].startswith("No weight transport remains")


class Repeated(K.Layer):
    """Calls one layer three times, in a loop of Python's or of TensorFlow's."""

    def __init__(self, how, **arguments):
        super().__init__(**arguments)
        self.how, self.inner = how, K.Dense(4, "tanh", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        if self.how == "while":
            step = lambda k, x: (k + 1, self.inner(x))  # noqa: E731
            return tf.while_loop(lambda k, x: k < 3, step, (0, x))[1]
        for _ in range(3 if self.how == "for" else 1):
            x = self.inner(x)
        return x

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("method", ["fa", "dfa"])
def test_an_activation_with_weights_lies_above_its_layer(method):
    inputs = keras.Input((4,))
    x = K.Dense(4, activation=K.PReLU(), name="low")(inputs)
    model = ta.convert(keras.Model(inputs, K.Dense(2)(x)), method)
    assert type(model.get_layer("low")) is K.Dense
    lines = []
    ta.summary(model, lines.append)
    assert lines[-1].startswith("No weight transport remains")


@pytest.mark.parametrize("how", ["for", "while", "once"])
def test_a_layer_called_repeatedly_lies_above_itself(how):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Repeated(how, name="block")(inputs))
    repeated = how != "once"
    if repeated:
        direct = keras.Model(inputs, K.Dense(2)(model(inputs)))
        with pytest.warns(UserWarning, match=r"inner' \(.*repeatedly"):
            ta.convert(direct, "dfa")
        converted = ta.convert(model, "fa", inplace=True)
    else:
        with pytest.warns(UserWarning, match="No layer"):
            converted = ta.convert(model, "fa", inplace=True)
    assert len(ta.layers.feedback_layers(converted)) == repeated
    lines = []
    ta.summary(converted, lines.append)
    assert lines[-1].startswith("No weight transport remains")


def test_a_function_that_was_traced_before_is_named_when_training_begins():
    class Traced(keras.Model):
        def __init__(self):
            super().__init__()
            self.low, self.middle, self.top = K.Dense(4), K.Dense(4, name="middle"), K.Dense(2)

        def build(self, shape):
            for layer in (self.low, self.middle, self.top):
                layer.build((None, 4))

        @tf.function
        def run(self, x):
            return self.middle(self.low(x))

        def call(self, x):
            return self.top(self.run(x))

    model = Traced()
    model(X)
    ta.convert(model, "fa", inplace=True)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="middle' \\(it was not called"):
        model.train_on_batch(X, np.zeros((5, 2), "float32"))


@NAMED
def test_a_subclass_that_overrides_a_part_of_the_computation_stays_as_it_is():
    class Standardised(K.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - ops.mean(kernel))

    class Normed(K.Dense):
        @property
        def kernel(self):
            return ops.normalize(super().kernel, axis=0)

    layers = [K.Conv2D(3, 3), Standardised(3, 2), K.Flatten(), Normed(4), K.Dense(2)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 2)).astype("float32")
    before = model(x)
    ta.convert(model, "fa", inplace=True)
    same(model(x), before)
    assert len(ta.layers.feedback_layers(model)) == 1
    lines = []
    ta.summary(model, lines.append)
    for layer, name in ((layers[1], "convolution_op"), (layers[3], "kernel")):
        assert f"'{layer.name}' (its class overrides `{name}`" in lines[-1]


def test_recurrent_convolutions_are_converted_with_their_cell():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6, 2)).astype("float32")
    inputs = keras.Input((3, 6, 6, 2))
    h = K.ConvLSTM2D(3, 3, name="c")(K.TimeDistributed(K.Conv2D(2, 1))(inputs))
    model = keras.Model(inputs, K.Dense(2)(K.Flatten()(h)))
    before = model(x)
    converted = ta.convert(model, "fa")
    same(converted(x), before)
    assert type(converted.get_layer("c")) is ta.layers.ConvLSTM2D
    lines = []
    ta.summary(converted, lines.append)
    assert lines[-1].startswith("No weight transport remains")
    assert type(ta.strip(converted).get_layer("c")) is K.ConvLSTM2D


def test_layers_that_thaw_after_direct_feedback_are_named():
    def made():
        below = keras.Sequential([keras.Input((4,)), K.Dense(5, "relu"), K.Dense(4, "relu")])
        below.trainable = False
        inputs = keras.Input((4,))
        model = keras.Model(inputs, K.Dense(2)(K.Dense(3, name="top")(below(inputs))))
        return ta.convert(model, "dfa")

    lines, model = [], made()
    ta.summary(model, lines.append)
    assert lines[-1].startswith("No weight transport remains")
    for layer in model.layers:
        layer.trainable = True
    ta.summary(model, lines.append)
    assert "'top' (what is below it was frozen" in lines[-1]
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="weight transport has come into it.*'top'"):
        model.fit(X, np.zeros((5, 2)), verbose=0)
    model = ta.convert(model, "dfa")  # the remedy
    ta.summary(model, lines.append)
    assert lines[-1].startswith("No weight transport remains")
    model.fit(X, np.zeros((5, 2)), verbose=0)


def test_layers_keep_their_precision_in_a_copy():
    """A class whose configuration does not say it."""

    class Block(K.Layer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.inner = K.Dense(4)

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return self.inner(x)

    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, K.Dense(2, dtype="float32")(Block()(K.Dense(4)(inputs))))
    keras.config.set_dtype_policy("float32")
    before = model(X)
    same(ta.convert(model, "fa")(X), before)

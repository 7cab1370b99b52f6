"""Models of many shapes, stock, and what the tests of conversion do with them."""

import keras
import numpy as np
import tensorflow as tf

K = keras.layers


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            K.Conv2D(4, 3, activation="relu", name="first"),
            K.BatchNormalization(name="norm"),
            K.Conv2D(4, 3, activation="relu", name="second"),
            K.Flatten(),
            K.Dropout(0.5),
            K.Dense(3, activation="softmax", name="head"),
        ]
    )


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = K.Conv2D(4, 3, padding="same", use_bias=False)(x)
    for _ in range(2):
        h = K.ReLU()(K.BatchNormalization()(x))
        h = K.Conv2D(4, 3, padding="same")(h)
        h = K.Conv2D(4, 3, padding="same")(K.ReLU()(K.BatchNormalization()(h)))
        x = K.Add()([x, h])
    x = K.GlobalAveragePooling2D()(K.ReLU()(K.BatchNormalization()(x)))
    return keras.Model(inputs, K.Dense(3, activation="softmax")(x))


def nested():
    inner = keras.Sequential(
        [keras.Input((6,)), K.Dense(7, activation="relu"), K.Dense(6)], name="inner"
    )
    x = inputs = keras.Input((6,))
    x = K.Dense(6, activation="relu")(x)
    shared = K.Dense(6, activation="tanh", name="shared")
    x = shared(inner(shared(inner(x))))
    return keras.Model(inputs, K.Dense(3)(keras.ops.relu(x)))


def two_heads():
    a, b = keras.Input((6,), name="a"), keras.Input((4,), name="b")
    x = K.Dense(6, activation="relu")(K.Concatenate()([a, b]))
    y = K.Dense(5, activation="relu")(x)
    heads = {"left": K.Dense(3, name="l")(x), "right": K.Dense(2, activation="tanh")(y)}
    return keras.Model({"a": a, "b": b}, heads)


def text():
    x = inputs = keras.Input((5,), dtype="int32")
    x = K.Embedding(11, 6, mask_zero=True)(x)
    x = K.TimeDistributed(K.Dense(6))(x)
    x = K.Add()([x, K.MultiHeadAttention(2, 3)(x, x)])
    x = K.LayerNormalization()(x)
    x = K.LSTM(4)(x)
    return keras.Model(inputs, K.Dense(2)(x))


def normalised():
    norm = K.Normalization()
    norm.adapt(np.random.default_rng(0).standard_normal((50, 4)) * 3 + 1)
    x = inputs = keras.Input((4,))
    x = K.Lambda(lambda a: a * 2.0)(norm(x))
    return keras.Model(inputs, K.Dense(3)(K.Dense(5)(x)))


MODELS = {f.__name__: f for f in (sequential, residual, nested, two_heads, text, normalised)}


def example(model, batch=3):
    rng = np.random.default_rng(0)

    def one(x):
        shape = (batch, *x.shape[1:])
        if x.dtype == "int32":
            return rng.integers(1, 10, shape).astype("int32")
        return rng.standard_normal(shape).astype("float32")

    if isinstance(model, keras.Sequential):
        return one(model.inputs[0])
    return keras.tree.map_structure(one, model.input)


def same(a, b):
    for p, q in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
        np.testing.assert_array_equal(p, q)


def gradients(model, x, training=True):
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(model(x, training=training))
        loss = tf.add_n([tf.reduce_sum(tf.sin(o)) for o in outputs]) + sum(model.losses or [0.0])
    # an Embedding's gradient is sparse
    return [
        None if g is None else tf.convert_to_tensor(g)
        for g in tape.gradient(loss, model.trainable_weights)
    ]


class Narrow(K.Dense):
    """Overrides neither `call` nor `build`."""

    def __init__(self, units=6, **kwargs):
        super().__init__(units, **kwargs)


@keras.saving.register_keras_serializable(package="tests_inplace")
class Named(K.Dense):
    """With a registered name."""


class Block(K.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = K.LayerNormalization(name="norm")
        self.parts = {"inner": [K.Dense(6, "relu", name="up"), Narrow(name="down")]}

    def build(self, shape):
        self.norm.build(shape)
        for part in self.parts["inner"]:
            part.build(shape)

    def call(self, x):
        h = self.norm(x)
        for part in self.parts["inner"]:
            h = part(h)
        return x + h


class Subclassed(keras.Model):
    """Layers in a list and in a block, a train step and a method of its own."""

    def __init__(self, width=6, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.blocks = [Block(name=f"block_{k}") for k in range(2)]
        self.head = Named(3, name="head")
        self.steps = 0

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def train_step(self, data):
        self.steps += 1
        return super().train_step(data)

    def double(self, x):
        return 2 * self(x)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def subclassed():
    model = Subclassed(name="net")
    model(np.ones((2, 6), "float32"))
    return model


SIZE = {"residual": (8, 8, 3), "sequential": (8, 8, 1), "wrapped": (4, 6)}


def data(name, batch=8):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *SIZE.get(name, (6,)))).astype("float32")
    return x, np.arange(batch) % 3

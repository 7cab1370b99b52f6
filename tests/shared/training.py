"""Small trainings that several tests share."""

import functools

import keras
import numpy as np

import tf_alignment as ta

K = keras.layers


@functools.cache
def digits():
    """Embedded digits: training and test images and labels."""
    arrays = ta.data.load("digits")
    return arrays.train, arrays.test


def network(seed=0):
    """A small convolutional network for digits, ending in logits."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            K.Conv2D(16, 3, padding="same", activation="relu"),
            K.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            K.Flatten(),
            K.Dense(64, activation="relu"),
            K.Dense(10),
        ]
    )


def perceptron(sizes=(12, 10, 8), inputs=6, seed=0, **arguments):
    """A stack of tanh layers ending in linear outputs."""
    keras.utils.set_random_seed(seed)
    layers = [K.Dense(n, activation="tanh", **arguments) for n in sizes[:-1]]
    return keras.Sequential([keras.Input((inputs,)), *layers, K.Dense(sizes[-1], **arguments)])


def compile_for_digits(model, forward, **arguments):
    """Compile with a loss on logits, feedback weights under their own optimizer."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = ta.optimizers.split(forward)
    model.compile(optimizer, loss, metrics=["accuracy"], **arguments)
    return model


def angles(model):
    """Angle between forward and feedback kernel, in degrees, by connection path."""
    return {
        c.path: float(ta.metrics.weight_angle(c.kernel, c.feedback_kernel()))
        for layer in ta.layers.feedback_layers(model)
        for c in layer.connections
    }


def toy(examples=64, inputs=6, outputs=8, seed=0):
    """A regression problem of random numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, inputs)).astype("float32")
    return x, np.tanh(x @ rng.standard_normal((inputs, outputs))).astype("float32")


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def flat_digits():
    """The training images as vectors, and labels."""
    (x, y), _ = digits()
    return x.reshape(-1, 64), y


def classifier(feedback="sa", optimizer=None, depth=1, dropout=0.0, **compile_options):
    """A network for `flat_digits`, compiled; layers hidden_0 ... and top."""
    keras.utils.set_random_seed(3)
    layers = [keras.Input((64,))]
    for i in range(depth):
        layers.append(keras.layers.Dense(24, "relu", name=f"hidden_{i}"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    layers.append(keras.layers.Dense(10, name="top"))
    model = ta.convert(keras.Sequential(layers, name="net"), feedback)
    model.compile(
        optimizer or ta.optimizers.split(keras.optimizers.SGD(0.1)), LOSS, **compile_options
    )
    return model

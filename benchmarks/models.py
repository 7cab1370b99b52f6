"""Networks that the benchmarks train, made of stock Keras layers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

import tf_alignment as ta

__all__ = ["MODELS", "lenet_cifar", "perceptron"]


def perceptron() -> keras.Model:
    """Return a perceptron of 784-50-20-10 units with sigmoids."""
    return ta.models.perceptron((784, 50, 20, 10), "sigmoid")


def lenet_cifar() -> keras.Model:
    """Return a network similar to LeNet for CIFAR, wider and with a third convolution.

    The network has 5x5 convolutions of 32, 64 and 128 filters without padding, pooling after the
    first two convolutions, and dense layers of 84 and 10 units. All layers except the last one have
    ReLU.
    """
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(32, 5, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 5, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(128, 5, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(84, activation="relu"),
            keras.layers.Dense(10),
        ],
        name="lenet_cifar",
    )


MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "mlp": (ta.models.perceptron, 64),
    "lenet_cifar": (lenet_cifar, 128),
    "resnet20": (functools.partial(ta.models.resnet, 20), 128),
    "resnet20_fused": (functools.partial(ta.models.resnet, 20, batch_normalization="fused"), 128),
}
"""Networks, `{name: (function that builds the network, batch size)}`."""

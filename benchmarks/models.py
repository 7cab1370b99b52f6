"""The networks that the benchmarks train, in stock Keras layers."""

from __future__ import annotations

from collections.abc import Callable

import keras

__all__ = ["MODELS", "lenet_cifar", "mlp", "perceptron", "resnet20"]


def perceptron() -> keras.Model:
    """784-50-20-10 with sigmoids."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(50, activation="sigmoid"),
            keras.layers.Dense(20, activation="sigmoid"),
            keras.layers.Dense(10),
        ],
        name="perceptron",
    )


def mlp() -> keras.Model:
    """784-512-512-10 with ReLU."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(10),
        ],
        name="mlp",
    )


def lenet_cifar() -> keras.Model:
    """Three valid 5x5 convolutions of 32, 64 and 128 filters with pooling, then 84 and 10 units."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(32, 5, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 5, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(128, 5, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(84),
            keras.layers.Dense(10),
        ],
        name="lenet_cifar",
    )


def resnet20() -> keras.Model:
    """The CIFAR ResNet of 20 layers (He et al. 2016): 16, 32 and 64 filters, three blocks each."""
    inputs = keras.Input((32, 32, 3))
    x = _convolution(inputs, 16, 3, 1)
    x = keras.layers.ReLU()(x)
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            x = _block(x, filters, strides=2 if stage > 0 and block == 0 else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x), name="resnet20")


def _convolution(x: keras.KerasTensor, filters: int, size: int, strides: int) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def _block(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    shortcut = x if strides == 1 else _convolution(x, filters, 1, strides)
    x = keras.layers.ReLU()(_convolution(x, filters, 3, strides))
    x = _convolution(x, filters, 3, 1)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "mlp": (mlp, 64),
    "lenet_cifar": (lenet_cifar, 128),
    "resnet20": (resnet20, 128),
}
"""`{name: (function that builds the network, batch size)}`."""

"""Stock Keras networks that scripts of several folders train."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

import tf_alignment as ta

__all__ = ["perceptron", "residual"]


def perceptron(
    shape: tuple[int, ...], sizes: Sequence[int], names: Sequence[str] | None = None
) -> keras.Model:
    """Return a perceptron that flattens its input images.

    Args:
        shape: Shape of an image, `(height, width, channels)`.
        sizes: Number of units of each layer above the input.
        names: Names of the layers, see `ta.models.perceptron`.
    """
    flat = ta.models.perceptron((math.prod(shape), *sizes), names=names)
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *flat.layers])


def residual(width: int, size: int, channels: int) -> keras.Model:
    """Return a ResNet-20 whose input images are randomly cropped and flipped in training.

    Args:
        width: Number of filters in the first stage.
        size: Height and width of the images, in pixels.
        channels: Number of channels of the images.
    """
    return ta.models.resnet(
        20,
        input_shape=(size, size, channels),
        width=width,
        shortcuts="projection",
        kernel_initializer="glorot_uniform",
        augment=ta.models.CropAndFlip(size // 8),  # as usual for CIFAR-10: 4 pixels for 32
    )

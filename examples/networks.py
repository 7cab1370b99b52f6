"""Networks that scripts of several folders train, in stock Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

import tf_alignment as ta

__all__ = ["perceptron", "residual"]


def perceptron(
    shape: tuple[int, ...], sizes: Sequence[int], names: Sequence[str] | None = None
) -> keras.Model:
    """`ta.models.perceptron` for images, which it flattens."""
    flat = ta.models.perceptron((math.prod(shape), *sizes), names=names)
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *flat.layers])


def residual(width: int, size: int, channels: int) -> keras.Model:
    """ResNet-20 with crops and flips in front."""
    return ta.models.resnet(
        20,
        input_shape=(size, size, channels),
        width=width,
        shortcuts="projection",
        kernel_initializer="glorot_uniform",
        augment=ta.models.CropAndFlip(size // 8),  # 4 pixels on 32
    )

"""Models by name, for the image shape and the number of classes of a dataset."""

from __future__ import annotations

import math
import re
from typing import Any

import keras

from tf_alignment import models

__all__ = ["NAMES", "named_model"]

NAMES = ("small", "perceptron", "lenet", "convnet", "resnet<depth>")
"""Names that `named_model` knows, with a number in place of `<depth>`, as in `resnet20`."""


def named_model(name: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a stock model from images to logits.

    Args:
        name: Name of the model: `"small"` (two convolutions and two dense layers), `"perceptron"`
            (two hidden layers of 512 units), `"lenet"`, `"convnet"`, or `"resnet20"` and other
            depths.
        shape: Shape of an image, `(height, width, channels)`.
        classes: Number of outputs.

    Raises:
        ValueError: If the name is unknown, or images are too small for the model.

    Example:
    >>> from tf_alignment.studies.models import named_model
    >>> named_model("small", (8, 8, 1), 10).output_shape
    (None, 10)
    """
    residual = re.fullmatch(r"resnet(\d+)", name) if isinstance(name, str) else None
    if residual:
        return _resnet(int(residual[1]), shape, classes)
    if name == "small":
        return small(shape, classes)
    if name == "perceptron":
        flat = models.perceptron((math.prod(shape), 512, 512, classes))
        return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *flat.layers])
    if name in ("lenet", "convnet"):
        return getattr(models, name)(shape, classes)
    raise ValueError(f"Argument `model` must be one of {list(NAMES)}. Received: model={name!r}")


def small(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a network of two convolutions and two dense layers.

    For images of at least 16 pixels the first convolution has strides.
    """
    layers: list[Any] = [
        keras.Input(shape),
        keras.layers.Conv2D(
            16, 3, strides=1 if shape[0] < 16 else 2, padding="same", activation="relu"
        ),
        keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(classes),
    ]
    return keras.Sequential(layers, name="small")


def _resnet(depth: int, shape: tuple[int, int, int], classes: int) -> keras.Model:
    augment = models.CropAndFlip(max(1, shape[0] // 8))
    return models.resnet(depth, input_shape=shape, classes=classes, augment=augment)

"""Models by name, for the shape and the classes of a dataset."""

from __future__ import annotations

import math
import re
from typing import Any

import keras

from tf_alignment import models

__all__ = ["NAMES", "named_model"]

NAMES = ("small", "perceptron", "lenet", "convnet", "resnet<depth>")
"""The names that `named_model` knows, with a number in the place of `<depth>`: `resnet20`."""


def named_model(name: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A stock model from images to logits.

    Args:
        name: `"small"` (two convolutions and two dense layers), `"perceptron"` (two hidden layers
            of 512), `"lenet"`, `"convnet"`, or `"resnet20"` and other depths.
        shape: Of an image, `(height, width, channels)`.
        classes: Outputs.

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
    """Two convolutions and two dense layers; from 16 pixels on the first has strides."""
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

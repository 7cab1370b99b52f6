"""Exchange of Keras' batch normalisation in a model for the fused version, and back."""

from __future__ import annotations

from typing import Any

import keras

from tf_alignment._support.arguments import instance
from tf_alignment.layers.normalization import BatchNormalization

__all__ = ["fuse_batch_normalization", "unfuse_batch_normalization"]


def fuse_batch_normalization(model: keras.Model) -> keras.Model:
    """Exchange a model's batch normalisation layers for the fused version, in place.

    Every `keras.layers.BatchNormalization`, including layers inside nested models and layers,
    becomes a `ta.layers.BatchNormalization`, which computes the same numbers to rounding in less
    time. Weights, moving averages, the optimizer and the settings of `compile` stay; compiled
    functions are traced again at their next use. Subclasses of Keras' layer are not exchanged. If
    the model is part of another model that has been trained, compile the other model again.

    Args:
        model: Keras model or layer.

    Returns:
        `model` itself.

    Raises:
        TypeError: If `model` is no Keras model or layer.

    Source: this library; the layer is batch normalisation (Ioffe & Szegedy 2015).

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.BatchNormalization()]
    >>> model = ta.fuse_batch_normalization(keras.Sequential(layers))
    >>> type(model.layers[0]) is ta.layers.BatchNormalization
    True
    """
    return _exchange(model, keras.layers.BatchNormalization, BatchNormalization)


def unfuse_batch_normalization(model: keras.Model) -> keras.Model:
    """Undo `fuse_batch_normalization`, in place.

    Args:
        model: Keras model or layer.

    Returns:
        `model` itself, with a `keras.layers.BatchNormalization` in place of every
        `ta.layers.BatchNormalization`.

    Raises:
        TypeError: If `model` is no Keras model or layer.

    Source: this library; the layer is batch normalisation (Ioffe & Szegedy 2015).

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((8, 8, 1)), ta.layers.BatchNormalization()]
    >>> model = ta.unfuse_batch_normalization(keras.Sequential(layers))
    >>> type(model.layers[0]) is keras.layers.BatchNormalization
    True
    """
    return _exchange(model, BatchNormalization, keras.layers.BatchNormalization)


def _exchange(model: Any, old: type, new: type) -> Any:
    instance("model", model, keras.layers.Layer, "a Keras model or layer")
    # Keras has no public walk over the layers inside layers.
    for layer in model._flatten_layers():
        if type(layer) is old:
            layer.__class__ = new
        if isinstance(layer, keras.Model):  # made anew at the next `fit`, `evaluate`, `predict`
            layer.train_function = layer.test_function = layer.predict_function = None
    return model

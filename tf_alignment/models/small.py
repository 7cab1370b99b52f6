"""Small networks of published studies, in stock Keras layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import integer, integers, number
from tf_alignment.conversion import convert

__all__ = ["alexnet", "convnet", "lenet", "perceptron"]

layers = keras.layers


def perceptron(
    sizes: Sequence[int] = (784, 512, 512, 10),
    activation: str = "relu",
    *,
    names: Sequence[str] | None = None,
    feedback: Any = None,
) -> keras.Model:
    """Build a perceptron, a network of dense layers.

    Args:
        sizes: Sizes of the input, the hidden layers and the output. In the papers, 784-512-512-10
            is the network of product feedback on MNIST, 784-256-128-64-10 the network of
            spike-based alignment, and 784-50-20-10 the network of node perturbation, with
            `"sigmoid"` also in the output.
        activation: Activation of the hidden layers.
        names: Names of the layers, from the lowest to the highest; by default `hidden1`,
            `hidden2`, ..., `output`.
        feedback: Feedback method of all layers, see `tf_alignment.convert`; None for a stock Keras
            model.

    Returns:
        Model from `(batch, sizes[0])` to logits, `(batch, sizes[-1])`.

    Raises:
        ValueError: For fewer than two sizes, or if the number of `names` and of layers differ.

    Example:
    >>> import tf_alignment as ta
    >>> model = ta.models.perceptron((784, 50, 20, 10), "sigmoid", names=("low", "middle", "top"))
    >>> model.count_params(), [layer.name for layer in model.layers]
    (40480, ['low', 'middle', 'top'])
    """
    inputs, *hidden, outputs = integers("sizes", sizes, entries=2)
    if names is None:
        names = [*(f"hidden{i}" for i in range(1, 1 + len(hidden))), "output"]
    elif (
        not isinstance(names, Sequence)
        or not all(isinstance(name, str) and name for name in names)
        or [len(names), len(set(names))] != 2 * [1 + len(hidden)]
    ):
        raise ValueError(
            f"Argument `names` must be {1 + len(hidden)} different names, one per layer. "
            f"Received: names={names!r}"
        )
    feedback = methods.get(feedback)
    model = keras.Sequential([keras.Input((inputs,))], name="perceptron")
    for units, name in zip(hidden, names, strict=False):
        model.add(layers.Dense(units, activation, name=name))
    model.add(layers.Dense(outputs, name=names[-1]))
    return _with(feedback, model)


def lenet(
    input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, *, feedback: Any = None
) -> keras.Model:
    """Build LeNet-5 with ReLU and max pooling.

    It has convolutions of 6 and 16 filters and hidden dense layers of 120 and 84 units.

    Args:
        input_shape: Shape of an image, `(height, width, channels)`, at least 12x12. The first
            convolution is padded if a side is shorter than 32.
        classes: Number of outputs.
        feedback: Feedback method of all layers, see `tf_alignment.convert`; None for a stock Keras
            model.

    Returns:
        Model from `(batch, height, width, channels)` to logits.

    Reference: LeCun et al. 1998, "Gradient-based learning applied to document recognition".

    Example:
    >>> import tf_alignment as ta
    >>> ta.models.lenet().count_params()
    61706
    """
    (input_shape, classes), feedback = _check(input_shape, classes, 12), methods.get(feedback)
    padding = "same" if min(input_shape[:2]) < 32 else "valid"
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(6, 5, padding=padding, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(16, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="features"),
            layers.Dense(120, activation="relu", name="dense1"),
            layers.Dense(84, activation="relu", name="dense2"),
            layers.Dense(classes, name="output"),
        ],
        name="lenet",
    )
    return _with(feedback, model)


def alexnet(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    width: float = 1.0,
    *,
    feedback: Any = None,
) -> keras.Model:
    """Build AlexNet in one stream: five convolutions and three dense layers.

    Args:
        input_shape: Shape of an image, `(height, width, channels)`, at least 63x63.
        classes: Number of outputs.
        width: Factor on the numbers of filters and units.
        feedback: Feedback method of all layers, see `tf_alignment.convert`; None for a stock Keras
            model.

    Returns:
        Model from `(batch, height, width, channels)` to logits.

    Reference: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".

    Example:
    >>> import tf_alignment as ta
    >>> ta.models.alexnet().count_params()
    61100840
    """
    input_shape, classes = _check(input_shape, classes, 63)
    width, feedback = number("width", width, above=0), methods.get(feedback)
    model = keras.Sequential([keras.Input(input_shape)], name="alexnet")
    kernels = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
    for i, (filters, size, strides, padding) in enumerate(kernels, 1):
        model.add(layers.ZeroPadding2D(padding, name=f"conv{i}_pad"))
        filters = max(1, round(width * filters))
        model.add(layers.Conv2D(filters, size, strides, activation="relu", name=f"conv{i}"))
        if i in (1, 2, 5):
            model.add(layers.MaxPooling2D(3, 2, name=f"pool{i}"))
    model.add(layers.Flatten(name="features"))
    for i in (1, 2):
        model.add(layers.Dropout(0.5, name=f"dropout{i}"))
        model.add(layers.Dense(max(1, round(width * 4096)), activation="relu", name=f"dense{i}"))
    model.add(layers.Dense(classes, name="output"))
    return _with(feedback, model)


def convnet(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    filters: int = 64,
    units: Sequence[int] = (384, 192),
    *,
    augment: Sequence[keras.layers.Layer] = (),
    feedback: Any = None,
) -> keras.Model:
    """Build the network of the studies on spikes: two convolutions and three dense layers.

    Convolutions are 5x5, without padding and without bias. Each layer except the last is followed
    by ReLU and batch normalisation.

    Args:
        input_shape: Shape of an image, `(height, width, channels)`.
        classes: Number of outputs.
        filters: Number of filters of each convolution.
        units: Numbers of units of the hidden dense layers.
        augment: Layers in front of the network that change images in training.
        feedback: Feedback method of all layers, see `tf_alignment.convert`; None for a stock Keras
            model.

    Returns:
        Model from `(batch, height, width, channels)` to logits, with dense layers named `dense1`,
        `dense2` and `output`.

    Raises:
        TypeError: If `augment` is no list of layers.
        ValueError: For counts below 1, or images below 16x16.

    References: Guerguiev et al. 2020, "Spike-based causal inference for weight alignment", table 1;
    Gierlich et al. 2026 for the last three layers.

    Example:
    >>> import tf_alignment as ta
    >>> ta.models.convnet().get_layer("features").output.shape
    (None, 1600)
    """
    input_shape, classes = _check(input_shape, classes, 16)
    filters, units = integer("filters", filters), integers("units", units)
    if not isinstance(augment, Sequence) or not all(
        isinstance(layer, keras.layers.Layer) for layer in augment
    ):
        raise TypeError(
            f"Argument `augment` must be a list of Keras layers. Received: augment={augment!r}"
        )
    feedback = methods.get(feedback)
    model = keras.Sequential([keras.Input(input_shape), *augment], name="convnet")
    for i in (1, 2):
        model.add(layers.Conv2D(filters, 5, activation="relu", use_bias=False, name=f"conv{i}"))
        model.add(layers.BatchNormalization(name=f"conv{i}_norm"))
        model.add(layers.MaxPooling2D(name=f"conv{i}_pool"))
    model.add(layers.Flatten(name="features"))
    for i, count in enumerate(units, 1):
        model.add(layers.Dense(count, activation="relu", name=f"dense{i}"))
        model.add(layers.BatchNormalization(name=f"dense{i}_norm"))
    model.add(layers.Dense(classes, name="output"))
    return _with(feedback, model)


def _check(input_shape: Any, classes: Any, least: int) -> tuple[tuple[int, int, int], int]:
    """Check that images are not too small for the network; return their shape and the classes."""
    classes = integer("classes", classes)
    height, width, channels = integers("input_shape", input_shape, length=3)
    if min(height, width) < least:
        raise ValueError(
            f"Argument `input_shape` must be of images of at least {least}x{least}. "
            f"Received: input_shape={input_shape!r}"
        )
    return (height, width, channels), classes


def _with(feedback: Any, model: keras.Model) -> keras.Model:
    return model if feedback is None else convert(model, feedback, feedback_initializer=None)

"""Residual networks of any depth, for ImageNet and for CIFAR, in stock Keras layers.

Layers are named as in `keras.applications`: `conv3_block2_1_conv` is the first convolution of the
second block of the third group; `_0_` belongs to a shortcut.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import keras

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import instance, integer, integers, number, one_of
from tf_alignment._support.seeds import named_initializer
from tf_alignment.conversion import convert
from tf_alignment.layers.normalization import BatchNormalization

__all__ = ["ChannelPadding", "resnet"]

layers = keras.layers

# Blocks of each stage, and whether they have three convolutions (a bottleneck) instead of two.
_IMAGENET: dict[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
_NORMALIZATIONS = {"keras": layers.BatchNormalization, "fused": BatchNormalization}
_EXPANSION = 4  # filters at the end of a bottleneck, over those in it


@keras.saving.register_keras_serializable(package="tf_alignment")
class ChannelPadding(keras.layers.Layer):
    """Shortcut without weights: every `strides`-th pixel, and zeros as further channels.

    Args:
        filters: Number of channels of the output.
        strides: Step between the pixels that are kept.

    Input and output: `(batch, height, width, channels)`.

    Reference: He et al. 2016, "Deep residual learning for image recognition", option A.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> tuple(ta.models.ChannelPadding(filters=8, strides=2)(tf.ones((1, 4, 4, 3))).shape)
    (1, 2, 2, 8)
    """

    def __init__(self, filters: int, strides: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides = integer("filters", filters), integer("strides", strides)

    def call(self, inputs: Any) -> Any:
        """Pick pixels of `inputs` and pad the channels with zeros."""
        kept = inputs[:, :: self.strides, :: self.strides]
        missing = self.filters - inputs.shape[-1]
        return keras.ops.pad(kept, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


def resnet(
    depth: int,
    version: int = 1,
    *,
    feedback: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    width: int | None = None,
    shortcuts: str | None = None,
    layout: str = "reference",
    kernel_initializer: Any = "he_normal",
    momentum: float | None = None,
    batch_normalization: str = "keras",
    weights: keras.Model | str | None = None,
    augment: keras.layers.Layer | None = None,
) -> keras.Model:
    """Build a residual network.

    Args:
        depth: Number of layers with weights. 18, 34, 50, 101 or 152 gives four stages, for
            ImageNet; 6n + 2, for instance 20, 32, 56 or 110, gives three stages of n blocks, for
            CIFAR.
        version: Place of batch normalisation and ReLU: after each convolution (1) or before it (2).
        feedback: Feedback method of all layers, see `tf_alignment.convert`; None for a stock Keras
            model.
        input_shape: Shape of an image, `(height, width, channels)`. By default (224, 224, 3) for
            ImageNet, (299, 299, 3) for ImageNet in version 2, and (32, 32, 3) for CIFAR; use
            (None, None, 3) for images of any size.
        classes: Number of outputs, which are logits; by default 1000 for ImageNet, 10 for CIFAR.
        width: Number of filters in the first stage, by default 64 for ImageNet, 16 for CIFAR; it
            doubles from stage to stage.
        shortcuts: Kind of the shortcuts at which the shape changes: `"projection"` (1x1
            convolutions, the default for ImageNet) or `"padding"` (without weights, the default for
            CIFAR, as in the paper).
        layout: Details of the blocks. `"reference"` has no biases in convolutions, and the strides
            of a bottleneck are in its 3x3 convolution. `"keras"`, for depths of 50 and more, is the
            layout of `keras.applications`: with biases, and with strides in the first convolution
            (version 1) or at the end of a stage (version 2).
        kernel_initializer: Initializer of the convolutions.
        momentum: Momentum of batch normalisation; by default 0.9, or 0.997 in version 2, as in "Two
            Routes".
        batch_normalization: Class of batch normalisation: `"keras"`, or `"fused"` for
            `ta.layers.BatchNormalization`, which computes the same numbers to rounding, in less
            time. Use `ta.fuse_batch_normalization` for a model that is already built.
        weights: Model whose layers have these names and shapes, to copy the weights from; or
            `"imagenet"` for the weights of `keras.applications`, which are downloaded.
        augment: Layer in front of the network that changes images in training.

    Returns:
        Functional model from `(batch, height, width, channels)` to logits, `(batch, classes)`.

    Raises:
        ValueError: For a depth or another value that is not listed, or weights that do not fit.

    Reference: He et al. 2016, "Deep residual learning for image recognition" and "Identity mappings
    in deep residual networks".

    Example:
    >>> import tf_alignment as ta
    >>> ta.models.resnet(18).count_params() - 2 * 4800  # without the moving averages
    11689512
    >>> model = ta.models.resnet(20, feedback="sa", width=4)
    >>> list(model.get_layer("conv2_block1_1_conv").feedback_weights)
    ['feedback_kernel']
    """
    depth = _check(depth, version, shortcuts, layout, kernel_initializer, weights, augment)
    one_of("batch_normalization", batch_normalization, tuple(_NORMALIZATIONS))
    cifar = depth not in _IMAGENET
    stages, bottleneck = (((depth - 2) // 6,) * 3, False) if cifar else _IMAGENET[depth]
    size = 32 if cifar else (224 if version == 1 else 299)
    width = (16 if cifar else 64) if width is None else integer("width", width)
    classes = (10 if cifar else 1000) if classes is None else integer("classes", classes)
    if momentum is None:
        momentum = 0.9 if version == 1 else 0.997
    feedback = methods.get(feedback)
    inputs = keras.Input(_image_shape((size, size, 3) if input_shape is None else input_shape))
    builder = _Builder(
        version,
        bottleneck,
        shortcuts or ("padding" if cifar else "projection"),
        layout == "keras" or weights == "imagenet",
        kernel_initializer,
        number("momentum", momentum, least=0, most=1),
        _NORMALIZATIONS[batch_normalization],
    )
    x = inputs if augment is None else augment(inputs)
    x = builder.stem(x, width, cifar)
    for stage, blocks in enumerate(stages):
        x = builder.stage(x, width * 2**stage, blocks, stage, len(stages))
    if version == 2:
        x = builder.normalised(x, "post")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    outputs = layers.Dense(classes, name="predictions")(x)
    model = keras.Model(inputs, outputs, name=f"resnet{depth}v{version}")
    if weights is not None:
        source = _application(depth, version) if weights == "imagenet" else weights
        copy_weights_by_name(source, model)
    return model if feedback is None else convert(model, feedback, feedback_initializer=None)


def _check(
    depth: Any,
    version: Any,
    shortcuts: Any,
    layout: Any,
    kernel_initializer: Any,
    weights: Any,
    augment: Any,
) -> int:
    """Check the arguments of `resnet` and return the depth."""
    known = isinstance(depth, numbers.Integral) and not isinstance(depth, bool)
    if not known or not (depth in _IMAGENET or (depth >= 8 and depth % 6 == 2)):
        raise ValueError(
            f"Argument `depth` must be one of {list(_IMAGENET)}, or 6n + 2. "
            f"Received: depth={depth!r}"
        )
    depth = int(depth)
    one_of("version", version, (1, 2))
    one_of("layout", layout, ("reference", "keras"))
    one_of("shortcuts", shortcuts, ("padding", "projection", None))
    named_initializer("kernel_initializer", kernel_initializer)  # each layer makes its own
    if isinstance(weights, str):
        one_of("weights", weights, ("imagenet",))
    elif weights is not None:
        instance("weights", weights, keras.Model, "a Keras model, 'imagenet' or None")
    if augment is not None:
        instance("augment", augment, keras.layers.Layer, "a Keras layer or None")
    if (layout == "keras" or weights == "imagenet") and not _IMAGENET.get(depth, ((), False))[1]:
        raise ValueError(
            "Argument `layout` must be 'reference' where `keras.applications` has no network: for "
            f"depths other than 50, 101 and 152. Received: layout={layout!r}, depth={depth}"
        )
    return depth


def _image_shape(given: Any) -> tuple[int | None, ...]:
    """Height and width (None for any size) and channels of an image."""
    if isinstance(given, Sequence) and len(given) == 3 and list(given[:2]) == [None, None]:
        return None, None, integer("input_shape", given[2])
    return integers("input_shape", given, length=3)


def copy_weights_by_name(source: keras.Model, target: keras.Model) -> None:
    """Copy weights from `source` to the layers of `target` that have the same names.

    Raises:
        ValueError: If `source` lacks a layer, or has weights of other shapes in it.
    """
    names = {layer.name for layer in source.layers}
    for layer in target.layers:
        if not layer.weights:
            continue
        shapes = [tuple(w.shape) for w in layer.weights]
        found = source.get_layer(layer.name).get_weights() if layer.name in names else []
        if [w.shape for w in found] != shapes:
            raise ValueError(
                f"Argument `weights` must be a model with the layers of this one. Layer "
                f"'{layer.name}' has weights of the shapes {shapes}. Received: "
                f"{[w.shape for w in found] or 'no such layer'}"
            )
        layer.set_weights(found)


def _application(depth: int, version: int) -> keras.Model:
    name = f"ResNet{depth}" + ("V2" if version == 2 else "")
    return getattr(keras.applications, name)(weights="imagenet")


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Builder of the parts of a network.

    Attributes:
        version: Version of the blocks, 1 or 2.
        bottleneck: Whether blocks have three convolutions.
        shortcuts: Kind of the shortcuts, `"padding"` or `"projection"`.
        as_keras: Whether the layout is that of `keras.applications`.
        initializer: Initializer of the kernels.
        momentum: Momentum of batch normalisation.
        normalization: Class of batch normalisation.
    """

    version: int
    bottleneck: bool
    shortcuts: str
    as_keras: bool
    initializer: Any
    momentum: float
    normalization: type[keras.layers.BatchNormalization]

    def stem(self, x: Any, filters: int, cifar: bool) -> Any:
        """Build the layers before the first block."""
        first = self.version == 1
        x = self.convolution(x, filters, *((3, 1) if cifar else (7, 2)), "conv1", self.as_keras)
        if first:
            x = self.normalised(x, "conv1")
        if cifar:
            return x
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)

    def stage(self, x: Any, filters: int, blocks: int, number: int, count: int) -> Any:
        """Build the blocks of one stage; from stage to stage, height and width are halved."""
        late = self.as_keras and self.version == 2  # there, the last block has the strides
        for block in range(blocks):
            if late:
                strides = 2 if block == blocks - 1 and number < count - 1 else 1
            else:
                strides = 2 if block == 0 and number > 0 else 1
            build = self.block if self.version == 1 else self.preactivated
            x = build(x, filters, strides, block == 0, f"conv{number + 2}_block{block + 1}")
        return x

    def block(self, x: Any, filters: int, strides: int, first: bool, name: str) -> Any:
        """Build a block of version 1, with a ReLU after the sum."""
        shortcut = self.shortcut(x, x, filters, strides, first, name)
        for i, (width, size, step) in enumerate(self.convolutions(filters, strides), 1):
            x = self.convolution(x, width, size, step, f"{name}_{i}", self.as_keras)
            last = i == (3 if self.bottleneck else 2)
            x = self.normalised(x, f"{name}_{i}", activated=not last)
        return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))

    def preactivated(self, x: Any, filters: int, strides: int, first: bool, name: str) -> Any:
        """Build a block of version 2, without a ReLU after the sum."""
        inputs, x = x, self.normalised(x, f"{name}_preact")
        shortcut = self.shortcut(inputs, x, filters, strides, first, name)
        for i, (width, size, step) in enumerate(self.convolutions(filters, strides), 1):
            if i > 1:
                x = self.normalised(x, f"{name}_{i - 1}")
            x = self.convolution(x, width, size, step, f"{name}_{i}", self.as_keras and i == 3)
        return layers.Add(name=f"{name}_out")([shortcut, x])

    def convolutions(self, filters: int, strides: int) -> list[tuple[int, int, int]]:
        """Filters, size and strides of a block's convolutions."""
        if not self.bottleneck:
            return [(filters, 3, strides), (filters, 3, 1)]
        early, middle = (strides, 1) if self.as_keras and self.version == 1 else (1, strides)
        return [(filters, 1, early), (filters, 3, middle), (_EXPANSION * filters, 1, 1)]

    def shortcut(
        self, x: Any, activated: Any, filters: int, strides: int, first: bool, name: str
    ) -> Any:
        """Tensor to which the result of a block is added."""
        filters *= _EXPANSION if self.bottleneck else 1
        if strides == 1 and x.shape[-1] == filters:
            return x
        if not first:  # the strides of the last block
            return layers.MaxPooling2D(1, strides=strides, name=f"{name}_0_pool")(x)
        if self.shortcuts == "padding":
            return ChannelPadding(filters, strides, name=f"{name}_0_padding")(x)
        x = self.convolution(activated, filters, 1, strides, f"{name}_0", self.as_keras)
        return x if self.version == 2 else self.normalised(x, f"{name}_0", activated=False)

    def convolution(
        self, x: Any, filters: int, size: int, strides: int, name: str, bias: bool
    ) -> Any:
        """Convolution with equal padding on all sides; "same" would depend on the image size."""
        padding = "same"
        if size > 1 and strides > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        return layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=bias,
            kernel_initializer=self.initializer,
            name=f"{name}_conv",
        )(x)

    def normalised(self, x: Any, name: str, activated: bool = True) -> Any:
        """Batch normalisation, followed by a ReLU unless it is switched off."""
        epsilon = 1.001e-5 if self.as_keras else 1e-5
        x = self.normalization(momentum=self.momentum, epsilon=epsilon, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if activated else x

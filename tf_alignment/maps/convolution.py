"""Maps of the convolutions: ordinary, depthwise and transposed."""

from __future__ import annotations

import functools
import math

import keras
import tensorflow as tf

from tf_alignment._support.devices import on_cpu
from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.shapes import size

__all__ = [
    "Convolution",
    "DepthwiseConvolution",
    "PointwiseConvolution",
    "TransposedConvolution",
]


class _Spatial(LinearMap):
    """Base of the maps of convolutions.

    Args:
        rank: Number of spatial axes.
        strides, padding, dilation_rate, data_format: Arguments of the Keras layer.
    """

    spatial = True

    def __init__(
        self,
        rank: int,
        kernel_size: tuple[int, ...],
        strides: tuple[int, ...],
        padding: str,
        dilation_rate: tuple[int, ...],
        data_format: str,
    ) -> None:
        self.rank = rank
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.data_format = data_format

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        shape = [1] * rank
        shape[self.channel_axis] = self.units(kernel_shape)
        return tuple(shape)

    def overlap(self) -> float:
        return math.prod(self.kernel_size) / math.prod(self.strides)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return size(z) / float(z.shape[self.channel_axis])


class Convolution(_Spatial):
    """Map of `Conv1D`, `Conv2D`, `Conv3D`: kernel `(*window, in / groups, out)`.

    Args:
        rank: Number of spatial axes.
        kernel_size, strides, padding, dilation_rate, data_format: Arguments of the Keras layer.
        groups: Number of groups of channels.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> conv = ta.maps.Convolution(2, (3, 3), (1, 1), "same", (1, 1), "channels_last")
    >>> conv.apply(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 4))).shape
    TensorShape([1, 8, 8, 4])
    """

    def __init__(self, *args: object, groups: int = 1, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.groups = groups

    def input_channels(self, kernel_shape: tuple[int, ...]) -> int:
        return kernel_shape[-2] * self.groups

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        padding = self.padding
        if padding == "causal":  # Conv1D pads the past, then convolves without padding
            past = [self.dilation_rate[0] * (self.kernel_size[0] - 1), 0]
            time_first = self.data_format == "channels_last"
            x = keras.ops.pad(x, [[0, 0], past, [0, 0]] if time_first else [[0, 0], [0, 0], past])
            padding = "valid"
        return keras.ops.conv(
            x,
            kernel,
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        if not self._reverses(kernel):
            return super().transpose(dz, kernel, like)
        reverse = tf.reverse(kernel, list(range(self.rank)))
        return self.apply(dz, tf.linalg.matrix_transpose(reverse))

    def _reverses(self, kernel: tf.Tensor) -> bool:
        """Whether to send the error down by a forward convolution with the reversed kernel.

        The kernel is reversed in space, and its input and output channels are swapped. This gives
        the same result if the stride is 1 and the padding is equal on both sides. In TensorFlow's
        own CPU kernels it is up to three times as fast as the gradient, if there are enough input
        channels and at least as many as output channels (docs/performance.md). Elsewhere it is not
        faster.
        """
        inputs, outputs = kernel.shape[-2:]
        symmetric = self.padding == "same" and all(size % 2 for size in self.kernel_size)
        same_map = symmetric and set(self.strides) == {1} and self.groups == 1
        return same_map and 8 <= inputs >= outputs and _own_cpu_kernels()


class PointwiseConvolution(Convolution):
    """Map of the pointwise part of `SeparableConv1D`, `SeparableConv2D`: kernel `(*ones, in, out)`.

    On CPUs TensorFlow does not have channels-first convolutions in every precision. There, Keras
    moves the channels to the last axis, and so does this map.

    Args:
        rank: Number of spatial axes.
        kernel_size, strides, padding, dilation_rate, data_format: Arguments of the Keras layer.
        groups: Number of groups of channels, 1.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> conv = ta.maps.PointwiseConvolution(2, (1, 1), (1, 1), "valid", (1, 1), "channels_last")
    >>> conv.apply(tf.ones((1, 8, 8, 3)), tf.ones((1, 1, 3, 2))).shape
    TensorShape([1, 8, 8, 2])
    """

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.data_format == "channels_last" or not on_cpu():
            return super().apply(x, kernel)
        last = [0, *range(2, self.rank + 2), 1]
        z = keras.ops.conv(tf.transpose(x, last), kernel, data_format="channels_last")
        return tf.transpose(z, [0, self.rank + 1, *range(1, self.rank + 1)])


class DepthwiseConvolution(_Spatial):
    """Map of `DepthwiseConv1D`, `DepthwiseConv2D`: kernel `(*window, in, multiplier)`.

    Args:
        rank: Number of spatial axes.
        kernel_size, strides, padding, dilation_rate, data_format: Arguments of the Keras layer.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> conv = ta.maps.DepthwiseConvolution(2, (3, 3), (1, 1), "same", (1, 1), "channels_last")
    >>> conv.apply(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 2))).shape
    TensorShape([1, 8, 8, 6])
    """

    def unit_axes(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        return len(kernel_shape) - 2, len(kernel_shape) - 1

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.depthwise_conv(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class TransposedConvolution(_Spatial):
    """Map of `Conv1DTranspose` ... `Conv3DTranspose`: kernel `(*window, out, in)`.

    Args:
        rank: Number of spatial axes.
        kernel_size, strides, padding, dilation_rate, data_format, output_padding: Arguments of the
            Keras layer.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> conv = ta.maps.TransposedConvolution(1, (3,), (2,), "same", (1,), "channels_last")
    >>> conv.apply(tf.ones((1, 8, 3)), tf.ones((3, 4, 3))).shape
    TensorShape([1, 16, 4])
    """

    def __init__(
        self, *args: object, output_padding: tuple[int, ...] | None = None, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.output_padding = output_padding

    def unit_axes(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(kernel_shape) - 2,)

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv_transpose(
            x,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def overlap(self) -> float:
        return float(math.prod(self.kernel_size))

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return size(x) / float(x.shape[self.channel_axis])


@functools.cache
def _own_cpu_kernels() -> bool:
    """Whether TensorFlow convolves with its own CPU kernels: no accelerator and no oneDNN."""
    if not on_cpu():
        return False
    try:  # nothing public tells
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return False
    return not IsMklEnabled()

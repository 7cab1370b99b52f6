"""Convolutions with feedback: plain, depthwise, separable and transposed."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_alignment.layers.base import FeedbackLayer
from tf_alignment.layers.connection import Connection
from tf_alignment.maps import (
    Convolution,
    DepthwiseConvolution,
    LinearMap,
    PointwiseConvolution,
    TransposedConvolution,
)

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
]

_package = keras.saving.register_keras_serializable(package="tf_alignment")

_DOC = """

The forward pass is the same as in Keras. In the backward pass the error passes {path}. With
`feedback=None` the layer behaves like `keras.layers.{name}`.

Args:
    {first}, ...: Arguments of `keras.layers.{name}`.
    feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
        `tf_alignment.layers.Dense`.

Input shape, output shape:
    The same as in `keras.layers.{name}`.

Raises:
    ValueError: See `tf_alignment.layers.Dense`.

Example:

>>> import tensorflow as tf, tf_alignment as ta
>>> layer = ta.layers.{name}({arguments}, feedback="fa")
>>> y = layer(tf.ones({shape}))
>>> sorted(layer.feedback_weights)
{weights}
"""


def _document(cls: type) -> type:
    """Write the docstring of a convolution; the text is common, names and shapes differ."""
    name = cls.__name__
    rank = int(name.split("Conv")[1][0])
    depthwise, separable = name.startswith("Depthwise"), name.startswith("Separable")
    cls.__doc__ = f"{cls.__doc__}" + _DOC.format(
        name=name,
        path="two feedback kernels, depthwise and pointwise" if separable else "a feedback kernel",
        first="kernel_size" if depthwise else "filters, kernel_size",
        arguments="3" if depthwise else "4, 3",
        shape=(1, *(5,) * rank, 2),
        weights=["depthwise_feedback_kernel", "pointwise_feedback_kernel"]
        if separable
        else ["feedback_kernel"],
    )
    return cls


class _Convolutional(FeedbackLayer):
    """Base of the convolutional layers: shape of the bias, and arguments of the map."""

    def _bias(self) -> tf.Tensor | None:
        if not self.use_bias:
            return None
        shape = [1] * (self.rank + 2)
        shape[-1 if self.data_format == "channels_last" else 1] = -1
        return keras.ops.reshape(self.bias, shape)

    def _window(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "kernel_size": tuple(self.kernel_size),
            "strides": tuple(self.strides),
            "padding": self.padding,
            "dilation_rate": tuple(self.dilation_rate),
            "data_format": self.data_format,
        }


class _Plain(_Convolutional):
    def _connect(self) -> list[Connection]:
        return [self._connection(Convolution(**self._window(), groups=self.groups))]


class _Depthwise(_Convolutional):
    def _connect(self) -> list[Connection]:
        return [self._connection(DepthwiseConvolution(**self._window()), "depthwise")]


class _Transposed(_Convolutional):
    def _connect(self) -> list[Connection]:
        padding = self.output_padding
        transposed = TransposedConvolution(**self._window(), output_padding=padding)
        return [self._connection(transposed)]


class _Separable(_Convolutional):
    def _connect(self) -> list[Connection]:
        window = self._window()
        ones = (1,) * self.rank
        point = dict(window, kernel_size=ones, strides=ones, dilation_rate=ones, padding="valid")
        maps: dict[str, LinearMap] = {
            "depthwise": DepthwiseConvolution(**window),
            "pointwise": PointwiseConvolution(**point),
        }
        return [self._connection(m, prefix=name, name=name) for name, m in maps.items()]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Forward pass of the Keras layer, with the method's backward pass."""
        if self.feedback is None:
            return super().call(inputs)
        depthwise, pointwise = self.connections
        add_bias, step = self._bias_adder(), self._count_step(training)
        z = depthwise.run(self._tensor(inputs), tf.identity, tf.identity, training, step)
        z = pointwise.run(z, add_bias, self._activate, training, step)
        return self._activate(add_bias(z))


@_package
@_document
class Conv1D(_Plain, keras.layers.Conv1D):
    """`keras.layers.Conv1D` whose error travels through feedback weights."""


@_package
@_document
class Conv2D(_Plain, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose error travels through feedback weights."""


@_package
@_document
class Conv3D(_Plain, keras.layers.Conv3D):
    """`keras.layers.Conv3D` whose error travels through feedback weights."""


@_package
@_document
class DepthwiseConv1D(_Depthwise, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` whose error travels through feedback weights."""


@_package
@_document
class DepthwiseConv2D(_Depthwise, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose error travels through feedback weights."""


@_package
@_document
class SeparableConv1D(_Separable, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` whose error travels through feedback weights."""


@_package
@_document
class SeparableConv2D(_Separable, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` whose error travels through feedback weights."""


@_package
@_document
class Conv1DTranspose(_Transposed, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` whose error travels through feedback weights."""


@_package
@_document
class Conv2DTranspose(_Transposed, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` whose error travels through feedback weights."""


@_package
@_document
class Conv3DTranspose(_Transposed, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` whose error travels through feedback weights."""

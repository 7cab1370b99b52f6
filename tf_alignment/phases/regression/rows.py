"""Sending an error down as a linear regression on the feedback kernel, for the solver `Ridge`.

Where the same number of entries of an error reaches every entry of the input, `transpose` is a
product of two matrices: one row of regressors per position, one column of coefficients per input
channel. That holds in dense layers and in convolutions without groups.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.convolution import Convolution
from tf_alignment.maps.dense import Matmul
from tf_alignment.maps.shapes import dims

__all__ = ["Rows", "rows_of"]


class Rows(Protocol):
    """A linear map as a regression: `error_rows @ coefficients` is `transpose`, row by row."""

    def count(self, kernel_shape: Sequence[int]) -> int:
        """Number of regressors: entries of an error that reach one entry of the input."""

    def error_rows(self, dz: tf.Tensor, kernel_shape: Sequence[int], like: tf.Tensor) -> tf.Tensor:
        """The error `dz` as `(positions, regressors)`; `like` has the input's shape."""

    def input_rows(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        """A tensor of the input's shape as `(positions, input channels)`."""

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        """A kernel as `(regressors, input channels)`."""

    def kernel(self, coefficients: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        """The kernel with these coefficients."""


@functools.singledispatch
def rows_of(linear_map: LinearMap) -> Rows | None:
    """The map as a regression, or None where it is none."""
    return None


class _DenseRows:
    def count(self, kernel_shape: Sequence[int]) -> int:
        return kernel_shape[1]

    def error_rows(self, dz: tf.Tensor, kernel_shape: Sequence[int], like: tf.Tensor) -> tf.Tensor:
        return tf.reshape(dz, [-1, kernel_shape[1]])

    def input_rows(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        # of direct feedback x is a whole feature map, and every entry a coefficient's
        return tf.reshape(x, [-1, kernel_shape[0]])

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(kernel)

    def kernel(self, coefficients: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        return tf.transpose(coefficients)


class _ConvolutionRows:
    def __init__(self, linear_map: Convolution) -> None:
        self.map = linear_map

    def count(self, kernel_shape: Sequence[int]) -> int:
        return math.prod(kernel_shape) // kernel_shape[-2]

    def error_rows(self, dz: tf.Tensor, kernel_shape: Sequence[int], like: tf.Tensor) -> tf.Tensor:
        *window, _, outputs = kernel_shape
        count = math.prod(window) * outputs
        # Sent down through this kernel, every entry of the error arrives in a channel of its own.
        apart = tf.reshape(tf.eye(count, dtype=dz.dtype), (*window, outputs, count))
        shape = dims(like)
        shape[self.map.channel_axis] = count
        sent = self.map.transpose(dz, tf.linalg.matrix_transpose(apart), tf.zeros(shape, dz.dtype))
        return self._positions(sent)

    def input_rows(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        return self._positions(x)

    def _positions(self, x: tf.Tensor) -> tf.Tensor:
        if self.map.channel_axis != -1:
            x = tf.transpose(x, [0, *range(2, self.map.rank + 2), 1])
        return tf.reshape(x, [-1, x.shape[-1]])

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        # (*window, in, out) -> (*window, out, in)
        return tf.reshape(tf.linalg.matrix_transpose(kernel), [-1, kernel.shape[-2]])

    def kernel(self, coefficients: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        *window, inputs, outputs = kernel_shape
        return tf.linalg.matrix_transpose(tf.reshape(coefficients, (*window, outputs, inputs)))


@rows_of.register
def _(linear_map: Matmul) -> Rows:
    return _DenseRows()


@rows_of.register
def _(linear_map: Convolution) -> Rows | None:
    return _ConvolutionRows(linear_map) if linear_map.groups == 1 else None

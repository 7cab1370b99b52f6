"""Linear maps as matrix products, with one row of inputs per position at which a kernel acts."""

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

__all__ = ["Patches", "patches_of"]


class Patches(Protocol):
    """Form of a map in which `apply(x, K)` is `inputs(x) @ matrix(K)`, for each group."""

    def positions(self, z: tf.Tensor) -> int | tf.Tensor:
        """Number of rows per example, static where it is known."""

    def inputs(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        """Input as a tensor `(groups, rows, inputs of a unit)`."""

    def responses(self, z: tf.Tensor) -> tf.Tensor:
        """Response as a tensor `(groups, rows, units of a group)`."""

    def matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        """Kernel as a tensor `(groups, inputs of a unit, units of a group)`."""

    def kernel(self, matrix: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        """Kernel that belongs to a matrix."""


@functools.singledispatch
def patches_of(linear_map: LinearMap) -> Patches | None:
    """Form of a map as matrix products, or None if it has no such form.

    Args:
        linear_map: Map of a connection.
    """
    return None


class _DensePatches:
    """Patches of `Dense`: the input itself."""

    def positions(self, z: tf.Tensor) -> int | tf.Tensor:
        return _product(dims(z)[1:-1])

    def inputs(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        return tf.reshape(x, [1, -1, kernel_shape[0]])

    def responses(self, z: tf.Tensor) -> tf.Tensor:
        return tf.reshape(z, [1, -1, z.shape[-1]])

    def matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        return kernel[None]

    def kernel(self, matrix: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        return tf.reshape(matrix, kernel_shape)


class _ConvolutionPatches:
    """Patches of convolutions: the part of the input in the window at each position."""

    def __init__(self, linear_map: Convolution) -> None:
        self.map = linear_map

    def _channels_last(self, a: tf.Tensor) -> tf.Tensor:
        if self.map.channel_axis == -1:
            return a
        return tf.transpose(a, [0, *range(2, a.shape.rank), 1])

    def positions(self, z: tf.Tensor) -> int | tf.Tensor:
        sizes = dims(z)
        return _product(sizes[1:-1] if self.map.channel_axis == -1 else sizes[2:])

    def inputs(self, x: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        *window, inputs, _ = kernel_shape
        groups, count = self.map.groups, math.prod(window) * inputs
        if self._has_an_operation():
            seen = tf.image.extract_patches(
                x,
                [1, *window, 1],
                [1, *self.map.strides, 1],
                [1, *self.map.dilation_rate, 1],
                self.map.padding.upper(),
            )
        else:  # a convolution that gives every entry of the window a channel of its own
            apart = tf.reshape(tf.eye(count, dtype=x.dtype), (*window, inputs, count))
            seen = self._channels_last(
                self.map.apply(x, tf.tile(apart, [*[1] * len(window), 1, groups]))
            )
        rows = tf.reshape(seen, [-1, groups, count])
        return tf.transpose(rows, [1, 0, 2])

    def _has_an_operation(self) -> bool:
        plain = self.map.groups == 1 and self.map.padding in ("same", "valid")
        return plain and self.map.rank == 2 and self.map.channel_axis == -1

    def responses(self, z: tf.Tensor) -> tf.Tensor:
        z = self._channels_last(z)
        groups = self.map.groups
        return tf.transpose(tf.reshape(z, [-1, groups, z.shape[-1] // groups]), [1, 0, 2])

    def matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        groups, units = self.map.groups, kernel.shape[-1]
        cut = tf.reshape(kernel, [-1, groups, units // groups])
        return tf.transpose(cut, [1, 0, 2])

    def kernel(self, matrix: tf.Tensor, kernel_shape: Sequence[int]) -> tf.Tensor:
        return tf.reshape(tf.transpose(matrix, [1, 0, 2]), kernel_shape)


@patches_of.register
def _(linear_map: Matmul) -> Patches:
    return _DensePatches()


@patches_of.register
def _(linear_map: Convolution) -> Patches:
    return _ConvolutionPatches(linear_map)


def _product(sizes: Sequence[int | tf.Tensor]) -> int | tf.Tensor:
    count: int | tf.Tensor = 1
    for size in sizes:
        count = count * size
    return count

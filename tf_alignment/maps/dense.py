"""Map of `Dense`."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.shapes import last_axis_matmul, size

__all__ = ["Matmul"]


class Matmul(LinearMap):
    """Map of `Dense`: kernel `(in, out)`, input `(batch, ..., in)`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> dense, x, kernel = ta.maps.Matmul(), tf.ones((2, 4)), tf.ones((4, 3))
    >>> z = dense.apply(x, kernel)
    >>> dense.transpose(z, kernel, x).shape, dense.outer(x, z, kernel).shape
    (TensorShape([2, 4]), TensorShape([4, 3]))
    """

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.matmul(x, kernel)

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        if dz.shape.rank == 2:
            return tf.matmul(dz, kernel, transpose_b=True)
        return last_axis_matmul(dz, kernel)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        x, dz = (tf.reshape(a, [-1, a.shape[-1]]) if a.shape.rank != 2 else a for a in (x, dz))
        return tf.matmul(x, dz, transpose_a=True)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return size(x) / float(x.shape[-1])

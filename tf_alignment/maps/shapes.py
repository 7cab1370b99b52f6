"""Shapes of tensors, static where they are known."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["dims", "last_axis_matmul", "size"]


def dims(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [d if d is not None else dynamic[i] for i, d in enumerate(x.shape)]


def last_axis_matmul(x: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Product `x rowsᵀ` over the last axis, as one matrix product."""
    flat = tf.reshape(x, [-1, rows.shape[1]])
    product = tf.matmul(flat, rows, transpose_b=True)
    return tf.reshape(product, [*dims(x)[:-1], rows.shape[0]])


def size(x: tf.Tensor) -> tf.Tensor:
    """Number of entries of `x`, in float32."""
    return tf.cast(tf.size(x), tf.float32)

"""Norms, ratios and angles of arrays, without overflow, cancellation or accidental NaN."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tf_alignment._support.arguments import tensor

__all__ = ["angle", "norm", "pair", "ratio", "unit"]


def pair(a: Any, b: Any, second: str = "feedback_kernel") -> tuple[tf.Tensor, tf.Tensor]:
    """Convert two arrays of one shape to tensors of one precision.

    Args:
        a: Array, tensor or variable of any shape and floating dtype.
        b: Array, tensor or variable of the same shape and any floating dtype.
        second: Name of `b` in error messages, where `a` is called the kernel.

    Returns:
        Pair of tensors, in float64 if either array is float64, otherwise in float32.

    Raises:
        ValueError: If the shapes differ.
    """
    a, b = tensor("kernel", a), tensor(second, b)
    if not a.shape.is_compatible_with(b.shape):
        raise ValueError(
            f"Arguments `kernel` and `{second}` must have the same shape. "
            f"Received: kernel.shape={tuple(a.shape)}, {second}.shape={tuple(b.shape)}"
        )
    dtype = tf.float64 if tf.float64 in (a.dtype, b.dtype) else tf.float32
    return tf.cast(a, dtype), tf.cast(b, dtype)


def _scaled(a: tf.Tensor, axis: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Quotient of `a` and its largest entry, the entry, and the norm of the quotient."""
    largest = tf.reduce_max(tf.abs(a), axis, keepdims=True)
    # The largest entry goes first, or squares of entries beyond 1e19 or below 1e-19 are lost.
    a = tf.math.divide_no_nan(a, largest)
    return a, largest, tf.sqrt(tf.reduce_sum(tf.square(a), axis, keepdims=True))


def norm(a: tf.Tensor, axis: Any = None) -> tf.Tensor:
    """Euclidean (Frobenius) norm over `axis`, by default over all entries."""
    _, largest, length = _scaled(a, axis)
    return tf.reduce_sum(largest * length, axis)  # drops the kept dimensions


def unit(a: tf.Tensor, axis: Any = None) -> tf.Tensor:
    """Scale `a` to norm 1 over `axis`; zero stays zero."""
    a, _, length = _scaled(a, axis)
    return tf.math.divide_no_nan(a, length)


def ratio(a: tf.Tensor, b: tf.Tensor, neither: float) -> tf.Tensor:
    """Quotient of numbers of at least 0: infinite if only `b` is 0, `neither` if both are 0."""
    infinite = tf.constant(math.inf, a.dtype)
    without_b = tf.where(tf.equal(a, 0), tf.constant(neither, a.dtype), infinite)
    return tf.where(tf.equal(b, 0), without_b, a / tf.where(tf.equal(b, 0), tf.ones_like(b), b))


def angle(a: tf.Tensor, b: tf.Tensor, axis: Any = None) -> tf.Tensor:
    """Angle in degrees between two arrays over `axis`; 90 if one is zero, 0 if both are.

    Kahan's formula `2 atan2(‖â - b̂‖, ‖â + b̂‖)` with `â = a/‖a‖`. The arc cosine of the scalar
    product cannot tell 0.02° from 0 in float32; this has full precision near 0° and 180°.
    """
    a, b = unit(a, axis), unit(b, axis)
    return tf.atan2(norm(a - b, axis), norm(a + b, axis)) * (360.0 / math.pi)

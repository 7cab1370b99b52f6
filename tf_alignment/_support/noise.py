"""Noise of known variance, drawn from seeds."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import one_of

__all__ = ["KINDS", "Noise", "draw", "kind_of", "signs"]

KINDS = ("rademacher", "gaussian", "uniform")
"""Kinds of noise, as configs have them."""
_SYNONYMS = {"normal": "gaussian"}


def kind_of(name: str, value: Any, allowed: Iterable[str | None] = KINDS) -> Any:
    """A kind of noise; `"normal"` is another word for `"gaussian"`.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        allowed: Kinds, or None, out of which it has to be.

    Raises:
        ValueError: If it is none of them.

    Example:
    >>> from tf_alignment._support.noise import kind_of
    >>> kind_of("distribution", "normal")
    'gaussian'
    """
    return one_of(name, _SYNONYMS.get(value, value) if isinstance(value, str) else value, allowed)


def draw(
    kind: str,
    stddev: float,
    shape: tf.Tensor,
    seed: tf.Tensor,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Independent numbers with mean 0; the kinds differ in their other moments, and in speed.

    Args:
        kind: Out of `KINDS`.
        stddev: Standard deviation.
        shape: Of the result.
        seed: Two int32 numbers; the same give the same numbers.
        dtype: Of the result. Numbers are drawn in float32 and rounded.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment._support.noise import draw
    >>> float(tf.reduce_max(draw("rademacher", 0.5, (100,), tf.constant([1, 2]))))
    0.5
    """
    if kind == "rademacher":
        return signs(stddev, shape, seed, dtype)
    if kind == "gaussian":
        return tf.cast(tf.random.stateless_normal(shape, seed, stddev=stddev), dtype)
    limit = 3.0**0.5 * stddev
    return tf.cast(tf.random.stateless_uniform(shape, seed, -limit, limit), dtype)


class Noise:
    """Independent numbers with mean 0.

    Args:
        size: Standard deviation, or a zero-mean scalar distribution of `tfp.distributions`.
        kind: `"gaussian"` (or `"normal"`), `"uniform"` or `"rademacher"` (±size), where `size` is a
            number.

    Attributes:
        variance: Variance of every entry, a float.

    Raises:
        TypeError: If `size` is neither a number nor a distribution.
        ValueError: If the kind is unknown, the mean is not 0, or the variance is not above 0 and
            finite.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment._support.noise import Noise
    >>> Noise(0.5, "rademacher").variance
    0.25
    >>> tuple(Noise(0.1).sample(tf.constant([2, 3]), tf.constant([1, 2])).shape)
    (2, 3)
    """

    def __init__(self, size: Any, kind: str = "gaussian") -> None:
        self.kind = kind_of("kind", kind)
        if isinstance(size, numbers.Real) and not isinstance(size, bool):
            if size < 0:
                raise ValueError(
                    f"Argument `noise` must be a standard deviation above 0. Received: {size!r}"
                )
            mean, self.variance = 0.0, float(size) ** 2
        elif all(hasattr(size, name) for name in ("sample", "mean", "variance")):
            self.kind, self._distribution = "distribution", size
            if tuple(size.batch_shape) or tuple(size.event_shape):
                raise ValueError(
                    "Argument `noise` must be a scalar distribution. Received: batch shape "
                    f"{tuple(size.batch_shape)}, event shape {tuple(size.event_shape)}"
                )
            mean, self.variance = float(size.mean()), float(size.variance())
        else:
            raise TypeError(
                "Argument `noise` must be a standard deviation or a distribution of "
                f"`tfp.distributions`. Received: noise={size!r}"
            )
        if abs(mean) > 1e-6 * self.variance**0.5:
            raise ValueError(f"Argument `noise` must have mean 0. Received: a mean of {mean:g}")
        if not 0 < self.variance < float("inf"):
            raise ValueError(
                "Argument `noise` must have a finite variance above 0. "
                f"Received: a variance of {self.variance:g}"
            )

    def sample(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draw float32 numbers.

        Args:
            shape: Of the result.
            seed: Two int32 numbers; the same give the same noise.
        """
        if self.kind == "distribution":
            return tf.cast(self._distribution.sample(shape, seed=seed), tf.float32)
        return draw(self.kind, self.variance**0.5, shape, seed)


def signs(
    size: float, shape: tf.Tensor, seed: tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Random numbers out of {-size, size}, drawn in a sixteenth of the time of Gaussian ones.

    Each random byte looks eight of them up in a table.

    Args:
        size: Their absolute value.
        shape: Of the result.
        seed: Two int32 numbers; the same give the same numbers.
        dtype: Of the result.
    """
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    table = tf.constant(size * (2.0 * bits - 1.0), dtype)
    count = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform([(count + 31) // 32], seed, None, None, tf.int32)
    drawn = tf.gather(table, tf.cast(tf.bitcast(words, tf.uint8), tf.int32))
    return tf.reshape(tf.reshape(drawn, [-1])[:count], shape)

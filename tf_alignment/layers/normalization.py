"""Batch normalisation as one fused operation instead of a dozen."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

__all__ = ["BatchNormalization"]

_FUSED = ("float16", "bfloat16", "float32")  # what the fused operation computes in


@keras.saving.register_keras_serializable(package="tf_alignment")
class BatchNormalization(keras.layers.BatchNormalization):
    r"""`keras.layers.BatchNormalization`, computed by TensorFlow's fused operation.

    With mean μ and variance σ² of the batch in training, and the moving averages otherwise,

    $$ y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta $$

    Arguments, weights, moving averages (of the variance without Bessel's correction) and files are
    the same as in Keras. Outputs and gradients agree to rounding, not bit for bit. Half-precision
    inputs stay in half precision, whereas Keras copies them to float32; statistics are in float32.

    Keras' own computation is used where the fused operation cannot be: inputs with a mask, an axis
    other than the last, batch renormalisation, float64, and `synchronized=True` with several
    replicas. The layer has no feedback weights; its error passes γ, with every feedback method.

    Args:
        axis, momentum, epsilon, ...: Arguments of `keras.layers.BatchNormalization`.

    Input shape, output shape:
        `(batch, ..., channels)`, or with the channels on `axis`.

    Raises:
        ValueError: For the arguments that `keras.layers.BatchNormalization` refuses.

    Reference: Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by
    reducing internal covariate shift", algorithm 1.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.BatchNormalization(momentum=0.9)
    >>> y = layer(tf.random.normal((8, 4, 4, 3), mean=5.0), training=True)
    >>> bool(tf.abs(tf.reduce_mean(y)) < 1e-4)
    True
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `inputs`.

        Args:
            inputs: Tensor `(batch, ..., channels)`.
            training: Whether the mean and variance of the batch are used, and the moving averages
                updated.
            mask: Boolean tensor `(batch, ...)`, true for the entries that count in mean and
                variance; None counts all entries.
        """
        with_batch = bool(training) and self.trainable
        if mask is not None or not self._can_fuse(inputs, with_batch):
            return super().call(inputs, training=training, mask=mask)
        x = tf.convert_to_tensor(inputs)
        channels = x.shape[-1]
        statistics = (self.moving_mean, self.moving_variance)
        scale = tf.ones(channels) if self.gamma is None else tf.cast(self.gamma, tf.float32)
        offset = tf.zeros(channels) if self.beta is None else tf.cast(self.beta, tf.float32)
        moving_mean, moving_variance = (tf.cast(s, tf.float32) for s in statistics)
        # The operation wants images. A batch of vectors is one of images of one pixel.
        flat = x if len(x.shape) == 4 else tf.reshape(x, (-1, 1, 1, channels))
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            flat,
            scale,
            offset,
            mean=None if with_batch else moving_mean,
            variance=None if with_batch else moving_variance,
            epsilon=self.epsilon,
            is_training=with_batch,
        )
        if with_batch:
            # The variance comes with Bessel's correction, which Keras does not have.
            count = _count(flat)
            variance *= (count - 1.0) / count
            keep = self.momentum
            self.moving_mean.assign(moving_mean * keep + mean * (1.0 - keep))
            self.moving_variance.assign(moving_variance * keep + variance * (1.0 - keep))
        if y.shape.rank != x.shape.rank:
            y = tf.reshape(y, tf.shape(x))
            y.set_shape(x.shape)
        return tf.cast(y, self.compute_dtype)

    def _can_fuse(self, inputs: Any, with_batch: bool) -> bool:
        """Whether the fused operation can do the computation of this layer."""
        last = self.axis in (-1, len(inputs.shape) - 1)
        known = keras.backend.standardize_dtype(inputs.dtype) in _FUSED
        if not last or not known or getattr(self, "renorm", False):  # Keras 3.15 brought it
            return False
        if not (self.synchronized and with_batch):
            return True
        replica = tf.distribute.get_replica_context()
        return replica is not None and replica.num_replicas_in_sync == 1


def _count(x: tf.Tensor) -> Any:
    """Number of values per channel in a batch, at least 1; a Python number if it is known."""
    sizes = x.shape[:-1]
    if sizes.is_fully_defined():
        return float(max(1, math.prod(sizes)))
    return tf.maximum(1.0, tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32))

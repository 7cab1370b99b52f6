"""`Dense` and `EinsumDense` with feedback."""

from __future__ import annotations

import keras

from tf_alignment.layers.base import FeedbackLayer
from tf_alignment.layers.connection import Connection
from tf_alignment.maps import Einsum, Matmul

__all__ = ["Dense", "EinsumDense"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class Dense(FeedbackLayer, keras.layers.Dense):
    """`keras.layers.Dense` whose error travels through feedback weights.

    The forward pass is `y = activation(x W + b)` as in Keras. In the backward pass the error is
    `dx = δ Bᵀ`; the feedback method decides what B is. With `feedback=None` the layer behaves like
    `keras.layers.Dense`.

    Args:
        units, ...: Arguments of `keras.layers.Dense`.
        feedback: Feedback method: `None`, a string id (`tf_alignment.feedback.METHODS`) or a
            `tf_alignment.feedback.Feedback` object.
        feedback_initializer: Initializer of the feedback weights, which gets a seed of its own.
            `None` takes the kernel's initializer.
        feedback_regularizer: Regularizer of feedback weights that learn; by default none, for KP
            and PFA the kernel's regularizer.
        feedback_constraint: Constraint of feedback weights that learn; by default none, for KP and
            PFA the kernel's constraint.

    Input shape:
        `(batch, ..., in)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: For "dfa" (see `tf_alignment.convert`), for an unknown id, with LoRA, under a
            quantized dtype policy, and, when the layer is built, for feedback weights that equal
            the kernel because one function or object without a seed has drawn both.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(8, activation="relu", feedback="fa")
    >>> layer(tf.ones((2, 4))).shape
    TensorShape([2, 8])
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (4, 8)
    """

    def _connect(self) -> list[Connection]:
        return [self._connection(Matmul())]


@_package
class EinsumDense(FeedbackLayer, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` whose error travels through feedback weights.

    Args:
        equation, output_shape, ...: Arguments of `keras.layers.EinsumDense`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See `Dense`.

    Input shape, output shape:
        Shapes that the equation gives.

    Raises:
        ValueError: See `Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.EinsumDense("abc,cd->abd", (None, 8), feedback="kp")
    >>> layer(tf.ones((2, 3, 4))).shape
    TensorShape([2, 3, 8])
    """

    def _connect(self) -> list[Connection]:
        return [self._connection(Einsum(self.equation))]

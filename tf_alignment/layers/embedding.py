"""`ReversibleEmbedding` with feedback: the product with the embeddings, not the lookup, sends."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support import compat
from tf_alignment.layers.base import FeedbackLayer
from tf_alignment.layers.connection import Connection
from tf_alignment.maps import Einsum

__all__ = ["ReversibleEmbedding"]

# Before Keras 3.12 there is no such layer: the class exists and cannot be constructed.
_Stock: Any = compat.ReversibleEmbedding or keras.layers.Embedding


class _Reverse(Einsum):
    """`x Eᵀ` with tied embeddings, of shape `(rows, in)`, and `x K` with a kernel apart."""

    def __init__(self, tied: bool) -> None:
        super().__init__("...d,vd->...v" if tied else "...d,dv->...v")
        self._tied = tied

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernel = keras.ops.transpose(kernel) if self._tied else kernel
        return keras.ops.matmul(x, keras.ops.cast(kernel, x.dtype))


@keras.saving.register_keras_serializable(package="tf_alignment")
class ReversibleEmbedding(FeedbackLayer, _Stock):
    """`keras.layers.ReversibleEmbedding` whose reverse product sends its error through feedback.

    The lookup sends no error and stays as it is. Called with `reverse=True`, the layer computes
    logits `z = x Eᵀ` as in Keras, E the embeddings; backward `dx = δ B`, B of the shape of E.
    With `tie_weights=False` a kernel K takes the place of Eᵀ, and B has the shape of K.

    Feedback weights that get the gradient of E, as Kolen-Pollack's do, get that of the lookup too:
    B comes to E only if both are changed alike. Other rules see the reverse product alone.

    Args:
        input_dim, output_dim, ...: Arguments of `keras.layers.ReversibleEmbedding`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape:
        `(batch, ...)`, integers; with `reverse=True` `(batch, ..., output_dim)`.

    Output shape:
        `(batch, ..., output_dim)`; with `reverse=True` `(batch, ..., input_dim)`.

    Call arguments:
        inputs: A tensor.
        reverse: Whether to project onto the rows instead of looking rows up.
        training: Whether feedback that learns by alignment does so.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; before Keras 3.12, which has no such layer.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ReversibleEmbedding(9, 4, feedback="fa")
    >>> layer(layer(tf.constant([[1, 2]])), reverse=True).shape
    TensorShape([1, 2, 9])
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (9, 4)
    """

    needs_shape = False
    _coupled: tf.Tensor | None = None  # the embeddings, during a lookup

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not compat.ReversibleEmbedding:
            raise ValueError(
                "Layer `ReversibleEmbedding` needs Keras 3.12 or newer. Received: Keras "
                f"{keras.__version__}"
            )
        super().__init__(*args, **kwargs)

    def build(self, input_shape: Any = None) -> None:
        """Create the parent's weights, then the method's."""
        super().build(() if input_shape is None else input_shape)

    def _connect(self) -> list[Connection]:
        if self.tie_weights:
            return [self._connection(_Reverse(True), "embeddings", kernel=self._embeddings)]
        kernel = self.reverse_embeddings  # Keras neither regularizes nor constrains it
        drawn = self.embeddings_initializer
        return [Connection(self, "", _Reverse(False), kernel, drawn, None, None)]

    def _input_shapes(self, input_shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
        return [(self.output_dim,)]  # whatever lies before, of ids or of the reverse product

    @property
    def embeddings(self) -> Any:
        """As the parent's."""
        return super().embeddings if self._coupled is None else self._coupled

    def call(  # type: ignore[override]  # the parent's order
        self, inputs: Any, reverse: bool = False, training: bool | None = None
    ) -> Any:
        """The parent's forward pass; with `reverse`, the method's backward pass."""
        if self.feedback is None:
            return _Stock.call(self, inputs, reverse=reverse)
        if not reverse:
            return self._look_up(inputs)
        x = self._tensor(inputs)
        if self.reverse_dtype is not None:
            x = tf.cast(x, self.reverse_dtype)
        step = self._count_step(training)
        z = self._connections[0].run(x, lambda z: z, self._activate, training, step)
        return self._activate(z)

    def _look_up(self, ids: Any) -> Any:
        """The parent's lookup, in which a method that copies the gradient of E takes part."""
        [connection] = self._connections
        if self.tie_weights and self.feedback.learns == "error":
            stored = connection.stored()
            read = tf.convert_to_tensor(self._embeddings)
            self._coupled = self.feedback.couple(read, stored, connection.map)
        try:
            return _Stock.call(self, ids)
        finally:
            self._coupled = None

    def _activate(self, z: tf.Tensor) -> tf.Tensor:
        cap = self.logit_soft_cap
        return z if cap is None else keras.ops.multiply(keras.ops.tanh(z / cap), cap)

    def quantized_call(
        self, inputs: Any, reverse: bool = False, training: bool | None = None
    ) -> Any:
        """As the parent's."""
        return super().quantized_call(inputs, reverse=reverse)

    def compute_output_spec(
        self, inputs: Any, reverse: bool = False, training: bool | None = None
    ) -> Any:
        """As the parent's."""
        return super().compute_output_spec(inputs, reverse=reverse)

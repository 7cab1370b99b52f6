"""`MultiHeadAttention` and `GroupQueryAttention` with feedback."""

from __future__ import annotations

from typing import Any

import keras

from tf_alignment.layers.base import (
    FEEDBACK_ARGUMENTS,
    feedback_config,
    set_feedback_arguments,
    signature_with_feedback,
)
from tf_alignment.layers.core import EinsumDense

__all__ = ["GroupQueryAttention", "MultiHeadAttention"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


class _Attention(keras.layers.Layer):
    """Mixin that gives an attention layer of Keras, and its projections, the feedback arguments."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parent = next(base for base in cls.__mro__[1:] if base.__module__.startswith("keras"))
        cls.__signature__ = signature_with_feedback(parent)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in FEEDBACK_ARGUMENTS if name in kwargs}
        super().__init__(*args, **kwargs)
        set_feedback_arguments(self, **given)

    def __setattr__(self, name: str, value: Any) -> None:
        # The parent's `build` makes stock projections. They are exchanged as they are assigned:
        # later, the stock ones would stay tracked.
        if type(value) is keras.layers.EinsumDense and self.feedback is not None:
            value = self._with_feedback(value)
        super().__setattr__(name, value)

    def _with_feedback(self, stock: keras.layers.EinsumDense) -> EinsumDense:
        config = stock.get_config()
        for what in ("kernel_initializer", "bias_initializer"):
            config[what] = getattr(stock, what)  # the object: its seed is already drawn
        config["dtype"] = stock.dtype_policy
        return EinsumDense(
            **config,
            feedback=self.feedback,
            feedback_initializer=self.feedback_initializer,
            feedback_regularizer=self.feedback_regularizer,
            feedback_constraint=self.feedback_constraint,
        )

    @property
    def projections(self) -> tuple[EinsumDense, ...]:
        """Projections inside the layer that have a feedback method."""
        parts = [vars(self).get(f"_{n}_dense") for n in ("query", "key", "gate", "value", "output")]
        return tuple(part for part in parts if isinstance(part, EinsumDense))

    @property
    def feedback_weights(self) -> dict[str, keras.Variable]:
        """Feedback weights of the projections, `{"query/feedback_kernel": variable, ...}`."""
        return {
            f"{projection.name}/{name}": weight
            for projection in self.projections
            for name, weight in projection.feedback_weights.items()
        }

    def effective_feedback_kernel(self) -> Any:
        """Refuse, since the layer as a whole has no effective feedback kernel.

        Raises:
            ValueError: Always. Call this method of a projection instead.
        """
        raise ValueError(
            f"{type(self).__name__} has several kernels: call `effective_feedback_kernel()` on "
            f"each of `layer.projections`. Received: layer '{self.name}'"
        )

    def get_config(self) -> dict[str, Any]:
        """Config of the Keras layer plus the feedback arguments."""
        return {**super().get_config(), **feedback_config(self)}


@_package
class MultiHeadAttention(_Attention, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` whose projections have feedback weights.

    The projections of query, key, value, gate (if there is one) and output are `EinsumDense` layers
    with the given method. The attention between the projections has no kernel and passes the error
    as in Keras.

    Args:
        num_heads, key_dim, ...: Arguments of `keras.layers.MultiHeadAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.MultiHeadAttention`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.MultiHeadAttention(num_heads=2, key_dim=4, feedback="fa")
    >>> x = tf.ones((1, 3, 8))
    >>> layer(x, x).shape
    TensorShape([1, 3, 8])
    >>> [projection.name for projection in layer.projections]
    ['query', 'key', 'value', 'attention_output']
    """


@_package
class GroupQueryAttention(_Attention, keras.layers.GroupQueryAttention):
    """`keras.layers.GroupQueryAttention` whose projections have feedback weights.

    The layer is like `tf_alignment.layers.MultiHeadAttention`, with fewer heads for keys and values
    than for queries.

    Args:
        head_dim, num_query_heads, ...: Arguments of `keras.layers.GroupQueryAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.GroupQueryAttention`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.GroupQueryAttention(4, 4, 2, feedback="fa")
    >>> x = tf.ones((1, 3, 8))
    >>> layer(x, x).shape
    TensorShape([1, 3, 8])
    >>> [tuple(projection.kernel.shape) for projection in layer.projections]
    [(8, 4, 4), (8, 2, 4), (8, 2, 4), (4, 4, 8)]
    """

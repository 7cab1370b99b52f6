"""`TimeDistributed` that keeps the backward pass of the layer it wraps."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.maps.shapes import dims

__all__ = ["TimeDistributed"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class TimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that calls its layer once, on all time steps together.

    Time is folded into the batch: the layer receives `(batch · time, ...)` in place of
    `(batch, time, ...)`, and its output is unfolded again. Keras' version calls the layer once per
    time step; if the number of steps is unknown, it uses `vectorized_map`, which drops custom
    gradients. The outputs are the same for every layer that treats the examples of a batch
    independently. Batch normalisation takes its statistics over all time steps, and feedback
    weights that learn by alignment learn from all time steps.

    Args:
        layer: Layer to apply to every time step, with feedback or without.

    Input shape:
        `(batch, time, ...)`; the sizes of batch and time may be unknown.

    Output shape:
        `(batch, time, ...)`.

    Call arguments:
        inputs: Tensor `(batch, time, ...)`.
        training: Training mode, which is passed to the layer if its `call` has this argument.
        mask: Boolean tensor `(batch, time, ...)`, which is folded and passed to the layer if its
            `call` has this argument.

    Raises:
        ValueError: For inputs that `keras.layers.TimeDistributed` refuses, and for a mask with
            another number of examples or steps.

    Example:
    >>> import keras, tf_alignment as ta
    >>> inputs = keras.Input((None, 4))
    >>> x = ta.layers.TimeDistributed(ta.layers.Dense(3, feedback="fa"))(inputs)
    >>> x.shape
    (None, None, 3)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Outputs of the layer for all time steps."""
        lead = dims(inputs)[:2]
        known = inspect.signature(self.layer.call).parameters
        arguments: dict[str, Any] = {}
        if mask is not None:
            _check_mask(mask, inputs)
        if "mask" in known and mask is not None:
            arguments["mask"] = _fold(mask)
        if "training" in known:
            arguments["training"] = training
        outputs = self.layer(_fold(inputs), **arguments)
        unfolded = tf.reshape(outputs, [*lead, *dims(outputs)[1:]])
        return tf.ensure_shape(unfolded, [*inputs.shape[:2], *outputs.shape[1:]])


def _check_mask(mask: Any, inputs: Any) -> None:
    given, expected = tuple(mask.shape), tuple(inputs.shape[:2])
    differ = any(None not in (a, b) and a != b for a, b in zip(given, expected, strict=False))
    if len(given) < 2 or differ:
        raise ValueError(
            f"The `mask` passed to the `TimeDistributed` layer has a shape {given} without the "
            "examples and steps of the inputs, (batch, time, ...). "
            f"Received: a mask of shape {given} for inputs of shape {tuple(inputs.shape)}"
        )


def _fold(x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(x, [-1, *dims(x)[2:]])

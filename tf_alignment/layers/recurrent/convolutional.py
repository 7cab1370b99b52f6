"""`ConvLSTM1D`, `ConvLSTM2D`, `ConvLSTM3D` with feedback, and their cell."""

from __future__ import annotations

import sys
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_alignment.layers.recurrent.base import Gates, RecurrentCell, masked
from tf_alignment.layers.recurrent.sequences import Recurrent, document
from tf_alignment.maps import Convolution, LinearMap

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvLSTMCell"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


def _stock_cell() -> Any:
    """Cell class of Keras, which is not exported, from the module of the layer's base class.

    To make a layer and read its cell would start TensorFlow at import, before several workers can
    be configured.
    """
    base = keras.layers.ConvLSTM1D.__mro__[1]
    return sys.modules[base.__module__].ConvLSTMCell


_StockCell: Any = _stock_cell()


@_package
class ConvLSTMCell(RecurrentCell, _StockCell):
    """Cell of `keras.layers.ConvLSTM1D` ... `ConvLSTM3D` with errors through feedback weights.

    The cell is like `tf_alignment.layers.LSTMCell`, with convolutions in place of matrix products.

    Args:
        rank, filters, kernel_size, ...: Arguments of the Keras cell.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: Input of one time step, `(batch, *space, channels)`.
        states: States `[h, c]`, each `(batch, *space, filters)`.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; also for a method with a `send` of its own.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ConvLSTM2D(4, 3, feedback="fa")
    >>> layer(tf.ones((1, 3, 5, 5, 2))).shape
    TensorShape([1, 3, 3, 4])
    >>> type(layer.cell).__name__
    'ConvLSTMCell'
    """

    def _maps(self) -> tuple[LinearMap, LinearMap]:
        window = {"rank": self.rank, "kernel_size": self.kernel_size}
        window["data_format"] = self.data_format
        ones = (1,) * self.rank
        feed = Convolution(
            **window,
            strides=tuple(self.strides),
            padding=self.padding,
            dilation_rate=tuple(self.dilation_rate),
        )
        recur = Convolution(**window, strides=ones, padding="same", dilation_rate=ones)
        return feed, recur

    def _input_shapes(self, input_shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
        both = [input_shape, self.compute_output_shape(input_shape)[0]]
        return both[: len(self._connect())]

    def _sizes(self) -> tuple[list[int], list[int]]:
        return [self.filters] * 4, [self.filters] * 4

    def _spread(self, bias: tf.Tensor) -> tf.Tensor:
        """Bias in a shape that is broadcastable to a response."""
        shape = [1] * (self.rank + 2)
        shape[-1 if self.data_format == "channels_last" else 1] = -1
        return ops.reshape(bias, shape)

    def _biases(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        return (self._spread(self.bias) if self.use_bias else None), None

    def _gate_activation(self, z: tf.Tensor) -> tf.Tensor:
        axis = -1 if self.data_format == "channels_last" else 1
        i, f, c, o = ops.split(z, 4, axis=axis)
        sigmoid, tanh = self.recurrent_activation, self.activation
        return ops.concatenate([sigmoid(i), sigmoid(f), tanh(c), sigmoid(o)], axis=axis)

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        h, carry = states[0], states[1]
        feed, recur = gates
        mask = self._input_mask(inputs) if training and self.dropout else None
        apart = masked(inputs, mask, self.dropout, training, 4)
        x = [gate(part) for gate, part in zip(feed, apart, strict=True)]
        if self.use_bias:
            biases = ops.split(self.bias, 4)
            x = [a + self._spread(b) for a, b in zip(x, biases, strict=True)]
        rate = self.recurrent_dropout
        mask = self.get_recurrent_dropout_mask(h) if training and rate else None
        apart = masked(h, mask, rate, training, 4)
        z = [a + gate(part) for a, gate, part in zip(x, recur, apart, strict=True)]
        i, f = self.recurrent_activation(z[0]), self.recurrent_activation(z[1])
        carry = f * carry + i * self.activation(z[2])
        h = self.recurrent_activation(z[3]) * self.activation(carry)
        return h, [h, carry]

    def get_config(self) -> dict[str, Any]:
        """Config of the Keras cell plus the rank, which it lacks, and the feedback arguments."""
        return {"rank": self.rank, **super().get_config()}


@_package
@document
class ConvLSTM1D(Recurrent, keras.layers.ConvLSTM1D):
    """`keras.layers.ConvLSTM1D` whose errors travel through feedback weights, down and in time."""

    cell_class = ConvLSTMCell


@_package
@document
class ConvLSTM2D(Recurrent, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` whose errors travel through feedback weights, down and in time."""

    cell_class = ConvLSTMCell


@_package
@document
class ConvLSTM3D(Recurrent, keras.layers.ConvLSTM3D):
    """`keras.layers.ConvLSTM3D` whose errors travel through feedback weights, down and in time."""

    cell_class = ConvLSTMCell

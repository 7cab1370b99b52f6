"""`SimpleRNNCell`, `LSTMCell` and `GRUCell` with feedback."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_alignment.layers.recurrent.base import Gates, RecurrentCell, masked

__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class SimpleRNNCell(RecurrentCell, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` whose errors travel through feedback weights.

    The forward pass is `h(t) = φ(x(t) W + b + h(t−1) U)` as in Keras. In the backward pass the
    errors are `dx(t) = δ(t) Bᵀ` and `dh(t−1) = δ(t) Cᵀ`, with a feedback kernel B for the input
    kernel W and a feedback kernel C for the recurrent kernel U. If B = W and C = U, this is
    backpropagation through time.

    Args:
        units, ...: Arguments of `keras.layers.SimpleRNNCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Call arguments:
        sequence: Input of one time step, `(batch, features)`.
        states: State `(batch, units)`, or a list with the state.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; also for a method with a `send` of its own.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> layer = keras.layers.RNN(ta.layers.SimpleRNNCell(8, feedback="fa"))
    >>> layer(tf.ones((2, 5, 4))).shape
    TensorShape([2, 8])
    >>> sorted(layer.cell.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """

    def call(  # type: ignore[override]
        self, sequence: Any, states: Any, training: bool | None = False
    ) -> Any:
        """The parent's time step, with the method's backward pass."""
        return super().call(sequence, states, training=training)

    def _sizes(self) -> tuple[list[int], list[int]]:
        return [self.units], [self.units]

    def _gate_activation(self, z: tf.Tensor) -> tf.Tensor:
        return z if self.activation is None else self.activation(z)

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        [feed], [recur] = gates
        several = isinstance(states, list | tuple)
        previous = states[0] if several else states
        mask = self._input_mask(inputs)
        recurrent_mask = self.get_recurrent_dropout_mask(previous)
        if training and mask is not None:
            inputs = inputs * mask
        h = feed(inputs)
        if self.bias is not None:
            h = ops.add(h, self.bias)
        if training and recurrent_mask is not None:
            previous = previous * recurrent_mask
        output = self._gate_activation(h + recur(previous))
        return output, [output] if several else output


@_package
class LSTMCell(RecurrentCell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` whose errors travel through feedback weights.

    The forward pass is the same as in Keras. In the backward pass the errors of all gates pass the
    feedback kernel of the input kernel on their way down, and the feedback kernel of the recurrent
    kernel on their way back in time. The memory `c(t) = f c(t−1) + i g` has no kernel and passes
    its error as in Keras.

    Args:
        units, ...: Arguments of `keras.layers.LSTMCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: Input of one time step, `(batch, features)`.
        states: States `[h, c]`, each `(batch, units)`.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; also for a method with a `send` of its own if
            the gates have separate inputs (`implementation=1`, `recurrent_dropout`).

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> cells = [ta.layers.LSTMCell(8, feedback="kp"), ta.layers.LSTMCell(4, feedback="kp")]
    >>> keras.layers.RNN(cells)(tf.ones((2, 5, 3))).shape
    TensorShape([2, 4])
    """

    def _sizes(self) -> tuple[list[int], list[int]]:
        sizes = [self.units] * 4 if self.implementation == 1 else [4 * self.units]
        return sizes, sizes

    def _gate_activation(self, z: tf.Tensor) -> tf.Tensor:
        i, f, c, o = ops.split(z, 4, axis=-1)
        sigmoid, tanh = self.recurrent_activation, self.activation
        return ops.concatenate([sigmoid(i), sigmoid(f), tanh(c), sigmoid(o)], axis=-1)

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        h, carry = states[0], states[1]
        feed, recur = gates
        mask = self._input_mask(inputs) if training and self.dropout else None
        if self.implementation == 1:
            apart = masked(inputs, mask, self.dropout, training, 4)
            x = [gate(part) for gate, part in zip(feed, apart, strict=True)]
            if self.use_bias:
                x = [a + b for a, b in zip(x, ops.split(self.bias, 4, axis=0), strict=True)]
            rate = self.recurrent_dropout
            mask = self.get_recurrent_dropout_mask(h) if training and rate else None
            apart = masked(h, mask, rate, training, 4)
            z = [a + gate(p) for a, gate, p in zip(x, recur, apart, strict=True)]
        else:
            if training and 0.0 < self.dropout < 1.0:
                inputs = inputs * mask
            joint = ops.add(feed[0](inputs), recur[0](h))
            if self.use_bias:
                joint = ops.add(joint, self.bias)
            z = ops.split(joint, 4, axis=1)
        i, f = self.recurrent_activation(z[0]), self.recurrent_activation(z[1])
        carry = f * carry + i * self.activation(z[2])
        h = self.recurrent_activation(z[3]) * self.activation(carry)
        return h, [h, carry]


@_package
class GRUCell(RecurrentCell, keras.layers.GRUCell):
    """`keras.layers.GRUCell` whose errors travel through feedback weights.

    The forward pass is the same as in Keras, the backward pass the same as in
    `tf_alignment.layers.LSTMCell`.

    Args:
        units, ...: Arguments of `keras.layers.GRUCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: Input of one time step, `(batch, features)`.
        states: State `(batch, units)`, or a list with the state.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.LSTMCell`; also with `reset_after=False`, since the
            candidate then has a separate input.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> layer = keras.layers.RNN(ta.layers.GRUCell(8, feedback="sa"), return_sequences=True)
    >>> layer(tf.ones((2, 5, 4))).shape
    TensorShape([2, 5, 8])
    """

    def _sizes(self) -> tuple[list[int], list[int]]:
        units = self.units
        if self.implementation == 1:
            return [units] * 3, [units] * 3
        return [3 * units], [3 * units] if self.reset_after else [2 * units, units]

    def _biases(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        if not self.use_bias:
            return None, None
        bias = tf.convert_to_tensor(self.bias)
        return (bias[0], bias[1]) if self.reset_after else (bias, None)

    def _gate_activation(self, z: tf.Tensor) -> tf.Tensor:
        update, reset, candidate = ops.split(z, 3, axis=-1)
        sigmoid, tanh = self.recurrent_activation, self.activation
        return ops.concatenate([sigmoid(update), sigmoid(reset), tanh(candidate)], axis=-1)

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        several = isinstance(states, list | tuple)
        h = states[0] if several else states
        feed, recur = gates
        bias, recurrent_bias = self._biases()
        mask = self._input_mask(inputs) if training and self.dropout else None
        if self.implementation == 1:
            apart = masked(inputs, mask, self.dropout, training, 3)
            x = [gate(part) for gate, part in zip(feed, apart, strict=True)]
            if bias is not None:
                x = [a + b for a, b in zip(x, tf.split(bias, 3), strict=True)]
            rate = self.recurrent_dropout
            mask = self.get_recurrent_dropout_mask(h) if training and rate else None
            parts = list(masked(h, mask, rate, training, 3))
        else:
            if training and 0.0 < self.dropout < 1.0:
                inputs = inputs * mask
            joint = feed[0](inputs)
            if bias is not None:
                joint = ops.add(joint, bias)
            x, parts = ops.split(joint, 3, axis=-1), [h, h, h]
        # the state's part of update gate, reset gate and candidate (None: the reset gate first)
        if len(recur) == 1:
            joint = recur[0](h)
            if recurrent_bias is not None:
                joint += recurrent_bias
            r = list(tf.split(joint, 3, axis=-1))
        elif len(recur) == 2:
            r = [*tf.split(recur[0](h), 2, axis=-1), None]
        else:
            count = 3 if self.reset_after else 2
            r = [gate(p) for gate, p in zip(recur[:count], parts[:count], strict=True)]
            if recurrent_bias is not None:
                r = [a + b for a, b in zip(r, tf.split(recurrent_bias, 3), strict=True)]
        update = self.recurrent_activation(x[0] + r[0])
        reset = self.recurrent_activation(x[1] + r[1])
        candidate = reset * r[2] if self.reset_after else recur[-1](reset * parts[2])
        candidate = self.activation(x[2] + candidate)
        h = update * h + (1 - update) * candidate
        return h, [h] if several else h

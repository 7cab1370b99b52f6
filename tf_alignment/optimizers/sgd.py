"""Gradient descent whose update is one pass over a weight."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["SGD"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class SGD(keras.optimizers.SGD):
    r"""`keras.optimizers.SGD` with one operation per weight instead of up to five.

    $$ m \leftarrow \mu m - \eta g, \qquad w \leftarrow w + m $$

    with rate η and momentum μ; under Nesterov's, `w ← w + μ m − η g` with the new m. Keras goes
    over a weight and its momentum once for every product and sum; the operation here goes over
    them once. It matters where the update is a large part of a step: in dense layers on small
    batches.

    Given the same gradients, the numbers are Keras' bit for bit on a CPU; under XLA and on other
    devices, where a compiler may contract a product and a sum, to rounding. In a compiled step the
    gradients too may differ in the last bit: TensorFlow's graph optimizer reorders products.

    Clipping, weight decay, moving averages, accumulation, constraints and loss scaling are Keras'
    own. So is the update itself under a `tf.distribute` strategy, for sparse gradients (of an
    embedding) and for weights that are no floats.

    Args:
        learning_rate, momentum, nesterov, ...: As of `keras.optimizers.SGD`.

    Raises:
        ValueError: As of `keras.optimizers.SGD`.

    Reference: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", equations 1 to 4.

    Example:
    >>> import keras, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.compile(ta.optimizers.SGD(0.05, momentum=0.9), "mse")
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its momentum.

        Args:
            gradient: Of the variable's shape.
            variable: The weight.
            learning_rate: Scalar.
        """
        weight = variable.value if isinstance(variable, keras.Variable) else variable
        momentum = self.momentums[self._get_variable_index(variable)] if self.momentum else None
        if (
            tf.distribute.has_strategy()
            or isinstance(gradient, tf.IndexedSlices)
            or not weight.dtype.is_floating
        ):
            super().update_step(gradient, variable, learning_rate)
            return
        rate, gradient = tf.cast(learning_rate, weight.dtype), tf.cast(gradient, weight.dtype)
        if momentum is None:
            tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)
        else:
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weight.handle,
                accum=momentum.value.handle,
                lr=rate,
                grad=gradient,
                momentum=tf.cast(self.momentum, weight.dtype),
                use_nesterov=self.nesterov,
            )

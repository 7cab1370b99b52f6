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

    with learning rate η and momentum μ. With Nesterov momentum the second equation is
    `w ← w + μ m − η g` with the new m. Keras reads and writes a weight and its momentum once for
    every product and sum; the operation here does so only once. This is faster if the update is a
    large part of a step, as in dense layers on small batches.

    For the same gradients, the results are equal to Keras' bit for bit on a CPU, and to rounding
    under XLA and on other devices, where a compiler may fuse a product and a sum. In a compiled
    step the gradients may also differ in the last bit, since TensorFlow's graph optimizer reorders
    products.

    Clipping, weight decay, moving averages, accumulation, constraints and loss scaling are Keras'
    own. Keras' own update is also used under a `tf.distribute` strategy, for sparse gradients (of
    an embedding) and for weights that are not floats.

    Args:
        learning_rate, momentum, nesterov, ...: Arguments of `keras.optimizers.SGD`.

    Raises:
        ValueError: For arguments that `keras.optimizers.SGD` refuses.

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
            gradient: Gradient, in the variable's shape.
            variable: Weight to update.
            learning_rate: Learning rate, a scalar.
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

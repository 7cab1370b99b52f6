"""Gradient descent without communication, for gradients that are equal on all replicas."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

__all__ = ["ReplicatedSGD"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class ReplicatedSGD(keras.optimizers.Optimizer):
    r"""Plain gradient descent in which every replica uses its own gradient, without all-reduce.

    $$ w \leftarrow w - \eta \, g $$

    It is meant for gradients that depend on the weights alone, like the gradient αW − βB of
    symmetric alignment. Every replica computes the same gradient, so a sum over the replicas would
    only cost traffic: for `"sa"` as much again as for the gradients of backpropagation. If the
    gradients differed, the replicas would drift apart. So `ta.optimizers.check`, which
    `ta.callbacks.AlignmentMonitor` calls when training begins, raises an error for weights whose
    gradient depends on activity or noise.

    On one device this optimizer is plain SGD. It has no momentum, clipping, weight decay, averaging
    or accumulation. It cannot be used under dynamic loss scaling (`mixed_float16`) on several GPUs;
    `mixed_bfloat16` needs no loss scaling.

    Args:
        learning_rate: Learning rate, a number or a schedule.
        name: Name of the optimizer.

    Raises:
        ValueError: If `learning_rate` is no number, schedule or function.

    Source: this library; symmetric alignment: Kunin et al. 2020, section 5.

    Example:
    >>> import keras, tf_alignment as ta
    >>> forward = keras.optimizers.SGD(0.05, momentum=0.9)
    >>> optimizer = ta.optimizers.split(forward, ta.optimizers.ReplicatedSGD(0.5))
    """

    def __init__(self, learning_rate: Any = 0.5, name: str = "feedback") -> None:
        super().__init__(learning_rate, name=name)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update every replica's copy of the variables.

        Args:
            grads: Gradients of this replica.
            trainable_variables: Variables that belong to the gradients; None for the variables that
                the optimizer was built with.
        """
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            super().apply(grads, trainable_variables)
            return
        variables = list(
            self._trainable_variables if trainable_variables is None else trainable_variables
        )
        if not self.built:
            self.build(variables)
        given = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        # the loss was divided by the number of replicas, so that sums over them are means
        rate = self.learning_rate * context.num_replicas_in_sync / (self.loss_scale_factor or 1.0)
        grads, values = [g for g, _ in given], [v.value for _, v in given]
        constraints = [v.constraint for _, v in given]
        context.merge_call(_descend, args=(grads, values, rate, constraints))
        self.iterations.assign_add(1)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        self.assign_sub(variable, learning_rate * gradient)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, with the present learning rate."""
        config = super().get_config()
        return {name: config[name] for name in ("learning_rate", "name")}


def _descend(
    strategy: tf.distribute.Strategy, grads: Any, variables: Any, rate: Any, constraints: Any
) -> None:
    def one(
        variable: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, constraint: Any = None
    ) -> None:
        variable.assign_sub(tf.cast(rate, variable.dtype) * tf.cast(gradient, variable.dtype))
        if constraint is not None:
            variable.assign(constraint(tf.convert_to_tensor(variable)))

    for gradient, variable, constraint in zip(grads, variables, constraints, strict=True):
        step = functools.partial(one, constraint=constraint)
        strategy.extended.update(variable, step, args=(gradient, rate), group=False)

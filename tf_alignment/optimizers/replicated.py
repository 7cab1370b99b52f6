"""Descent without communication, for gradients that all replicas compute alike."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

__all__ = ["ReplicatedSGD"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class ReplicatedSGD(keras.optimizers.Optimizer):
    r"""Plain gradient descent in which every replica takes its own gradient: no all-reduce.

    $$ w \leftarrow w - \eta \, g $$

    It is for gradients that are a function of the weights alone, like symmetric alignment's,
    αW − βB: every replica computes the same, and adding them up over a pod would only cost the
    traffic, for `"sa"` as much again as backpropagation's. Replicas whose gradients differ would
    drift apart, so `ta.optimizers.check`, which `ta.callbacks.AlignmentMonitor` calls when training
    begins, raises an error for weights that see activity or noise.

    On one device it is plain SGD. It has no momentum, clipping, decay, averages or accumulation.
    Under dynamic loss scaling (`mixed_float16`) on several GPUs it cannot be used; `mixed_bfloat16`
    needs no loss scaling.

    Args:
        learning_rate: A number or a schedule.
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
            trainable_variables: Their variables; None for those it was built with.
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
        rate = self.learning_rate * context.num_replicas_in_sync
        grads, values = [g for g, _ in given], [v.value for _, v in given]
        constraints = [v.constraint for _, v in given]
        context.merge_call(_descend, args=(grads, values, rate, constraints))
        self.iterations.assign_add(1)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        self.assign_sub(variable, learning_rate * gradient)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the learning rate as it is now."""
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

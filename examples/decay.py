"""Optimizer whose weight decay is large at first, so that feedback weights forget their start.

B in Kolen-Pollack and R in product feedback get the same updates as W. The initial values of these
weights persist unless they decay. Large decay in the first epoch removes them at little cost, since
W has learned little by then.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["FORGETTING", "DecaySGD"]

FORGETTING = ("kp", "pfa", "pfa_o")
"""Ids of the methods whose feedback weights forget their initial values only by weight decay."""


@keras.saving.register_keras_serializable(package="examples")
class DecaySGD(keras.optimizers.SGD):
    """SGD with momentum whose weight decay is large in the first steps and small afterwards.

    The decay is a function of the optimizer's own step count, so the change takes effect inside
    the compiled step, and a run that is resumed has the decay of its epoch. Kernels and feedback
    weights decay; biases and the weights of normalisation layers do not.

    Args:
        learning_rate: Float or schedule.
        first: Weight decay in the first `steps` steps.
        later: Weight decay after the first `steps` steps.
        steps: Number of steps with the decay `first`.
        coupled: Whether decay is added to the gradient and passes through momentum, as in PyTorch
            (and as a Keras L2 regularizer of half the value does). Otherwise decay acts beside the
            gradient step, as Keras' `weight_decay`.
        momentum: Momentum of SGD.
        **kwargs: Further arguments of `keras.optimizers.SGD`.
    """

    def __init__(
        self,
        learning_rate: Any,
        first: float,
        later: float,
        steps: int,
        coupled: bool,
        momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, **kwargs)
        self.first, self.later, self.steps, self.coupled = first, later, steps, coupled

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the momenta, and determine by name which variables decay."""
        super().build(variables)
        self.decays = [
            v.name in ("kernel", "feedback_kernel", "product_plastic", "product_path")
            for v in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, with decay if it is a kernel or feedback weight."""
        if self.decays[self._get_variable_index(variable)]:
            decay = tf.where(self.iterations < self.steps, self.first, self.later)
            decay = tf.cast(decay, variable.dtype)
            if self.coupled:
                gradient = gradient + decay * variable
            else:
                variable.assign_sub(tf.cast(learning_rate, variable.dtype) * decay * variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {name: getattr(self, name) for name in ("first", "later", "steps", "coupled")}
        return {**super().get_config(), **own}

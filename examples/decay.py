"""Weight decay that is large at first, so that feedback forgets its start.

Kolen-Pollack's B and product feedback's R get the updates of W. What the three began with stays, if
it does not decay; to let it go in the first epoch costs little, since W has learned little by then.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["FORGETTING", "DecaySGD"]

FORGETTING = ("kp", "pfa", "pfa_o")
"""Methods whose feedback forgets its start by decay alone."""


@keras.saving.register_keras_serializable(package="examples")
class DecaySGD(keras.optimizers.SGD):
    """SGD with momentum 0.9 whose weight decay is large at first and small after.

    The decay is a function of the optimizer's own step count, so the change takes effect inside
    the compiled step, and a run that is resumed has the decay of its epoch. Kernels and feedback
    weights decay, biases and normalisation do not.

    Args:
        learning_rate: Float or schedule.
        first: Decay for the first `steps` steps.
        later: Decay after them.
        steps: See `first`.
        coupled: Whether decay joins the gradient and passes through momentum, as in PyTorch (and as
            a Keras L2 regularizer of half the value does), or acts next to it (Keras'
            `weight_decay`).
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
        """Create the momenta, and note which weights decay."""
        super().build(variables)
        self.decays = [
            v.name in ("kernel", "feedback_kernel", "product_plastic", "product_path")
            for v in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        if self.decays[self._get_variable_index(variable)]:
            decay = tf.where(self.iterations < self.steps, self.first, self.later)
            decay = tf.cast(decay, variable.dtype)
            if self.coupled:
                gradient = gradient + decay * variable
            else:
                variable.assign_sub(tf.cast(learning_rate, variable.dtype) * decay * variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in ("first", "later", "steps", "coupled")}
        return {**super().get_config(), **own}

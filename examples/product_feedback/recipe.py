"""How a network is trained: rates, epochs, and the decay that lets feedback forget its start."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

import tf_alignment as ta

__all__ = ["FORGETTING", "METHODS", "DecaySGD", "Recipe"]

# Methods whose feedback forgets its start by decay: they get the large decay at first.
FORGETTING = ("kp", "pfa", "pfa_o")
METHODS = ("backprop", "fa", "dfa", "usf", "sa", "kp", "pfa", "pfa_o")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained: the values of the paper's appendix 1.1.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Examples a step; what is left at the end of an epoch is dropped.
        rate: Learning rate of SGD with momentum 0.9.
        milestones: Epochs at which the rate is multiplied by `factor`.
        factor: See `milestones`.
        first_decay: Weight decay in the first epochs for methods that forget by decay.
        decay: Weight decay after it, and throughout for the others.
        coupled: Whether decay joins the gradient and passes through momentum, as in PyTorch (and as
            a Keras L2 regularizer of half the value does), or acts next to it (Keras'
            `weight_decay`).
        first_epochs: How many epochs have `first_decay`.
    """

    epochs: int
    batch_size: int
    rate: float
    milestones: tuple[int, ...]
    factor: float
    first_decay: float
    decay: float
    coupled: bool = True
    first_epochs: int = 1

    def optimizer(self, method: str, steps: int) -> keras.optimizers.Optimizer:
        """The optimizer for a method, with so many steps an epoch."""
        rate: Any = self.rate
        if self.milestones:
            values = [self.rate * self.factor**i for i in range(len(self.milestones) + 1)]
            boundaries = [steps * epoch - 1 for epoch in self.milestones]
            rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
        first = self.first_decay if method in FORGETTING else self.decay
        sgd = DecaySGD(rate, first, self.decay, steps * self.first_epochs, self.coupled)
        # `sa` learns by alignment and gets an optimizer of its own; the rest is one optimizer's.
        return ta.optimizers.split(sgd) if method == "sa" else sgd


@keras.saving.register_keras_serializable(package="product_feedback")
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
        coupled: See `Recipe`.
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

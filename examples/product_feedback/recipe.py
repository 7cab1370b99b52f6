"""How a network is trained: rates, epochs, and the decay that lets feedback forget its start."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

import tf_alignment as ta
from examples.decay import FORGETTING, DecaySGD

__all__ = ["METHODS", "Recipe"]

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

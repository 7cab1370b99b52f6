"""Default optimizer of studies."""

from __future__ import annotations

from typing import Any

import keras

from tf_alignment import optimizers

__all__ = ["sgd"]


def sgd(
    run: Any,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.01,
    warmup: float = 1 / 6,
    clipnorm: float | None = 1.0,
    feedback_rate: float = 0.5,
) -> keras.optimizers.Optimizer:
    """SGD with warm-up and cosine decay, and plain SGD for feedback that learns by alignment.

    Random feedback needs small steps at the start, hence warm-up and clipping. Kolen-Pollack and
    product feedback align because forward and feedback weights decay, by learning rate times weight
    decay per step, so they need some weight decay. All variants of a study have the same optimizer.

    Args:
        run: `Run` whose number of steps sets the length of the schedule.
        learning_rate: Highest learning rate.
        momentum: Momentum of the forward weights.
        weight_decay: Decoupled weight decay, as in Keras.
        warmup: Fraction of the training in which the learning rate grows from 0; 0 for no warm-up.
        clipnorm: Limit of the norm of the gradient of each weight, or None. One limit of all
            gradients together would let those of feedback weights shorten the forward steps.
        feedback_rate: Learning rate of feedback weights that learn by alignment (`"sa"`, `"aa"`,
            `"wm"`, `"ia"`).

    Returns:
        Optimizer made by `ta.optimizers.split`.

    Example:
    >>> import types, tf_alignment as ta
    >>> optimizer = ta.studies.sgd(types.SimpleNamespace(steps=600), learning_rate=0.05)
    >>> [type(inner).__name__ for inner in optimizer.optimizers]
    ['SGD', 'SGD']
    """
    rising = int(warmup * run.steps)
    rate: Any = keras.optimizers.schedules.CosineDecay(
        0.0 if rising else learning_rate,
        decay_steps=max(1, run.steps - rising),
        warmup_target=learning_rate if rising else None,
        warmup_steps=rising,
    )
    forward = keras.optimizers.SGD(
        rate, momentum, weight_decay=weight_decay or None, clipnorm=clipnorm
    )
    return optimizers.split(forward, keras.optimizers.SGD(feedback_rate, name="feedback"))

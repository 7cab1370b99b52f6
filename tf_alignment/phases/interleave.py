"""Training and a phase in turns, step by step, inside one compiled loop."""

from __future__ import annotations

import keras

from tf_alignment._support import training_step
from tf_alignment._support.arguments import instance
from tf_alignment.phases.compiled import CompiledPhase

__all__ = ["interleave"]


def interleave(model: keras.Model, phase: CompiledPhase | None) -> keras.Model:
    """Let every training step of `model` begin with a step of `phase`.

    The phase's step becomes part of the compiled training step: `fit` runs it under
    `steps_per_execution`, XLA and every strategy, with all its callbacks, and no Python comes in
    between. A phase without data of its own learns from the training batch. To run a phase once an
    epoch, or every k batches, use `tf_alignment.callbacks.FeedbackCallback`.

    The change holds for this model object, until another phase is interleaved, `interleave(model,
    None)` takes it out, or `strip` makes a stock model of it. If `convert(..., inplace=True)`
    changes the model, or one that it is part of, the phase is built anew for the new feedback
    weights, and taken out with a warning where it cannot learn. The change is not saved with the
    model, and it is not for callbacks: `fit` goes on with the step that it has compiled. A function
    that is put around the model's `train_step` later may change the batch, also for the phase.
    `Resume(phases=[phase])` stores the phase's state. `AlignmentMonitor` measures what the
    phase does, and watches for divergence.

    Args:
        model: A built model with feedback. Its `train_step` is wrapped.
        phase: A phase of small steps, as `tf_alignment.phases.NodePerturbation` or `Alignment`, or
            None to take out the one that is there.

    Returns:
        The model.

    Raises:
        TypeError: If `phase` is no phase of small steps.
        ValueError: If the phase's dataset is a stream (a step inside the loop cannot draw from it).

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> layers = [keras.layers.Dense(5, "tanh"), ta.layers.Dense(3, feedback="fa", name="a")]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> model.compile("sgd", "mse", steps_per_execution=4)
    >>> loss = keras.losses.MeanSquaredError(reduction=None)
    >>> phase = ta.phases.NodePerturbation(loss, solver="ridge", seed=1)
    >>> before = model.get_layer("a").feedback_weights["feedback_kernel"].numpy()
    >>> x, y = np.ones((64, 4), "float32"), np.ones((64, 3), "float32")
    >>> _ = ta.phases.interleave(model, phase).fit(x, y, batch_size=8, verbose=0)
    >>> bool(np.any(before != model.get_layer("a").feedback_weights["feedback_kernel"].numpy()))
    True
    """
    instance("model", model, keras.Model, "a Keras model")
    if phase is None:
        if training_step.additions(model).phase is not None:
            training_step.take_out(model, "phase")
            model.train_function = None  # the one compiled before does what it did
        return model
    if not isinstance(phase, CompiledPhase):
        raise TypeError(
            "Argument `phase` must be a phase of small steps, as `NodePerturbation` or "
            f"`Alignment`. Received: phase={phase!r}"
        )
    if phase.streams:
        raise ValueError(
            "Argument `phase` must draw from arrays, or have no dataset and take the training "
            "batches. Received: a phase with a tf.data.Dataset"
        )
    phase.build(model)
    step = training_step.install(model)
    step.added.phase, step.added.at = phase, step
    model.train_function = None
    return model

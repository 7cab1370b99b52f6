"""Trainings for `test_kills.py`, in processes that have TensorFlow imported before they start."""

import os
from multiprocessing.connection import Connection

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

EPOCHS = 40


def _aligned():
    """Feedback that learns inside the step, under an optimizer of its own."""
    return "sa", ta.optimizers.split(keras.optimizers.SGD(0.05, momentum=0.9)), []


def _noisy():
    """Noise drawn by the rule, and Adam's moments."""
    return ta.feedback.WeightMirror(0.1, 0.1, noise="gaussian"), ta.optimizers.split("adam"), []


def _phase():
    """Feedback that a phase learns between epochs, with a state of its own."""
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    phase = ta.phases.Alignment("wm", steps=3, optimizer=optimizer, batch_size=8, seed=2)
    return "fa", keras.optimizers.SGD(0.05), [phase]


def _phases():
    """Two phases, of which one runs between batches, and neither is handed to `Resume`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    noise = ta.phases.NodePerturbation(
        loss, dataset=_data(), steps=2, batch_size=8, solver="ridge", seed=3, name="noise"
    )
    return "fa", keras.optimizers.SGD(0.05), [*_phase()[2], noise]


def _data():
    rng = np.random.default_rng(1)
    return rng.standard_normal((96, 20)).astype("float32"), rng.integers(0, 5, 96)


TRAININGS = {"aligned": _aligned, "noisy": _noisy, "phase": _phase, "phases": _phases}


class Progress(keras.callbacks.Callback):
    """Says when training begins, before anything is restored, and when epochs begin and end.

    It is the first callback: what `Resume` writes at an epoch's end is written after the message.
    """

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def on_train_begin(self, logs=None):
        self.pipe.send("begun")

    def on_epoch_begin(self, epoch, logs=None):
        self.pipe.send(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.pipe.send(epoch)


def train(name: str, directory: str, result: str, pipe: Connection) -> None:
    """Train to the end; what is there from an earlier attempt is continued."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(5)
    feedback, optimizer, phases = TRAININGS[name]()
    x, y = _data()
    model = ta.convert(
        keras.Sequential(
            [
                keras.Input((20,)),
                keras.layers.Dense(16, "relu"),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(5),
            ]
        ),
        feedback,
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = ta.data.EpochShuffled(x, y, batch_size=32, seed=4)
    resume = ta.callbacks.Resume(directory, data=data)
    runs = [
        ta.callbacks.FeedbackCallback(phase, every_batches=batches, warmup=1)
        for phase, batches in zip(phases, (None, 2), strict=False)
    ]
    model.fit(
        data.dataset,
        epochs=EPOCHS,
        verbose=0,
        shuffle=False,
        callbacks=[Progress(pipe), *runs, resume],
    )
    variables = [*model.variables, *model.optimizer.variables]
    np.savez(f"{result}.new.npz", *[v.numpy() for v in variables])
    os.replace(f"{result}.new.npz", result)

"""A training that is interrupted at the start of its third epoch, and resumed."""

import keras
import numpy as np
import pytest


class Stop(Exception):
    """What interrupts the training."""


class Interrupt(keras.callbacks.Callback):
    """Interrupts it."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise Stop


def assert_resumes_to_the_same_weights(run, folder):
    """`run(directory, *callbacks)` trains with `Resume(directory)` and returns the weights."""
    whole = run(folder / "whole")
    with pytest.raises(Stop):
        run(folder / "part", Interrupt())
    for a, b in zip(whole, run(folder / "part"), strict=True):
        np.testing.assert_array_equal(a, b)

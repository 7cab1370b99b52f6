"""Variables that phases keep from run to run."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

__all__ = ["state_variable"]


def state_variable(shape: Sequence[int], name: str, dtype: str = "float32") -> keras.Variable:
    """A variable of zeros that every replica changes alike.

    Args:
        shape: Shape of the variable.
        name: Name of the variable.
        dtype: Type of the variable.
    """
    return keras.Variable(
        tf.zeros(shape, dtype),
        dtype=dtype,
        trainable=False,
        aggregation="only_first_replica",
        name=name,
    )

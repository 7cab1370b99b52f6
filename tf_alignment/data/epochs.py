"""Batches of arrays whose order depends only on the seed and the epoch.

`Dataset.shuffle` continues from the state of its generator, which is lost when a run is killed.
Here the order of epoch `e` is the permutation drawn from `numpy.random.default_rng((seed, e))`, so
a run that resumes at epoch `e` sees the same batches as an uninterrupted run.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import boolean, integer, tensor

__all__ = ["EpochShuffled", "FollowEpoch", "Passes"]


class Passes:
    """Base of datasets with a different order for each pass; it counts the passes.

    Args:
        epoch: Epoch of the first pass.

    Attributes:
        callback: Keras callback that sets `epoch` to Keras' count at the start of every epoch.

    Raises:
        ValueError: If `epoch` is not, or is set to something that is not, an integer of at least 0.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch
        self.callback: keras.callbacks.Callback = FollowEpoch(self)

    @property
    def epoch(self) -> int:
        """Epoch whose order the next pass takes."""
        return max(self._next.values(), default=self._first)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._first = integer("epoch", epoch, 0)
        self._next: dict[int, int] = {}

    def next_epoch(self, worker: int = 0) -> int:
        """Count a pass of a worker, and return the epoch of the pass.

        Args:
            worker: Index of the worker. Passes are counted for each worker separately, since an
                epoch is one pass of every worker.
        """
        epoch = self._next.get(worker, self._first)
        self._next[worker] = epoch + 1
        return epoch


class EpochShuffled(Passes):
    """Batches of arrays in an order that depends only on the seed and the epoch.

    The attribute `dataset` is a finite `tf.data.Dataset` of one epoch. When a pass over it starts,
    it takes the order of `epoch` and increases `epoch` by one, so that plain `fit` shuffles anew in
    every epoch. The attribute `epoch` can be set: a callback that restores a killed run sets it to
    the epoch at which the run resumes. The attribute `callback` sets `epoch` to Keras' own count at
    the start of every epoch. The order is then independent of earlier passes (under a
    `tf.distribute` strategy `fit` begins a pass of its own before the first epoch).

    Pass `shuffle=False` to `fit`: with its default Keras warns that it does not shuffle a
    `tf.data.Dataset`.

    Args:
        x: Inputs, `(examples, ...)`.
        y: Targets, `(examples, ...)`.
        batch_size: Number of examples per batch.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Whether to leave out the last batch of an epoch if it is smaller, which
            saves a second compilation under XLA.
        epoch: Epoch of the first pass.

    Raises:
        ValueError: If an argument is out of range, or `x` and `y` differ in length.

    Example:
        >>> data = EpochShuffled(np.arange(4.0), np.arange(4), batch_size=2)
        >>> [y.tolist() for _, y in data.dataset.as_numpy_iterator()]
        [[2, 0], [1, 3]]
        >>> data.epoch = 0
        >>> [y.tolist() for _, y in data.dataset.as_numpy_iterator()]
        [[2, 0], [1, 3]]

        In training: `model.fit(data.dataset, epochs=10, shuffle=False, callbacks=[data.callback])`.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        seed: int = 0,
        drop_remainder: bool = False,
        epoch: int = 0,
    ) -> None:
        self.batch_size = integer("batch_size", batch_size)
        self.seed = integer("seed", seed, 0)
        super().__init__(epoch)
        self.drop_remainder = boolean("drop_remainder", drop_remainder)
        with tf.device("CPU:0"):  # Batches are gathered on the host whatever trains on them.
            x, y = tensor("x", x, 1, of_numbers=False), tensor("y", y, 1, of_numbers=False)
        if len(x) != len(y):
            raise ValueError(
                "`x` and `y` must have the same number of examples. "
                f"Received: len(x)={len(x)}, len(y)={len(y)}"
            )
        self.examples = len(x)
        if len(self) == 0:
            raise ValueError(
                "`x` must hold at least one example, or one batch with `drop_remainder=True`. "
                f"Received: len(x)={len(x)}, batch_size={batch_size}"
            )
        self.dataset: tf.data.Dataset = self._pipeline(x, y)

    def __len__(self) -> int:
        """Number of batches per epoch."""
        if self.drop_remainder:
            return self.examples // self.batch_size
        return math.ceil(self.examples / self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch.

        Args:
            epoch: Number of the epoch, counted from 0.

        Returns:
            Permutation of the indices of the examples, `(examples,)`, int64.

        Example:
            >>> EpochShuffled(np.zeros(4), np.zeros(4), batch_size=2).order(0)
            array([2, 0, 1, 3])
        """
        return np.random.default_rng((self.seed, epoch)).permutation(self.examples)

    def _pipeline(self, x: Any, y: Any) -> tf.data.Dataset:
        def one_pass(_: tf.Tensor) -> tf.data.Dataset:
            # The only Python in the pipeline, run once when a pass starts.
            order = tf.numpy_function(lambda: self.order(self.next_epoch()), [], tf.int64)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (self.examples,)))

        # With autotuning, short epochs wait for its clock: 10 ms, 30 ms, 70 ms, 150 ms, 310 ms ...
        options = tf.data.Options()
        options.autotune.enabled = False
        return (
            tf.data.Dataset.from_tensors(0)
            .flat_map(one_pass)
            .batch(self.batch_size, drop_remainder=self.drop_remainder)
            .map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)))
            .apply(tf.data.experimental.assert_cardinality(len(self)))
            .prefetch(2)
            .with_options(options)
        )


class FollowEpoch(keras.callbacks.Callback):
    """Callback that sets the epoch of data at the beginning of every epoch.

    Args:
        data: Object with an attribute `epoch`.
    """

    def __init__(self, data: Any) -> None:
        super().__init__()
        self._data = data

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the attribute `epoch` of the data."""
        self._data.epoch = epoch

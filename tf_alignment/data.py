"""Datasets by name, and batches whose order is a function of the seed and the epoch alone.

`load` gives arrays. `"digits"` is embedded in scikit-learn and needs no network; MNIST and CIFAR
come from TensorFlow Datasets, from files that have been prepared before: nothing is downloaded
behind the user's back.

`EpochShuffled` makes the batches. `Dataset.shuffle` goes on from the state of its generator, which
is lost when a run is killed. Here the order of epoch `e` is the permutation drawn from
`numpy.random.default_rng((seed, e))`, so a run that resumes at epoch `e` sees what it would have
seen.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._optional import require

__all__ = ["NAMES", "Arrays", "EpochShuffled", "Split", "load"]

NAMES = ("digits", "mnist", "cifar10", "cifar100")
"""What `load` knows."""


class Split(NamedTuple):
    """Inputs and labels of one split; unpacks into the arguments of `fit` and `evaluate`.

    Attributes:
        x: `(examples, height, width, channels)`, float32 in [0, 1].
        y: `(examples,)`, int32 class labels.
    """

    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """A dataset in memory.

    Attributes:
        name: What `load` was asked for.
        train: Training split.
        test: Test split.
        classes: Number of classes.
    """

    name: str
    train: Split
    test: Split
    classes: int


def load(name: str, data_dir: str | None = None) -> Arrays:
    """Load an image classification dataset into memory.

    Args:
        name: `"digits"` (8x8 handwritten digits of scikit-learn; 1437 for training and 360 for
            testing, split by class and always in the same way), `"mnist"`, `"cifar10"` or
            `"cifar100"` (from TensorFlow Datasets, with their own splits).
        data_dir: Directory that holds the prepared TensorFlow Datasets; `None` takes their own
            default. Has no meaning for `"digits"`.

    Returns:
        The dataset: `x` float32 in [0, 1] with a channel axis, `y` int32.

    Raises:
        ValueError: If `name` is unknown.
        FileNotFoundError: If the dataset is not in `data_dir`; the message says how to put
            it there.
        ImportError: If the library that holds the dataset is not installed.

    Example:
        >>> digits = load("digits")
        >>> digits.train.x.shape, digits.test.x.shape, digits.classes
        ((1437, 8, 8, 1), (360, 8, 8, 1), 10)
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(NAMES)}. Received: name={name!r}")
    return _digits() if name == "digits" else _prepared(name, data_dir)


def _digits() -> Arrays:
    datasets = require("sklearn.datasets", "The digits dataset")
    selection = require("sklearn.model_selection", "The digits dataset")
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16.0).reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = selection.train_test_split(
        x, y.astype(np.int32), test_size=0.2, stratify=y, random_state=0
    )
    return Arrays("digits", Split(x_train, y_train), Split(x_test, y_test), classes=10)


def _prepared(name: str, data_dir: str | None) -> Arrays:
    tfds = require("tensorflow_datasets", f"The dataset {name!r}")
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"`data_dir` must hold the TensorFlow dataset {name!r}; expected its files in "
            f"{builder.data_path}. To download and prepare it there, run: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', "
            f'data_dir={data_dir!r})". A copy that was prepared elsewhere can be put into that '
            f"directory as it is. Received: data_dir={data_dir!r}"
        )

    def split(part: str) -> Split:
        images, labels = tfds.as_numpy(
            builder.as_dataset(split=part, batch_size=-1, as_supervised=True)
        )
        return Split(images.astype(np.float32) / np.float32(255.0), labels.astype(np.int32))

    classes = builder.info.features["label"].num_classes
    return Arrays(name, split("train"), split("test"), classes)


class EpochShuffled:
    """Batches of arrays in an order that depends on the seed and the epoch alone.

    `dataset` is a finite `tf.data.Dataset` of one epoch. When a pass over it starts, it takes the
    order of `epoch` and moves `epoch` on by one, so that plain `fit` shuffles anew every epoch.
    `epoch` can be set: a callback that restores a killed run sets the epoch at which it resumes.
    `callback` sets it to Keras' own count at the start of every epoch, which makes the order
    independent of whatever was iterated before (under a `tf.distribute` strategy `fit` begins a
    pass of its own before the first epoch).

    Pass `shuffle=False` to `fit`: with its default Keras warns that it does not shuffle a
    `tf.data.Dataset`.

    Args:
        x: Inputs, `(examples, ...)`.
        y: Targets, `(examples, ...)`.
        batch_size: Number of examples a batch.
        seed: Non-negative integer; another seed gives other orders.
        drop_remainder: Whether to leave out the last batch of an epoch if it is smaller. Under XLA
            that saves a second compilation.
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
        self.batch_size = _integer("batch_size", batch_size, minimum=1)
        self.seed = _integer("seed", seed, minimum=0)
        self.epoch = epoch
        self.drop_remainder = drop_remainder
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
        self.callback: keras.callbacks.Callback = _FollowEpoch(self)

    @property
    def epoch(self) -> int:
        """The epoch whose order the next pass takes."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = _integer("epoch", epoch, minimum=0)

    def __len__(self) -> int:
        """Number of batches an epoch."""
        if self.drop_remainder:
            return self.examples // self.batch_size
        return math.ceil(self.examples / self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch.

        Args:
            epoch: Which one, counted from 0.

        Returns:
            A permutation of the examples' indices, `(examples,)`, int64.

        Example:
            >>> EpochShuffled(np.zeros(4), np.zeros(4), batch_size=2).order(0)
            array([2, 0, 1, 3])
        """
        return np.random.default_rng((self.seed, epoch)).permutation(self.examples)

    def _next_order(self) -> np.ndarray:
        """Count a pass, and return its order."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.order(epoch)

    def _pipeline(self, x: Any, y: Any) -> tf.data.Dataset:
        with tf.device("CPU:0"):  # Batches are gathered on the host whatever trains on them.
            x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)

        def one_pass(_: tf.Tensor) -> tf.data.Dataset:
            # The only Python in the pipeline, run once when a pass starts.
            order = tf.numpy_function(self._next_order, [], tf.int64)
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


class _FollowEpoch(keras.callbacks.Callback):
    """Tell an `EpochShuffled` which epoch Keras begins."""

    def __init__(self, data: EpochShuffled) -> None:
        super().__init__()
        self._data = data

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._data.epoch = epoch


def _integer(name: str, value: Any, minimum: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise ValueError(f"`{name}` must be an integer >= {minimum}. Received: {name}={value!r}")
    return number

"""Datasets by name, as arrays.

`"digits"` comes with the package. The other datasets come from files that TensorFlow Datasets has
prepared before: nothing is downloaded without the user's command.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import file_path, one_of
from tf_alignment._support.optional import require

__all__ = ["NAMES", "Arrays", "Split", "builder_of", "load"]

NAMES = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "cifar100", "voc")
"""Names of the datasets that `load` knows."""


class Split(NamedTuple):
    """Inputs and labels of one split, to be unpacked into the arguments of `fit` and `evaluate`.

    Attributes:
        x: Images `(examples, height, width, channels)`, float32 in [0, 1].
        y: Class labels `(examples,)`, int32.

    Example:
    >>> import tf_alignment as ta
    >>> x, y = ta.data.load("digits").test
    >>> x.shape, y.shape
    ((360, 8, 8, 1), (360,))
    """

    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """Dataset in memory.

    Attributes:
        name: Name of the dataset, as given to `load`.
        train: Training split.
        test: Test split.
        classes: Number of classes.

    Example:
    >>> import tf_alignment as ta
    >>> digits = ta.data.load("digits")
    >>> digits.name, len(digits.train.x), digits.classes
    ('digits', 1437, 10)
    """

    name: str
    train: Split
    test: Split
    classes: int

    def map(self, function: Callable[[np.ndarray], Any]) -> Arrays:
        """Copy of the dataset with changed inputs and the same labels.

        Args:
            function: Function of the inputs of a split, `(examples, ...)`, that returns the same
                number of examples. It is called once per split.

        Raises:
            TypeError: If `function` cannot be called.
            ValueError: If `function` returns another number of examples.

        Example:
        >>> import tf_alignment as ta
        >>> flat = ta.data.load("digits").map(lambda x: x.reshape(len(x), -1))
        >>> flat.train.x.shape, flat.test.x.shape
        ((1437, 64), (360, 64))
        """
        if not callable(function):
            raise TypeError(
                "Argument `function` must be a function of an array. "
                f"Received: function={function!r}"
            )
        return dataclasses.replace(
            self, train=_changed(self.train, function), test=_changed(self.test, function)
        )


def _changed(split: Split, function: Callable[[np.ndarray], Any]) -> Split:
    x = np.asarray(function(split.x))
    if x.shape[:1] != split.x.shape[:1]:
        raise ValueError(
            f"Argument `function` must return as many examples as it gets, {len(split.x)}. "
            f"Received: function={function!r}, which returns shape {x.shape}"
        )
    return Split(x, split.y)


def load(name: str, data_dir: str | None = None) -> Arrays:
    """Load an image classification dataset into memory.

    Args:
        name: Name of the dataset: `"digits"` (the 8x8 handwritten digits of scikit-learn, Alpaydin
            & Kaynak 1998, https://doi.org/10.24432/C50P49, with 1437 images for training and 360
            for testing, in a fixed split that is balanced over classes); `"mnist"`,
            `"fashion_mnist"`, `"svhn_cropped"`, `"cifar10"` or `"cifar100"` (from TensorFlow
            Datasets, with the usual splits); `"voc"` (Pascal VOC 2007 at 32x32, each image with
            the class of its largest object, 21 classes with the background); or the name of any
            other folder of `data_dir` that holds a prepared TensorFlow Dataset of images of one
            size with a class label. The split for testing is `test` or, without one, `validation`.
        data_dir: Directory of the prepared TensorFlow Datasets, in which `~` is the home directory;
            `None` takes the default of TensorFlow Datasets. Not used for `"digits"`.

    Returns:
        Dataset with `x` float32 in [0, 1] with a channel axis, and `y` int32.

    Raises:
        ValueError: If `name` is unknown, or if the dataset has no such images, labels or splits.
        FileNotFoundError: If the dataset is not in `data_dir`; the message says how to prepare it.
        ImportError: If the library that holds the dataset is not installed.

    Example:
        >>> digits = load("digits")
        >>> digits.train.x.shape, digits.test.x.shape, digits.classes
        ((1437, 8, 8, 1), (360, 8, 8, 1), 10)
    """
    if data_dir is not None:
        file_path("data_dir", data_dir)
    if not (data_dir and isinstance(name, str) and _has_folder(data_dir, name)):
        one_of("name", name, NAMES)
    return _digits() if name == "digits" else _prepared(name, data_dir)


def _digits() -> Arrays:
    # written by tools/digits.py
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        x_train, y_train, x_test, y_test = (
            file[name] for name in ("x_train", "y_train", "x_test", "y_test")
        )

    def split(x: np.ndarray, y: np.ndarray) -> Split:
        return Split((x[..., None] / 16.0).astype(np.float32), y.astype(np.int32))

    return Arrays("digits", split(x_train, y_train), split(x_test, y_test), classes=10)


def _prepared(name: str, data_dir: str | None) -> Arrays:
    builder = builder_of(name, data_dir)

    def split(part: str) -> Split:
        examples = builder.as_dataset(split=part)
        examples = examples.map(_largest_object if name == "voc" else _labelled)
        batches = list(examples.batch(4096).as_numpy_iterator())
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return Split(images.astype(np.float32) / np.float32(255.0), labels.astype(np.int32))

    if name == "voc":
        # The paper that trains on it has 21 outputs, and does not say what its labels are.
        return Arrays(name, split("train+validation"), split("test"), classes=21)
    test_name = "test" if "test" in builder.info.splits else "validation"
    if name not in NAMES:
        _check_features(name, builder, ("train", test_name))
    classes = builder.info.features["label"].num_classes
    train, test = (split(part) for part in ("train", test_name))
    return Arrays(name, train, test, classes)


def _has_folder(data_dir: str, name: str) -> bool:
    """Whether a directory of datasets has a folder of this name, and no path to elsewhere."""
    folder = os.path.join(os.path.expanduser(data_dir), name)
    return name.isidentifier() and tf.io.gfile.isdir(folder)


def _check_features(name: str, builder: Any, splits: tuple[str, str]) -> None:
    """Raise an error unless a dataset has images of one size with a class label, and two splits."""
    info = builder.info
    image, label = (dict(info.features).get(key) for key in ("image", "label"))
    sizes = getattr(image, "shape", ())
    if (
        len(sizes) != 3
        or None in sizes
        or getattr(image, "dtype", None) != np.uint8
        or not getattr(label, "num_classes", None)
        or not set(splits) <= set(info.splits)
    ):
        raise ValueError(
            f"The dataset {name!r} must have the features `image` (uint8, of one size) and `label` "
            "(a class label), and the splits `train` and `test` or `validation`. "
            f"Received: features={info.features}, splits={sorted(info.splits)}"
        )


def builder_of(name: str, data_dir: str | None) -> Any:
    """Builder of the TensorFlow Dataset with a name.

    Raises:
        FileNotFoundError: If the dataset is not in `data_dir`; the message says how to prepare it.
        ImportError: If TensorFlow Datasets is not installed.
    """
    tfds = require("tensorflow_datasets", f"The dataset {name!r}")
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)  # a bucket's address stays as it is
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"`data_dir` must hold the TensorFlow dataset {name!r}; expected its files in "
            f"{builder.data_path}. To download and prepare it there, run: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', "
            f'data_dir={data_dir!r})". A copy that was prepared elsewhere can be put into that '
            f"directory as it is. Received: data_dir={data_dir!r}"
        )
    return builder


def _labelled(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """Image and class."""
    return example["image"], example["label"]


def _largest_object(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """Image at 32x32, and 1 + the class of its largest object; 0 is the background."""
    image = tf.image.resize(tf.cast(example["image"], tf.float32), (32, 32), antialias=True)
    boxes, labels = example["objects"]["bbox"], example["objects"]["label"]
    if tf.size(labels) == 0:
        return image, tf.constant(0, tf.int64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return image, 1 + labels[tf.argmax(area)]

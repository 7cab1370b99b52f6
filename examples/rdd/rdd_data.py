"""The paper's four datasets, and two smaller ones, by their TensorFlow Datasets names."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

import tf_alignment as ta

__all__ = ["NAMES", "load"]

NAMES = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "voc")
VOC_CLASSES = 21  # 20 kinds of object and the background, as in the paper's network


def load(name: str, data_dir: str | None = None) -> ta.data.Arrays:
    """A dataset of images with one label each, in [-1, 1].

    Pascal VOC has many objects an image. The paper does not say what its labels are; here an
    image is resized to 32x32 and its label is the class of its largest object.

    Args:
        name: One of `NAMES`. The embedded digits are enlarged to 24x24.
        data_dir: Where the prepared TensorFlow Datasets are.

    Returns:
        The dataset.

    Raises:
        ValueError: If `name` is unknown.
        FileNotFoundError: If the dataset is not prepared in `data_dir`.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(NAMES)}. Received: name={name!r}")
    data = ta.data.load(name, data_dir) if name in ta.data.NAMES else _prepared(name, data_dir)

    def change(split: ta.data.Split) -> ta.data.Split:
        x = np.kron(split.x, np.ones((1, 3, 3, 1), np.float32)) if name == "digits" else split.x
        return ta.data.Split(2.0 * x - 1.0, split.y)

    return dataclasses.replace(data, train=change(data.train), test=change(data.test))


def _prepared(name: str, data_dir: str | None) -> ta.data.Arrays:
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"`data_dir` must hold the TensorFlow dataset {name!r}; expected its files in "
            f"{builder.data_path}. To download and prepare it there, run: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', "
            f'data_dir={data_dir!r})". Received: data_dir={data_dir!r}'
        )
    function = _largest_object if name == "voc" else _image_and_label

    def split(part: str) -> ta.data.Split:
        examples = tfds.as_numpy(builder.as_dataset(split=part).map(function))
        images, labels = zip(*examples, strict=True)
        return ta.data.Split(np.stack(images), np.array(labels, np.int32))

    if name == "voc":
        return ta.data.Arrays(name, split("train+validation"), split("test"), VOC_CLASSES)
    classes = builder.info.features["label"].num_classes
    return ta.data.Arrays(name, split("train"), split("test"), classes)


def _image_and_label(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(example["image"], tf.float32) / 255.0, example["label"]


def _largest_object(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """The image at 32x32, and 1 + the class of its largest object; 0 is the background."""
    image = tf.image.resize(tf.cast(example["image"], tf.float32) / 255.0, (32, 32), antialias=True)
    boxes, labels = example["objects"]["bbox"], example["objects"]["label"]
    if tf.size(labels) == 0:
        return image, tf.constant(0, tf.int64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return image, 1 + labels[tf.argmax(area)]

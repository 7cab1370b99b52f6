"""The paper's four datasets, and two smaller ones, by their TensorFlow Datasets names."""

from __future__ import annotations

import dataclasses

import numpy as np

import tf_alignment as ta

__all__ = ["NAMES", "load"]

NAMES = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "voc")


def load(name: str, data_dir: str | None = None) -> ta.data.Arrays:
    """A dataset of images with one label each, in [-1, 1].

    Args:
        name: One of `NAMES`. The embedded digits are enlarged to 24x24.
        data_dir: Where the prepared TensorFlow Datasets are.

    Returns:
        The dataset.
    """
    data = ta.data.load(name, data_dir)

    def change(split: ta.data.Split) -> ta.data.Split:
        x = np.kron(split.x, np.ones((1, 3, 3, 1), np.float32)) if name == "digits" else split.x
        return ta.data.Split(2.0 * x - 1.0, split.y)

    return dataclasses.replace(data, train=change(data.train), test=change(data.test))

"""The paper's four datasets, and two smaller ones, by their TensorFlow Datasets names."""

from __future__ import annotations

import numpy as np

import tf_alignment as ta

__all__ = ["NAMES", "load"]

NAMES = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "voc")


def load(name: str, data_dir: str | None = None) -> ta.data.Arrays:
    """A dataset of images with one label each, in [-1, 1].

    Returns:
        The dataset.
    """
    data = ta.data.load(name, data_dir)
    if name == "digits":
        data = data.map(lambda x: np.kron(x, np.ones((1, 3, 3, 1), np.float32)))
    return data.map(lambda x: 2.0 * x - 1.0)

"""Datasets by their TensorFlow Datasets names: four of the paper, and two smaller ones."""

from __future__ import annotations

import numpy as np

import tf_alignment as ta

__all__ = ["NAMES", "load"]

NAMES = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "voc")


def load(name: str, data_dir: str | None = None) -> ta.data.Arrays:
    """Return a dataset of images with values in [-1, 1] and one label per image.

    Digits are enlarged from 8x8 to 24x24 pixels.

    Args:
        name: Name of the dataset in `NAMES`.
        data_dir: Directory of the TensorFlow Datasets.
    """
    data = ta.data.load(name, data_dir)
    if name == "digits":
        data = data.map(lambda x: np.kron(x, np.ones((1, 3, 3, 1), np.float32)))
    return data.map(lambda x: 2.0 * x - 1.0)

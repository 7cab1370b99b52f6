"""Recordings of neurons in area V4 of macaques, read from TensorFlow Datasets on disk.

The recordings are the sessions of `v4_cowley`: spike counts of V4 neurons in response to natural
images, averaged over repeats (Cowley, Stan, Pillow & Smith 2023, bioRxiv). The dataset must be in
the data directory, since nothing here downloads it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

__all__ = ["SESSIONS", "Recording", "noise_ceiling", "read"]

SESSIONS = ("190923", "201025", "210225", "210325")


class Recording(NamedTuple):
    """Images of a recording session, and the responses of the neurons.

    Attributes:
        images: Images in the form of the networks' input, `(images, height, width, channels)`.
        responses: Mean response of each neuron over repeats, `(images, neurons)`.
        ceiling: Largest correlation r that a perfect model could reach, `(neurons,)`, or None.
    """

    images: np.ndarray
    responses: np.ndarray
    ceiling: np.ndarray | None


def read(session: str, data_dir: str | None, size: int) -> Recording:
    """Read a session, with images whose values are in [0, 1].

    Args:
        session: One of `SESSIONS`.
        data_dir: Directory of the TensorFlow Datasets.
        size: Height and width of the networks' images, in pixels, to which the images of the
            session are averaged.

    Raises:
        ValueError: If the session is not in the directory.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(f"v4_cowley/{session}", data_dir=data_dir)
        examples = list(tfds.as_numpy(builder.as_dataset("train")))
    except (tfds.core.DatasetNotFoundError, AssertionError, FileNotFoundError) as error:
        raise ValueError(
            f"The recordings must be in the data directory, as 'v4_cowley/{session}'. "
            f"Received: --data-dir {data_dir} ({str(error).splitlines()[0]})"
        ) from None
    pixels = np.stack([example["image"] for example in examples]).astype(np.float32) / 255
    images = tf.image.resize(pixels, (size, size), method="area").numpy()
    responses = np.stack([example["response"] for example in examples])
    repeats = [example["repeats"] for example in examples if "repeats" in example]
    ceiling = noise_ceiling(np.stack(repeats)) if repeats else None
    return Recording(images, responses, ceiling)


def noise_ceiling(repeats: Any, splits: int = 50, seed: int = 0) -> np.ndarray:
    """Estimate the largest correlation of a model with mean responses from repeated responses.

    The repeats of each image are split into random halves. The means of the two halves have the
    correlation r over the images. By the formula of Spearman and Brown, the reliability of the mean
    over all repeats is 2 r / (1 + r), and a perfect model's correlation with this mean is the root
    of the reliability.

    Args:
        repeats: Responses, `(images, neurons, repeats)`, NaN where there was no repeat.
        splits: Number of random splits into halves, over which r is averaged.
        seed: Seed of the splits.

    Returns:
        Largest correlation of each neuron, `(neurons,)`, 0 where the halves do not correlate.
    """
    rng = np.random.default_rng(seed)
    repeats = np.asarray(repeats, np.float64)
    found = []
    for _ in range(splits):
        # random order of the repeats of each image, in which missing repeats come last
        order = np.where(np.isnan(repeats[:, :1]), np.inf, rng.random(repeats[:, :1].shape))
        rank = order.argsort(-1).argsort(-1)
        count = np.sum(np.isfinite(order), -1, keepdims=True)
        first = rank < count // 2
        second = (rank >= count // 2) & (rank < count)
        halves = [np.nanmean(np.where(half, repeats, np.nan), -1) for half in (first, second)]
        a, b = (half - half.mean(0) for half in halves)
        found.append((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)))
    r = np.clip(np.nanmean(found, 0), 0, 1)
    return np.sqrt(2 * r / (1 + r))

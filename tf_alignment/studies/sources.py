"""Data of runs: datasets by name, arrays, or the result of a function."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import one_of
from tf_alignment.data import NAMES, Arrays, EpochShuffled, Split, load
from tf_alignment.studies.encoding import Encoder, decode
from tf_alignment.studies.store import unwritten
from tf_alignment.studies.variants import Run, construct

__all__ = ["InMemory", "Source", "encode_data", "hold_out", "open_data"]


class Batches(Protocol):
    """Interface of the training data of one run, for instance `ta.data.EpochShuffled`.

    Attributes:
        epoch: Number of the next pass's epoch, on which the order of the examples depends.
        dataset: Dataset with the batches of one epoch.
    """

    epoch: int
    dataset: tf.data.Dataset

    def __len__(self) -> int:
        """Number of batches per epoch."""


class Source(Protocol):
    """Interface of the data of a run; a study's `data` may return it if data exceed the memory.

    Attributes:
        validation: Batches of the test data, or of held-out examples.
    """

    validation: Any

    def batches(self, seed: int, batch_size: int) -> Batches:
        """Training data in the order of a seed; called in the scope of the strategy."""

    def probe(self, examples: int) -> tuple[Any, Any]:
        """Inputs and targets of `examples` examples, on which gradients are compared."""


class InMemory:
    """`Source` of arrays in memory.

    Args:
        train: Training examples, `(x, y)`.
        test: Test examples, `(x, y)`.

    Attributes:
        train: Training examples as a `Split`.
        test: Test examples as a `Split`.
        validation: Batches of the test split.
    """

    def __init__(self, train: Any, test: Any) -> None:
        self.train, self.test = Split(*train), Split(*test)
        self.validation = tf.data.Dataset.from_tensor_slices(tuple(self.test)).batch(500)

    def batches(self, seed: int, batch_size: int) -> EpochShuffled:
        """Training split in the order of a seed, without a last, smaller batch."""
        return EpochShuffled(*self.train, batch_size, seed=seed, drop_remainder=True)

    def probe(self, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """First examples of the test split."""
        return self.test.x[:examples], self.test.y[:examples]


def hold_out(source: Any, fraction: float) -> InMemory:
    """Source whose test split is the last part of the training split.

    Args:
        source: `InMemory` source.
        fraction: Fraction of the training split that is held out.

    Raises:
        TypeError: If the source does not consist of arrays. Such a source has to hold out examples
            itself, with the fraction `run.settings.pop("held_out")`.
    """
    if not isinstance(source, InMemory):
        raise TypeError(
            "Argument `data` must be arrays or a dataset by name for a study with tuning, or a "
            "function that holds out the part `run.settings.pop('held_out')` of the training "
            "examples itself. "
            f"Received: data={source!r}"
        )
    count = max(1, round(fraction * len(source.train.x)))
    x, y = source.train
    return InMemory((x[:-count], y[:-count]), (x[-count:], y[-count:]))


def encode_data(data: Any, directory: Path, encoder: Encoder) -> Any:
    """Encode a study's `data` as JSON; arrays are written into the directory, once.

    Args:
        data: Name of a dataset of `ta.data.load`, `ta.data.Arrays`, a pair `(train, test)` in which
            each is `(x, y)` or a finite `tf.data.Dataset` of examples or batches, or a function of
            the `Run`.
        directory: Directory of the study.
        encoder: Encoder for functions.

    Raises:
        TypeError: If `data` is of another kind.
        ValueError: If the name is unknown.
    """
    if isinstance(data, str):
        return {"name": one_of("data", data, NAMES)}
    if callable(data):
        return {"function": encoder.encode("data", data)}
    splits = {}
    for name, split in zip(("train", "test"), _splits(data), strict=True):
        for part, array in zip(("x", "y"), _arrays(split), strict=True):
            splits[f"{name}_{part}"] = _written(array, directory / "data")
    return {"arrays": splits}


def open_data(content: Any, directory: Path, run: Run) -> Any:
    """Open the `Source` that `encode_data` has encoded.

    Args:
        content: JSON content from `encode_data`.
        directory: Directory of the study.
        run: Run that uses the data.
    """
    if "name" in content:
        data: Any = load(content["name"], run.data_dir)
    elif "function" in content:
        data = construct(decode(content["function"]), run)
        if hasattr(data, "batches"):
            return data
    else:
        files = content["arrays"]
        arrays = {name: np.load(directory / "data" / file) for name, file in files.items()}
        data = tuple((arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in ("train", "test"))
    train, test = _splits(data)
    return InMemory(_arrays(train), _arrays(test))


def _splits(data: Any) -> tuple[Any, Any]:
    if isinstance(data, Arrays):
        return data.train, data.test
    if isinstance(data, tuple | list) and len(data) == 2:
        return data[0], data[1]
    raise TypeError(
        "Argument `data` must be a name of `ta.data.load`, `ta.data.Arrays`, (train, test) with "
        "(x, y) or a tf.data.Dataset for each, or a function of a run. "
        f"Received: data={type(data).__name__}"
    )


def _arrays(split: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(split, tf.data.Dataset):
        split = _materialised(split)
    if not isinstance(split, tuple | list) or len(split) != 2:
        raise TypeError(
            "Argument `data` must have (x, y) or a tf.data.Dataset of such pairs for each split. "
            f"Received: {type(split).__name__}"
        )
    x, y = (np.asarray(part) for part in split)
    if len(x) != len(y):
        raise ValueError(
            "Argument `data` must have as many targets as inputs. "
            f"Received: {len(x)} inputs and {len(y)} targets"
        )
    return x, y


def _materialised(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Convert a finite dataset of `(x, y)`, single examples or batches, to two arrays."""
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("Argument `data` must hold finite datasets. Received: one without end")
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if len(shapes) != 2:
        raise TypeError(
            "Argument `data` must hold datasets of (x, y). "
            f"Received: elements of {len(shapes)} parts"
        )
    batched = all(len(shape) > 0 and shape[0] is None for shape in shapes)
    if not batched and all(len(shape) > 0 for shape in shapes) and shapes[0][0] == shapes[1][0]:
        raise ValueError(
            "Argument `data` must hold datasets of single examples, or of batches whose size is "
            "not fixed (no drop_remainder), to tell them apart. "
            f"Received: elements of shapes {shapes}"
        )
    if not batched:
        dataset = dataset.batch(1024)
    parts = list(zip(*dataset.as_numpy_iterator(), strict=True))
    sizes = [len(part) for part in parts[0]] if batched and parts else []
    if len(set(sizes[:-1])) > 1 or (sizes and sizes[-1] > sizes[0]):
        raise ValueError(
            "Argument `data` must hold datasets of batches of one size, of which only the last one "
            "is smaller, since sequences of different lengths look like other batches: call "
            "`unbatch()` if these are batches, or bring the sequences to one length and batch "
            f"them. Received: elements of sizes {', '.join(map(str, sizes[:8]))}"
            f"{', ...' if sizes[8:] else ''}"
        )
    x, y = (np.concatenate(part) for part in parts)
    return x, y


def _written(array: np.ndarray, directory: Path) -> str:
    """Write an array to a file named by its content, and return the file."""
    array = np.ascontiguousarray(array)
    head = f"{array.dtype.str}{array.shape}".encode()
    name = f"{hashlib.sha256(head + array.tobytes()).hexdigest()[:16]}.npy"
    file = directory / name
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        new = unwritten(file)
        np.save(new, array, allow_pickle=False)
        os.replace(new, file)
    return name

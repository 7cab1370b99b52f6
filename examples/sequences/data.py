"""Data of the sequence experiments: windows of a text, and a task with a delay."""

from __future__ import annotations

import argparse
import dataclasses
import inspect

import numpy as np

__all__ = ["Text", "shakespeare", "source_text", "store_recall"]


@dataclasses.dataclass(frozen=True)
class Text:
    """Windows of a text, in which every character is to be predicted from those before it.

    Attributes:
        characters: All characters that occur, sorted; a character is encoded by its index.
        train, validation, test: Inputs and targets `(x, y)`, each `(windows, length)` of int32.
            The target at each position is the next character of the text.
    """

    characters: str
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def shakespeare(length: int, data_dir: str | None = None) -> Text:
    """Return Tiny Shakespeare, 1.1 million characters, from TensorFlow Datasets.

    Args:
        length: Number of characters per window.
        data_dir: Directory of the TensorFlow Datasets; None to download into the default one.
    """
    import tensorflow_datasets as tfds  # this import takes 2 s and is only needed here

    texts = {}
    for split in ("train", "validation", "test"):
        data = tfds.load("tiny_shakespeare", split=split, data_dir=data_dir, download=not data_dir)
        [example] = tfds.as_numpy(data)
        texts[split] = example["text"].decode()
    return _windows(texts["train"], texts["validation"], texts["test"], length)


def source_text(length: int, windows: int | None = None) -> Text:
    """Return the source code of the standard module argparse, 0.1 million characters.

    Args:
        length: Number of characters per window.
        windows: Number of windows that are kept of each split; None for all.
    """
    text = inspect.getsource(argparse)
    end = None if windows is None else windows * length + 1
    eighth = len(text) // 8
    train, rest = text[: 6 * eighth], text[6 * eighth :]
    return _windows(train[:end], rest[:eighth][:end], rest[eighth:][:end], length)


def _windows(train: str, validation: str, test: str, length: int) -> Text:
    characters = "".join(sorted(set(train + validation + test)))
    place = {c: i for i, c in enumerate(characters)}

    def cut(text: str) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.array([place[c] for c in text], np.int32)
        count = (len(numbers) - 1) // length
        x, y = numbers[: count * length], numbers[1 : count * length + 1]
        return x.reshape(count, length), y.reshape(count, length)

    return Text(characters, cut(train), cut(validation), cut(test))


def store_recall(
    examples: int, length: int, seed: int, distractors: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences in which a value is shown at the first step and asked for at the last.

    Args:
        examples: Number of sequences.
        length: Number of time steps; the delay between value and cue is two steps shorter.
        seed: Seed of values and distractors.
        distractors: Standard deviation of the noise during the delay.

    Returns:
        Inputs `(examples, length, 3)` and labels `(examples,)`. The first channel has the value,
        ±1, at the first step; the second channel has a cue, 1, at the last step; the third channel
        has noise at all other steps. The labels are the values, encoded as 0 and 1.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, examples)
    x = np.zeros((examples, length, 3), np.float32)
    x[:, 0, 0] = 2 * labels - 1
    x[:, -1, 1] = 1.0
    x[:, 1:-1, 2] = distractors * rng.standard_normal((examples, length - 2))
    return x, labels.astype(np.int32)

"""Characters of a text in windows, and a task with a delay."""

from __future__ import annotations

import argparse
import dataclasses
import inspect

import numpy as np

__all__ = ["Text", "shakespeare", "source_text", "store_recall"]


@dataclasses.dataclass(frozen=True)
class Text:
    """Windows of a text; every character is to be told from those before it.

    Attributes:
        characters: Those that occur, in order; a number is a place among them.
        train, validation, test: `(x, y)`, each `(windows, length)` of int32; y is one character
            on from x.
    """

    characters: str
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def shakespeare(length: int, data_dir: str | None = None) -> Text:
    """Tiny Shakespeare, 1.1 million characters, through TensorFlow Datasets."""
    import tensorflow_datasets as tfds  # 2 s, and only needed here

    texts = {}
    for split in ("train", "validation", "test"):
        data = tfds.load("tiny_shakespeare", split=split, data_dir=data_dir, download=not data_dir)
        [example] = tfds.as_numpy(data)
        texts[split] = example["text"].decode()
    return _windows(texts["train"], texts["validation"], texts["test"], length)


def source_text(length: int, windows: int | None = None) -> Text:
    """The source code of a module of Python's own, 0.1 million characters; or so many windows."""
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
    """A value is shown at the first step and asked for at the last.

    Args:
        examples: How many.
        length: Time steps; the delay is two less.
        seed: Of values and distractors.
        distractors: Standard deviation of the noise between.

    Returns:
        Inputs `(examples, length, 3)`: the value, ±1, at the first step, a cue at the last, noise
        in the third channel; and the values as labels 0 and 1, `(examples,)`.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, examples)
    x = np.zeros((examples, length, 3), np.float32)
    x[:, 0, 0] = 2 * labels - 1
    x[:, -1, 1] = 1.0
    x[:, 1:-1, 2] = distractors * rng.standard_normal((examples, length - 2))
    return x, labels.astype(np.int32)

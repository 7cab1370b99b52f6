"""What scripts of all folders share: command line, data, devices, files, tables, figures."""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

__all__ = [
    "Numbers",
    "Progress",
    "add_data_dir",
    "add_strategy",
    "devices",
    "finished",
    "markdown",
    "markdown_row",
    "new_figure",
    "new_parser",
    "normalised",
    "positive",
    "versions",
    "write_json",
]

Numbers = dict[str, Any]
"""What goes into a JSON file."""

tf.get_logger().setLevel("ERROR")  # It warns that many models are many traces.

# A second strategy of a process can get in the way of the first.
devices = functools.cache(ta.distribute.strategy)


def new_parser(text: str, folder: str) -> argparse.ArgumentParser:
    """A command line with `--quick` and `--output`.

    Args:
        text: The script's docstring; its first line is the description.
        folder: Where in `results` files go by default.
    """
    new = argparse.ArgumentParser(description=text.splitlines()[0])
    new.add_argument("--quick", action="store_true", help="seconds, on data that needs no network")
    new.add_argument("--output", type=Path, default=Path("results") / folder)
    return new


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command line `--data-dir`, for `ta.data`."""
    parser.add_argument("--data-dir", help="where the TensorFlow Datasets are")


def add_strategy(parser: argparse.ArgumentParser) -> None:
    """Give a command line `--strategy`, for `devices`."""
    names = ", ".join(ta.distribute.NAMES)
    parser.add_argument("--strategy", default="default", help=f"one of {names}")


def positive(text: str) -> int:
    """An integer of at least 1, from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return value


def normalised(
    data: ta.data.Arrays, mean: Any = None, deviation: Any = None, flat: bool = False
) -> ta.data.Arrays:
    """The dataset with inputs `(x - mean) / deviation`.

    Args:
        data: Inputs in [0, 1], `(examples, height, width, channels)`.
        mean: Scalar or one a channel; by default that of the training split.
        deviation: Likewise.
        flat: Whether the inputs become `(examples, height * width * channels)`.
    """
    if mean is None or deviation is None:
        mean, deviation = data.train.x.mean((0, 1, 2)), data.train.x.std((0, 1, 2))

    def change(x: np.ndarray) -> np.ndarray:
        x = ((x - mean) / deviation).astype(np.float32)
        return x.reshape(len(x), -1) if flat else x

    return data.map(change)


class Progress(keras.callbacks.Callback):
    """Prints one line an epoch.

    Args:
        text: What the line begins with.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Print."""
        logs = logs or {}
        print(
            f"{self.text}  epoch {epoch + 1:>3}/{self.params['epochs']}  loss {logs['loss']:.4f}"
            f"  {self.measures(logs)}  {time.perf_counter() - self.start:6.1f} s",
            flush=True,
        )

    def measures(self, logs: Numbers) -> str:
        """What the line says besides: test accuracy, and the angle of feedback if there is one."""
        text = f"test accuracy {100 * logs['val_accuracy']:5.2f} %"
        angle = logs.get("mean/path_angle", logs.get("mean/weight_angle"))
        return text if angle is None else f"{text}  feedback angle {angle:5.1f}°"


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {m.__name__: m.__version__ for m in (ta, keras, tf)}


def write_json(file: Path, content: Any) -> None:
    """Write a file whole or not at all, wherever the script is killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, file)


def finished(file: Path, settings: Numbers) -> Numbers | None:
    """What came of a run before, if it was made.

    Args:
        file: Of its result, which has the settings among its entries, or under `settings`.
        settings: Those of the run that is wanted.

    Raises:
        ValueError: If the file is of a run with other settings.
    """
    if not file.exists():
        return None
    done: Numbers = json.loads(file.read_text())
    kept = done.get("settings", done)
    wanted = json.loads(json.dumps(settings))  # as a file has them: lists for tuples
    if {name: kept.get(name) for name in wanted} != wanted:
        raise ValueError(
            f"{file} is of a run with other settings: remove it, or choose another --output. "
            f"Expected: {wanted}"
        )
    return done


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> str:
    """A Markdown table under its head."""
    return "\n".join(map(markdown_row, (head, ("---",) * len(head), *rows)))


def markdown_row(cells: Sequence[str]) -> str:
    """A row of it, for tables that grow."""
    return f"| {' | '.join(cells)} |"


def new_figure(rows: int, columns: int, width: float = 3.6) -> tuple[Any, np.ndarray]:
    """A figure that belongs to no window, and its axes `(rows, columns)`.

    Args:
        rows: Of panels.
        columns: Of panels.
        width: Of a panel, inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes

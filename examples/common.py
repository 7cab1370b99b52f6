"""What scripts of all folders share: command line, files, tables, figures."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

__all__ = [
    "Numbers",
    "finished",
    "markdown",
    "new_figure",
    "new_parser",
    "positive",
    "versions",
    "write_json",
]

Numbers = dict[str, Any]
"""What goes into a JSON file."""


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


def positive(text: str) -> int:
    """An integer of at least 1, from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return value


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


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table; the second row is of dashes."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


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

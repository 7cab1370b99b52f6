"""Helpers that the scripts of all folders share: for data, studies, files and tables."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from tf_alignment._support.statistics import mean_of
from tf_alignment.plots.style import caption, new_figure, of_seeds, save
from tf_alignment.studies.store import read_json, write_json

__all__ = [
    "Crops",
    "Numbers",
    "caption",
    "centred",
    "completed",
    "ended",
    "finished",
    "grouped",
    "markdown",
    "markdown_row",
    "mean_of",
    "new_figure",
    "normalised",
    "of_seeds",
    "read_json",
    "save",
    "shortened",
    "study",
    "versions",
    "write",
    "write_json",
]

Numbers = dict[str, Any]
"""Content of a JSON file: values by name."""


def normalised(
    data: ta.data.Arrays, mean: Any = None, deviation: Any = None, flat: bool = False
) -> ta.data.Arrays:
    """Return a copy of a dataset with the inputs x replaced by `(x - mean) / deviation`.

    Args:
        data: Dataset with inputs `(examples, height, width, channels)`, in [0, 1].
        mean: Mean of the inputs: a scalar, or one value per channel. If `mean` or `deviation` is
            None, both are computed per channel from the training split.
        deviation: Standard deviation of the inputs: a scalar, or one value per channel.
        flat: Whether the inputs are reshaped to `(examples, height * width * channels)`.
    """
    if mean is None or deviation is None:
        mean, deviation = data.train.x.mean((0, 1, 2)), data.train.x.std((0, 1, 2))

    def change(x: np.ndarray) -> np.ndarray:
        x = ((x - mean) / deviation).astype(np.float32)
        return x.reshape(len(x), -1) if flat else x

    return data.map(change)


def centred(data: ta.data.Arrays, flat: bool) -> ta.data.Arrays:
    """Return a normalised copy of a dataset, with one mean and deviation for all channels.

    Args:
        data: Dataset with inputs of any shape `(examples, ...)`.
        flat: Whether each input is reshaped to a vector.
    """
    return normalised(data, data.train.x.mean(), data.train.x.std(), flat)


def shortened(data: ta.data.Arrays, examples: int | None) -> ta.data.Arrays:
    """Return a copy of a dataset with fewer training examples.

    Args:
        data: Dataset, whose test split is kept whole.
        examples: Number of training examples to keep, from the first on; None for all.
    """
    x, y = (part[:examples] for part in data.train)
    return dataclasses.replace(data, train=ta.data.Split(x, y))


class Crops:
    """Image crops as the `Source` of a study, for datasets that exceed the memory.

    Args:
        images: Dataset of images and its preprocessing.

    Attributes:
        images: Dataset of images, as given.
        size: Height and width of the crops, in pixels.
        validation: Test images in batches of 250.
    """

    def __init__(self, images: ta.data.Images) -> None:
        self.images, self.size = images, images.size
        self.validation = images.validation(250)

    def batches(self, seed: int, size: int) -> ta.data.Stream:
        """Training batches in the order of a seed, without the examples that fill no batch.

        Args:
            seed: Seed of order and crops.
            size: Number of examples per batch.
        """
        return self.images.batches(size, seed, tf.distribute.get_strategy())

    def probe(self, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Inputs and labels of the first `examples` test images."""
        x, y = next(iter(self.validation.unbatch().batch(examples)))
        return x, y


def study(
    given: argparse.Namespace,
    name: str,
    build: Any,
    data: Any,
    variants: Any,
    verbose: int = 1,
    **options: Any,
) -> ta.studies.Results:
    """Run a study with the flags of the command line; runs that exist are not repeated.

    Args:
        given: Parsed command line with the flags of `command_line.new_parser`.
        name: Name of the study's folder in `--output`, and default title of the study.
        build: Argument `build` of `ta.studies.Study`: the model, or several cases.
        data: Argument `data` of `ta.studies.Study`.
        variants: Argument `variants` of `ta.studies.Study`: the methods to compare.
        verbose: 1 to print a line for every run that ends, 0 to print nothing.
        **options: Further arguments of `ta.studies.Study`, which replace the flags.
    """
    flags = {
        "seeds": getattr(given, "seeds", 1),
        "data_dir": getattr(given, "data_dir", None),
        "strategy": given.strategy,
        "cost": False,
        "title": name,
    }
    made = ta.studies.Study(build, data, variants, **{**flags, **options})
    return made.run(given.output / name, jobs=given.jobs, verbose=verbose)


def ended(results: ta.studies.Results) -> list[Numbers]:
    """Return the runs of a study that did not fail, and print an error line per failed run.

    Raises:
        ValueError: If all runs failed.
    """
    for name, error in results.failures.items():
        print(f"failed, {name}: {error.splitlines()[0]}", file=sys.stderr)
    found = [run for run in results.runs if run["status"] != "failed"]
    if not found:
        raise ValueError(f"No run came to its end: see {results.directory / 'logs'}")
    return found


def versions() -> dict[str, str]:
    """Return the versions of tf_alignment, Keras and TensorFlow, by name of the package."""
    return {m.__name__: m.__version__ for m in (ta, keras, tf)}


def completed(
    file: Path,
    same: Numbers,
    names: Sequence[str],
    wanted: Iterable[tuple[Any, ...]],
    make: Callable[[list[tuple[Any, ...]]], list[Numbers]],
) -> list[Numbers]:
    """Make the runs that a file lacks, add them to the file, and return its runs of this kind.

    Args:
        file: JSON file with a list of runs, which need not exist.
        same: Entries that all required runs share. Other runs in the file are kept there, and are
            not returned.
        names: Names of the entries by which runs with these shared entries are told apart.
        wanted: Required runs, each as a tuple of the values of the entries in `names`.
        make: Function that gets the missing tuples and returns runs. Runs that are already in the
            file are not added again.
    """
    kept: list[Numbers] = read_json(file) or []

    def key(run: Numbers) -> tuple[Any, ...]:
        return tuple(run[name] for name in names)

    runs = [run for run in kept if all(run[name] == value for name, value in same.items())]
    known = {key(run) for run in runs}
    missing = [values for values in wanted if values not in known]
    if missing:
        made = [run for run in make(missing) if key(run) not in known]
        write_json(file, [*kept, *made])
        runs += made
    return runs


def finished(file: Path, settings: Numbers) -> Numbers | None:
    """Return the stored result of a run, or None if there is no file.

    Args:
        file: JSON file of the result, with the settings under `settings` or as entries of its own.
        settings: Settings that the stored run must have.

    Raises:
        ValueError: If the file stores a run with other settings.
    """
    done: Numbers | None = read_json(file)
    if done is None:
        return None
    kept = done.get("settings", done)
    wanted = json.loads(json.dumps(settings))  # JSON files hold lists in place of tuples
    if {name: kept.get(name) for name in wanted} != wanted:
        raise ValueError(
            f"{file} is of a run with other settings: remove it, or choose another --output. "
            f"Expected: {wanted}"
        )
    return done


def grouped(runs: Iterable[Numbers], *names: str) -> dict[Any, list[Numbers]]:
    """Group runs by the values of their entries, in the order in which the values appear.

    Args:
        runs: Runs, each a dict.
        *names: Names of the entries to group by.

    Returns:
        `{value: runs}` for one name, `{(value, ...): runs}` for several names.
    """
    groups: dict[Hashable, list[Numbers]] = {}
    for run in runs:
        key = tuple(run[name] for name in names)
        groups.setdefault(key if len(names) > 1 else key[0], []).append(run)
    return groups


def write(stem: Path, content: Mapping[str, Any], figure: Any) -> None:
    """Write numbers and versions to `<stem>.json` and a figure to `<stem>.png`; print the names.

    Args:
        stem: Path of both files without the ending.
        content: Content of the JSON file besides the versions.
        figure: Matplotlib figure.
    """
    write_json(Path(f"{stem}.json"), {"versions": versions(), **content})
    save(figure, f"{stem}.png")
    print(f"\nNumbers and figure: {stem}.json and .png", flush=True)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> str:
    """Return a Markdown table with a head and rows of cells."""
    return "\n".join(map(markdown_row, (head, ("---",) * len(head), *rows)))


def markdown_row(cells: Sequence[str]) -> str:
    """Return one row of a Markdown table, for tables that are printed row by row."""
    return f"| {' | '.join(cells)} |"

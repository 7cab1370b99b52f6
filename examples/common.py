"""What scripts of all folders share: data, studies, files and tables."""

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
"""What goes into a JSON file."""


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


def centred(data: ta.data.Arrays, flat: bool) -> ta.data.Arrays:
    """The dataset, `normalised` by one mean and deviation for all channels."""
    return normalised(data, data.train.x.mean(), data.train.x.std(), flat)


def shortened(data: ta.data.Arrays, examples: int | None) -> ta.data.Arrays:
    """The dataset with the first of its training examples; None for all."""
    x, y = (part[:examples] for part in data.train)
    return dataclasses.replace(data, train=ta.data.Split(x, y))


class Crops:
    """Cropped images as a study's `Source`."""

    def __init__(self, images: ta.data.Images) -> None:
        self.images, self.size = images, images.size
        self.validation = images.validation(250)

    def batches(self, seed: int, size: int) -> ta.data.Stream:
        """The training data in the order of a seed; what is left of an epoch is dropped."""
        return self.images.batches(size, seed, tf.distribute.get_strategy())

    def probe(self, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The first examples of the test data."""
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
    """Train what is missing, as the command line asks.

    Args:
        given: Command line with the flags of `command_line.new_parser`.
        name: Of the study's folder in `--output`.
        build: Of `ta.studies.Study`, like all that follow.
        data: Likewise.
        variants: Likewise.
        verbose: Whether a line is printed for every run that ends.
        **options: Likewise, over what the command line says.
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
    """The runs of a study that came to an end; what failed is said.

    Raises:
        ValueError: If none did.
    """
    for name, error in results.failures.items():
        print(f"failed, {name}: {error.splitlines()[0]}", file=sys.stderr)
    found = [run for run in results.runs if run["status"] != "failed"]
    if not found:
        raise ValueError(f"No run came to its end: see {results.directory / 'logs'}")
    return found


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {m.__name__: m.__version__ for m in (ta, keras, tf)}


def completed(
    file: Path,
    names: Sequence[str],
    wanted: Iterable[tuple[Any, ...]],
    make: Callable[[list[tuple[Any, ...]]], list[Numbers]],
) -> list[Numbers]:
    """All runs of a file, after those that are missing have been made and added.

    Args:
        file: JSON file with a list of runs.
        names: Entries that tell runs apart.
        wanted: Their values in the runs that there are to be.
        make: Makes runs, given the values of the missing ones; what it makes besides is left out.
    """
    runs: list[Numbers] = read_json(file) or []

    def key(run: Numbers) -> tuple[Any, ...]:
        return tuple(run[name] for name in names)

    known = {key(run) for run in runs}
    missing = [values for values in wanted if values not in known]
    if missing:
        runs += [run for run in make(missing) if key(run) not in known]
        write_json(file, runs)
    return runs


def finished(file: Path, settings: Numbers) -> Numbers | None:
    """What came of a run before, if it was made.

    Args:
        file: Of its result, which has the settings among its entries, or under `settings`.
        settings: Those of the run that is wanted.

    Raises:
        ValueError: If the file is of a run with other settings.
    """
    done: Numbers | None = read_json(file)
    if done is None:
        return None
    kept = done.get("settings", done)
    wanted = json.loads(json.dumps(settings))  # as a file has them: lists for tuples
    if {name: kept.get(name) for name in wanted} != wanted:
        raise ValueError(
            f"{file} is of a run with other settings: remove it, or choose another --output. "
            f"Expected: {wanted}"
        )
    return done


def grouped(runs: Iterable[Numbers], *names: str) -> dict[Any, list[Numbers]]:
    """Runs by one entry, or by several, in the order in which the values appear."""
    groups: dict[Hashable, list[Numbers]] = {}
    for run in runs:
        key = tuple(run[name] for name in names)
        groups.setdefault(key if len(names) > 1 else key[0], []).append(run)
    return groups


def write(stem: Path, content: Mapping[str, Any], figure: Any) -> None:
    """Keep numbers and versions in `<stem>.json` and a figure in `<stem>.png`, and say so."""
    write_json(Path(f"{stem}.json"), {"versions": versions(), **content})
    save(figure, f"{stem}.png")
    print(f"\nNumbers and figure: {stem}.json and .png", flush=True)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> str:
    """A Markdown table under its head."""
    return "\n".join(map(markdown_row, (head, ("---",) * len(head), *rows)))


def markdown_row(cells: Sequence[str]) -> str:
    """A row of it, for tables that grow."""
    return f"| {' | '.join(cells)} |"

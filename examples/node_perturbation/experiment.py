"""Helpers of this folder's scripts: the command line, and a study with its files and figure."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.common import Numbers
from examples.curves import last, stacked, with_error

__all__ = [
    "by_row",
    "carry_out",
    "draw",
    "end",
    "iterations",
    "load",
    "own_curves",
    "parser",
    "passes_of",
]

load = functools.cache(ta.data.load)


def parser(
    text: str, iterations: str, seeds: int, rows: Sequence[str], jobs: bool = True, **methods: Any
) -> command_line.Parser:
    """Return a parser with the flags that the scripts of this folder share.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
        iterations: Description of the default of `--iterations`.
        seeds: Default of `--seeds` without `--quick`.
        rows: Rows of the table, which `--methods` accepts.
        jobs: Whether there are `--jobs` and `--strategy`.
        **methods: Defaults of `--methods`, see `command_line.new_parser`.
    """
    new = command_line.new_parser(
        text, "node_perturbation", seeds=seeds, methods=rows, jobs=jobs, **methods
    )
    new.number("--iterations", f"training steps ({iterations})")
    return new


def passes_of(iterations: int, examples: int, batch_size: int) -> int:
    """Return the number of passes over the data that is closest to a number of training steps.

    Args:
        iterations: Number of training steps.
        examples: Number of training examples.
        batch_size: Number of examples per step.
    """
    return max(1, round(iterations / (examples // batch_size)))


def own_curves(curves: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return the curves of the training split and of a script's measures, without all others.

    The curves that are left out are those of the test split and of the alignment monitor.

    Args:
        curves: Curves as the study has stored them.
    """
    return {
        name: values
        for name, values in curves.items()
        if name.count("/") < 2 and not name.startswith(("val_", "mean/", "hidden/"))
    }


def carry_out(
    given: argparse.Namespace,
    name: str,
    build: Any,
    data: Any,
    rows: Sequence[ta.studies.Variant],
    settings: Mapping[str, Any],
    table: Callable[[list[Numbers]], str],
    draw: Callable[[list[Numbers]], Any],
    *,
    epochs: int,
    curves: Callable[[Any], dict[str, list[float]]] = own_curves,
    **options: Any,
) -> None:
    """Make the runs that are missing, print the table, and write numbers and figure.

    Args:
        given: Parsed command line of `parser`.
        name: Name of the study and of its files.
        build: Function that returns the stock network.
        data: Function of the run that returns its data.
        rows: Rows of the table, as variants of the study.
        settings: Settings of the study, which are stored with every run.
        table: Function of the runs that returns the table.
        draw: Function of the runs that returns the figure.
        epochs: Number of passes over the data.
        curves: Function of the curves of a study's run that returns the curves to store.
        **options: Further arguments of `common.study`.
    """
    defaults = {"probe": 0, "on_divergence": None, "settings": settings, "epochs": epochs}
    results = common.study(given, name, build, data, rows, **{**defaults, **options})
    own = {row.name: {"row": row.name, **row.settings} for row in rows}
    runs = [
        {
            "settings": {**own[run["variant"]], "seed": run["seed"], **settings, "passes": epochs},
            "seconds": run["seconds"],
            "steps_a_pass": run["steps_per_epoch"],
            "curves": curves(run["curves"]),
            **run["finish"],
        }
        for run in common.ended(results)
    ]
    print("", table(runs), sep="\n")
    common.write(given.output / name, {"runs": runs}, draw(runs))


def by_row(runs: Iterable[Numbers]) -> dict[str, list[Numbers]]:
    """Group runs by their row of the table, `{name of the row: runs}`."""
    groups: dict[str, list[Numbers]] = {}
    for run in runs:
        groups.setdefault(run["settings"]["row"], []).append(run)
    return groups


def end(runs: Iterable[Numbers], curve: str, digits: int = 2) -> str:
    """Format the last value of a curve: mean and standard error over runs.

    Args:
        runs: Runs of one row.
        curve: Name of the curve.
        digits: Number of digits after the decimal point.
    """
    return with_error(last(runs, curve), digits)


def draw(runs: Sequence[Numbers], labels: Mapping[str, str]) -> Any:
    """Draw curves over the iterations, with a line per row of the table and a panel per curve.

    Args:
        runs: Runs of all rows.
        labels: Label of the axis of each curve, `{name of the curve: label}`.
    """
    rows = {
        row: {curve: stacked(own, curve) for curve in labels} for row, own in by_row(runs).items()
    }
    positions, unit = iterations(runs)
    return ta.plots.learning_curves(rows, None, labels, positions=positions, unit=unit)


def iterations(runs: Sequence[Numbers]) -> tuple[np.ndarray, str]:
    """Return the number of iterations at the end of each pass, and its unit for an axis."""
    length = max(len(run["curves"]["loss"]) for run in runs)
    found = runs[0]["steps_a_pass"] * np.arange(1, length + 1)
    return (found, "iteration") if found[-1] < 10_000 else (found / 1000, "1000 iterations")

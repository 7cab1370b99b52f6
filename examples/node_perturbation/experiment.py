"""What the scripts of this folder share: the command line, and from a study to files and figure."""

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
    """The command line that the training scripts share."""
    new = command_line.new_parser(
        text, "node_perturbation", seeds=seeds, methods=rows, jobs=jobs, **methods
    )
    new.number("--iterations", f"training steps ({iterations})")
    return new


def passes_of(iterations: int, examples: int, batch_size: int) -> int:
    """How many passes over the data are nearest to so many steps."""
    return max(1, round(iterations / (examples // batch_size)))


def own_curves(curves: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Those of the training and of the scripts' own measures, without the monitor's."""
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
    """Make the runs that are missing, print the table, write numbers and figure.

    Args:
        given: Of `parser`.
        name: Of the files.
        build: See `common.study`.
        data: Likewise.
        rows: Likewise, its variants.
        settings: Of the study, and to be kept with all runs.
        table: Makes the table.
        draw: Draws the figure.
        epochs: Passes over the data.
        curves: From those of the study to those of the files.
        **options: Of `common.study`.
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
    """Runs by their row of the table."""
    groups: dict[str, list[Numbers]] = {}
    for run in runs:
        groups.setdefault(run["settings"]["row"], []).append(run)
    return groups


def end(runs: Iterable[Numbers], curve: str, digits: int = 2) -> str:
    """Mean and standard error over runs of a curve's last value."""
    return with_error(last(runs, curve), digits)


def draw(runs: Sequence[Numbers], labels: Mapping[str, str]) -> Any:
    """Curves over the iterations, one line a row of the table, one panel a label."""
    rows = {
        row: {curve: stacked(own, curve) for curve in labels} for row, own in by_row(runs).items()
    }
    positions, unit = iterations(runs)
    return ta.plots.learning_curves(rows, None, labels, positions=positions, unit=unit)


def iterations(runs: Sequence[Numbers]) -> tuple[np.ndarray, str]:
    """Iterations at the end of each pass, and their unit."""
    length = max(len(run["curves"]["loss"]) for run in runs)
    found = runs[0]["steps_a_pass"] * np.arange(1, length + 1)
    return (found, "iteration") if found[-1] < 10_000 else (found / 1000, "1000 iterations")

"""What the scripts of this folder share: the command line, and from a study to files and figure."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, ended, versions, write_json
from examples.curves import stacked, with_error

__all__ = ["carry_out", "grouped", "last", "load", "own_curves", "parser", "passes_of"]

load = functools.cache(ta.data.load)


def parser(
    text: str, iterations: str, seeds: int, rows: Sequence[str], jobs: bool = True
) -> argparse.ArgumentParser:
    """The command line that the training scripts share.

    Args:
        text: The script's docstring.
        iterations: Says the default number of training steps.
        seeds: The default number of seeds.
        rows: Of the table, out of which `--methods` chooses.
        jobs: See `command_line.new_parser`.
    """
    new = command_line.new_parser(text, "node_perturbation", seeds=seeds, methods=rows, jobs=jobs)
    new.add_argument(
        "--iterations", type=command_line.positive, help=f"training steps ({iterations})"
    )
    new.set_defaults(methods=list(rows))
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
    arguments: argparse.Namespace,
    name: str,
    study: ta.studies.Study,
    settings: Mapping[str, Any],
    table: Callable[[list[Numbers]], str],
    draw: Callable[[list[Numbers], Path], None],
    curves: Callable[[Any], dict[str, list[float]]] = own_curves,
) -> None:
    """Make the runs that are missing, print the table, write numbers and figure.

    Args:
        arguments: Of `parser`.
        name: Of the files.
        study: Of all rows from all seeds.
        settings: To be kept with all runs.
        table: Makes the table.
        draw: Draws the figure into a file.
        curves: From those of the study to those of the files.
    """
    results = study.run(arguments.output / name, jobs=arguments.jobs)
    rows = {row.name: row.settings for row in study.variants}
    runs = [
        {
            "settings": {
                "row": run["variant"],
                **rows[run["variant"]],
                "seed": run["seed"],
                **settings,
                "passes": study.epochs,
            },
            "seconds": run["seconds"],
            "steps_a_pass": run["steps_per_epoch"],
            "curves": curves(run["curves"]),
            **run["finish"],
        }
        for run in ended(results)
    ]
    print("", table(runs), sep="\n")
    write_json(arguments.output / f"{name}.json", {"versions": versions(), "runs": runs})
    draw(runs, arguments.output / f"{name}.png")
    print(f"\nFigure and numbers: {arguments.output / name}.png and .json", flush=True)


def last(results: Iterable[Numbers], curve: str, scale: float = 1.0, digits: int = 2) -> str:
    """Mean and standard error over runs of a curve's last value."""
    return with_error(scale * stacked(results, curve)[:, -1], digits)


def grouped(results: Iterable[Numbers], by: str) -> Mapping[Any, list[Numbers]]:
    """Results by one of their settings, in the order in which its values appear."""
    groups: dict[Any, list[Numbers]] = {}
    for result in results:
        groups.setdefault(result["settings"][by], []).append(result)
    return groups

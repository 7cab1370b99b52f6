"""Sweeps over a setting of the recipe: every method is trained at every value of the setting."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples import command_line, common
from examples.curves import with_deviation
from examples.two_routes import residual

__all__ = ["accuracies", "arguments", "chosen", "runs", "table", "write"]

QUICK = ("backprop", "sa")


def arguments(text: str, methods: Iterable[str]) -> command_line.Parser:
    """Return a parser with flags for all settings, methods, rules from files, and seeds.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
        methods: Default ids of `--methods` without `--quick`.
    """
    parser = residual.arguments_of(text, seeds=1)
    parser.add_argument(
        "--methods",
        nargs="*",
        type=command_line.row(residual.METHODS),
        metavar="ID",
        help=f"out of {', '.join(residual.METHODS)}",
    )
    parser.usual["methods"] = list(methods), list(QUICK)
    parser.add_argument(
        "--rules", nargs="*", type=Path, default=(), metavar="FILE", help="of search.py"
    )
    return parser


def chosen(given: argparse.Namespace) -> dict[str, Any]:
    """Return `{name: rule}` of the methods on the command line.

    The rule of a method in `residual.METHODS` is None; that of a file is as Keras saves it.
    """
    rules = {file.stem: json.loads(file.read_text())["rule"] for file in given.rules}
    return {**dict.fromkeys(given.methods), **rules}


def runs(given: argparse.Namespace, name: str, values: Iterable[Any]) -> list[common.Numbers]:
    """Make the runs that are missing: every method at every value of a setting, with every seed.

    Args:
        given: Parsed command line of `arguments`.
        name: Name of the setting, a field of `residual.Settings`.
        values: Values of the setting.

    Returns:
        Runs, see `residual.runs`.
    """
    base = residual.settings_of(given)
    cases = [
        residual.case(
            f"{name} {value:g}", dataclasses.replace(base, **{name: value}), given.data_dir, value
        )
        for value in values
    ]
    variants = [residual.variant(method, rule) for method, rule in chosen(given).items()]
    return residual.runs(given, cases, variants, range(given.seeds))


def accuracies(
    found: list[common.Numbers], name: str, curve: str = "val_accuracy"
) -> dict[str, dict[Any, list[float]]]:
    """Return test accuracies after the last epoch, in percent.

    Args:
        found: Runs of `runs`.
        name: Name of the setting that is swept.
        curve: Name of the curve of accuracies.

    Returns:
        `{method: {value of the setting: [accuracy per seed]}}`.
    """
    values: dict[str, dict[Any, list[float]]] = {}
    for run in found:
        settings, accuracy = run["settings"], 100 * run["curves"][curve][-1]
        values.setdefault(settings["method"], {}).setdefault(settings[name], []).append(accuracy)
    return values


def table(found: list[common.Numbers], name: str, curve: str = "val_accuracy") -> str:
    """Return a Markdown table of test accuracies in percent: mean ± standard deviation over seeds.

    Args:
        found: Runs of `runs`.
        name: Name of the setting that is swept: each of its values has a column, each method a row.
        curve: Name of the curve of accuracies.
    """
    values = sorted({run["settings"][name] for run in found})

    def cell(method: str, value: Any, own: list[float]) -> str:
        diverged = sum(
            run["diverged"]
            for run in found
            if (run["settings"]["method"], run["settings"][name]) == (method, value)
        )
        note = f" ({diverged} of {len(own)} diverged)" if diverged else ""
        return with_deviation(own, 1) + note

    rows = [
        (f"`{method}`", *(cell(method, value, own.get(value, [])) for value in values))
        for method, own in accuracies(found, name, curve).items()
    ]
    return common.markdown(("method", *(f"{v:g}" for v in values)), rows)


def write(output: Path, kind: str, found: list[common.Numbers], figure: Any) -> None:
    """Write settings, curves and versions to a JSON file, and a figure beside the file.

    Args:
        output: Folder of the files.
        kind: Kind of sweep, with which the names of the files begin.
        found: Runs of `runs`.
        figure: Matplotlib figure.
    """
    settings = found[0]["settings"]
    stem = output / f"{kind}-{settings['dataset']}-v{settings['version']}"
    common.write(stem, {"runs": found}, figure)

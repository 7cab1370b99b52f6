"""A setting of the recipe swept over several values, with several methods, each on each of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples import command_line, common
from examples.curves import with_error
from examples.two_routes import residual

__all__ = ["accuracies", "arguments", "chosen", "runs", "table", "write"]

QUICK = ("backprop", "sa")


def arguments(text: str, methods: Iterable[str]) -> command_line.Parser:
    """A command line with all settings, methods, rules from files, and seeds."""
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
    """Names of the methods, with the rule of those that come from a file."""
    rules = {file.stem: json.loads(file.read_text())["rule"] for file in given.rules}
    return {**dict.fromkeys(given.methods), **rules}


def runs(given: argparse.Namespace, name: str, values: Iterable[Any]) -> list[common.Numbers]:
    """Train what is missing: every method at every value of a setting, from every seed."""
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
    """Test accuracies, percent: `{method: {value of the setting: [one per seed]}}`."""
    values: dict[str, dict[Any, list[float]]] = {}
    for run in found:
        settings, accuracy = run["settings"], 100 * run["curves"][curve][-1]
        values.setdefault(settings["method"], {}).setdefault(settings[name], []).append(accuracy)
    return values


def table(found: list[common.Numbers], name: str, curve: str = "val_accuracy") -> str:
    """Test accuracy by method and value of a setting, percent; mean and standard error of seeds."""
    values = sorted({run["settings"][name] for run in found})

    def cell(method: str, value: Any, own: list[float]) -> str:
        diverged = sum(
            run["diverged"]
            for run in found
            if (run["settings"]["method"], run["settings"][name]) == (method, value)
        )
        note = f" ({diverged} of {len(own)} diverged)" if diverged else ""
        return with_error(own, 1) + note

    rows = [
        (f"`{method}`", *(cell(method, value, own.get(value, [])) for value in values))
        for method, own in accuracies(found, name, curve).items()
    ]
    return common.markdown(("method", *(f"{v:g}" for v in values)), rows)


def write(output: Path, kind: str, found: list[common.Numbers], figure: Any) -> None:
    """Keep settings, curves and versions in one file, and a figure beside it."""
    settings = found[0]["settings"]
    stem = output / f"{kind}-{settings['dataset']}-v{settings['version']}"
    common.write(stem, {"runs": found}, figure)

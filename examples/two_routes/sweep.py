"""What the sweeps share: which rules they run, tables and curves of what came of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from examples import command_line, common
from examples.curves import with_error
from examples.two_routes import residual

__all__ = ["accuracy", "arguments", "chosen", "methods_of", "of", "runs", "table", "write"]

QUICK = ("backprop", "sa")


def arguments(text: str, methods: Iterable[str]) -> argparse.ArgumentParser:
    """A command line with all settings, methods, rules from files, and seeds."""
    parser = residual.arguments_of(text, seeds=1)
    parser.add_argument(
        "--methods",
        nargs="*",
        type=command_line.row(residual.METHODS),
        default=list(methods),
        metavar="ID",
        help=f"out of {', '.join(residual.METHODS)}",
    )
    parser.add_argument(
        "--rules", nargs="*", type=Path, default=(), metavar="FILE", help="of search.py"
    )
    return parser


def chosen(given: argparse.Namespace) -> dict[str, Any]:
    """Names of the methods, with the rule of those that come from a file."""
    rules = {file.stem: json.loads(file.read_text())["rule"] for file in given.rules}
    known = [m for m in given.methods if not given.quick or m in QUICK]
    return {**dict.fromkeys(known), **rules}


def runs(
    given: argparse.Namespace, methods: dict[str, Any], name: str, values: Iterable[Any]
) -> list[common.Numbers]:
    """Train what is missing: every method at every value of a setting, from every seed.

    Args:
        given: Of the command line.
        methods: See `chosen`.
        name: Of the setting.
        values: That it takes.
    """
    base = residual.settings_of(given)
    cases = [
        residual.case(
            f"{name} {value:g}", dataclasses.replace(base, **{name: value}), given.data_dir, value
        )
        for value in values
    ]
    variants = [residual.variant(method, rule) for method, rule in methods.items()]
    return residual.runs(given, cases, variants, range(given.seeds))


def of(found: list[common.Numbers], method: str, name: str, value: Any) -> list[common.Numbers]:
    """The runs of a method at a value of a setting, one a seed."""
    return [r for r in found if (r["settings"]["method"], r["settings"][name]) == (method, value)]


def accuracy(found: list[common.Numbers], method: str, name: str, value: Any) -> np.ndarray:
    """Test accuracies of these runs, percent."""
    return np.array([100 * r["curves"]["val_accuracy"][-1] for r in of(found, method, name, value)])


def table(found: list[common.Numbers], name: str) -> str:
    """Test accuracy by method and value of a setting, percent; mean and standard error of seeds."""
    values = sorted({r["settings"][name] for r in found})
    rows = [
        (f"`{method}`", *(_cell(found, method, name, v) for v in values))
        for method in methods_of(found)
    ]
    return common.markdown(("method", *(f"{v:g}" for v in values)), rows)


def methods_of(found: list[common.Numbers]) -> list[str]:
    """Names, in their order."""
    return list(dict.fromkeys(r["settings"]["method"] for r in found))


def _cell(found: list[common.Numbers], method: str, name: str, value: Any) -> str:
    values = accuracy(found, method, name, value)
    diverged = sum(r["diverged"] for r in of(found, method, name, value))
    note = f" ({diverged} of {len(values)} diverged)" if diverged else ""
    return with_error(values, 1) + note


def write(
    output: Path,
    kind: str,
    found: list[common.Numbers],
    draw: Callable[[list[common.Numbers], Path], None],
) -> None:
    """Keep settings, curves and versions in one file, and draw a figure beside it."""
    settings = found[0]["settings"]
    stem = output / f"{kind}-{settings['dataset']}-v{settings['version']}"
    common.write_json(Path(f"{stem}.json"), {"versions": common.versions(), "runs": found})
    draw(found, Path(f"{stem}.png"))
    print(f"\nNumbers and figure: {stem}.json and .png")

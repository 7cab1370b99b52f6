"""What the scripts of this folder share: the command line, and files of numbers and figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from examples import command_line, common


def new_parser(text: str) -> command_line.Parser:
    """The command line of a script that simulates: with `--seed`, without data."""
    parser = command_line.new_parser(text, "sal", data=False)
    parser.number("--seed", "of all that is drawn", 1, kind=int)
    return parser


def unfinished(arguments: argparse.Namespace, name: str) -> Path:
    """Where a run that may be killed keeps its state: a path for each set of arguments."""
    given = {k: v for k, v in vars(arguments).items() if k not in ("output", "data_dir", "methods")}
    return (
        arguments.output / "unfinished" / "-".join([name, *(f"{k}={v}" for k, v in given.items())])
    )


def write(arguments: argparse.Namespace, name: str, results: dict[str, Any], figure: Any) -> None:
    """Write `<name>.json` and `<name>.png`."""
    kept = {k: v for k, v in vars(arguments).items() if k not in ("output", "data_dir", "jobs")}
    common.write(arguments.output / name, {"arguments": kept, **results}, figure)

"""Helpers of this folder's scripts: the command line, and files of numbers and figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from examples import command_line, common


def new_parser(text: str) -> command_line.Parser:
    """Return the parser of a script that simulates neurons, with `--seed` and without data.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
    """
    parser = command_line.new_parser(text, "sal", data=False)
    parser.number("--seed", "of all that is drawn", 1, kind=int)
    return parser


def unfinished(arguments: argparse.Namespace, name: str) -> Path:
    """Return the path under which an unfinished run stores its state, for it to be continued.

    Args:
        arguments: Parsed command line; the path differs between sets of arguments.
        name: Name of the script.
    """
    given = {k: v for k, v in vars(arguments).items() if k not in ("output", "data_dir", "methods")}
    return (
        arguments.output / "unfinished" / "-".join([name, *(f"{k}={v}" for k, v in given.items())])
    )


def write(arguments: argparse.Namespace, name: str, results: dict[str, Any], figure: Any) -> None:
    """Write numbers and the command line to `<name>.json`, and a figure to `<name>.png`.

    Args:
        arguments: Parsed command line.
        name: Name of the files.
        results: Numbers.
        figure: Matplotlib figure.
    """
    kept = {k: v for k, v in vars(arguments).items() if k not in ("output", "data_dir", "jobs")}
    common.write(arguments.output / name, {"arguments": kept, **results}, figure)

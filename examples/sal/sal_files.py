"""What the scripts of this folder share: the command line, and files of numbers and figures."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from matplotlib.figure import Figure

import tf_alignment as ta

tf.get_logger().setLevel("ERROR")  # It warns that many networks are many traces.


def new_parser(text: str) -> argparse.ArgumentParser:
    """A command line with `--quick`, `--seed` and `--output`, described by a script's docstring."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument(
        "--output", type=Path, default=Path("results/sal"), help="directory to write to"
    )
    return parser


def write(
    arguments: argparse.Namespace, name: str, results: dict[str, Any], figure: Figure
) -> None:
    """Write `<name>.json`, whole or not at all, and `<name>.png`.

    Args:
        arguments: The command line, kept with the numbers.
        name: Of the files.
        results: The numbers.
        figure: The figure.
    """
    arguments.output.mkdir(parents=True, exist_ok=True)
    content = {
        "versions": {m.__name__: m.__version__ for m in (ta, keras, tf)},
        "arguments": {k: v for k, v in vars(arguments).items() if k != "output"},
        **results,
    }
    file = arguments.output / f"{name}.json"
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, file)
    figure.savefig(arguments.output / f"{name}.png", dpi=130)
    print(f"\nNumbers: {file}\nFigure: {arguments.output / name}.png")

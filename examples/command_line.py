"""Command line of the scripts: common flags, and errors that are printed in one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf

import tf_alignment as ta

__all__ = ["Parser", "new_parser", "positive", "row", "run"]

tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces: a study has one per model
logging.getLogger("absl").setLevel(logging.ERROR)  # the scripts report a missing dataset themselves


class Parser(argparse.ArgumentParser):
    """Argument parser that prints errors in one line and exits with code 2.

    Attributes:
        usual: Defaults of flags, `{name of the flag: (default, default with --quick)}`.
        given: Names of the flags that the command line has, set by `parse_args`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.usual: dict[str, tuple[Any, Any]] = {}
        self.given: set[str] = set()

    def number(
        self, flag: str, text: str, usual: Any = None, quick: Any = None, kind: Any = None
    ) -> None:
        """Add a flag whose value is a number.

        Args:
            flag: Name of the flag, with its dashes.
            text: Help text of the flag, to which the defaults are appended.
            usual: Default value, or None for no default.
            quick: Default value with `--quick`, or None for the value of `usual`.
            kind: `float` or `int`; by default an integer of at least 1.
        """
        if usual is not None:
            self.usual[flag.strip("-").replace("-", "_")] = usual, quick or usual
            text += f" ({usual}; --quick: {quick})" if quick else f" ({usual})"
        self.add_argument(flag, type=kind or positive, help=text)

    def parse_args(self, *arguments: Any) -> argparse.Namespace:  # type: ignore[override]
        """Read the command line, and set the defaults of flags that are not given."""
        given = super().parse_args(*arguments)
        absent = object()  # where a flag with its default value would look like no flag
        told = argparse.Namespace(**dict.fromkeys(vars(given), absent))
        super().parse_args(*arguments, namespace=told)
        self.given = {name for name, value in vars(told).items() if value is not absent}
        for name, values in self.usual.items():
            if getattr(given, name) is None:
                setattr(given, name, values[given.quick])
        return given

    def refuse(self, names: Collection[str], flag: str) -> None:
        """Exit with an error if flags are given that have no effect together with another flag.

        Args:
            names: Names of the flags without effect, with underscores and without dashes.
            flag: The other flag, as the error message names it.
        """
        found = [f"--{name.replace('_', '-')}" for name in sorted(self.given.intersection(names))]
        if found:
            self.error(
                f"flags that have no effect with {flag} must be left out. "
                f"Received: {', '.join(found)}"
            )

    def error(self, message: str) -> NoReturn:
        """Print the error in one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def new_parser(
    text: str,
    folder: str,
    *,
    seeds: int | None = None,
    methods: Iterable[str] = (),
    usual: Iterable[str] = (),
    quick: Iterable[str] = (),
    epochs: str | None = None,
    data: bool = True,
    jobs: bool = False,
) -> Parser:
    """Return a parser with the flags that all scripts share.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
        folder: Folder in `results` to which the script writes by default.
        seeds: Default of `--seeds` without `--quick`, or None for a script without this flag.
        methods: Ids that `--methods` accepts; a script without ids has no such flag.
        usual: Default of `--methods`; by default all ids.
        quick: Default of `--methods` with `--quick`; by default the ids of `usual`.
        epochs: Description of the default of `--epochs`, or None for a script without this flag.
        data: Whether there is `--data-dir`, the directory from which `ta.data` reads.
        jobs: Whether there are `--jobs` and `--strategy`, which scripts with a study need.
    """
    new = Parser(_program(), description=text.splitlines()[0])
    new.add_argument("--quick", action="store_true", help="seconds, on data that needs no network")
    new.add_argument("--output", type=Path, default=Path("results") / folder, metavar="DIR")
    if data:
        new.add_argument("--data-dir", metavar="DIR", help="where the TensorFlow Datasets are")
    names = list(methods)
    if names:
        known = ", ".join(names)
        new.add_argument(
            "--methods", nargs="+", type=row(names), metavar="ID", help=f"out of {known}"
        )
        chosen = list(usual) or names
        new.usual["methods"] = chosen, list(quick) or chosen
    if seeds is not None:
        new.number("--seeds", "runs of each", seeds, 1)
    if epochs is not None:
        new.number("--epochs", f"passes over the data ({epochs})")
    if jobs:
        new.number("--jobs", "runs at a time (one per core)")
        known = ", ".join(ta.distribute.NAMES)
        new.add_argument("--strategy", default="default", type=_strategy, help=f"out of {known}")
    return new


def positive(text: str) -> int:
    """Convert a text of the command line to an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text}")
    return int(text)


def row(names: Iterable[str]) -> Callable[[str], str]:
    """Return a function that checks a name of the command line and returns it.

    Args:
        names: Accepted names. Where a name is the id of a feedback method, the long names of this
            method are accepted too, see `ta.feedback.get`.
    """
    known = list(names)

    def read(text: str) -> str:
        if text in known:
            return text
        try:
            name: Any = getattr(ta.feedback.get(text), "id", None)
        except ValueError:
            name = None
        if name in known:
            return str(name)
        raise argparse.ArgumentTypeError(f"must be out of {', '.join(known)}. Received: {text}")

    return read


def run(main: Callable[[], None]) -> None:
    """Run the main function of a script, and print expected errors in one line.

    Args:
        main: Main function of the script.

    Raises:
        SystemExit: With exit code 2 after wrong input or missing data, and with 130 after Ctrl-C.
    """
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        print(f"{_program()}: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on.", file=sys.stderr)
        raise SystemExit(130) from None


def _strategy(text: str) -> str:
    """Check a name of the command line that is for `ta.distribute.strategy`, and return it."""
    kind, _, address = text.partition(":")
    if kind not in ta.distribute.NAMES or (address and kind != "tpu"):
        known = ", ".join(ta.distribute.NAMES)
        raise argparse.ArgumentTypeError(f"must be out of {known}, tpu:NAME. Received: {text}")
    return text


def _program() -> str:
    """Return the command of this script, `python -m examples.rdd.train`, or its file name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).name if spec is None else f"python -m {spec.name}"

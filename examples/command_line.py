"""The command line of the scripts: the same flags, and one line where a script cannot go on."""

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

tf.get_logger().setLevel("ERROR")  # It warns that many models are many traces.
logging.getLogger("absl").setLevel(logging.ERROR)  # a dataset that is missing is said once


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and ends with exit code 2.

    Attributes:
        usual: What stands for flags that are not given, `{name: (value, value with --quick)}`.
        given: After `parse_args`, the names of the flags that are.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.usual: dict[str, tuple[Any, Any]] = {}
        self.given: set[str] = set()

    def number(
        self, flag: str, text: str, usual: Any = None, quick: Any = None, kind: Any = None
    ) -> None:
        """Add a flag with a number, by default an integer of at least 1.

        Args:
            flag: With its dashes.
            text: Its help, to which the defaults are added.
            usual: The default, if there is one.
            quick: The default with `--quick`, if another.
            kind: `float` or `int`.
        """
        if usual is not None:
            self.usual[flag.strip("-").replace("-", "_")] = usual, quick or usual
            text += f" ({usual}; --quick: {quick})" if quick else f" ({usual})"
        self.add_argument(flag, type=kind or positive, help=text)

    def parse_args(self, *arguments: Any) -> argparse.Namespace:  # type: ignore[override]
        """Read the command line."""
        given = super().parse_args(*arguments)
        self.given = {n for n, value in vars(given).items() if value != self.get_default(n)}
        for name, values in self.usual.items():
            if getattr(given, name) is None:
                setattr(given, name, values[given.quick])
        return given

    def refuse(self, names: Collection[str], flag: str) -> None:
        """End with an error if any of these is given, which have no effect beside a flag."""
        found = [f"--{name.replace('_', '-')}" for name in sorted(self.given.intersection(names))]
        if found:
            self.error(
                f"flags that have no effect with {flag} must be left out. "
                f"Received: {', '.join(found)}"
            )

    def error(self, message: str) -> NoReturn:
        """Print the line and end."""
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
    """A command line with the flags that all scripts share.

    Args:
        text: The script's docstring; its first line is the description.
        folder: Where in `results` files go by default.
        seeds: The default of `--seeds` without `--quick`; None for a script without the flag.
        methods: What `--methods` chooses from; by default there is no such flag.
        usual: The default of `--methods`, if not all.
        quick: Its default with `--quick`, if another.
        epochs: Says the default of `--epochs`; None for a script without it.
        data: Whether there is `--data-dir`, for `ta.data`.
        jobs: Whether there are `--jobs` and `--strategy`: for a script that makes a study.
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
        new.number("--jobs", "runs at a time (one a core)")
        known = ", ".join(ta.distribute.NAMES)
        new.add_argument("--strategy", default="default", type=_strategy, help=f"out of {known}")
    return new


def positive(text: str) -> int:
    """An integer of at least 1, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text}")
    return int(text)


def row(names: Iterable[str]) -> Callable[[str], str]:
    """Reads a name out of several; a method of the library by its long names too."""
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
    """Run a script.

    Raises:
        SystemExit: After one line, with exit code 2 for input that is wrong or data that are
            missing, and 130 after Ctrl-C.
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
    """A name that `ta.distribute.strategy` knows."""
    kind, _, address = text.partition(":")
    if kind not in ta.distribute.NAMES or (address and kind != "tpu"):
        known = ", ".join(ta.distribute.NAMES)
        raise argparse.ArgumentTypeError(f"must be out of {known}, tpu:NAME. Received: {text}")
    return text


def _program() -> str:
    """`python -m examples.rdd.train`, or whatever was run."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).name if spec is None else f"python -m {spec.name}"

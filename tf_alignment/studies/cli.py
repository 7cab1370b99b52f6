"""Command line of studies: compare methods, write reports, list methods and models."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_alignment import data, distribute, feedback
from tf_alignment._support.optional import require
from tf_alignment.studies.encoding import load_reference
from tf_alignment.studies.models import NAMES, named_model
from tf_alignment.studies.optimizers import sgd
from tf_alignment.studies.results import Results
from tf_alignment.studies.study import Study
from tf_alignment.studies.tensorboard import write_tensorboard
from tf_alignment.studies.tuning import Tuning

__all__ = ["main"]

_EXAMPLE = """\
examples:
  python -m tf_alignment study --output results/digits
  python -m tf_alignment study --model resnet20 --dataset cifar10 --data-dir ~/tfds \\
      --methods backprop fa sa mymodule:MyRule --seeds 3 --epochs 10 --output results/mine
  python -m tf_alignment study --config study.toml --tune learning_rate=0.03,0.1,0.3

A rule of one's own is 'module:Class' or 'path/to/file.py:Class', and a model 'module:function'. The
file has the same names without dashes (TOML or YAML): methods = ["backprop", "fa"]. Calling the
command again runs only what is missing; several calls, here or on other machines, divide the runs
among them.
"""
_DEFAULTS: dict[str, Any] = {
    "model": ["small"],
    "dataset": "digits",
    "data_dir": None,
    "methods": ["backprop", "fa", "kp", "sa"],
    "seeds": 3,
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": None,
    "weight_decay": None,
    "tune": [],
    "sampler": "grid",
    "trials": 20,
    "baseline": "backprop",
    "strategy": "default",
    "jobs": None,
    "threads": None,
    "shard": None,
    "output": None,
    "title": None,
    "interval": False,
    "tensorboard": False,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None takes the arguments of the process.

    Returns:
        Exit code: 0, or 1 if a run failed.

    Raises:
        SystemExit: With exit code 2 and a message of one line for wrong input, with 130 after
            Ctrl-C.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)  # what is missing is said once
    try:
        return int(given.command(given))
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"{parser.prog}: error: {text}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tf_alignment", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="study|report|list")
    study = commands.add_parser(
        "study",
        help="train methods side by side and write a report",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    study.set_defaults(command=_study)
    _study_arguments(study)
    report = commands.add_parser("report", help="write the report of a study once more")
    report.add_argument("directory", type=Path)
    report.add_argument("--output", type=Path, help="report.html in the directory; or .md")
    _spread(report)
    report.set_defaults(command=_report)
    listing = commands.add_parser("list", help="list methods, models and datasets")
    listing.set_defaults(command=_list)
    return parser


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
    add(
        "--config",
        type=Path,
        help="TOML or YAML with these settings; the command line takes precedence",
    )
    add("--model", nargs="+", metavar="NAME", help=f"{', '.join(NAMES)}, module:function (small)")
    add("--dataset", metavar="NAME", help=f"out of {', '.join(data.NAMES)} (digits)")
    add("--data-dir", metavar="DIR", help="where the TensorFlow Datasets are")
    add("--methods", nargs="+", metavar="ID", help="ids, module:Rule, file.py:Rule")
    add("--seeds", type=int, help="runs of each method (3)")
    add("--epochs", type=int, help="passes over the training data (10)")
    add("--batch-size", type=int, help="examples per step (32)")
    add("--learning-rate", type=float, help="highest learning rate of SGD with momentum (0.1)")
    add("--weight-decay", type=float, help="decoupled, as Keras has it (0.01)")
    add(
        *("--tune",),
        action="append",
        metavar="NAME=V,V,...",
        help="search a setting on held-out data, each method alike; for tpe also NAME=LOW..HIGH",
    )
    add("--sampler", choices=("grid", "tpe"), help="how settings are searched (grid)")
    add("--trials", type=int, help="number of trials per method, for tpe (20)")
    add("--baseline", metavar="ID", help="what the others are compared with (backprop)")
    add("--strategy", help=f"within a run: {', '.join(distribute.NAMES)} (default)")
    add("--jobs", type=int, help="runs at a time (one per core)")
    add("--threads", type=int, help="number of TensorFlow's threads per run (1)")
    add("--shard", metavar="I/N", help="make only the i-th of n parts, for job arrays")
    add("--output", type=Path, metavar="DIR", help="directory for all files (results/study)")
    add("--title", help="title of the report")
    add("--tensorboard", action="store_true", help="write all runs for TensorBoard too")
    _spread(parser)


def _spread(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interval",
        action="store_true",
        default=argparse.SUPPRESS,
        help="95 %% intervals instead of standard deviations",
    )


def _study(given: argparse.Namespace) -> int:
    asked = _settings(given)
    output = Path(asked["output"] or "results/study")
    arrays = data.load(asked["dataset"], asked["data_dir"])
    shape, classes = arrays.train.x.shape[1:], arrays.classes
    names = asked["model"] if isinstance(asked["model"], list) else [asked["model"]]
    builds = {name: _build(name, shape, classes) for name in names}
    options = {k: asked[k] for k in ("learning_rate", "weight_decay") if asked[k] is not None}
    study = Study(
        builds if len(builds) > 1 else builds[names[0]],
        asked["dataset"],
        asked["methods"],
        compile={"optimizer": functools.partial(sgd, **options)},
        epochs=asked["epochs"],
        batch_size=asked["batch_size"],
        seeds=asked["seeds"],
        tuning=_tuning(asked),
        data_dir=asked["data_dir"],
        baseline=asked["baseline"],
        strategy=asked["strategy"],
        title=asked["title"] or f"{', '.join(names)} on {asked['dataset']}",
    )
    results = study.run(
        output, jobs=asked["jobs"], threads=asked["threads"], shard=_shard(asked["shard"])
    )
    spread = "interval" if asked["interval"] else "deviation"
    _say(
        "",
        results.table(spread),
        "",
        *(f"failed, {k}: {v.splitlines()[0]}" for k, v in results.failures.items()),
    )
    if asked["tensorboard"]:
        _say(f"For TensorBoard: {write_tensorboard(results, output / 'tensorboard')}")
    if results.runs:
        file = results.report(output / "report.html", spread)
        results.to_csv(output / "results.csv")
        _say(f"Report: {file}")
    return 1 if results.failures else 0


def _report(given: argparse.Namespace) -> int:
    results = Results(given.directory)
    spread = "interval" if getattr(given, "interval", False) else "deviation"
    file = results.report(given.output or given.directory / "report.html", spread)
    _say(results.table(spread), "", f"Report: {file}")
    return 0


def _list(given: argparse.Namespace) -> int:
    lines = ["methods:"]
    for name in feedback.METHODS:
        method = feedback.get(name)
        # a class may be there twice, with other arguments
        of = "" if name == getattr(type(method), "id", None) else f" Here {method!r}."
        lines.append(f"  {name:<10}{(type(method).__doc__ or '').splitlines()[0]}{of}")
    lines += ["models:", *(f"  {name}" for name in NAMES)]
    lines += ["datasets:", *(f"  {name}" for name in data.NAMES)]
    _say(*lines)
    return 0


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """Settings: defaults, replaced by the settings of the file, then of the command line."""
    named = {name: value for name, value in vars(given).items() if name in _DEFAULTS}
    file = getattr(given, "config", None)
    return {**_DEFAULTS, **({} if file is None else _from_file(file)), **named}


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"--config must be a file. Received: {str(file)!r}")
    if file.suffix in (".yaml", ".yml"):
        content = require("yaml", "A study in YAML").safe_load(file.read_text())
    elif file.suffix == ".json":
        content = json.loads(file.read_text())
    else:
        content = tomllib.loads(file.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"--config must hold names and values. Received: {str(file)!r}")
    content = {name.replace("-", "_"): value for name, value in content.items()}
    unknown = sorted(set(content) - set(_DEFAULTS))
    if unknown:
        raise ValueError(f"--config must have names out of {list(_DEFAULTS)}. Received: {unknown}")
    return content


def _build(name: str, shape: Any, classes: int) -> Any:
    if ":" in name:
        return load_reference(name)
    named_model(name, shape, classes)  # an unknown name or small images fail here
    return functools.partial(named_model, name, shape, classes)


def _tuning(asked: dict[str, Any]) -> Tuning | None:
    if not asked["tune"]:
        return None
    space = asked["tune"]
    if not isinstance(space, dict):
        space = dict(map(_space, space))
    space = {name.replace("-", "_"): values for name, values in space.items()}
    return Tuning(space, sampler=asked["sampler"], trials=asked["trials"])


def _space(text: str) -> tuple[str, Any]:
    name, _, values = text.partition("=")
    low, dots, high = values.partition("..")
    try:
        if dots:
            return name, {"low": float(low), "high": float(high), "log": float(low) > 0}
        return name, [float(value) for value in values.split(",")]
    except ValueError:
        raise ValueError(
            f"--tune must be NAME=VALUE,VALUE,... or NAME=LOW..HIGH. Received: {text!r}"
        ) from None


def _shard(text: Any) -> tuple[int, int] | None:
    if text is None:
        return None
    part, _, parts = str(text).partition("/")
    try:
        return int(part), int(parts)
    except ValueError:
        raise ValueError(f"--shard must be I/N, as 1/4. Received: {text!r}") from None


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201

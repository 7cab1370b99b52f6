"""How good must a feedback path be? Accuracy and gradient angle against each of its defects.

    python -m examples.imperfect_feedback.study --output results/imperfect
    python -m examples.imperfect_feedback.study --data mnist --data-dir ~/tensorflow_datasets
    python -m examples.imperfect_feedback.study --data cifar10 --data-dir ~/tensorflow_datasets

The feedback path of every method gets one defect at a time: few bits of the kernel, few bits of the
error, read noise, device mismatch, low density, or low rank. The networks are a perceptron with
three hidden layers of 64 units on handwritten digits, one with two hidden layers of 256 units on
MNIST, and ResNet-8 with 8 filters in the first stage on 12,800 images of CIFAR-10. On MNIST and
CIFAR-10, defects other than bits have fewer sizes. With the same seed, all methods start from the
same forward weights and see the same batches. Weight decay is the same for all methods, since
Kolen-Pollack and product feedback need it. Runs that are in the JSON file are not repeated; the
figures are drawn from this file.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from tf_alignment.plots.values import sweep_lines

METHODS = ("backprop", "fa", "usf", "kp", "sa", "pfa")
Case = tuple[str, str | None, float]
CASE = ("method", "defect", "value")
KINDS = {"accuracy": (100, "test accuracy, %"), "gradient_angle": (1, "gradient angle, °")}
"""Measures that are drawn, each with the factor on its values and the label of its axis."""
DEFECTS: dict[str, tuple[float, ...]] = {
    "bits": (1, 2, 3, 4, 5, 6, 8),
    "error_bits": (1, 2, 3, 4, 5, 6, 8),
    "noise": (0.1, 0.3, 1.0, 3.0),
    "mismatch": (0.1, 0.2, 0.5, 1.0),
    "density": (0.5, 0.25, 0.1, 0.03),
    "rank": (1, 2, 4, 8, 16),
}
LABELS = {
    "bits": "bits of the kernel",
    "error_bits": "bits of the error",
    "noise": "read noise / rms weight",
    "mismatch": "mismatch",
    "density": "density",
    "rank": "rank",
}
BITS = {defect: DEFECTS[defect] for defect in ("bits", "error_bits")}
VALUES = {
    "digits": DEFECTS,
    "mnist": BITS
    | {"noise": (1.0, 3.0), "mismatch": (0.5, 1.0), "density": (0.1, 0.03), "rank": (1, 4, 16)},
    "cifar10": BITS
    | {"noise": (0.3, 1.0), "mismatch": (0.5, 1.0), "density": (0.25, 0.03), "rank": (4, 16)},
}
QUICK: dict[str, tuple[float, ...]] = {"bits": (1,), "noise": (1.0,)}


class Settings(NamedTuple):
    """Settings of training that differ between the datasets.

    Attributes:
        rate: Learning rate.
        decay: Weight decay.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        examples: Number of training examples; None for all.
    """

    rate: float
    decay: float
    epochs: int
    batch_size: int
    examples: int | None = None


SETTINGS = {
    "digits": Settings(0.05, 0.05, 12, 32),
    "mnist": Settings(0.05, 0.02, 3, 64),
    "cifar10": Settings(0.05, 0.2, 4, 128, 12800),
}


def network(name: str) -> keras.Model:
    """Return the stock network for a dataset, given by name."""
    if name == "cifar10":
        return ta.models.resnet(8, width=8, batch_normalization="fused")
    return ta.models.perceptron((64, 64, 64, 64, 10) if name == "digits" else (784, 256, 256, 10))


def load(name: str, data_dir: str | None) -> ta.data.Arrays:
    """Return a dataset with centred inputs, which are vectors for the perceptrons."""
    data = common.centred(ta.data.load(name, data_dir), flat=name != "cifar10")
    return common.shortened(data, SETTINGS[name].examples)


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run."""
    return load(run.settings["data"], run.data_dir)


def rule(method: str, defect: str | None, value: float) -> Any:
    """Return a method whose feedback path has a defect.

    Args:
        method: Id of the method.
        defect: Name of the defect, or None for an ideal path.
        value: Size of the defect.
    """
    # A step of SA moves B towards W by the fraction `rate · α · gain` of their difference. The
    # default `rate · α` is 1, with which B overshoots and diverges if the gain of a device is above
    # 2. Here it is a quarter.
    inner = ta.feedback.SymmetricAlignment(0.5, 0.5) if method == "sa" else method
    if defect is None:
        return ta.feedback.get(inner)
    real = defect in ("noise", "mismatch", "density")
    given: dict[str, Any] = {defect: value if real else int(value)}
    if defect == "bits":
        given["error_bits"] = None  # one defect at a time
    return ta.feedback.Imperfect(inner, seed=1, **given)


def train(
    given: argparse.Namespace, cases: Iterable[Case], epochs: int, seeds: Iterable[int]
) -> list[common.Numbers]:
    """Train with all methods and feedback paths that are given.

    Args:
        given: Parsed command line.
        cases: Combinations of method, defect and size of the defect.
        epochs: Number of passes over the training data.
        seeds: Seeds of the runs.

    Returns:
        One dict per run, with its settings, test accuracy and gradient angle.
    """
    settings = SETTINGS[given.data]
    named = {
        f"{method}, {defect or 'ideal'} {value:g}": (method, defect, value)
        for method, defect, value in cases
    }
    results = common.study(
        given,
        given.data,
        functools.partial(network, given.data),
        data,
        [ta.studies.Variant(name, rule(*case)) for name, case in named.items()],
        compile={
            "optimizer": functools.partial(
                ta.studies.sgd, learning_rate=settings.rate, weight_decay=settings.decay
            ),
            "steps_per_execution": 8,
        },
        seeds=sorted(seeds),
        epochs=epochs,
        batch_size=settings.batch_size,
        settings={"data": given.data},
        probe=256,
        measure_every=epochs,
        on_divergence=None,
    )
    return [
        {
            "data": given.data,
            **dict(zip(CASE, named[run["variant"]], strict=True)),
            "seed": run["seed"],
            "epochs": epochs,
            "accuracy": run["curves"]["val_accuracy"][-1],
            "gradient_angle": run["curves"]["hidden/gradient_angle"][-1],
        }
        for run in common.ended(results)
    ]


def figure(runs: list[common.Numbers], path: Path, kind: str = "accuracy") -> None:
    """Draw a panel per defect with a line per method; dotted lines show methods with an ideal path.

    Args:
        runs: Runs of `train`.
        path: File of the figure.
        kind: Measure to draw, one of `KINDS`.
    """
    (scale, label), groups = KINDS[kind], common.grouped(runs, *CASE)
    numbers = {case: [scale * run[kind] for run in own] for case, own in groups.items()}
    names = [d for d in DEFECTS if any(case[1] == d for case in numbers)]
    methods = [m for m in METHODS if any(case[0] == m for case in numbers)]
    columns = min(len(names), 2 if len(names) == 4 else 3)
    fig, axes = common.new_figure(-(-len(names) // columns), columns, height=2.5)
    looks = ta.plots.styles(methods)
    for axis in axes.flat[1:]:
        axis.sharey(axes[0, 0])  # before drawing, so that the limits fit the data of all panels
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, defect in zip(axes.flat, names, strict=False):
        values = {m: {c[2]: v for c, v in numbers.items() if c[:2] == (m, defect)} for m in methods}
        sweep_lines(axis, values, log=True)
        for method in methods:
            if ideal := numbers.get((method, None, 0.0)):
                line = {"color": looks[method].colour, "linewidth": 0.7, "linestyle": ":"}
                axis.axhline(np.mean(ideal), **line)
        arrow = ", worse →" if defect in ("noise", "mismatch") else ", ← worse"
        axis.set_xlabel(LABELS[defect].partition(" /")[0] + arrow, fontsize=9)
    if kind == "accuracy":  # error bars may reach beyond what an accuracy can be
        low, high = axes[0, 0].get_ylim()
        axes[0, 0].set_ylim(max(low, 0), min(high, 102))
    for row in axes:
        row[0].set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(methods), fontsize=8)
    spread = "; bars: ± 1 standard deviation (n - 1)"
    count = len({run["seed"] for run in runs})
    means = f"means over {count} seeds{spread}" if count > 1 else "one seed"
    common.caption(fig, f"{means}; dotted: ideal path")
    common.save(fig, path)


def table(runs: list[common.Numbers]) -> str:
    """Return a Markdown table of test accuracy and gradient angle, with a row per feedback path.

    Each cell has the accuracy in percent, mean and standard deviation over the seeds, and the mean
    angle in degrees.
    """
    groups = common.grouped(runs, *CASE)
    order = [None, *DEFECTS]
    paths = sorted({case[1:] for case in groups}, key=lambda c: (order.index(c[0]), c[1]))
    methods = [method for method in METHODS if any(case[0] == method for case in groups)]
    rows = []
    for defect, value in paths:
        cells = []
        for method in methods:
            own = groups.get((method, defect, value), [])
            accuracy = common.mean_of([run["accuracy"] for run in own]).text(1, scale=100)
            angle = common.mean_of([run["gradient_angle"] for run in own]).mean
            cells.append(f"{accuracy}, {angle:.0f}°" if own else "")
        rows.append(["ideal" if defect is None else f"{LABELS[defect]} {value:g}", *cells])
    return common.markdown(("path", *methods), rows)


def main() -> None:
    """Make the runs that are missing, print the table, and draw the figures."""
    parser = command_line.new_parser(
        __doc__,
        "imperfect_feedback",
        methods=METHODS,
        quick=("fa", "sa"),
        epochs="of the dataset",
        seeds=3,
        jobs=True,
    )
    parser.add_argument("--data", choices=list(SETTINGS), default="digits")
    parser.add_argument("--defects", nargs="+", choices=list(DEFECTS))
    given = parser.parse_args()
    if given.quick:
        given.data, given.epochs = "digits", given.epochs or 2
    values = QUICK if given.quick else VALUES[given.data]
    file = given.output / f"{given.data}.json"
    load(given.data, given.data_dir)  # missing data fail here, before the study starts
    epochs = given.epochs or SETTINGS[given.data].epochs
    paths: list[tuple[str | None, float]] = [(None, 0.0)]
    paths += [(d, v) for d in given.defects or values for v in values.get(d, DEFECTS[d])]
    runs = common.completed(
        file,
        {"epochs": epochs},
        (*CASE, "seed"),
        [(m, *path, s) for path in paths for m in given.methods for s in range(given.seeds)],
        lambda missing: train(
            given,
            dict.fromkeys(run[:-1] for run in missing),
            epochs,
            {seed for *_, seed in missing},
        ),
    )
    print(table(runs))
    for kind in KINDS:
        ending = "" if kind == "accuracy" else "-angle"
        figure(runs, given.output / f"{given.data}{ending}.png", kind)


if __name__ == "__main__":
    command_line.run(main)

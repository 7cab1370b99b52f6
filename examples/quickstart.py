"""Train one small convolutional network with every feedback method, side by side.

    python -m examples.quickstart
    python -m examples.quickstart --methods backprop fa sa --epochs 20 --seeds 5
    python -m examples.quickstart --dataset mnist --data-dir ~/tensorflow_datasets

With the same seed, all methods start from the same forward weights and see the same batches. The
script prints a table, and writes a figure of accuracy and angles over the epochs and all numbers as
JSON to the output directory. A finished run is not repeated, and an interrupted run is continued.
"""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.decay import FORGETTING
from tf_alignment.studies.models import named_model


class Settings(NamedTuple):
    """Settings of training that differ between the datasets.

    Attributes:
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        weight_decay: Weight decay of the methods that have one.
    """

    epochs: int
    batch_size: int
    weight_decay: float


SETTINGS = {"digits": Settings(12, 32, 0.1), "mnist": Settings(4, 128, 0.03)}
CONTROL = "backprop, decay"
"""Row of backpropagation with the weight decay that the methods in `FORGETTING` need."""
SLOW = {"wm": 0.02, "ia": 0.02}
"""Lower learning rates of W for rules that learn from noise, whose feedback lags behind W."""
METHODS = ("backprop", CONTROL, *(name for name in ta.feedback.METHODS if name != "backprop"))
QUICK = ("backprop", "fa", "kp", "sa")
LABELS = {
    "accuracy": "test accuracy",
    "angle": "weight angle (degrees)",
    "gradient_angle": "gradient angle (degrees)",
}
HEADS = ("test accuracy %", "weight angle °", "gradient angle °", "step time")
EXPLANATION = """\
weight angle    between forward weights and what carries the error back (for pfa and pfa_o the
                product of two weights), mean over layers; - where no such weights exist
gradient angle  between the update of the forward weights and backpropagation's, mean over layers
step time       of a training step, over that of stock Keras"""


def variant(name: str, weight_decay: float) -> ta.studies.Variant:
    """Return the row of a method in the study.

    Only `CONTROL` and the methods in `FORGETTING` have weight decay, since weight decay lowers the
    accuracy with random feedback.

    Args:
        name: Id of the method, or `CONTROL`.
        weight_decay: Weight decay of the rows that have one.
    """
    decay = weight_decay if name in (*FORGETTING, CONTROL) else 0.0
    slow = {"learning_rate": SLOW[name]} if name in SLOW else {}
    optimizer = functools.partial(ta.studies.sgd, weight_decay=decay, **slow)
    return ta.studies.Variant(name, name.partition(",")[0], optimizer=optimizer)


def to_page(results: Any) -> dict[str, common.Numbers]:
    """Return results in the form of the files in docs/results.

    Returns:
        `{method: numbers}`. The numbers of a method are its curves `accuracy`, `angle` and
        `gradient_angle`, each `(seeds, epochs)` with NaN where a method has no such angle, and its
        `step_time`.
    """
    names = {
        "accuracy": ("val_accuracy",),
        "angle": ("mean/weight_angle", "mean/path_angle"),
        "gradient_angle": ("mean/gradient_angle",),
    }
    found: dict[str, common.Numbers] = {}
    curves = {measure: results.curves(measure) for pair in names.values() for measure in pair}
    for method in results.variants:
        accuracy = curves["val_accuracy"].get(method)
        if accuracy is None:
            continue
        missing = np.full_like(accuracy, np.nan)
        found[method] = {
            name: next((curves[m][method] for m in pair if method in curves[m]), missing).tolist()
            for name, pair in names.items()
        }
        found[method]["step_time"] = results.cost(method).get("step_time") or np.nan
    return found


def table(methods: dict[str, common.Numbers]) -> str:
    """Return a table of the last epoch: one row per method, mean and deviation over the seeds."""

    def cell(values: Any, scale: float = 1.0) -> str:
        return common.mean_of([run[-1] for run in values]).text(1, scale=scale)

    lines = [f"{'method':<17}" + "".join(f"{head:>18}" for head in HEADS)]
    for method, found in methods.items():
        cells = (
            cell(found["accuracy"], 100),
            cell(found["angle"]),
            cell(found["gradient_angle"]),
            common.mean_of([found["step_time"]]).text(2),
        )
        lines.append(f"{method:<17}" + "".join(f"{text:>18}" for text in cells))
    return "\n".join(lines)


def main() -> None:
    """Train the network with every method, print the table, and write numbers and figure."""
    start = time.perf_counter()
    parser = command_line.new_parser(
        __doc__,
        "quickstart",
        methods=METHODS,
        quick=QUICK,
        epochs="12 on digits, 4 on mnist",
        seeds=3,
        jobs=True,
    )
    parser.add_argument("--dataset", choices=sorted(SETTINGS), default="digits")
    given = parser.parse_args()
    name, seeds = "digits" if given.quick else given.dataset, given.seeds
    settings = SETTINGS[name]
    epochs = given.epochs or (2 if given.quick else settings.epochs)
    methods = list(dict.fromkeys(given.methods))
    data = ta.data.load(name, given.data_dir)
    print(
        f"{name}: {len(data.train.y)} images to train on, {len(data.test.y)} to test on; "
        f"{len(methods)} rows, each from {seeds} seeds for {epochs} epochs",
        flush=True,
    )
    results = common.study(
        given,
        name,
        functools.partial(named_model, "small", data.train.x.shape[1:], data.classes),
        name,
        [variant(method, settings.weight_decay) for method in methods],
        compile={"steps_per_execution": 4},
        epochs=epochs,
        batch_size=settings.batch_size,
        cost=True,
        on_divergence="warn",
        title=f"All methods on {name}",
    )
    for run in common.ended(results):
        for text in run["warnings"]:
            print(f"\nwarning, {run['variant']}: {text}")
    found = to_page(results)
    print("", table(found), "", EXPLANATION, sep="\n")
    labels = {
        name: label
        for name, label in LABELS.items()
        if any(np.isfinite(curves[name]).any() for curves in found.values())
    }
    content = {"dataset": name, "epochs": epochs, "seeds": seeds, "methods": found}
    figure = ta.plots.learning_curves(found, labels=labels)
    common.write(given.output / name, content, figure)
    print(f"Done in {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    command_line.run(main)

"""Lillicrap et al. 2016: a linear network learns a linear map, with random feedback.

    python -m examples.classics.lillicrap --output docs/results/classics
    python -m examples.classics.lillicrap --quick

30-20-10, without biases or nonlinearity. The map T has entries from U(-1, 1), forward weights start
in U(±0.01), B is drawn from U(±0.5), all as in the paper; inputs are Gaussian, one at a time.
Measured on other inputs: the squared error over that of an output of zero, and the angle between
what feedback alignment sends to the hidden layer, `e Bᵀ`, and what backpropagation would, `e Wᵀ`,
example by example. `shallow` learns the upper layer alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.curves import by_variant

SIZES = (30, 20, 10)
EXAMPLES = 100  # of a pass; one at a time
METHODS = ("backprop", "fa", "shallow")
RATE = 0.0025
START = keras.initializers.RandomUniform(-0.01, 0.01)
NAMES = {"error": "error", "angle": "angle °"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FEEDBACK = keras.initializers.RandomUniform(-0.5, 0.5)


def network(hidden_learns: bool = True) -> keras.Model:
    """Two linear layers."""
    inputs, hidden, outputs = SIZES
    options: dict[str, Any] = {"use_bias": False, "kernel_initializer": START.clone()}
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(hidden, name="hidden", trainable=hidden_learns, **options),
            keras.layers.Dense(outputs, name="output", **options),
        ]
    )


def data(run: Any) -> Any:
    """Inputs and T times inputs, for training and for measuring; T is another one for each seed."""
    rng = np.random.default_rng(run.seed)
    target = rng.uniform(-1, 1, (SIZES[0], SIZES[-1]))
    inputs = [rng.standard_normal((count, SIZES[0])) for count in (EXAMPLES, 500)]
    return [(x.astype("float32"), (x @ target).astype("float32")) for x in inputs]


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between the rows of two matrices, in degrees."""
    product = np.sum(first * second, -1)
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(product / norms, -1, 1)))


def measure(run: Any) -> dict[str, float]:
    """Error on inputs that are not learned, and the angle of the hidden layer's update."""
    x, y = run.source.test
    layer = run.model.get_layer("output")
    error = y - np.asarray(run.model(x))
    found = {"error": float(np.sum(error**2) / np.sum(y**2))}
    if getattr(layer, "feedback", None) is not None:
        w, b = np.asarray(layer.kernel), np.asarray(layer.feedback_weights["feedback_kernel"])
        found["angle"] = float(angles(error @ b.T, error @ w.T).mean())
    return found


def start(run: Any) -> None:
    """Measure before the first example."""
    run.settings["start"] = measure(run)


def finish(run: Any) -> common.Numbers:
    """What was measured before the first example."""
    return {"start": run.settings["start"]}


def variant(method: str) -> ta.studies.Variant:
    """A row of the study."""
    if method == "shallow":
        build = functools.partial(network, hidden_learns=False)
        return ta.studies.Variant(method, None, build=build)
    feedback = None if method == "backprop" else method
    return ta.studies.Variant(method, feedback, feedback_initializer=FEEDBACK)


def to_page(run: common.Numbers) -> common.Numbers:
    """A run as the file has it: curves begin before the first example."""
    curves = {name: [value, *run["curves"][name]] for name, value in run["finish"]["start"].items()}
    return {"variant": run["variant"], "seed": run["seed"], "curves": curves}


def cell(values: list[float], digits: int) -> str:
    """Mean and standard deviation; with powers of ten where the mean is small."""
    found = common.mean_of(values)
    power = 0 if found.mean >= 0.1 else math.floor(math.log10(found.mean))
    text = found.text(digits, scale=10.0**-power)
    return f"({text}) · 10{str(power).translate(RAISED)}" if power else text


def table(runs: list[common.Numbers]) -> str:
    """Error and angle at the start, on the way and at the end, as Markdown."""
    last = max(len(run["curves"]["error"]) for run in runs) - 1
    times = (0, last // 4, last // 2, last)
    rows = []
    for method, own in common.grouped(runs, "variant").items():
        for name, digits in (("error", 2), ("angle", 1)):
            curves = [run["curves"][name] for run in own if name in run["curves"]]
            if curves:
                cells = [cell([curve[at] for curve in curves], digits) for at in times]
                rows.append((f"`{method}`", NAMES[name], str(len(curves)), *cells))
    after = (f"after {EXAMPLES * at} examples" for at in times[1:])
    return common.markdown(("method", "", "n", "at the start", *after), rows)


def draw(runs: list[common.Numbers]) -> Any:
    """Error and angle against the examples seen."""
    curves = by_variant(runs)
    labels = {"error": "error, over that of zero", "angle": "angle to backprop's update (°)"}
    positions = EXAMPLES * np.arange(max(len(run["curves"]["error"]) for run in runs))
    figure = ta.plots.learning_curves(curves, labels=labels, positions=positions, unit="examples")
    figure.axes[0].set_yscale("log")
    figure.axes[1].axhline(90, color="grey", linewidth=0.8)
    return figure


def main() -> None:
    """Train, print, draw."""
    parser = command_line.new_parser(
        __doc__, "classics", seeds=5, epochs="20; --quick: 3", data=False, jobs=True
    )
    parser.number("--rate", "of both layers, for half the squared error", RATE, kind=float)
    given = parser.parse_args()
    results = common.study(
        given,
        "lillicrap",
        network,
        data,
        [variant(method) for method in METHODS],
        compile={
            "optimizer": keras.optimizers.SGD(given.rate * SIZES[-1] / 2),  # of the mean square
            "loss": "mse",
            "metrics": [],
        },
        epochs=given.epochs or (3 if given.quick else 20),
        batch_size=1,
        metric="val_loss",
        measure=[measure],
        prepare=[start],
        finish=[finish],
        probe=0,
    )
    runs = [to_page(run) for run in common.ended(results)]
    print("", table(runs), sep="\n")
    content = {"rate": given.rate, "examples": EXAMPLES, "runs": runs}
    common.write(given.output / "lillicrap", content, draw(runs))


if __name__ == "__main__":
    command_line.run(main)

"""Lillicrap et al. 2016: a linear network learns a linear map, with random feedback.

    python -m examples.classics.lillicrap --output docs/results/classics
    python -m examples.classics.lillicrap --quick

The network has 30-20-10 units, without biases or nonlinearity. As in the paper, the map T has
entries from U(-1, 1), initial forward weights are from U(±0.01), and B is from U(±0.5). Inputs are
Gaussian and learned one by one. On other inputs, the script measures the squared error divided by
that of an output of zero, and the mean angle over the examples between the error that feedback
alignment sends to the hidden layer, `e Bᵀ`, and the error that backpropagation would send, `e Wᵀ`.
`shallow` learns only the upper layer.
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
EXAMPLES = 100  # number of training examples per pass, in batches of one
METHODS = ("backprop", "fa", "shallow")
RATE = 0.0025
START = keras.initializers.RandomUniform(-0.01, 0.01)
NAMES = {"error": "error", "angle": "angle °"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FEEDBACK = keras.initializers.RandomUniform(-0.5, 0.5)


def network(hidden_learns: bool = True) -> keras.Model:
    """Return a network of two linear layers.

    Args:
        hidden_learns: Whether the lower layer learns too.
    """
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
    """Return training and test examples of a run, each `(x, x T)`; T depends on the seed."""
    rng = np.random.default_rng(run.seed)
    target = rng.uniform(-1, 1, (SIZES[0], SIZES[-1]))
    inputs = [rng.standard_normal((count, SIZES[0])) for count in (EXAMPLES, 500)]
    return [(x.astype("float32"), (x @ target).astype("float32")) for x in inputs]


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angles between corresponding rows of two matrices, in degrees, `(rows,)`."""
    product = np.sum(first * second, -1)
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(product / norms, -1, 1)))


def measure(run: Any) -> dict[str, float]:
    """Measure a run on its test examples.

    Returns:
        `error`, the squared error divided by that of an output of zero; and with feedback weights
        `angle`, the mean angle between the errors sent by B and by W, in degrees.
    """
    x, y = run.source.test
    layer = run.model.get_layer("output")
    error = y - np.asarray(run.model(x))
    found = {"error": float(np.sum(error**2) / np.sum(y**2))}
    if getattr(layer, "feedback", None) is not None:
        w, b = np.asarray(layer.kernel), np.asarray(layer.feedback_weights["feedback_kernel"])
        found["angle"] = float(angles(error @ b.T, error @ w.T).mean())
    return found


def start(run: Any) -> None:
    """Measure a run before its first training example."""
    run.settings["start"] = measure(run)


def finish(run: Any) -> common.Numbers:
    """Return the measures before the first training example."""
    return {"start": run.settings["start"]}


def variant(method: str) -> ta.studies.Variant:
    """Return the row of a method in the study."""
    if method == "shallow":
        build = functools.partial(network, hidden_learns=False)
        return ta.studies.Variant(method, None, build=build)
    feedback = None if method == "backprop" else method
    return ta.studies.Variant(method, feedback, feedback_initializer=FEEDBACK)


def to_page(run: common.Numbers) -> common.Numbers:
    """Convert a run to the form of the JSON file, with curves from before the first example on."""
    curves = {name: [value, *run["curves"][name]] for name, value in run["finish"]["start"].items()}
    return {"variant": run["variant"], "seed": run["seed"], "curves": curves}


def cell(values: list[float], digits: int) -> str:
    """Format mean and standard deviation of values, with a power of ten if the mean is below 0.1.

    Args:
        values: Numbers, one per run.
        digits: Number of digits after the decimal point.
    """
    found = common.mean_of(values)
    power = 0 if found.mean >= 0.1 else math.floor(math.log10(found.mean))
    text = found.text(digits, scale=10.0**-power)
    return f"({text}) · 10{str(power).translate(RAISED)}" if power else text


def table(runs: list[common.Numbers]) -> str:
    """Return a Markdown table of error and angle before, during and after training."""
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
    """Draw error and angle against the number of training examples."""
    curves = by_variant(runs)
    labels = {"error": "error, over that of zero", "angle": "angle to backprop's update (°)"}
    positions = EXAMPLES * np.arange(max(len(run["curves"]["error"]) for run in runs))
    figure = ta.plots.learning_curves(curves, labels=labels, positions=positions, unit="examples")
    figure.axes[0].set_yscale("log")
    figure.axes[1].axhline(90, color="grey", linewidth=0.8)
    return figure


def main() -> None:
    """Train the network with all methods, print the table, and write numbers and figure."""
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
            # the rate is for half the squared error, and "mse" is the mean over the outputs
            "optimizer": keras.optimizers.SGD(given.rate * SIZES[-1] / 2),
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

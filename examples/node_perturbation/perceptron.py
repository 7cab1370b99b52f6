"""Figure 2 of the paper: node perturbation in a 784-50-20-10 network that learns MNIST.

    python -m examples.node_perturbation.perceptron --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.perceptron --iterations 200000 --seeds 3 --jobs 2
    python -m examples.node_perturbation.perceptron --quick

Forward and feedback weights learn in every iteration from different batches, with the same loss:
half the squared distance between ten sigmoid units and the target. `np` is the default of this
library (control variate, normalised steps). `np-ridge` replaces the normalised steps by least
squares over the last thousand steps. `np-sgd` follows the text of the paper, and
`np-ridge-published` follows its code.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, markdown
from examples.curves import stacked
from examples.node_perturbation.experiment import (
    by_row,
    carry_out,
    draw,
    end,
    load,
    parser,
    passes_of,
)

RATE = 4e-4 * 32  # the paper's rate, for the mean over a batch of 32 in place of the sum
NOISE = (1e-4, 1e-3, 1e-2, 1e-1)
PUBLISHED = {"control_variate": False}
SOLVERS: dict[str, Numbers] = {
    "np": {},
    "np-ridge": {"solver": "ridge"},
    "np-sgd": {"solver": "sgd", **PUBLISHED},
    "np-ridge-published": {"solver": ta.phases.Ridge(forgetting=1.0), **PUBLISHED},
}
# name of the row: (method, standard deviation of the noise)
ROWS: dict[str, tuple[str, float]] = {
    "backprop": ("backprop", 0.0),
    "fa": ("fa", 0.0),
    **{f"{solver} {c:g}": (solver, c) for solver in SOLVERS for c in NOISE},
}
PANELS = {
    "relative_error": "relative error of B",
    "gradient_angle": "gradient angle (°)",
    "sign_agreement": "signs that agree",
}
# Default rows: four solvers at one size of the noise, and the default solver at all sizes.
DEFAULT = ["backprop", "fa", *(f"{s} 0.01" for s in SOLVERS), "np 0.0001", "np 0.001", "np 0.1"]
LOWER, UPPER = "second", "third"  # the layers with feedback weights


def half_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Return the loss `½ ‖y_pred − y_true‖²` of every example, `(batch,)`."""
    return 0.5 * keras.ops.sum((y_pred - y_true) ** 2, -1)


def network(inputs: int, hidden: tuple[int, int] = (50, 20)) -> keras.Model:
    """Return a stock Keras network of sigmoid units: two hidden layers and ten outputs.

    Args:
        inputs: Number of inputs.
        hidden: Numbers of units of the hidden layers.
    """
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(hidden[0], "sigmoid", name="first"),
            keras.layers.Dense(hidden[1], "sigmoid", name=LOWER),
            keras.layers.Dense(10, "sigmoid", name=UPPER),
        ],
        name="perceptron",
    )


def vectors(name: str, data_dir: str | None, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Return a split of a dataset, with images as vectors and labels as one-hot vectors of ten.

    Args:
        name: Name of the dataset.
        data_dir: Directory of the TensorFlow Datasets.
        split: `"train"` or `"test"`.
    """
    x, y = getattr(load(name, data_dir), split)
    return x.reshape(len(x), -1), np.eye(10, dtype="float32")[y]


def data(run: Any) -> tuple[Any, Any]:
    """Return the training and the test split of a run, each `(x, y)`."""
    name = run.settings["dataset"]
    return vectors(name, run.data_dir), vectors(name, run.data_dir, "test")


def phase(run: Any, solver: str, noise: float) -> ta.phases.NodePerturbation:
    """Return the phase in which the feedback weights learn in every step, from its own batches.

    Args:
        run: Run of the study.
        solver: Name of the solver in `SOLVERS`.
        noise: Standard deviation of the noise.
    """
    return ta.phases.NodePerturbation(
        half_squared_error,
        dataset=tuple(run.source.train),
        noise=ta.Noise("gaussian", noise),  # the paper's noise, with every solver
        seed=run.seed + 1,
        **SOLVERS[solver],
    )


def warm_up(run: Any) -> None:
    """Let the feedback weights learn before training begins, with fixed forward weights."""
    for phase in () if run.resumed else run.phases:
        steps, phase.steps = phase.steps, run.settings["warmup"]
        phase.run(run.model)
        phase.steps = steps


probe_of = functools.cache(ta.metrics.GradientProbe)


def measure(run: Any) -> dict[str, float]:
    """Return the test error of a run in percent, and how feedback and forward weights compare."""
    x, y = run.source.test
    answers = run.model.predict(x, batch_size=len(x), verbose=0).argmax(-1)
    found = {"test_error": 100.0 * float(np.mean(answers != y.argmax(-1)))}
    if run.feedback != "backprop":
        found |= compare(run.model, probe_of(run.model)(x[:1000], y[:1000]))
    return found


def variant(row: str) -> ta.studies.Variant:
    """Return a row of the table as a variant of the study, by its name in `ROWS`."""
    method, noise = ROWS[row]
    learned = method in SOLVERS
    return ta.studies.Variant(
        row,
        "backprop" if method == "backprop" else "fa",
        feedback_initializer=None,
        phases=[functools.partial(phase, solver=method, noise=noise)] if learned else [],
        every="step",
        settings={"method": method, "noise": noise},
    )


def compare(model: keras.Model, gradients: dict[str, dict[str, float]]) -> dict[str, float]:
    """Compare feedback and forward weights of each layer with feedback weights.

    Args:
        model: Network.
        gradients: Angles to backpropagation in degrees, of a `ta.metrics.GradientProbe`.

    Returns:
        `{"<layer>/<measure>": value}`. The gradient angle is that of the layer below, which gets
        the error through these feedback weights.
    """
    found = {}
    for name in (LOWER, UPPER):
        layer = model.get_layer(name)
        kernel, feedback = layer.kernel, layer.feedback_weights["feedback_kernel"]
        found[f"{name}/relative_error"] = float(ta.metrics.relative_error(kernel, feedback))
        found[f"{name}/sign_agreement"] = float(ta.metrics.sign_agreement(kernel, feedback))
        sent = gradients[layer.path]
        found[f"{name}/angle_per_example"] = sent["error_per_example"]
        found[f"{name}/angle_of_batch"] = sent["error"]
    for name, below in ((LOWER, "first"), (UPPER, LOWER)):
        layer = model.get_layer(below)
        found[f"{name}/gradient_angle"] = gradients[layer.path]["kernel"]
    return found


def table(results: list[Numbers]) -> str:
    """Return a Markdown table with a row per method and noise, after the last pass.

    A row has mean and standard error over the seeds.
    """
    measures = ("relative_error", "sign_agreement", "angle_per_example", "gradient_angle")
    heads = ["method, noise", "seeds", "test error %"]
    heads += [f"{m.replace('_', ' ')}, {n}" for m in measures for n in (LOWER, UPPER)]
    rows = []
    for name, runs in by_row(results).items():
        cells = [f"`{name}`", str(len(runs)), end(runs, "test_error")]
        for measure in measures:
            digits = 1 if "angle" in measure else 3
            cells += [end(runs, f"{n}/{measure}", digits) for n in (LOWER, UPPER)]
        rows.append(cells)
    return markdown(heads, rows)


def figure(results: list[Numbers]) -> Any:
    """Draw panels A to D of the paper's figure, for each layer with feedback weights."""
    labels = {"test_error": "test error (%)"}
    for measure, label in PANELS.items():
        labels |= {f"{layer}/{measure}": f"{label}\n{layer}" for layer in (LOWER, UPPER)}
    drawn = draw(results, labels)
    for panel in drawn.axes:
        if panel.get_ylabel() == labels["test_error"]:
            panel.set_yscale("log")
            panel.set_yticks(ticks := (2, 3, 5, 10, 20, 50, 90), list(map(str, ticks)))
            panel.minorticks_off()
            panel.set_ylim(0.9 * np.nanmin(stacked(results, "test_error")), 95)
    return drawn


def main() -> None:
    """Train the networks, print the table, and draw the figure."""
    quick = ["backprop", "fa", "np 0.01"]
    given = parser(__doc__, "2000000", 5, list(ROWS), usual=DEFAULT, quick=quick).parse_args()
    name, dataset, iterations, rate = "perceptron", "mnist", 2_000_000, RATE
    if given.quick:
        name, dataset, iterations, rate = "perceptron-quick", "digits", 1_000, 0.5
    x, _ = vectors(dataset, given.data_dir)
    carry_out(
        given,
        name,
        functools.partial(network, x.shape[1]),
        data,
        [variant(row) for row in given.methods],
        {"dataset": dataset, "rate": rate, "warmup": 1000},
        table,
        figure,
        compile={
            "optimizer": keras.optimizers.SGD(rate),
            "loss": half_squared_error,
            "metrics": [],
            "steps_per_execution": min(len(x) // 32, 625),
        },
        epochs=passes_of(given.iterations or iterations, len(x), 32),
        batch_size=32,
        metric="test_error",
        prepare=[warm_up],
        measure=[measure],
    )


if __name__ == "__main__":
    command_line.run(main)

"""Figure 2 of the paper: node perturbation in a 784-50-20-10 network that learns MNIST.

    python -m examples.node_perturbation.perceptron --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.perceptron --iterations 200000 --seeds 3 --jobs 2
    python -m examples.node_perturbation.perceptron --quick

Forward and feedback weights learn at every iteration, each from a batch of its own, from the same
loss: ½ the squared distance of ten sigmoid units from the target. `np` is this library's default
(control variate, normalised steps), `np-ridge` the same with least squares over the last thousand
steps; `np-sgd` and `np-ridge-published` are what the paper's text and its code do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, markdown, new_figure
from examples.curves import band, stacked, standard_error
from examples.node_perturbation.experiment import (
    Run,
    carry_out,
    chosen,
    grouped,
    last,
    load,
    parser,
    tasks,
)

RATE = 4e-4 * 32  # the paper's, on the mean over a batch of 32 in place of its sum
NOISE = (1e-4, 1e-3, 1e-2, 1e-1)
PUBLISHED = {"control_variate": False}
SOLVERS: dict[str, Numbers] = {
    "np": {},
    "np-ridge": {"solver": "ridge"},
    "np-sgd": {"solver": "sgd", **PUBLISHED},
    "np-ridge-published": {"solver": ta.phases.Ridge(forgetting=1.0), **PUBLISHED},
}
# name: (method, noise)
ROWS: dict[str, tuple[str, float]] = {
    "backprop": ("backprop", 0.0),
    "fa": ("fa", 0.0),
    **{f"{solver} {c:g}": (solver, c) for solver in SOLVERS for c in NOISE},
}
# Of four solvers at one noise, and of the default at all.
DEFAULT = ["backprop", "fa", *(f"{s} 0.01" for s in SOLVERS), "np 0.0001", "np 0.001", "np 0.1"]
LOWER, UPPER = "second", "third"  # the layers with feedback


def half_squared_error(y_true: Any, y_pred: Any) -> Any:
    """`½ ‖y_pred − y_true‖²` of every example, `(batch,)`."""
    return 0.5 * keras.ops.sum((y_pred - y_true) ** 2, -1)


def network(inputs: int, hidden: tuple[int, int] = (50, 20)) -> keras.Model:
    """Two hidden layers and ten outputs, all sigmoid, in stock Keras."""
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
    """Images as vectors, labels as one of ten."""
    x, y = getattr(load(name, data_dir), split)
    return x.reshape(len(x), -1), np.eye(10, dtype="float32")[y]


def batches(settings: Numbers) -> ta.data.EpochShuffled:
    """The training data in the order of a seed."""
    data = vectors(settings["dataset"], settings["data_dir"])
    return ta.data.EpochShuffled(*data, 32, seed=settings["seed"], drop_remainder=True)


def build(settings: Numbers) -> Run:
    """Network, method and measures of one run."""
    method, noise = settings["method"], settings["noise"]
    data = vectors(settings["dataset"], settings["data_dir"])
    x, y = vectors(settings["dataset"], settings["data_dir"], "test")
    keras.utils.set_random_seed(settings["seed"])
    model = ta.convert(
        network(x.shape[1]), method if method == "backprop" else "fa", feedback_initializer=None
    )
    steps = max(1, len(data[0]) // 32)
    model.compile(
        keras.optimizers.SGD(settings["rate"]),
        half_squared_error,
        steps_per_execution=min(steps, 625),
    )
    phase: Any = None
    if method in SOLVERS:
        phase = ta.phases.NodePerturbation(
            half_squared_error,
            dataset=data,
            noise=ta.Noise("gaussian", noise),  # the paper's, for all
            seed=settings["seed"] + 1,
            **SOLVERS[method],
        )
    probe = ta.metrics.GradientProbe(model)
    labels = y.argmax(-1)

    def measure() -> dict[str, float]:
        error = np.mean(model.predict(x, batch_size=len(x), verbose=0).argmax(-1) != labels)
        found = {"test_error": 100.0 * float(error)}
        if method != "backprop":
            found |= compare(model, probe(x[:1000], y[:1000]))
        return found

    return Run(model, measure, phase, warmup=settings["warmup"] if phase else 0)


def compare(model: keras.Model, gradients: dict[str, dict[str, float]]) -> dict[str, float]:
    """Feedback against forward weights, layer by layer; angles in degrees."""
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
    """The end of every run, mean and standard error over seeds."""
    measures = ("relative_error", "sign_agreement", "angle_per_example", "gradient_angle")
    heads = ["method, noise", "seeds", "test error %"]
    heads += [f"{m.replace('_', ' ')}, {n}" for m in measures for n in (LOWER, UPPER)]
    rows = []
    for name, runs in grouped(results, "row").items():
        cells = [f"`{name}`", str(len(runs)), last(runs, "test_error")]
        for measure in measures:
            digits = 1 if "angle" in measure else 3
            cells += [last(runs, f"{n}/{measure}", digits=digits) for n in (LOWER, UPPER)]
        rows.append(cells)
    return markdown(heads, rows)


PANELS = {
    "relative_error": "relative error of B",
    "gradient_angle": "angle of the batch gradient (°)",
    "sign_agreement": "sign agreement",
}


def draw(results: list[Numbers], file: Path) -> None:
    """The paper's panels A to D, a row a layer."""
    from matplotlib import colormaps

    figure, axes = new_figure(2, len(PANELS) + 1)
    groups = grouped(results, "row")
    colours = {name: colormaps["tab10"](i) for i, name in enumerate(groups)}
    for column, (measure, label) in enumerate(PANELS.items()):
        for panel, layer in zip(axes[:, column], (LOWER, UPPER), strict=True):
            for name, runs in groups.items():
                line(panel, runs, f"{layer}/{measure}", colours[name], name)
            panel.set(xlabel="iteration", ylabel=label, title=f"{layer} layer's feedback")
            panel.set_ylim(bottom=0.4 if measure == "sign_agreement" else 0)
    for name, runs in groups.items():
        line(axes[0, -1], runs, "test_error", colours[name], name)
    ticks = [t for t in (2, 3, 5, 10, 20, 50, 90) if t >= np.nanmin(stacked(results, "test_error"))]
    axes[0, -1].set(xlabel="iteration", ylabel="test error (%)", yscale="log")
    axes[0, -1].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0, -1].minorticks_off()
    axes[1, -1].set_axis_off()
    handles, labels = axes[0, -1].get_legend_handles_labels()
    axes[1, -1].legend(handles, labels, loc="center", frameon=False, title="method, noise")
    figure.savefig(file, dpi=110)


def line(panel: Any, runs: list[Numbers], curve: str, colour: Any, label: str) -> None:
    """Mean over seeds with a band of one standard error."""
    values = stacked(runs, curve)
    if np.isnan(values).all():
        return
    x = runs[0]["steps_a_pass"] * np.arange(1, values.shape[1] + 1)
    band(panel, x, values, standard_error(values), color=colour, label=label)


def main() -> None:
    """Train, draw and print."""
    command = parser(__doc__, "2000000", seeds=5)
    arguments = command.parse_args()
    names = chosen(command, arguments.methods, list(ROWS)) if arguments.methods else DEFAULT
    name, dataset, iterations = "perceptron", "mnist", 2_000_000
    seeds, rate = arguments.seeds, RATE
    if arguments.quick:
        name, dataset, iterations, seeds, rate = "perceptron-quick", "digits", 2_000, 1, 0.5
    iterations = arguments.iterations or iterations
    steps = len(load(dataset, arguments.data_dir).train.x) // 32
    runs = tasks(
        name,
        {row: dict(zip(("method", "noise"), ROWS[row], strict=True)) for row in names},
        seeds,
        build,
        batches,
        passes=max(1, round(iterations / steps)),
        dataset=dataset,
        data_dir=arguments.data_dir,
        rate=rate,
        warmup=1000,
    )
    carry_out(arguments, name, runs, table, draw)


if __name__ == "__main__":
    command_line.run(main)

"""Figures 3, 4, 5 and S1 of the RDD paper: a convolutional network with four kinds of feedback.

    python -m examples.rdd.train --dataset cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.rdd.train --dataset mnist --epochs 10 --methods fa rdd
    python -m examples.rdd.train --quick

`backprop` is the stock network; the other methods send errors through feedback weights. The
feedback weights of the second convolution keep their random initial values, and with `fa` so do
those of all layers. `rdd` and `mirror` align the feedback weights of the dense layers before every
epoch, for 30 simulated seconds per layer, by regression discontinuity or from firing rates. A
finished run is not repeated, and an interrupted run is continued after its last epoch.

Two controls are not in the paper. They show how much of the error is due to the second convolution:
`copied` sends errors through the transposed forward weights in the dense layers and through random
weights in the second convolution; `rdd+wm` is `rdd` with a weight mirror in the second convolution.

Paper: Guerguiev, Kording and Richards 2020, "Spike-based causal inference for weight alignment".
Learning rate, momentum and epochs are those of the authors' implementation.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.curves import stacked, with_deviation
from examples.rdd import data as datasets
from examples.rdd import figures
from examples.rdd.network import DENSE, activities, convolutional, feedback_of, spike_rates

METHODS = ("backprop", "fa", "rdd", "mirror")
# Feedback of the layers, and the learning rate of feedback weights that learn in every step.
CONTROLS = {
    "copied": (feedback_of("fa", "sa"), 0.5),
    "rdd+wm": (feedback_of("wm", "fa"), 0.05),
}
SAMPLE = 2000  # largest number of points in a scatter plot of weights or of units
# Values of the paper: number of passes, filters per convolution, units of the hidden dense layers,
# and simulated seconds per layer before each epoch.
PAPER = {"epochs": 100, "filters": 64, "units": (384, 192), "duration": 30.0}
QUICK = {"epochs": 2, "filters": 8, "units": (48, 24), "duration": 10.0}
BATCH, RATE = 32, 0.01


def feedback_kernels(model: keras.Model) -> dict[str, tuple[Any, Any]]:
    """Return the kernels of the dense layers with feedback weights.

    Returns:
        `{name of the layer: (forward kernel, feedback kernel)}`, empty for backpropagation.
    """
    layers = [model.get_layer(name) for name in DENSE]
    return {
        layer.name: (layer.kernel, layer.feedback_weights["feedback_kernel"])
        for layer in layers
        if getattr(layer, "feedback", None) is not None
    }


def measured(model: keras.Model) -> dict[str, float]:
    """Measure sign agreement and alignment cost R_self of each dense layer with feedback weights.

    Returns:
        `{"<layer>/sign_agreement": value, "<layer>/R_self": value}`.
    """
    found = {}
    for name, pair in feedback_kernels(model).items():
        found[f"{name}/sign_agreement"] = float(ta.metrics.sign_agreement(*pair))
        found[f"{name}/R_self"] = float(ta.metrics.alignment_cost(*pair)["R_self"])
    return found


def measure(run: Any) -> dict[str, float]:
    """Measure the dense layers after an epoch.

    A phase has aligned the feedback weights before the epoch, not after it: the weights that are
    measured are those with which the epoch was trained.
    """
    return measured(run.model)


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run."""
    return datasets.load(run.settings["dataset"], run.data_dir)


def phase(run: Any, estimator: str) -> ta.phases.RDD:
    """Return the phase that aligns the dense layers before every epoch.

    Args:
        run: Run of the study.
        estimator: Estimator of the weights, see `ta.phases.RDD`.
    """
    return ta.phases.RDD(duration=run.settings["duration"], estimator=estimator, seed=run.seed)


def start(run: Any) -> None:
    """Measure the dense layers before the first epoch.

    The state of a continued run is read after this call, so that the measures are the same.
    """
    run.settings["start"] = measured(run.model)


def finish(run: Any) -> common.Numbers:
    """Return the points of the scatter plots, and the measures before the first epoch."""
    kernels = feedback_kernels(run.model)
    return {
        "start": run.settings["start"],
        "weights": {name: sampled(*pair) for name, pair in kernels.items()},
        "rates": rates_and_activities(run.model, run.source.test.x[:20]),
    }


def optimizer(run: Any, feedback_rate: float) -> keras.optimizers.Optimizer:
    """Return the optimizer of a control, in which feedback weights that learn have their own rate.

    Args:
        run: Run of the study.
        feedback_rate: Learning rate of the feedback weights that learn in every step.
    """
    forward = keras.optimizers.SGD(RATE, momentum=0.9)
    return ta.optimizers.split(forward, keras.optimizers.SGD(feedback_rate))


def variant(method: str, estimator: str) -> ta.studies.Variant:
    """Return the row of a method in the study.

    Args:
        method: Id in `METHODS` or `CONTROLS`.
        estimator: Estimator of the weights for the methods `rdd` and `rdd+wm`.
    """
    if method == "backprop":
        return ta.studies.Variant(method, None)
    estimators = {"rdd": estimator, "rdd+wm": estimator, "mirror": "mirror"}
    phases = (
        [functools.partial(phase, estimator=estimators[method])] if method in estimators else []
    )
    feedback, rate = CONTROLS.get(method, ("fa", None))
    return ta.studies.Variant(
        method,
        feedback,
        feedback_initializer=None,
        phases=phases,
        optimizer=functools.partial(optimizer, feedback_rate=rate) if rate else None,
    )


def to_page(run: common.Numbers, settings: common.Numbers) -> common.Numbers:
    """Convert a run of a study to the form of the files in docs/results.

    Curves of layers begin with the value before the first epoch.

    Args:
        run: Run as the study has stored it.
        settings: Settings of the study.
    """
    found = run["curves"]
    curves = {
        "train_error": [100 * (1 - a) for a in found["accuracy"]],
        "test_error": [100 * (1 - a) for a in found["val_accuracy"]],
    }
    for name, value in run["finish"]["start"].items():
        curves[name] = [value, *found[name]]
    return {
        "method": run["variant"],
        "seed": run["seed"],
        **settings,
        "seconds": run["seconds"],
        "curves": curves,
        "weights": run["finish"]["weights"],
        "rates": run["finish"]["rates"],
    }


def sampled(*arrays: Any) -> list[list[float]]:
    """Return a random sample of the entries of arrays that have the same shape.

    Returns:
        Rows with one entry per array, at most `SAMPLE` rows.
    """
    stacked = np.stack([np.ravel(a) for a in arrays], 1)
    rows = np.random.default_rng(0).permutation(len(stacked))[:SAMPLE]
    return np.round(stacked[rows], 5).tolist()


def rates_and_activities(model: keras.Model, x: np.ndarray) -> dict[str, Any]:
    """Compare activities of the dense layers with spike rates of leaky integrate-and-fire units.

    Args:
        model: Network of `convolutional`.
        x: Images.

    Returns:
        `{name of the layer: {"correlation": r, "pairs": [[activity, rate in Hz], ...]}}`.
    """
    found = activities(model, x)
    kernels = [model.get_layer(name).kernel for name in DENSE]
    rates = spike_rates(kernels, found[0])
    return {
        name: {
            "correlation": round(correlation(activity, rate), 4),
            "pairs": sampled(activity, rate),
        }
        for name, activity, rate in zip(DENSE, found[1:], rates, strict=True)
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two arrays, 0 if one of them is constant."""
    return float(ta.metrics.correlation(a, b)) if a.std() and b.std() else 0.0


def table(runs: list[dict[str, Any]]) -> str:
    """Return a Markdown table of the last epoch, with a row per method.

    A cell has the mean and the standard deviation over seeds; sign agreement is that of the first
    and second dense layer and the output.
    """
    head = ("method", "n", "train error %", "test error %", "sign agreement %", "R_self")
    rows = []
    for method, own in common.grouped(runs, "method").items():
        errors = last(own, "train_error"), last(own, "test_error")
        signs, costs = "-", "-"
        if f"{DENSE[0]}/R_self" in own[0]["curves"]:
            signs = " / ".join(last(own, f"{layer}/sign_agreement", scale=100) for layer in DENSE)
            costs = " / ".join(last(own, f"{layer}/R_self", 0) for layer in DENSE)
        rows.append((f"`{method}`", str(len(own)), *errors, signs, costs))
    return common.markdown(head, rows)


def last(runs: list[dict[str, Any]], curve: str, digits: int = 1, scale: float = 1.0) -> str:
    """Format the last value of a curve as mean and standard deviation over runs."""
    return with_deviation(scale * stacked(runs, curve)[:, -1], digits)


def main() -> None:
    """Train the network with all methods, print the table, and write numbers and figures."""
    parser = command_line.new_parser(
        __doc__,
        "rdd",
        methods=(*METHODS, *CONTROLS),
        usual=METHODS,
        quick=("fa", "rdd"),
        epochs="100",
        seeds=1,
        jobs=True,
    )
    parser.add_argument("--dataset", choices=datasets.NAMES, default="cifar10")
    parser.number("--filters", "of each convolution (64)")
    parser.number("--duration", "simulated seconds per layer (30)", kind=float)
    parser.add_argument("--estimator", choices=("pooled", "line", "sgd"), default="pooled")
    given = parser.parse_args()
    name = "digits" if given.quick else given.dataset
    settings: common.Numbers = {"dataset": name, "estimator": given.estimator, "batch_size": BATCH}
    settings |= {**(QUICK if given.quick else PAPER), "rate": RATE}
    settings |= {n: v for n in PAPER if (v := getattr(given, n, None)) is not None}
    found = datasets.load(name, given.data_dir)
    size, channels = found.train.x.shape[2:]
    results = common.study(
        given,
        name,
        functools.partial(
            convolutional, size, channels, found.classes, settings["filters"], settings["units"]
        ),
        data,
        [variant(method, given.estimator) for method in given.methods],
        compile={"optimizer": keras.optimizers.SGD(RATE, momentum=0.9)},
        epochs=settings["epochs"],
        batch_size=BATCH,
        settings=settings,
        prepare=[start],
        measure=[measure],
        finish=[finish],
        probe=0,
        on_divergence=None,
    )
    runs = [to_page(run, settings) for run in common.ended(results)]
    print("", table(runs), "", sep="\n")
    common.write_json(given.output / f"{name}.json", {"versions": common.versions(), "runs": runs})
    for file in figures.draw(runs, given.output / name):
        print(f"written: {file}")


if __name__ == "__main__":
    command_line.run(main)

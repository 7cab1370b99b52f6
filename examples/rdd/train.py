"""Figures 3, 4, 5 and S1 of the RDD paper: its convolutional network, with four kinds of feedback.

    python -m examples.rdd.train --dataset cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.rdd.train --dataset mnist --epochs 10 --methods fa rdd
    python -m examples.rdd.train --quick

`backprop` is the stock network; the others send errors through feedback weights. Those of the
second convolution stay as they were drawn, and in `fa` all do. `rdd` and `mirror` align those of
the dense layers before every epoch, for 30 simulated seconds each, by regression discontinuity or
from firing rates. A finished run is not done again; a killed one goes on from its last epoch.

Paper: Guerguiev, Kording and Richards 2020, "Spike-based causal inference for weight alignment".
Rate, momentum and epochs are those of the authors' implementation.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.rdd import data as datasets
from examples.rdd import figures
from examples.rdd.network import DENSE, activities, convolutional, spike_rates

METHODS = ("backprop", "fa", "rdd", "mirror")
SAMPLE = 2000  # weights, and units, in a scatter plot
# As in the paper: passes, filters of each convolution, units of the hidden dense layers, simulated
# seconds a layer before each epoch.
PAPER = {"epochs": 100, "filters": 64, "units": (384, 192), "duration": 30.0}
QUICK = {"epochs": 2, "filters": 8, "units": (48, 24), "duration": 10.0}
BATCH, RATE = 32, 0.01


def feedback_kernels(model: keras.Model) -> dict[str, tuple[Any, Any]]:
    """`{dense layer: (forward kernel, feedback kernel)}`, empty for backpropagation."""
    layers = [model.get_layer(name) for name in DENSE]
    return {
        layer.name: (layer.kernel, layer.feedback_weights["feedback_kernel"])
        for layer in layers
        if getattr(layer, "feedback", None) is not None
    }


def measured(model: keras.Model) -> dict[str, float]:
    """Sign agreement and R_self of each dense layer."""
    found = {}
    for name, pair in feedback_kernels(model).items():
        found[f"{name}/sign_agreement"] = float(ta.metrics.sign_agreement(*pair))
        found[f"{name}/R_self"] = float(ta.metrics.alignment_cost(*pair)["R_self"])
    return found


def measure(run: Any) -> dict[str, float]:
    """What the dense layers measure after an epoch.

    Where a phase changes the feedback weights, they are those that the epoch was trained with.
    """
    return measured(run.model)


def data(run: Any) -> ta.data.Arrays:
    """The dataset of a run."""
    return datasets.load(run.settings["dataset"], run.data_dir)


def phase(run: Any, estimator: str) -> ta.phases.RDD:
    """What aligns the dense layers before every epoch."""
    return ta.phases.RDD(duration=run.settings["duration"], estimator=estimator, seed=run.seed)


def start(run: Any) -> None:
    """Measure before the first epoch; the state of a run that goes on is read after this."""
    run.settings["start"] = measured(run.model)


def finish(run: Any) -> common.Numbers:
    """What scatter plots show, and the measures before the first epoch."""
    kernels = feedback_kernels(run.model)
    return {
        "start": run.settings["start"],
        "weights": {name: sampled(*pair) for name, pair in kernels.items()},
        "rates": rates_and_activities(run.model, run.source.test.x[:20]),
    }


def variant(method: str, estimator: str) -> ta.studies.Variant:
    """A row of the study."""
    estimators = {"rdd": estimator, "mirror": "mirror"}
    aligned = method in estimators
    return ta.studies.Variant(
        method,
        None if method == "backprop" else "fa",
        feedback_initializer=None,
        phases=[functools.partial(phase, estimator=estimators[method])] if aligned else [],
    )


def to_page(run: common.Numbers, settings: common.Numbers) -> common.Numbers:
    """A run as the files of docs/results have it; curves of layers begin before the first epoch."""
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
    """Some entries of arrays of one shape, side by side."""
    stacked = np.stack([np.ravel(a) for a in arrays], 1)
    rows = np.random.default_rng(0).permutation(len(stacked))[:SAMPLE]
    return np.round(stacked[rows], 5).tolist()


def rates_and_activities(model: keras.Model, x: np.ndarray) -> dict[str, Any]:
    """Spike rates of a LIF network against activities of this one, layer by layer."""
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
    """Pearson's; 0 where an array is constant."""
    return float(ta.metrics.correlation(a, b)) if a.std() and b.std() else 0.0


def table(runs: list[dict[str, Any]]) -> str:
    """The last epoch of every run, as Markdown."""
    head = ("method", "seed", "train error %", "test error %", "sign agreement %", "R_self")
    rows = []
    for found in runs:
        last = {name: values[-1] for name, values in found["curves"].items()}
        aligned = [d for d in DENSE if f"{d}/R_self" in last]
        signs = " / ".join(f"{100 * last[f'{d}/sign_agreement']:.1f}" for d in aligned)
        costs = " / ".join(f"{last[f'{d}/R_self']:.1f}" for d in aligned)
        errors = f"{last['train_error']:.2f}", f"{last['test_error']:.2f}"
        rows.append((found["method"], str(found["seed"]), *errors, signs or "-", costs or "-"))
    return common.markdown(head, rows)


def main() -> None:
    """Train, print and draw."""
    parser = command_line.new_parser(
        __doc__, "rdd", methods=METHODS, quick=("fa", "rdd"), epochs="100", seeds=1, jobs=True
    )
    parser.add_argument("--dataset", choices=datasets.NAMES, default="cifar10")
    parser.number("--filters", "of each convolution (64)")
    parser.number("--duration", "simulated seconds a layer (30)", kind=float)
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

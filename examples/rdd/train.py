"""Figures 3, 4, 5 and S1 of the RDD paper: its convolutional network, with four kinds of feedback.

    python -m examples.rdd.train --dataset cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.rdd.train --dataset mnist --epochs 10 --methods fa rdd
    python -m examples.rdd.train --quick

`bp` is backpropagation; the others send errors through feedback weights. Those of the second
convolution stay as they were drawn, and in `fa` all do. `rdd` and `mirror` align those of the dense
layers before every epoch, for 30 simulated seconds each, by regression discontinuity or from firing
rates. A finished run is a JSON file and is not done again; a killed one goes on from its last
epoch.

Paper: Guerguiev, Kording and Richards 2020, "Spike-based causal inference for weight alignment".
Rate, momentum and epochs are those of the authors' implementation.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.rdd import data as datasets
from examples.rdd import figures
from examples.rdd.network import DENSE, activities, convolutional, spike_rates

METHODS = ("bp", "fa", "rdd", "mirror")
PHASES = {"rdd": "pooled", "mirror": "mirror"}
SAMPLE = 2000  # weights, and units, in a scatter plot


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is trained; by default as in the paper.

    Attributes:
        dataset: Name of the dataset.
        epochs: Passes over the training split.
        filters: Of each convolution.
        units: Of the hidden dense layers.
        duration: Simulated seconds a layer before each epoch.
        estimator: Of `rdd`.
        batch_size: Examples a step.
        rate: Learning rate of SGD with momentum 0.9.
    """

    dataset: str = "cifar10"
    epochs: int = 100
    filters: int = 64
    units: tuple[int, int] = (384, 192)
    duration: float = 30.0
    estimator: str = "pooled"
    batch_size: int = 32
    rate: float = 0.01


class Measures(common.Progress):
    """Measures the dense layers after every epoch, and prints a line.

    Where a phase changes the feedback weights, they are those that the epoch was trained with.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add to what `History` and `Resume` keep."""
        logs.update(measured(self.model))
        super().on_epoch_end(epoch, logs)

    def measures(self, logs: common.Numbers) -> str:
        """Test error, and how many signs agree."""
        text = f"test error {100 * (1 - logs['val_accuracy']):5.2f} %"
        signs = [f"{100 * logs[f'{d}/sign_agreement']:.0f}" for d in DENSE if f"{d}/R_self" in logs]
        return f"{text}  signs {'/'.join(signs)} %" if signs else text


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


def run(
    method: str, seed: int, settings: Settings, data: ta.data.Arrays, output: Path
) -> dict[str, Any]:
    """Train one method from one seed, or read what came of it before.

    Args:
        method: One of `METHODS`.
        seed: Of the weights, the crops, the drive, and the order of the examples.
        settings: How to train.
        data: What to train and test on.
        output: Directory of the files.

    Returns:
        Settings, curves, and samples for the scatter plots, as in the JSON file.

    Raises:
        ValueError: If the output directory holds that run with other settings.
    """
    stem = f"{settings.dataset}-{method}-{seed}"
    file = output / "runs" / f"{stem}.json"
    given = {"method": method, "seed": seed, **dataclasses.asdict(settings)}
    done = common.finished(file, given)
    if done is not None:
        print(f"{stem} was finished before: {file}", flush=True)
        return done
    print(stem, flush=True)
    began = time.perf_counter()
    keras.utils.clear_session()
    model = build(method, seed, settings, data)
    curves = train(model, method, seed, settings, data, output / "unfinished" / stem)
    result = {
        **given,
        "seconds": round(time.perf_counter() - began, 1),
        "curves": curves,
        "weights": {name: sampled(*pair) for name, pair in feedback_kernels(model).items()},
        "rates": rates_and_activities(model, data.test.x[:20]),
    }
    common.write_json(file, result)
    return result


def build(method: str, seed: int, settings: Settings, data: ta.data.Arrays) -> keras.Model:
    """The compiled network of a seed: forward weights are the same for all methods."""
    keras.utils.set_random_seed(seed)
    size, channels = data.train.x.shape[2:]
    model = convolutional(size, channels, data.classes, settings.filters, settings.units)
    if method != "bp":
        model = ta.convert(model, "fa", feedback_initializer=None)
    model.compile(
        keras.optimizers.SGD(settings.rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(
    model: keras.Model,
    method: str,
    seed: int,
    settings: Settings,
    data: ta.data.Arrays,
    backup: Path,
) -> dict[str, list[float]]:
    """Train; return curves over the epochs, those of the dense layers from before the first."""
    batches = ta.data.EpochShuffled(*data.train, settings.batch_size, seed, drop_remainder=True)
    test = tf.data.Dataset.from_tensor_slices(tuple(data.test)).batch(500)
    phases = []
    if method in PHASES:
        estimator = settings.estimator if method == "rdd" else PHASES[method]
        phases.append(ta.phases.RDD(duration=settings.duration, estimator=estimator, seed=seed))
    history = model.fit(
        batches.dataset,
        epochs=settings.epochs,
        shuffle=False,
        validation_data=test,
        verbose=0,
        callbacks=[
            *(ta.callbacks.FeedbackCallback(phase) for phase in phases),
            Measures(),
            ta.callbacks.Resume(backup, data=batches, phases=phases),
        ],
    ).history
    curves = {
        "train_error": [100 * (1 - a) for a in history["accuracy"]],
        "test_error": [100 * (1 - a) for a in history["val_accuracy"]],
    }
    # a run that was resumed began with the first weights too, of the same seed
    keras.utils.set_random_seed(seed)
    start = measured(build(method, seed, settings, data))
    curves |= {name: [value, *history[name]] for name, value in start.items()}
    return {name: [round(float(v), 5) for v in values] for name, values in curves.items()}


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


def parse() -> argparse.Namespace:
    """The command line."""
    parser = common.new_parser(__doc__, "rdd")
    parser.add_argument("--dataset", choices=datasets.NAMES, default="cifar10")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="ID")
    parser.add_argument("--epochs", type=common.positive, help="default: 100")
    parser.add_argument(
        "--seeds", type=common.positive, default=1, help="runs a method (default: 1)"
    )
    parser.add_argument("--filters", type=common.positive, help="of each convolution (default: 64)")
    parser.add_argument("--duration", type=float, help="simulated seconds a layer (default: 30)")
    parser.add_argument("--estimator", choices=("pooled", "line", "sgd"), default="pooled")
    common.add_data_dir(parser)
    return parser.parse_args()


def main() -> None:
    """Train, print and draw."""
    arguments = parse()
    settings = Settings(dataset=arguments.dataset, estimator=arguments.estimator)
    if arguments.quick:
        settings = Settings("digits", 3, 8, (48, 24), 10.0, arguments.estimator)
    given = {
        name: getattr(arguments, name)
        for name in ("epochs", "filters", "duration")
        if getattr(arguments, name) is not None
    }
    settings = dataclasses.replace(settings, **given)
    data = datasets.load(settings.dataset, arguments.data_dir)
    runs = [
        run(method, seed, settings, data, arguments.output)
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    print("", table(runs), "", sep="\n")
    stem = arguments.output / settings.dataset
    content = {"versions": common.versions(), "runs": runs}
    common.write_json(stem.with_suffix(".json"), content)
    for file in figures.draw(runs, stem):
        print(f"written: {file}")


if __name__ == "__main__":
    command_line.run(main)

"""Train one small convolutional network with every feedback method, side by side.

    python -m examples.quickstart
    python -m examples.quickstart --methods backprop fa sa --epochs 20 --seeds 5
    python -m examples.quickstart --dataset mnist --data-dir ~/tensorflow_datasets

For every seed the network is built in stock Keras and converted for each method, so that all
methods start from the same forward weights and see the same batches. Printed is a table; a figure
of accuracy and angles over the epochs and all numbers as JSON are written to the output directory.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import statistics
import time
import warnings
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common, networks
from examples.curves import with_deviation


class Settings(NamedTuple):
    """What differs between the datasets."""

    epochs: int
    batch_size: int
    weight_decay: float


SETTINGS = {"digits": Settings(12, 32, 0.1), "mnist": Settings(4, 128, 0.03)}
LABELS = {
    "accuracy": "test accuracy",
    "angle": "weight angle (degrees)",
    "gradient_angle": "gradient angle (degrees)",
}
load = functools.cache(ta.data.load)


class Result(NamedTuple):
    """What one method did: curves `(seeds, epochs)`, step time over stock Keras', warnings."""

    curves: dict[str, np.ndarray]
    step_time: float
    warnings: list[str]


def network(data: ta.data.Arrays, seed: int) -> keras.Model:
    """The network of a seed, in stock Keras."""
    keras.utils.set_random_seed(seed)
    return networks.convolutional(data.train.x.shape[1:], data.classes)


def compile_for(model: keras.Model, steps: int, weight_decay: float) -> None:
    """Compile for so many steps, with the same optimizer for all methods.

    Random feedback needs a soft start, hence warm-up and clipping. Kolen-Pollack and product
    feedback align because forward and feedback weights decay, at rate times weight decay a step.
    """
    warmup = steps // 6
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, steps - warmup), warmup_target=0.1, warmup_steps=warmup
    )
    sgd = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=weight_decay, global_clipnorm=1.0)
    model.compile(
        ta.optimizers.split(sgd),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=4,  # on a network this small, half of a step is overhead of the loop
    )


def batches(data: ta.data.Arrays, seed: int) -> ta.data.EpochShuffled:
    """The training data in an order of the seed's own."""
    size = SETTINGS[data.name].batch_size
    return ta.data.EpochShuffled(*data.train, size, seed=seed, drop_remainder=True)


class Run:
    """One method on one dataset: compiled once, started anew for each seed."""

    def __init__(self, method: str, data: ta.data.Arrays, epochs: int) -> None:
        self.method, self.data, self.epochs = method, data, epochs
        self.model = ta.convert(network(data, seed=0), method)
        steps = epochs * len(batches(data, seed=0))
        compile_for(self.model, steps, SETTINGS[data.name].weight_decay)
        self.model.optimizer.build(self.model.trainable_variables)
        self.optimizer_state = [v.numpy() for v in self.model.optimizer.variables]
        probe = (data.test.x[:128], data.test.y[:128])
        self.monitor = ta.callbacks.AlignmentMonitor(probe_data=probe, on_divergence="warn")

    def restart(self, seed: int) -> None:
        """Give model and optimizer the state of new ones."""
        new = ta.convert(network(self.data, seed), self.method)
        for variable, value in zip(self.model.variables, new.variables, strict=True):
            variable.assign(value)
        state = self.model.optimizer.variables
        for variable, value in zip(state, self.optimizer_state, strict=True):
            variable.assign(value)

    def train(self, seed: int) -> dict[str, list[float]]:
        """Train from the seed's start; return curves over the epochs."""
        self.restart(seed)
        train = batches(self.data, seed)
        history = self.model.fit(
            train.dataset,
            epochs=self.epochs,
            shuffle=False,
            validation_data=self.data.test,
            validation_batch_size=1000,
            callbacks=[train.callback, self.monitor],
            verbose=0,
        ).history
        missing = [math.nan] * self.epochs
        return {
            "accuracy": history["val_accuracy"],
            "angle": history.get("mean/weight_angle") or history.get("mean/path_angle") or missing,
            "gradient_angle": history["mean/gradient_angle"],
        }


def train_method(
    method: str, dataset: str, data_dir: str | None, epochs: int, seeds: int
) -> Result:
    """Train with one method from every seed. Runs in a process of its own."""
    data = load(dataset, data_dir)
    run = Run(method, data, epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        runs = [run.train(seed) for seed in range(seeds)]
    curves = {name: np.array([r[name] for r in runs]) for name in LABELS}
    texts = list(dict.fromkeys(str(warning.message) for warning in caught))
    return Result(curves, step_time(run.model, dataset, data_dir), texts)


@functools.cache
def stock_network(dataset: str, data_dir: str | None) -> keras.Model:
    """The network without the library, whose step the others are held against."""
    data = load(dataset, data_dir)
    model = network(data, seed=0)
    compile_for(model, 1000, SETTINGS[dataset].weight_decay)
    model.fit(batches(data, seed=0).dataset.take(1), shuffle=False, verbose=0)
    return model


def step_time(model: keras.Model, dataset: str, data_dir: str | None) -> float:
    """Time of a training step over stock Keras', in turns, so that other load falls on both."""
    stock = stock_network(dataset, data_dir)
    stream = batches(load(dataset, data_dir), seed=0).dataset.repeat()
    ratios = []
    for _ in range(7):
        times = []
        for trained in (model, stock):
            batch = iter(stream)
            start = time.perf_counter()
            for _ in range(5):
                logs = trained.train_function(batch)
            float(logs["loss"])  # waits for the last step
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def table(results: dict[str, Result]) -> str:
    """The last epoch of every method, mean and standard deviation over the seeds."""

    def cell(values: np.ndarray, scale: float = 1.0) -> str:
        last = scale * values[:, -1]
        return with_deviation(last[np.isfinite(last)], 1)

    heads = ("test accuracy %", "weight angle °", "gradient angle °", "step time")
    lines = [f"{'method':<10}" + "".join(f"{head:>18}" for head in heads)]
    for method, (curves, ratio, _) in results.items():
        cells = (
            cell(curves["accuracy"], 100),
            cell(curves["angle"]),
            cell(curves["gradient_angle"]),
            f"{ratio:.2f}",
        )
        lines.append(f"{method:<10}" + "".join(f"{text:>18}" for text in cells))
    return "\n".join(lines)


EXPLANATION = """\
weight angle    between forward weights and what carries the error back (for pfa and pfa_o the
                product of two weights), mean over layers; - where no such weights exist
gradient angle  between the update of the forward weights and backpropagation's, mean over layers
step time       of a training step, over that of stock Keras"""


def parse() -> argparse.Namespace:
    """The command line."""
    methods = list(ta.feedback.METHODS)
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=methods,
        default=methods,
        metavar="ID",
        help=f"methods to train, out of {', '.join(methods)} (default: all)",
    )
    parser.add_argument("--dataset", choices=sorted(SETTINGS), default="digits")
    common.add_data_dir(parser)
    parser.add_argument("--epochs", type=int, help="default: 12 on digits, 4 on mnist")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every method (default: 3)")
    parser.add_argument("--jobs", type=int, default=cores, help="processes (default: one a core)")
    parser.add_argument(
        "--output", type=Path, default=Path("results/quickstart"), help="directory to write to"
    )
    arguments = parser.parse_args()
    if arguments.epochs is None:
        arguments.epochs = SETTINGS[arguments.dataset].epochs
    for name in ("epochs", "seeds", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1. Received: {getattr(arguments, name)}")
    arguments.methods = list(dict.fromkeys(arguments.methods))
    return arguments


def work_alone() -> None:
    """Set up a process: one thread, since the processes share the cores."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train_all(arguments: argparse.Namespace) -> dict[str, Result]:
    """Train every method, some at a time, and say how far it is."""
    start = time.perf_counter()
    results: dict[str, Result] = {}
    settings = (arguments.dataset, arguments.data_dir, arguments.epochs, arguments.seeds)
    jobs = min(arguments.jobs, len(arguments.methods))
    with futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=work_alone
    ) as pool:
        pending = {pool.submit(train_method, m, *settings): m for m in arguments.methods}
        for future in futures.as_completed(pending):
            method = pending[future]
            results[method] = future.result()
            accuracy = 100 * np.mean(results[method].curves["accuracy"][:, -1])
            print(
                f"[{len(results):>2}/{len(pending)}] {method:<9} test accuracy {accuracy:5.1f} %"
                f"   {time.perf_counter() - start:4.0f} s",
                flush=True,
            )
    return {method: results[method] for method in arguments.methods}


def write(arguments: argparse.Namespace, results: dict[str, Result]) -> tuple[Path, Path]:
    """Write figure and numbers; return where."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure = arguments.output / f"{arguments.dataset}.png"
    numbers = arguments.output / f"{arguments.dataset}.json"
    ta.plots.learning_curves({m: r.curves for m, r in results.items()}, figure, LABELS)

    def plain(values: np.ndarray) -> list[list[float | None]]:
        return [[float(v) if np.isfinite(v) else None for v in row] for row in values]

    report = {
        "versions": common.versions(),
        "dataset": arguments.dataset,
        "epochs": arguments.epochs,
        "seeds": arguments.seeds,
        "methods": {
            method: {
                **{name: plain(values) for name, values in result.curves.items()},
                "step_time": result.step_time,
            }
            for method, result in results.items()
        },
    }
    common.write_json(numbers, report)
    return figure, numbers


def main() -> None:
    """Train, print and write."""
    arguments = parse()
    start = time.perf_counter()
    data = load(arguments.dataset, arguments.data_dir)
    print(
        f"{arguments.dataset}: {len(data.train.y)} images to train on, {len(data.test.y)} to test "
        f"on; {len(arguments.methods)} methods, each from {arguments.seeds} seeds for "
        f"{arguments.epochs} epochs",
        flush=True,
    )
    results = train_all(arguments)
    print("", table(results), "", EXPLANATION, sep="\n")
    for method, result in results.items():
        for text in result.warnings:
            print(f"\nwarning, {method}: {text}")
    figure, numbers = write(arguments, results)
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Figure: {figure}  Numbers: {numbers}")


if __name__ == "__main__":
    command_line.run(main)

"""Can alignment learn from a layer's own activity, without injected noise and without tuning?

    python -m examples.own_activity.train digits --output docs/results/own_activity/digits.json
    python -m examples.own_activity.train mnist --data-dir DIRECTORY --output mnist.json
    python -m examples.own_activity.train resnet20 --data-dir DIRECTORY --output resnet20.json

Networks: two hidden layers of 256 on handwritten digits (rate .01) and MNIST (.05); ResNet-8, 14
and 20 with 8 filters in the first stage on CIFAR-10 (.05, the first 12,800 images, fused batch
normalisation). All with SGD and momentum .9; feedback weights that learn
by alignment under SGD(.5). Every variant of a seed starts from the same weights and sees the same
batches. Runs go seed by seed into one JSON file; those that are in it are not made again.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import NamedTuple

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common

_OWN = {"noise": None, "normalize": "covariance"}
VARIANTS = {
    "backprop": "backprop",
    "aa, covariance": ta.feedback.ActivationAlignment(**_OWN),
    # as published: an adaptive optimizer for B, Adam(.01) in place of SGD(.5)
    "aa, Adam": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, SGD": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, noise": "aa",
    "wm, covariance": ta.feedback.WeightMirror(**_OWN),
    "wm, noise": "wm",
    "sa": "sa",
}


class Settings(NamedTuple):
    """What differs between the datasets."""

    rate: float
    epochs: int
    batch_size: int
    examples: int


SETTINGS = {
    "digits": Settings(0.01, 10, 32, 1437),
    "mnist": Settings(0.05, 3, 64, 60000),
    "resnet8": Settings(0.05, 5, 128, 12800),
    "resnet14": Settings(0.05, 5, 128, 12800),
    "resnet20": Settings(0.05, 5, 128, 12800),
}


def network(name: str, seed: int) -> keras.Model:
    """The network of a dataset and seed, in stock Keras."""
    keras.utils.set_random_seed(seed)
    if name.startswith("resnet"):
        return ta.models.resnet(int(name[6:]), width=8, batch_normalization="fused")
    return ta.models.perceptron((64 if name == "digits" else 784, 256, 256, 10))


def load(name: str, data_dir: str | None) -> ta.data.Arrays:
    """The data, centred; flat for the perceptrons."""
    images = name.startswith("resnet")
    data = ta.data.load("cifar10" if images else name, data_dir)
    mean, deviation = data.train.x.mean(), data.train.x.std()
    data = data.map(lambda x: (x - mean) / deviation)
    return data if images else data.map(lambda x: x.reshape(len(x), -1))


def run(name: str, variant: str, seed: int, data: ta.data.Arrays, epochs: int) -> dict:
    """Train one variant from one seed's start."""
    settings = SETTINGS[name]
    model = ta.convert(network(name, seed), VARIANTS[variant])
    sgd = keras.optimizers.SGD(settings.rate, momentum=0.9)
    model.compile(
        ta.optimizers.split(sgd, keras.optimizers.Adam(0.01) if "Adam" in variant else None),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=4,
    )
    x, y = (a[: settings.examples] for a in data.train)
    train = ta.data.EpochShuffled(x, y, settings.batch_size, seed=seed, drop_remainder=True)
    probe = (data.test.x[:256], data.test.y[:256])
    monitor = ta.callbacks.AlignmentMonitor(probe_data=probe, on_divergence="warn")
    start = time.process_time()
    history = model.fit(
        train.dataset, epochs=epochs, callbacks=[train.callback, monitor], verbose=0, shuffle=False
    ).history
    seconds = time.process_time() - start
    _, accuracy = model.evaluate(data.test.x, data.test.y, batch_size=500, verbose=0)
    measured = {
        "accuracy": accuracy,
        "loss": history["loss"][-1],
        "weight_angle": history["mean/weight_angle"][-1],
        "gradient_angle": history["mean/gradient_angle"][-1],
        "processor_seconds": seconds,
    }
    known = {k: float(v) if math.isfinite(v) else None for k, v in measured.items()}
    return {"data": name, "variant": variant, "seed": seed, "epochs": epochs, **known}


def table(runs: list[dict]) -> str:
    """Means and standard deviations over the seeds."""
    lines = [f"{'':16} {'n':>2} {'test accuracy':>16} {'gradient angle':>15} {'weight angle':>13}"]
    for variant in VARIANTS:
        own = [r for r in runs if r["variant"] == variant]
        if not own:
            continue
        values = [100 * r["accuracy"] for r in own]
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        angles = [
            np.mean([math.nan if r[k] is None else r[k] for r in own])
            for k in ("gradient_angle", "weight_angle")
        ]
        lines.append(
            f"{variant:16} {len(own):2} {np.mean(values):9.1f} ± {spread:4.1f} "
            f"{angles[0]:14.1f}° {angles[1]:12.1f}°"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = command_line.new_parser(__doc__, "own_activity", epochs="of the dataset", seeds=3)
    parser.add_argument("data", nargs="?", choices=list(SETTINGS), default="digits")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    given = parser.parse_args()
    if given.quick:
        given.data, given.seeds, given.epochs = "digits", 1, 1
    if given.output.suffix != ".json":
        given.output /= f"{given.data}.json"
    data = load(given.data, given.data_dir)
    epochs = given.epochs or SETTINGS[given.data].epochs
    runs = common.read_json(given.output) or []
    known = {(r["variant"], r["seed"], r["epochs"]) for r in runs}
    for seed in range(given.seeds):
        for variant in given.variants:
            if (variant, seed, epochs) in known:
                continue
            runs.append(run(given.data, variant, seed, data, epochs))
            common.write_json(given.output, runs)
            print(f"{variant}, seed {seed}: {100 * runs[-1]['accuracy']:.1f} %", flush=True)
            keras.backend.clear_session()
    print(table(runs))


if __name__ == "__main__":
    command_line.run(main)

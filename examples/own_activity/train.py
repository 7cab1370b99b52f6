"""Can alignment learn from a layer's own activity, without injected noise and without tuning?

    python -m examples.own_activity.train digits --output docs/results/own_activity/digits.json
    python -m examples.own_activity.train mnist --data-dir DIRECTORY --output mnist.json
    python -m examples.own_activity.train resnet20 --data-dir DIRECTORY --output resnet20.json

Networks: two hidden layers of 256 on handwritten digits (rate 0.01) and MNIST (0.05); ResNet-8, 14
and 20 with 8 filters in the first stage on CIFAR-10 (0.05, the first 12,800 images, fused batch
normalisation). All with SGD and momentum 0.9; feedback weights that learn by alignment under
SGD(0.5). Every variant of a seed starts from the same weights and sees the same batches. Runs that
are in the JSON file are not made again.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

import tf_alignment as ta
from examples import command_line, common

_OWN = {"noise": None, "normalize": "covariance"}
VARIANTS = {
    "backprop": "backprop",
    "aa, covariance": ta.feedback.ActivationAlignment(**_OWN),
    # as published: an adaptive optimizer for B, Adam(0.01) in place of SGD(0.5)
    "aa, Adam": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, SGD": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, noise": ta.feedback.ActivationAlignment(noise="rademacher"),
    "wm, covariance": ta.feedback.WeightMirror(**_OWN),
    "wm, noise": "wm",
    "sa": "sa",
}


class Settings(NamedTuple):
    """What differs between the networks."""

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
MEASURES = {
    "accuracy": "val_accuracy",
    "loss": "loss",
    "weight_angle": "mean/weight_angle",
    "gradient_angle": "mean/gradient_angle",
}
"""Numbers of a run in the file, and their names in `History`."""


def network(name: str) -> keras.Model:
    """The stock network of a name in `SETTINGS`."""
    if name.startswith("resnet"):
        return ta.models.resnet(int(name[6:]), width=8, batch_normalization="fused")
    return ta.models.perceptron((64 if name == "digits" else 784, 256, 256, 10))


def load(name: str, data_dir: str | None) -> ta.data.Arrays:
    """The network's data, centred; flat for the perceptrons."""
    images = name.startswith("resnet")
    data = common.centred(ta.data.load("cifar10" if images else name, data_dir), flat=not images)
    return common.shortened(data, SETTINGS[name].examples)


def data(run: Any) -> ta.data.Arrays:
    """The data of a run."""
    return load(run.settings["network"], run.data_dir)


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """SGD for W, and Adam for B where the variant's name says so."""
    adam = keras.optimizers.Adam(0.01) if "Adam" in run.variant else None
    return ta.optimizers.split(keras.optimizers.SGD(run.settings["rate"], momentum=0.9), adam)


def table(runs: list[common.Numbers]) -> str:
    """Means and standard deviations over the seeds, as Markdown."""
    rows = []
    for variant, own in common.grouped(runs, "variant").items():
        found = {name: common.mean_of([run[name] for run in own]) for name in MEASURES}
        angles = found["gradient_angle"].text(1), found["weight_angle"].text(1)
        rows.append((variant, str(len(own)), found["accuracy"].text(1, scale=100), *angles))
    head = ("variant", "n", "test accuracy %", "gradient angle °", "weight angle °")
    return common.markdown(head, rows)


def train(
    given: argparse.Namespace, variants: Iterable[str], epochs: int, seeds: Iterable[int]
) -> list[common.Numbers]:
    """Train variants from the seeds."""
    settings = SETTINGS[given.data]
    results = common.study(
        given,
        given.data,
        functools.partial(network, given.data),
        data,
        [ta.studies.Variant(name, VARIANTS[name]) for name in variants],
        compile={"optimizer": optimizer, "steps_per_execution": 4},
        seeds=sorted(seeds),
        epochs=epochs,
        batch_size=settings.batch_size,
        settings={"network": given.data, "rate": settings.rate},
        probe=256,
        on_divergence="warn",
    )
    return [
        {
            "data": given.data,
            "variant": run["variant"],
            "seed": run["seed"],
            "epochs": epochs,
            **{name: (run["curves"].get(of) or [None])[-1] for name, of in MEASURES.items()},
            "seconds": run["seconds"],
        }
        for run in common.ended(results)
    ]


def main() -> None:
    """Run what is missing and print the table."""
    parser = command_line.new_parser(
        __doc__, "own_activity", epochs="of the network", seeds=3, jobs=True
    )
    parser.add_argument("data", nargs="?", choices=list(SETTINGS), default="digits")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS))
    given = parser.parse_args()
    names = given.variants or (["backprop", "aa, covariance"] if given.quick else list(VARIANTS))
    if given.quick:
        given.data, given.epochs = "digits", given.epochs or 1
    file = given.output
    if file.suffix != ".json":
        file /= f"{given.data}.json"
    given.output = file.parent
    epochs = given.epochs or SETTINGS[given.data].epochs
    load(given.data, given.data_dir)  # what is missing is said here
    runs = common.completed(
        file,
        ("variant", "seed", "epochs"),
        [(name, seed, epochs) for name in names for seed in range(given.seeds)],
        lambda missing: train(
            given,
            dict.fromkeys(name for name, *_ in missing),
            epochs,
            {seed for _, seed, _ in missing},
        ),
    )
    print(table([run for run in runs if run["epochs"] == epochs]))


if __name__ == "__main__":
    command_line.run(main)

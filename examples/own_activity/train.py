"""Can alignment learn from a layer's own activity, without injected noise and without tuning?

    python -m examples.own_activity.train digits --output docs/results/own_activity/digits.json
    python -m examples.own_activity.train mnist --data-dir DIRECTORY --output mnist.json
    python -m examples.own_activity.train resnet20 --data-dir DIRECTORY --output resnet20.json

The networks are perceptrons with two hidden layers of 256 units on handwritten digits (learning
rate 0.01) and MNIST (0.05), and ResNet-8, 14 and 20 with 8 filters in the first stage and fused
batch normalisation on the first 12,800 images of CIFAR-10 (0.05). Forward weights learn by SGD with
momentum 0.9, and feedback weights that learn by alignment by SGD with rate 0.5. With the same seed,
all variants start from the same weights and see the same batches. Runs that are in the JSON file
are not repeated.
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
    # `optimizer` gives B Adam(0.01) here in place of SGD(0.5): it is adaptive, as in the paper
    "aa, Adam": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, SGD": ta.feedback.ActivationAlignment(noise=None, normalize=None),
    "aa, noise": ta.feedback.ActivationAlignment(noise="rademacher"),
    "wm, covariance": ta.feedback.WeightMirror(**_OWN),
    "wm, noise": "wm",
    "sa": "sa",
}


class Settings(NamedTuple):
    """Settings of training that differ between the networks.

    Attributes:
        rate: Learning rate of the forward weights.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        examples: Number of training examples.
    """

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
"""Measures of a run under their names in the file, with their names in the run's curves."""


def network(name: str) -> keras.Model:
    """Return the stock network with a name in `SETTINGS`."""
    if name.startswith("resnet"):
        return ta.models.resnet(int(name[6:]), width=8, batch_normalization="fused")
    return ta.models.perceptron((64 if name == "digits" else 784, 256, 256, 10))


def load(name: str, data_dir: str | None) -> ta.data.Arrays:
    """Return the dataset of a network, with centred inputs, which are vectors for perceptrons."""
    images = name.startswith("resnet")
    data = common.centred(ta.data.load("cifar10" if images else name, data_dir), flat=not images)
    return common.shortened(data, SETTINGS[name].examples)


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run."""
    return load(run.settings["network"], run.data_dir)


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """Return the optimizers of a run: SGD for W, and for B Adam if the variant is named so."""
    adam = keras.optimizers.Adam(0.01) if "Adam" in run.variant else None
    return ta.optimizers.split(keras.optimizers.SGD(run.settings["rate"], momentum=0.9), adam)


def table(runs: list[common.Numbers]) -> str:
    """Return a Markdown table with a row per variant: means and deviations over the seeds."""
    rows = []
    for variant, own in common.grouped(runs, "variant").items():
        found = {name: common.mean_of([run[name] for run in own]) for name in MEASURES}
        angles = found["gradient_angle"].text(1), found["weight_angle"].text(1)
        rows.append((variant, str(len(own)), found["accuracy"].text(1, scale=100), *angles))
    head = ("variant", "n", "test accuracy %", "gradient angle °", "weight angle °")
    return common.markdown(head, rows)


def study(
    given: argparse.Namespace,
    folder: str,
    name: str,
    variants: list[ta.studies.Variant],
    **options: Any,
) -> ta.studies.Results:
    """Train a network by its settings with all variants.

    Args:
        given: Parsed command line.
        folder: Folder of the study in the output directory.
        name: Name of the network in `SETTINGS`.
        variants: Rows of the study.
        **options: Further arguments of `common.study`.
    """
    settings = SETTINGS[name]
    return common.study(
        given,
        folder,
        functools.partial(network, name),
        data,
        variants,
        compile={"optimizer": optimizer, "steps_per_execution": 4},
        batch_size=settings.batch_size,
        settings={"network": name, "rate": settings.rate},
        **options,
    )


def train(
    given: argparse.Namespace, variants: Iterable[str], epochs: int, seeds: Iterable[int]
) -> list[common.Numbers]:
    """Train with all variants and seeds that are given.

    Args:
        given: Parsed command line.
        variants: Names of the variants in `VARIANTS`.
        epochs: Number of passes over the training data.
        seeds: Seeds of the runs.

    Returns:
        One dict per run, with its settings and its `MEASURES` after the last epoch.
    """
    results = study(
        given,
        given.data,
        given.data,
        [ta.studies.Variant(name, VARIANTS[name]) for name in variants],
        seeds=sorted(seeds),
        epochs=epochs,
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
    """Make the runs that are missing, and print the table."""
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
    load(given.data, given.data_dir)  # missing data fail here, before the study starts
    runs = common.completed(
        file,
        {"data": given.data, "epochs": epochs},
        ("variant", "seed"),
        [(name, seed) for name in names for seed in range(given.seeds)],
        lambda missing: train(
            given,
            dict.fromkeys(name for name, _ in missing),
            epochs,
            {seed for _, seed in missing},
        ),
    )
    print(table(runs))


if __name__ == "__main__":
    command_line.run(main)

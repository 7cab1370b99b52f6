"""Figure 4 of the paper: ResNet-20 on CIFAR-10.

    python -m examples.product_feedback.cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.cifar10 --width 4 --epochs 10 --seeds 1
    python -m examples.product_feedback.cifar10 --quick

The paper trains on 45,000 images; of the other 5,000 nothing is made here, since nothing is chosen
by them. Curves are of the test split.
"""

from __future__ import annotations

import dataclasses
import functools

import tf_alignment as ta
from examples import command_line, networks
from examples.product_feedback import study

RECIPE = study.Recipe(200, 128, 0.1, (100, 150), 0.1, first_decay=0.005, decay=1e-4)
QUICK = study.Recipe(3, 32, 0.1, (2,), 0.1, first_decay=0.02, decay=1e-4)
RATES = {"dfa": 1e-4}
# The methods of the paper's figure. It trains no Kolen-Pollack network.
PAPER = ("backprop", "fa", "dfa", "usf", "pfa", "pfa_o")


def first(data: ta.data.Arrays, examples: int) -> ta.data.Arrays:
    """The dataset with so many examples to train on. TensorFlow Datasets has them shuffled."""
    x, y = data.train
    return dataclasses.replace(data, train=ta.data.Split(x[:examples], y[:examples]))


def main() -> None:
    """Train, draw and print."""
    parser = study.parser(__doc__, epochs="200", width=16, methods=PAPER)
    arguments = parser.parse_args()
    if arguments.quick:
        name, recipe, width = "cifar10-quick", QUICK, 4
        data = study.normalised(ta.data.load("digits"))
    else:
        name, recipe, width = "cifar10", RECIPE, 16
        data = study.normalised(first(ta.data.load("cifar10", arguments.data_dir), 45_000))
    size, channels = data.train.x.shape[2:]
    study.carry_out(
        arguments,
        study.Study(
            name,
            functools.partial(networks.residual, arguments.width or width, size, channels),
            study.InMemory(data),
            study.with_epochs(recipe, arguments.epochs),
            arguments.output,
            compiled=not arguments.quick,
            probe=128,
        ),
        # Tracing a network this deep takes most of the time of a quick run.
        ("pfa",) if arguments.quick else PAPER,
        RATES,
    )


if __name__ == "__main__":
    command_line.run(main)

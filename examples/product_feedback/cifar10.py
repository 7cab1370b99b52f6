"""Figure 4 of the paper: feedback methods in ResNet-20 on CIFAR-10.

    python -m examples.product_feedback.cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.cifar10 --width 4 --epochs 10 --seeds 1
    python -m examples.product_feedback.cifar10 --quick

As in the paper, the network is trained on 45,000 images. The other 5,000 are not used here, since
no metaparameter is chosen. Curves show the test split.
"""

from __future__ import annotations

import functools

import keras

import tf_alignment as ta
from examples import command_line, networks
from examples.product_feedback import study

RECIPE = study.Recipe(200, 128, 0.1, (100, 150), 0.1, first_decay=0.005, decay=1e-4)
QUICK = study.Recipe(3, 32, 0.1, (2,), 0.1, first_decay=0.02, decay=1e-4)
RATES = {"dfa": 1e-4}
# The methods of the paper's figure, in which there is no Kolen-Pollack network.
PAPER = ("backprop", "fa", "dfa", "usf", "pfa", "pfa_o")


def network(width: int, size: int, channels: int) -> keras.Model:
    """Return a ResNet-20 with fused batch normalisation, see `networks.residual`.

    Args:
        width: Number of filters in the first stage.
        size: Height and width of the images, in pixels.
        channels: Number of channels of the images.
    """
    return ta.fuse_batch_normalization(networks.residual(width, size, channels))


def main() -> None:
    """Train the network with all methods, print the table, and write figure and numbers."""
    parser = study.parser(__doc__, epochs="200", width=16, usual=PAPER, quick=["pfa"])
    arguments = parser.parse_args()
    name, recipe, width = "cifar10", RECIPE, 16
    settings = {"dataset": "cifar10", "examples": 45_000}
    if arguments.quick:
        name, recipe, width, settings = "cifar10-quick", QUICK, 4, {"dataset": "digits"}
    _, size, channels = study.load(settings, arguments.data_dir).train.x.shape[1:]
    study.carry_out(
        arguments,
        name,
        functools.partial(network, arguments.width or width, size, channels),
        study.data,
        study.with_epochs(recipe, arguments.epochs),
        settings=settings,
        rates=RATES,
        compiled=False,  # On a processor, XLA's convolutions take twice the time of TensorFlow's.
        probe=128,
    )


if __name__ == "__main__":
    command_line.run(main)

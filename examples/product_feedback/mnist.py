"""Figure 2 of the paper: a 784-512-512-10 network on MNIST, with every feedback method.

    python -m examples.product_feedback.mnist --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.mnist --schedule forgotten --input-layer --seeds 3
    python -m examples.product_feedback.mnist --quick

The schedule `published` is that of the paper: coupled weight decay of 0.03 in the first epoch and
of 1e-4 afterwards. With this schedule the feedback weights do not forget their start completely:
angles still fall when training ends. The schedule `forgotten` has stronger decay in the first epoch
(decoupled decay of 0.1 at five times the learning rate), so that angles agree with the theory from
the second epoch on.
"""

from __future__ import annotations

import functools

import keras

import tf_alignment as ta
from examples import command_line
from examples.product_feedback import study

SCHEDULES = {
    "published": study.Recipe(40, 64, 0.01, (20, 30), 0.5, first_decay=0.03, decay=1e-4),
    "forgotten": study.Recipe(3, 64, 0.05, (), 1.0, first_decay=0.1, decay=1e-4, coupled=False),
}
QUICK = study.Recipe(6, 16, 0.05, (5,), 0.5, 0.3, 1e-4, coupled=False, first_epochs=3)
DIGITS = {"dataset": "digits", "flat": True}
MNIST = {"dataset": "mnist", "flat": True, "mean": 0.1307, "deviation": 0.3081}


def network(inputs: int, width: int) -> keras.Model:
    """Return a network of two hidden ReLU layers and ten outputs.

    The layers have the names that files and figures use.

    Args:
        inputs: Number of inputs.
        width: Number of units of each hidden layer.
    """
    return ta.models.perceptron((inputs, width, width, 10), names=("layer1", "layer2", "layer3"))


def main() -> None:
    """Train the network with all methods, print the table, and write figure and numbers."""
    parser = study.parser(
        __doc__,
        epochs="40, or 3 with `--schedule forgotten`",
        width=512,
        quick=("backprop", "fa", "pfa"),
    )
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), default="published")
    parser.add_argument(
        "--input-layer", action="store_true", help="feedback weights in the lowest layer too"
    )
    arguments = parser.parse_args()
    name, recipe, width = f"mnist-{arguments.schedule}", SCHEDULES[arguments.schedule], 512
    if arguments.quick:
        name, recipe, width = "digits", QUICK, 64
    settings = DIGITS if arguments.quick else MNIST
    inputs = study.load(settings, arguments.data_dir).train.x.shape[1]
    study.carry_out(
        arguments,
        name,
        functools.partial(network, inputs, arguments.width or width),
        study.data,
        study.with_epochs(recipe, arguments.epochs),
        settings=settings,
        input_layer=arguments.input_layer,
        compiled=not arguments.quick,
    )


if __name__ == "__main__":
    command_line.run(main)

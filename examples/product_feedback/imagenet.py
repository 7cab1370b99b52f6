r"""Figure 5 of the paper: ResNet-18 on ImageNet.

    python -m examples.product_feedback.imagenet --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.imagenet --data-dir gs://bucket/tensorflow_datasets \
        --strategy tpu
    python -m examples.product_feedback.imagenet --quick

Needs `imagenet2012` of TensorFlow Datasets, prepared from the archives that image-net.org gives
out, and accelerators: the paper took a week on one for each method.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.product_feedback import study

RECIPE = study.Recipe(75, 256, 0.1, (20, 40, 60), 0.1, first_decay=5e-4, decay=1e-4)
QUICK = study.Recipe(1, 16, 0.1, (), 0.1, first_decay=5e-4, decay=1e-4)
PAPER = ("backprop", "usf", "pfa", "pfa_o")


def small_images() -> ta.data.Images:
    """Digits as colour images that are not square, cropped to 32 pixels."""

    def coloured(x: np.ndarray) -> tf.Tensor:
        return tf.cast(255 * tf.image.grayscale_to_rgb(tf.image.resize(x, (40, 48))), tf.uint8)

    digits = ta.data.load("digits").map(coloured)
    train, test = map(tf.data.Dataset.from_tensor_slices, (tuple(digits.train), tuple(digits.test)))
    return ta.data.Images(train.take(256), test.take(100), 256, 32, buffer=128)


def load(quick: bool, data_dir: str | None) -> ta.data.Images:
    """ImageNet, or what stands for it."""
    return small_images() if quick else ta.data.images("imagenet2012", data_dir)


def crops(run: Any) -> common.Crops:
    """The images of a run."""
    return common.Crops(load(run.settings["data"]["quick"], run.data_dir))


def main() -> None:
    """Train, draw and print."""
    # Tracing a network this deep takes most of the time of a quick run.
    parser = study.parser(__doc__, epochs="75", width=64, seeds=1, usual=PAPER, quick=["pfa"])
    arguments = parser.parse_args()
    name, recipe, width, classes = "imagenet", RECIPE, 64, 1000
    if arguments.quick:
        name, recipe, width, classes = "imagenet-quick", QUICK, 4, 10
    size = load(arguments.quick, arguments.data_dir).size
    network = functools.partial(
        ta.models.resnet,
        18,
        width=arguments.width or width,
        classes=classes,
        input_shape=(size, size, 3),
        kernel_initializer="glorot_uniform",
    )
    study.carry_out(
        arguments,
        name,
        network,
        crops,
        study.with_epochs(recipe, arguments.epochs),
        settings={"quick": arguments.quick},
        compiled=not arguments.quick,
        probe=64,
    )


if __name__ == "__main__":
    command_line.run(main)

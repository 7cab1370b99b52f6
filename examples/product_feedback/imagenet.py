r"""Figure 5 of the paper: feedback methods in ResNet-18 on ImageNet.

    python -m examples.product_feedback.imagenet --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.imagenet --data-dir gs://bucket/tensorflow_datasets \
        --strategy tpu
    python -m examples.product_feedback.imagenet --quick

The script needs `imagenet2012` of TensorFlow Datasets, prepared from the archives of image-net.org,
and accelerators: in the paper, training took one week per method on one accelerator.
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
    """Return digits in place of ImageNet: colour images of 40x48 pixels, with crops of 32."""

    def coloured(x: np.ndarray) -> tf.Tensor:
        return tf.cast(255 * tf.image.grayscale_to_rgb(tf.image.resize(x, (40, 48))), tf.uint8)

    digits = ta.data.load("digits").map(coloured)
    train, test = map(tf.data.Dataset.from_tensor_slices, (tuple(digits.train), tuple(digits.test)))
    return ta.data.Images(train.take(256), test.take(100), 256, 32, buffer=128)


def load(quick: bool, data_dir: str | None) -> ta.data.Images:
    """Return ImageNet, or with `quick` the small images that replace it."""
    return small_images() if quick else ta.data.images("imagenet2012", data_dir)


def crops(run: Any) -> common.Crops:
    """Return the image crops of a study's run."""
    return common.Crops(load(run.settings["data"]["quick"], run.data_dir))


def main() -> None:
    """Train the network with all methods, print the table, and write figure and numbers."""
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

"""Figure 5 of the paper: ResNet-18 on ImageNet.

    python examples/product_feedback/imagenet.py --data-dir ~/tensorflow_datasets
    python examples/product_feedback/imagenet.py --quick

Needs `imagenet2012` of TensorFlow Datasets, prepared from the archives that image-net.org gives
out, and accelerators: the paper took a week on one for each method.
"""

from __future__ import annotations

import functools
from typing import Any

import study
import tensorflow as tf

import tf_alignment as ta

RECIPE = study.Recipe(75, 256, 0.1, (20, 40, 60), 0.1, first_decay=5e-4, decay=1e-4)
QUICK = study.Recipe(1, 16, 0.1, (), 0.1, first_decay=5e-4, decay=1e-4)
PAPER = ("backprop", "usf", "pfa", "pfa_o")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the channels, in [0, 1]


def normalise(image: tf.Tensor) -> tf.Tensor:
    """From [0, 255] to mean 0 and deviation 1 of each channel."""
    return (tf.cast(image, tf.float32) / 255.0 - MEAN) / DEVIATION


def random_crop(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """A part of 8 to 100 % of the area and aspect 3/4 to 4/3, scaled to `size`; half are mirrored.

    Args:
        image: `(height, width, 3)`, uint8.
        size: Height and width of the result.
        seed: Two int64 numbers, on which alone the result depends.

    Returns:
        `(size, size, 3)`, float32, in [0, 255].
    """
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        area_range=(0.08, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    part = tf.image.resize(tf.slice(image, begin, extent), (size, size))
    part.set_shape((size, size, 3))
    return tf.image.stateless_random_flip_left_right(part, seed + 1)


def central_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Scale the short side to 8/7 of `size`, cut the centre out.

    Args:
        image: `(height, width, 3)`, uint8.
        size: Height and width of the result; 224 makes the short side 256.

    Returns:
        `(size, size, 3)`, float32, in [0, 255].
    """
    extent = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = size * 8 / 7 / tf.reduce_min(extent)
    scaled = tf.image.resize(image, tf.cast(tf.round(extent * scale), tf.int32))
    cut = tf.image.resize_with_crop_or_pad(scaled, size, size)
    cut.set_shape((size, size, 3))
    return cut


class Images:
    """Images of different sizes, cropped and shuffled on the way, as a `study.Source`.

    Args:
        train: Dataset of `(image, label)`, image `(height, width, 3)` uint8, in a fixed order.
        test: Likewise.
        examples: How many are in `train`.
        size: Height and width after cropping.
        buffer: Examples among which the next is drawn.
    """

    def __init__(
        self, train: tf.data.Dataset, test: tf.data.Dataset, examples: int, size: int, buffer: int
    ) -> None:
        self.train, self.examples, self.size, self.buffer = train, examples, size, buffer
        cropped = test.map(
            lambda image, label: (normalise(central_crop(image, size)), label), tf.data.AUTOTUNE
        )
        self.validation = cropped.batch(250).prefetch(2)

    def batches(self, seed: int, size: int) -> Stream:
        """The training data in the order of a seed; what is left of an epoch is dropped."""
        return Stream(self, seed, size)

    def probe(self, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The first examples of the test data."""
        x, y = next(iter(self.validation.unbatch().batch(examples)))
        return x, y


class Stream:
    """Batches whose order and crops depend on the seed and the epoch alone.

    So a run that `ta.callbacks.Resume` continues sees what it would have seen.

    Args:
        images: Where from.
        seed: Of order and crops.
        batch_size: Examples a batch.

    Attributes:
        epoch: That of the next pass.
        dataset: One epoch.
    """

    def __init__(self, images: Images, seed: int, batch_size: int) -> None:
        self.epoch = 0
        self._batches = images.examples // batch_size
        # `shuffle` compares (global seed, own seed) to (0, 0), which a tensor allows only if the
        # global one is not 0.
        tf.random.set_seed(seed + 1)

        def one_pass(_: tf.Tensor) -> tf.data.Dataset:
            epoch = tf.numpy_function(lambda: self.epoch, [], tf.int64)
            start = tf.ensure_shape(epoch, ()) * images.examples

            def crop(index: tf.Tensor, example: Any) -> tuple[tf.Tensor, tf.Tensor]:
                image, label = example
                own = tf.stack([tf.cast(seed, tf.int64), 2 * (start + index)])
                return normalise(random_crop(image, images.size, own)), label

            return (
                images.train.enumerate()
                .shuffle(images.buffer, seed=seed + 1 + start)
                .map(crop, tf.data.AUTOTUNE)
                .batch(batch_size, drop_remainder=True)
            )

        self.dataset = (
            tf.data.Dataset.from_tensors(0)
            .flat_map(one_pass)
            .apply(tf.data.experimental.assert_cardinality(self._batches))
            .prefetch(2)
        )

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return self._batches


def imagenet(data_dir: str | None) -> Images:
    """ImageNet from prepared files.

    Args:
        data_dir: Where the TensorFlow Datasets are.

    Returns:
        The images, cropped to 224 pixels.

    Raises:
        FileNotFoundError: If they are not there.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder("imagenet2012", data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"`--data-dir` must hold the TensorFlow dataset 'imagenet2012'; expected its files in "
            f"{builder.data_path}. Received: --data-dir {data_dir}"
        )
    # Files in their order: what shuffles is `Stream`, by the epoch.
    train, test = (
        builder.as_dataset(split=split, as_supervised=True, shuffle_files=False)
        for split in ("train", "validation")
    )
    return Images(train, test, builder.info.splits["train"].num_examples, 224, buffer=16_384)


def small_images() -> Images:
    """Digits as colour images that are not square, cropped to 32 pixels."""
    digits = ta.data.load("digits")

    def coloured(split: ta.data.Split, examples: int) -> tf.data.Dataset:
        def scale(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.image.grayscale_to_rgb(tf.image.resize(x, (40, 48)))
            return tf.cast(255 * image, tf.uint8), y

        dataset = tf.data.Dataset.from_tensor_slices((split.x, split.y)).take(examples)
        return dataset.map(scale)

    return Images(coloured(digits.train, 256), coloured(digits.test, 100), 256, 32, buffer=128)


def main() -> None:
    """Train, draw and print."""
    parser = study.parser(__doc__, epochs="75", width=64, methods=PAPER, seeds=1)
    arguments = parser.parse_args()
    if arguments.quick:
        name, recipe, width, classes = "imagenet-quick", QUICK, 4, 10
        data = small_images()
    else:
        name, recipe, width, classes = "imagenet", RECIPE, 64, 1000
        data = imagenet(arguments.data_dir)
    network = functools.partial(
        ta.models.resnet,
        18,
        width=arguments.width or width,
        classes=classes,
        input_shape=(data.size, data.size, 3),
        kernel_initializer="glorot_uniform",
    )
    study.carry_out(
        arguments,
        study.Study(
            name,
            network,
            data,
            study.with_epochs(recipe, arguments.epochs),
            arguments.output,
            compiled=not arguments.quick,
            probe=64,
        ),
        # Tracing a network this deep takes most of the time of a quick run.
        ("pfa",) if arguments.quick else PAPER,
    )


if __name__ == "__main__":
    main()

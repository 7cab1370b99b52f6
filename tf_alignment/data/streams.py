"""Streams of images of different sizes, read from disk, cropped and shuffled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_alignment._support.arguments import file_path, instance, integer, number, one_of, tensor
from tf_alignment.data.arrays import builder_of
from tf_alignment.data.epochs import Passes
from tf_alignment.distribute import worker

__all__ = ["Images", "Stream", "central_crop", "images", "random_crop"]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
_LEAST_AREA = {"resnet": 0.08, "inception": 0.05}
_SIZES = {"resnet": 224, "inception": 299}


def _two_integers(seed: Any) -> tf.Tensor:
    found = tensor("seed", seed)
    if found.shape != (2,) or not found.dtype.is_integer:
        raise ValueError(f"Argument `seed` must be two integers. Received: seed={seed!r}")
    return found


def random_crop(
    image: tf.Tensor, size: int, seed: tf.Tensor, least_area: float = 0.08
) -> tf.Tensor:
    """Cut a random part with aspect ratio 3/4 to 4/3 from an image, scale it, mirror half of them.

    Args:
        image: Image `(height, width, 3)`, uint8.
        size: Height and width of the result.
        seed: Two int64 numbers, which alone determine the random choices.
        least_area: Smallest fraction of the image's area; the largest is 1.

    Returns:
        Image `(size, size, 3)`, float32, in [0, 255].

    Reference: Szegedy et al. 2015, "Going deeper with convolutions".

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> image = tf.zeros((40, 60, 3), tf.uint8)
    >>> tuple(ta.data.random_crop(image, 16, tf.constant([1, 2], tf.int64)).shape)
    (16, 16, 3)
    """
    image, size, seed = (
        tensor("image", image, 3, 3),
        integer("size", size),
        _two_integers(seed),
    )
    least_area = number("least_area", least_area, above=0, most=1)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        area_range=(least_area, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    part = tf.image.resize(tf.slice(image, begin, extent), (size, size))
    part.set_shape((size, size, 3))
    return tf.image.stateless_random_flip_left_right(part, seed + 1)


def central_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Scale the short side of an image to 8/7 of `size`, and cut out the centre.

    Args:
        image: Image `(height, width, 3)`, uint8.
        size: Height and width of the result; with 224 the short side is scaled to 256.

    Returns:
        Image `(size, size, 3)`, float32, in [0, 255].

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> tuple(ta.data.central_crop(tf.zeros((40, 60, 3), tf.uint8), 28).shape)
    (28, 28, 3)
    """
    image, size = tensor("image", image, 3, 3), integer("size", size)
    extent = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = size * 8 / 7 / tf.reduce_min(extent)
    scaled = tf.image.resize(image, tf.cast(tf.round(extent * scale), tf.int32))
    cut = tf.image.resize_with_crop_or_pad(scaled, size, size)
    cut.set_shape((size, size, 3))
    return cut


def _colours(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change brightness, saturation, hue and contrast of an image in [0, 1] at random."""
    image = tf.image.stateless_random_brightness(image, 32 / 255, seed)
    image = tf.image.stateless_random_saturation(image, 0.5, 1.5, seed + 2)
    image = tf.image.stateless_random_hue(image, 0.2, seed + 4)
    image = tf.image.stateless_random_contrast(image, 0.5, 1.5, seed + 6)
    return tf.clip_by_value(image, 0.0, 1.0)


class Images:
    """Dataset of images of different sizes, and their preprocessing.

    Args:
        train: Training images, a `tf.data.Dataset` of `(image, label)` in a fixed order, with
            images `(height, width, 3)` in uint8.
        test: Test images, in the same form as `train`.
        examples: Number of examples in `train`.
        size: Height and width after cropping.
        preprocessing: Preprocessing of the images. `"resnet"`: crops of at least 8 % of the area,
            channels with mean 0 and standard deviation 1. `"inception"`: crops of at least 5 % of
            the area, colours changed in training, values in [-1, 1].
        buffer: Number of examples in the buffer from which the next example is drawn.

    Raises:
        ValueError: If `preprocessing` is unknown, or a number out of range.

    Example:
    >>> import numpy as np, tensorflow as tf, tf_alignment as ta
    >>> pictures = tf.data.Dataset.from_tensor_slices(
    ...     (np.zeros((10, 40, 60, 3), np.uint8), np.arange(10)))
    >>> images = ta.data.Images(pictures, pictures, examples=10, size=32)
    >>> x, y = next(iter(images.batches(4, seed=1).dataset))
    >>> tuple(x.shape), tuple(y.shape)
    ((4, 32, 32, 3), (4,))
    """

    def __init__(
        self,
        train: tf.data.Dataset,
        test: tf.data.Dataset,
        examples: int,
        size: int = 224,
        preprocessing: str = "resnet",
        buffer: int = 16_384,
    ) -> None:
        one_of("preprocessing", preprocessing, _LEAST_AREA)
        for name, part in (("train", train), ("test", test)):
            instance(name, part, tf.data.Dataset, "a tf.data.Dataset")
        self.train, self.test = train, test
        self.examples, self.size = integer("examples", examples, 1), integer("size", size, 1)
        self.preprocessing, self.buffer = preprocessing, integer("buffer", buffer, 1)

    def batches(
        self, batch_size: int, seed: int = 0, strategy: tf.distribute.Strategy | None = None
    ) -> Stream:
        """Batches of the training data in the order of a seed.

        Args:
            batch_size: Number of examples per batch, on all replicas together. Examples that do not
                fill a batch are dropped, so that all batches have the same shape.
            seed: Seed of order and crops.
            strategy: Strategy of `tf.distribute`, or None. With several workers, each worker reads
                its own part of the data.
        """
        return Stream(self, batch_size, seed, strategy)

    def validation(self, batch_size: int) -> tf.data.Dataset:
        """Batches of the test data, cut from the centres of the images."""

        def crop(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self.scaled(central_crop(image, self.size)), label

        return self.test.map(crop, tf.data.AUTOTUNE).batch(batch_size).prefetch(2)

    def scaled(self, image: tf.Tensor) -> tf.Tensor:
        """Scale the values of an image from [0, 255] to the range that the network expects."""
        image = image / 255.0
        if self.preprocessing == "resnet":
            return (image - _MEAN) / _DEVIATION
        return 2.0 * image - 1.0

    def varied(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Crop and change an image as in training."""
        image = random_crop(image, self.size, seed, _LEAST_AREA[self.preprocessing])
        if self.preprocessing == "inception":
            image = 255.0 * _colours(image / 255.0, seed + 2)
        return self.scaled(image)


class Stream(Passes):
    """Batches of images whose order and crops depend only on the seed and the epoch.

    A run that `ta.callbacks.Resume` continues therefore sees the same batches as an uninterrupted
    run. Streams are made by `Images.batches`. As in `EpochShuffled`, a pass over `dataset` takes
    the order of `epoch` and increases `epoch` by one when it starts.

    Args:
        images: Images to read.
        batch_size: Number of examples per batch, on all replicas together.
        seed: Seed of order and crops.
        strategy: Strategy of `tf.distribute`, or None. With several workers, each worker reads its
            own part of the data.

    Attributes:
        epoch: Epoch of the next pass, which can be set.
        dataset: Dataset of one epoch, for `fit(stream.dataset, shuffle=False)`.
        callback: Keras callback that sets `epoch` to Keras' count at the start of every epoch.

    Raises:
        ValueError: If a batch has more examples than the data, or if a value is out of range, also
            a value that `epoch` is set to.

    Example:
    ```python
    stream = ta.data.images("imagenet2012").batches(256, seed=1)
    model.fit(stream.dataset, epochs=90, shuffle=False, callbacks=[stream.callback])
    ```
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int = 0,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = integer("batch_size", batch_size), integer("seed", seed, 0)
        self._images = instance("images", images, Images, "`tf_alignment.data.Images`")
        if strategy is not None:
            instance("strategy", strategy, tf.distribute.Strategy, "a strategy or None")
        if not len(self):
            raise ValueError(
                "Argument `batch_size` must be at most the number of examples. Received: "
                f"batch_size={batch_size}, {images.examples} examples"
            )
        self.dataset: tf.data.Dataset | tf.distribute.DistributedDataset
        if strategy is not None and worker(strategy)[1] > 1:
            # else every worker would read and decode what the others use
            self.dataset = strategy.distribute_datasets_from_function(self.of_worker)
        else:
            self.dataset = self.of_worker(tf.distribute.InputContext())

    def of_worker(self, context: tf.distribute.InputContext) -> tf.data.Dataset:
        """One epoch of the data that one worker reads.

        Args:
            context: Input context of `tf.distribute`: index of the worker, and number of replicas
                that share a batch.

        Returns:
            Dataset with the batches of one replica.
        """
        images, seed = self._images, self.seed
        workers, replicas = context.num_input_pipelines, context.num_replicas_in_sync
        batches = len(self) * replicas // workers
        number = context.input_pipeline_id

        def one_pass(_: tf.Tensor) -> tf.data.Dataset:
            # `shuffle` compares (seed of the graph, own seed) to (0, 0), which a tensor allows only
            # if the first is not 0. This graph is the pass alone.
            tf.compat.v1.get_default_graph().seed = seed + 1
            epoch = tf.numpy_function(lambda: self.next_epoch(number), [], tf.int64)
            start = tf.ensure_shape(epoch, ()) * images.examples

            def vary(index: tf.Tensor, example: Any) -> tuple[tf.Tensor, tf.Tensor]:
                image, label = example
                own = tf.stack([tf.cast(seed, tf.int64), 16 * (start + index)])
                return images.varied(image, own), label

            return (
                images.train.enumerate()
                .shard(workers, number)
                .shuffle(images.buffer, seed=seed + 1 + start)
                .map(vary, tf.data.AUTOTUNE)
                .batch(context.get_per_replica_batch_size(self.batch_size), drop_remainder=True)
                .take(batches)
            )

        return (
            tf.data.Dataset.from_tensors(0)
            .flat_map(one_pass)
            .apply(tf.data.experimental.assert_cardinality(batches))
            .prefetch(2)
        )

    def __len__(self) -> int:
        """Number of steps per epoch."""
        return self._images.examples // self.batch_size


def images(
    name: str = "imagenet2012",
    data_dir: str | None = None,
    preprocessing: str = "resnet",
    size: int | None = None,
) -> Images:
    """Open a dataset of images from TensorFlow Datasets, for networks of ImageNet's size.

    Args:
        name: Name of a dataset with images and labels; ImageNet by default.
        data_dir: Directory of the prepared TensorFlow Datasets; None takes the default of
            TensorFlow Datasets.
        preprocessing: Preprocessing of the images, `"resnet"` or `"inception"`, see `Images`.
        size: Height and width after cropping; by default 224, or 299 for `"inception"`.

    Raises:
        ValueError: If `preprocessing` is unknown.
        FileNotFoundError: If the dataset is not in `data_dir`; the message says how to prepare it.
        ImportError: If TensorFlow Datasets is not installed.

    Example:
    ```python
    images = ta.data.images("imagenet2012", "~/tensorflow_datasets")
    stream = images.batches(256, seed=1)
    model.fit(stream.dataset, validation_data=images.validation(250), shuffle=False, epochs=90,
              callbacks=[ta.callbacks.Resume("backup", data=stream)])
    ```
    """
    instance("name", name, str, "the name of a dataset")
    if data_dir is not None:
        file_path("data_dir", data_dir)
    one_of("preprocessing", preprocessing, _LEAST_AREA)
    size = _SIZES[preprocessing] if size is None else integer("size", size)
    builder = builder_of(name, data_dir)
    splits = builder.info.splits
    # Files in their order: what shuffles is `Stream`, by the epoch.
    read: Callable[[str], tf.data.Dataset] = lambda split: builder.as_dataset(  # noqa: E731
        split=split, as_supervised=True, shuffle_files=False
    )
    test = "validation" if "validation" in splits else "test"
    return Images(read("train"), read(test), splits["train"].num_examples, size, preprocessing)

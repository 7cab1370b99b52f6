"""Random changes of images in training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import integer
from tf_alignment._support.seeds import per_replica

__all__ = ["CropAndFlip"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class CropAndFlip(keras.layers.Layer):
    """Random crop and mirror in training: images move by up to `padding` pixels, half are mirrored.

    Pixels beyond the border are zeros. If the layer is part of the model, `callbacks.Resume` saves
    its random state: a run that was killed continues with the same crops as an uninterrupted run.
    Every replica of a strategy draws different crops.

    Args:
        padding: Number of pixels added on each side before an image of the original size is cut
            out.
        seed: Integer seed, or None for a random seed.

    Raises:
        ValueError: If an argument is no integer of at least 0.

    Input and output: `(batch, height, width, channels)`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> tuple(ta.models.CropAndFlip(4)(tf.ones((2, 32, 32, 3)), training=True).shape)
    (2, 32, 32, 3)
    """

    def __init__(self, padding: int = 4, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = integer("padding", padding, 0)
        self.seed = None if seed is None else integer("seed", seed, 0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Crop and mirror `(batch, height, width, channels)`, only in training."""
        if not training:
            return images
        count, height, width = (images.shape[i] or tf.shape(images)[i] for i in range(3))
        seed = per_replica(tf.cast(tf.convert_to_tensor(self.seed_generator.next()), tf.int32))
        most = 2 * self.padding + 1
        shift = tf.random.stateless_uniform((3, count), seed, 0, most * 2, tf.int32)
        margin = [self.padding, self.padding]
        padded = tf.pad(images, [[0, 0], margin, margin, [0, 0]])
        rows = (shift[0] % most)[:, None] + tf.range(height)
        columns = (shift[1] % most)[:, None] + tf.range(width)
        columns = tf.where((shift[2] % 2 == 1)[:, None], columns[:, ::-1], columns)
        cut = tf.gather(padded, rows, axis=1, batch_dims=1)
        return tf.gather(cut, columns, axis=2, batch_dims=1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "padding": self.padding, "seed": self.seed}

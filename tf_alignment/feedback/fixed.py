"""Methods whose feedback weights do not learn: backprop, feedback alignment, sign symmetry."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.compat import glorot_uniform
from tf_alignment._support.noise import draw, kind_of
from tf_alignment.feedback.base import Backward, Feedback, Setup

__all__ = [
    "Backprop",
    "BatchRandomSignSymmetry",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "SignSymmetry",
]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class Backprop(Feedback):
    """Backprop, the control: `dx = δ Wᵀ`. The same as `feedback=None`.

    Reference: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating
    errors".

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback="backprop")
    >>> layer.build((None, 4))
    >>> float(ta.metrics.weight_angle(layer.kernel, layer.effective_feedback_kernel()))
    0.0
    """

    id = "backprop"

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        return c.kernel


@_package
class FeedbackAlignment(Feedback):
    """FA: `dx = δ Bᵀ` with random, fixed feedback weights B.

    The layer's `feedback_initializer` sets the scale of B. Reference: Lillicrap et al. 2016,
    "Random synaptic feedback weights support error backpropagation for deep learning".

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback="fa")
    >>> layer.build((None, 4))
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (4, 8)
    """

    id = "fa"

    def build(self, setup: Setup) -> None:
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, trainable=False)

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        return c.weights["feedback_kernel"]


@_package
class SignSymmetry(Feedback):
    """uSF: `dx = s · δ sign(W)ᵀ`, the signs of the forward weights with one common magnitude.

    The magnitude `s` is the standard deviation of the freshly initialised kernel. It is measured
    when the layer is built and does not change; with it, errors do not grow with the width of the
    layers. For a kernel with a constant initial value, `s` is Glorot's √(2 / (fan_in + fan_out)).

    References: Liao et al. 2016, "How important is weight symmetry in backpropagation?"; Xiao et
    al. 2019; Sanfiz & Akrout 2021 (BioTorch) for the scale.

    Example:
    >>> import numpy as np, tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback="usf")
    >>> layer.build((None, 4))
    >>> b = layer.effective_feedback_kernel()
    >>> float(ta.metrics.sign_agreement(layer.kernel, b))
    1.0
    >>> len(np.unique(np.abs(b)))
    1
    """

    id = "usf"

    def build(self, setup: Setup) -> None:
        def scale(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            return _spread(tf.convert_to_tensor(setup.kernel), setup)

        setup.add("feedback_scale", (), scale, trainable=False)

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        return c.weights["feedback_scale"] * tf.sign(c.kernel)


@_package
class FixedRandomSignSymmetry(FeedbackAlignment):
    """frSF: `dx = δ (|B| ∘ sign(W))ᵀ` with random, fixed magnitudes |B|.

    B is drawn from the layer's `feedback_initializer`. Reference: Moskovitz et al. 2018, "Feedback
    alignment in deep convolutional networks"; BioTorch.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback="frsf")
    >>> layer.build((None, 4))
    >>> float(ta.metrics.sign_agreement(layer.kernel, layer.effective_feedback_kernel()))
    1.0
    """

    id = "frsf"

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        return tf.abs(c.weights["feedback_kernel"]) * tf.sign(c.kernel)


@_package
class BatchRandomSignSymmetry(Feedback):
    """brSF: `dx = δ (|R_t| ∘ sign(W))ᵀ` with new random magnitudes |R_t| at every step.

    `R_t` has the standard deviation of the layer's `feedback_initializer`; with the default
    arguments it has the distribution of Glorot uniform weights. All replicas of a strategy use the
    same numbers.

    Args:
        distribution: Distribution of `R_t`: `"uniform"` or `"gaussian"` (also `"normal"`). Uniform
            magnitudes take one of 2⁷ evenly spaced values, since eight random bits per magnitude
            are quick to draw.

    Raises:
        ValueError: If `distribution` is neither `"uniform"` nor `"gaussian"`.

    Reference: Moskovitz et al. 2018, "Feedback alignment in deep convolutional networks"; BioTorch.

    Example:
    >>> import tf_alignment as ta
    >>> rule = ta.feedback.BatchRandomSignSymmetry("gaussian")
    >>> layer = ta.layers.Dense(8, feedback=rule)
    >>> layer.build((None, 4))
    >>> sorted(layer.feedback_weights)  # magnitudes are not stored
    ['feedback_scale']
    """

    id = "brsf"
    random = "shared"

    def __init__(self, distribution: str = "uniform") -> None:
        self.distribution = kind_of("distribution", distribution, ("uniform", "gaussian"))

    def build(self, setup: Setup) -> None:
        def scale(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            return _spread(setup.draw(tuple(setup.kernel.shape)), setup)

        setup.add("feedback_scale", (), scale, trainable=False)

    def no_kernel_because(self) -> str:
        return ": its magnitudes are redrawn at every step"

    def send(self, c: Backward, dz: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return c.map.transpose(dz, self._kernel(c), c.x), {}

    def carrier(self, c: Backward) -> tf.Tensor | None:
        return self._kernel(c) if type(self).send is BatchRandomSignSymmetry.send else None

    def _kernel(self, c: Backward) -> tf.Tensor:
        shape, scale = c.kernel.shape, tf.cast(c.weights["feedback_scale"], tf.float32)
        if self.distribution == "uniform":  # R ~ U(−√3 s, √3 s) has |R| ~ U(0, √3 s)
            size = 3.0**0.5 / 2.0**8 * scale * _odd_numbers(shape, c.seed)
        else:
            size = scale * tf.abs(draw("gaussian", 1.0, shape, c.seed))
        return tf.cast(size, c.kernel.dtype) * tf.sign(c.kernel)

    def get_config(self) -> dict[str, Any]:
        return {"distribution": self.distribution}


def _odd_numbers(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """Random odd numbers below 2⁸, as float32: four cost as much as one uniform number."""
    count = shape.num_elements()
    words = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, tf.int32)
    numbers = tf.bitcast(tf.bitwise.bitwise_or(words, 0x01010101), tf.uint8)
    return tf.reshape(tf.reshape(tf.cast(numbers, tf.float32), [-1])[:count], shape)


def _spread(kernel: tf.Tensor, setup: Setup) -> tf.Tensor:
    """Standard deviation of a fresh kernel; Glorot's value if the kernel is constant."""
    glorot = glorot_uniform(setup.seed(), setup.map.initializer_axes())
    kernel = tf.cast(kernel, tf.float32)
    constant = tf.equal(tf.reduce_max(kernel), tf.reduce_min(kernel))  # its deviation may round
    fallback = tf.math.reduce_std(glorot(tuple(setup.kernel.shape), dtype="float32"))
    return tf.where(constant, fallback, tf.math.reduce_std(kernel))

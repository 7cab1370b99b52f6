"""The layers that checks run on: every kind in telling configurations."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment import layers, probe

__all__ = ["LAYERS", "LayerCase", "activity", "gradients", "undisturbed"]


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer in one configuration.

    Attributes:
        kind: Class name in `tf_alignment.layers`, and in `keras.layers` if Keras has such a layer.
        arguments: Arguments of the constructor.
        input_shape: Shape of the input, with the batch.

    Example:
    >>> import tf_alignment as ta
    >>> case = ta.testing.LayerCase("Dense", {"units": 3}, (2, 4))
    >>> case.layer("fa")(case.inputs()).shape
    TensorShape([2, 3])
    """

    kind: str
    arguments: Mapping[str, Any]
    input_shape: tuple[int, ...]

    @property
    def parent(self) -> Any:
        """The Keras class of the same name, or else the first Keras class among the bases."""
        return getattr(keras.layers, self.kind, None) or keras_parent(self.layer_class)

    @property
    def layer_class(self) -> Any:
        """The class with feedback."""
        return getattr(layers, self.kind)

    def stock(self, **extra: Any) -> Any:
        """The Keras layer. Args: `extra` arguments."""
        return self.parent(**{**self.arguments, **extra})

    def layer(self, feedback: Any, **extra: Any) -> Any:
        """The layer with feedback. Args: `feedback`, and `extra` arguments."""
        return self.layer_class(**{**self.arguments, **extra}, feedback=feedback)

    def inputs(self, seed: int = 0) -> np.ndarray:
        """Standard normal numbers of the input's shape."""
        return normal(self.input_shape, seed)

    def __str__(self) -> str:
        plain = {
            n: v for n, v in self.arguments.items() if v is not None and not isinstance(v, dict)
        }
        arguments = ", ".join(f"{name}={value!r}" for name, value in plain.items())
        return f"{self.kind}({arguments}) with an input of shape {self.input_shape}"


def keras_parent(layer_class: type) -> type:
    """The first Keras class among the bases of a layer class."""
    return next(base for base in layer_class.__mro__[1:] if base.__module__.startswith("keras."))


def _first(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {**arguments, "data_format": "channels_first"}


_heads = {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"}
_ellipsis = {"equation": "...x,xy->...y", "output_shape": 4, "activation": "tanh"}
_four = {"filters": 4, "kernel_size": 3}
_wide = {"kernel_size": 3, "depth_multiplier": 2}
_up = {"strides": 2, "padding": "same", "output_padding": 1}

LAYERS: dict[str, LayerCase] = {
    name: LayerCase(kind, arguments, shape)
    for name, kind, arguments, shape in (
        ("dense", "Dense", {"units": 5, "activation": "relu"}, (4, 6)),
        ("dense-3d", "Dense", {"units": 5, "use_bias": False}, (4, 3, 6)),
        (
            "einsum",
            "EinsumDense",
            {"equation": "abc,cd->abd", "output_shape": (None, 5), "bias_axes": "d"},
            (4, 3, 6),
        ),
        ("einsum-heads", "EinsumDense", _heads, (4, 3, 6)),
        ("einsum-ellipsis", "EinsumDense", _ellipsis, (4, 3, 6)),
        (
            "einsum-shared",
            "EinsumDense",
            {"equation": "agc,gcd->agd", "output_shape": (3, 4)},
            (4, 3, 6),
        ),
        ("conv1d", "Conv1D", {**_four, "padding": "same"}, (2, 8, 4)),
        ("conv1d-causal", "Conv1D", {**_four, "padding": "causal", "dilation_rate": 2}, (2, 8, 4)),
        ("conv2d", "Conv2D", {**_four, "activation": "relu"}, (2, 7, 7, 4)),
        (
            "conv2d-strided",
            "Conv2D",
            {**_four, "strides": 2, "padding": "same", "use_bias": False},
            (2, 7, 7, 4),
        ),
        (
            "conv2d-grouped",
            "Conv2D",
            {"filters": 6, "kernel_size": (3, 2), "groups": 2, "padding": "same"},
            (2, 7, 7, 4),
        ),
        (
            "conv2d-dilated",
            "Conv2D",
            {"filters": 4, "kernel_size": 2, "dilation_rate": 2},
            (2, 7, 7, 4),
        ),
        ("conv3d", "Conv3D", {"filters": 3, "kernel_size": 2, "strides": 2}, (2, 4, 4, 4, 2)),
        ("depthwise1d", "DepthwiseConv1D", _wide, (2, 8, 3)),
        (
            "depthwise2d",
            "DepthwiseConv2D",
            {**_wide, "strides": 2, "padding": "same"},
            (2, 7, 7, 3),
        ),
        ("separable1d", "SeparableConv1D", _four, (2, 8, 3)),
        (
            "separable2d",
            "SeparableConv2D",
            {"filters": 4, **_wide, "activation": "relu"},
            (2, 7, 7, 3),
        ),
        ("transpose1d", "Conv1DTranspose", {**_four, "strides": 2}, (2, 5, 3)),
        ("transpose2d", "Conv2DTranspose", {**_four, **_up}, (2, 4, 4, 3)),
        ("transpose3d", "Conv3DTranspose", {"filters": 2, "kernel_size": 2}, (2, 3, 3, 3, 2)),
        # channels first: the stock CPU kernels for the other layers lack it
        ("conv1d-first", "Conv1D", _first(_four), (2, 4, 8)),
        ("conv2d-first", "Conv2D", _first({**_four, "padding": "same"}), (2, 4, 7, 7)),
        ("depthwise2d-first", "DepthwiseConv2D", _first({"kernel_size": 3}), (2, 3, 7, 7)),
        ("separable2d-first", "SeparableConv2D", _first(_four), (2, 3, 7, 7)),
        ("rnn", "SimpleRNN", {"units": 4}, (2, 3, 5)),
        ("lstm", "LSTM", {"units": 3, "return_sequences": True}, (2, 3, 5)),
        ("gru", "GRU", {"units": 3, "return_sequences": True, "unroll": True}, (2, 3, 5)),
        ("gru-before", "GRU", {"units": 3, "reset_after": False, "go_backwards": True}, (2, 3, 5)),
        ("convlstm1d", "ConvLSTM1D", {"filters": 2, "kernel_size": 3}, (2, 3, 6, 3)),
        (
            "convlstm2d",
            "ConvLSTM2D",
            {"filters": 2, "kernel_size": 2, "strides": 2, "padding": "same"},
            (2, 3, 4, 4, 2),
        ),
        ("convlstm3d", "ConvLSTM3D", {"filters": 2, "kernel_size": 2}, (2, 2, 3, 3, 3, 2)),
    )
}
"""The layers that `check_rule` runs on, by name: every kind, with strides, dilation, groups ..."""


SEED = np.array([3, 4], np.int32)  # for rules that draw where their own layer would not


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def activity(layer: Any, x: Any, connection: int = 0) -> Any:
    """The forward pass of a layer as an alignment rule sees it, for tests of one rule by hand.

    Args:
        layer: A built layer with feedback.
        x: Its input.
        connection: Which of the layer's connections (separable convolutions have two).

    Returns:
        A `tf_alignment.feedback.Activity`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(3, feedback="sa")
    >>> seen = ta.testing.activity(layer, tf.ones((2, 4)))
    >>> weights = {"feedback_kernel": tf.zeros((4, 3))}
    >>> float(layer.feedback.loss(seen, weights))
    0.0
    """
    with probe.probe() as seen:
        layer(x)
    [found] = seen.activities[layer.connections[connection]]
    if not layer.feedback.random:
        found = dataclasses.replace(found, seed=tf.constant(SEED))
    # differentiated by itself: in the layer the response is cut off from its input
    return dataclasses.replace(found, z=found.map.apply(found.x, found.kernel))


def gradients(layer: Any, x: Any) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
    """Output, and gradients for input and trainable weights of a loss without symmetries.

    Args:
        layer: A layer, called in training mode if it has feedback.
        x: Its input, `(batch, ...)`.

    Returns:
        The output, and the gradients for the input and for each trainable weight, of its shape.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(3, use_bias=False, feedback="fa")
    >>> y, (dx, dw) = ta.testing.gradients(layer, tf.ones((2, 4)))
    >>> y.shape, dx.shape, dw.shape
    (TensorShape([2, 3]), TensorShape([2, 4]), TensorShape([4, 3]))
    """
    x = tf.convert_to_tensor(x)
    training = {"training": True} if hasattr(layer, "feedback") else {}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **training)
        target = tf.constant(normal(tuple(y.shape), 1))
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * target)
        loss += tf.add_n([*layer.losses, tf.zeros(())])
    return y, tape.gradient(loss, [x, *layer.trainable_weights])


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Keras' settings at their defaults, and seeded; afterwards all is as it was."""
    backup = keras.config.dtype_policy(), keras.config.floatx(), keras.config.image_data_format()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 the caller's, not ours
    logger = tf.get_logger()
    level = logger.level
    try:
        logger.setLevel("ERROR")  # each check compiles anew, which TensorFlow would warn of
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    finally:
        logger.setLevel(level)
        policy, floatx, data_format = backup
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002

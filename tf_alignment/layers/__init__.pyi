"""Signatures of the layers, for editors and type checkers. Written by tools/stubs.py."""

from typing import Any

import keras

from tf_alignment.layers.base import FeedbackLayer as FeedbackLayer
from tf_alignment.layers.inspection import feedback_layers as feedback_layers
from tf_alignment.layers.recurrent.neurons import ALIFCell as ALIFCell
from tf_alignment.layers.recurrent.neurons import LeakyRNNCell as LeakyRNNCell

__all__ = [
    "GRU",
    "LSTM",
    "ALIFCell",
    "BatchNormalization",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "FeedbackLayer",
    "GRUCell",
    "GroupQueryAttention",
    "LSTMCell",
    "LeakyRNNCell",
    "MultiHeadAttention",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "TimeDistributed",
    "feedback_layers",
]

class GRU(keras.layers.GRU):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class LSTM(keras.layers.LSTM):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class BatchNormalization(keras.layers.BatchNormalization):
    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        *,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv1D(FeedbackLayer, keras.layers.Conv1D):
    """`keras.layers.Conv1D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv1D`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv1D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv1D(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv1DTranspose(FeedbackLayer, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv1DTranspose`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv1DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv1DTranspose`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv1DTranspose(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv2D(FeedbackLayer, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv2D`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv2D(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1),
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv2DTranspose(FeedbackLayer, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv2DTranspose`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv2DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv2DTranspose`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv2DTranspose(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1),
        padding: str = "valid",
        output_padding: Any = None,
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv3D(FeedbackLayer, keras.layers.Conv3D):
    """`keras.layers.Conv3D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv3D`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv3D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv3D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv3D(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Conv3DTranspose(FeedbackLayer, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.Conv3DTranspose`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.Conv3DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.Conv3DTranspose`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Conv3DTranspose(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: Any = None,
        output_padding: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class ConvLSTM1D(keras.layers.ConvLSTM1D):
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class ConvLSTM2D(keras.layers.ConvLSTM2D):
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class ConvLSTM3D(keras.layers.ConvLSTM3D):
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Dense(FeedbackLayer, keras.layers.Dense):
    """`keras.layers.Dense` whose error travels through feedback weights.

    Forward `y = activation(x W + b)` as in Keras; backward `dx = δ Bᵀ`, where the method says what
    B is. With `feedback=None` the layer is `keras.layers.Dense`.

    Args:
        units, ...: As of `keras.layers.Dense`.
        feedback: `None`, a method's string id (`tf_alignment.feedback.METHODS`) or a
            `tf_alignment.feedback.Feedback` object.
        feedback_initializer: Initializer of the feedback weights; drawn with a seed of its own.
            `None`: like the kernel's.
        feedback_regularizer: Regularizer of feedback weights that learn; for KP and PFA the
            kernel's by default.
        feedback_constraint: Constraint of feedback weights that learn; likewise.

    Input shape:
        `(batch, ..., in)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: For "dfa" (see `tf_alignment.convert`), for an unknown id, with LoRA, under a
            quantized dtype policy, and, when it is built, for feedback weights that came out equal
            to the kernel because one function or object without a seed made both.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(8, activation="relu", feedback="fa")
    >>> layer(tf.ones((2, 4))).shape
    TensorShape([2, 8])
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (4, 8)
    """
    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class DepthwiseConv1D(FeedbackLayer, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.DepthwiseConv1D`.

    Args:
        kernel_size, ...: As of `keras.layers.DepthwiseConv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.DepthwiseConv1D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.DepthwiseConv1D(3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class DepthwiseConv2D(FeedbackLayer, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes a feedback kernel instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.DepthwiseConv2D`.

    Args:
        kernel_size, ...: As of `keras.layers.DepthwiseConv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.DepthwiseConv2D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.DepthwiseConv2D(3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel']
    """
    def __init__(
        self,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class EinsumDense(FeedbackLayer, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` whose error travels through feedback weights.

    Args:
        equation, output_shape, ...: As of `keras.layers.EinsumDense`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See `Dense`.

    Input shape, output shape:
        As the equation says.

    Raises:
        ValueError: See `Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.EinsumDense("abc,cd->abd", (None, 8), feedback="kp")
    >>> layer(tf.ones((2, 3, 4))).shape
    TensorShape([2, 3, 8])
    """
    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        gptq_unpacked_column_size: Any = None,
        quantization_config: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class GRUCell(FeedbackLayer, keras.layers.GRUCell):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class GroupQueryAttention(keras.layers.GroupQueryAttention):
    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: Any = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class LSTMCell(FeedbackLayer, keras.layers.LSTMCell):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` whose projections have feedback weights.

    The query, key, value, (gate) and output projections are `EinsumDense` layers with the method
    given; the attention between them has no kernel and passes the error as in Keras.

    Args:
        num_heads, key_dim, ...: As of `keras.layers.MultiHeadAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.MultiHeadAttention`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.MultiHeadAttention(num_heads=2, key_dim=4, feedback="fa")
    >>> x = tf.ones((1, 3, 8))
    >>> layer(x, x).shape
    TensorShape([1, 3, 8])
    >>> [projection.name for projection in layer.projections]
    ['query', 'key', 'value', 'attention_output']
    """
    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: Any = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: Any = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class SeparableConv1D(FeedbackLayer, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes two feedback kernels, depthwise and pointwise, instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.SeparableConv1D`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.SeparableConv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.SeparableConv1D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.SeparableConv1D(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['depthwise_feedback_kernel', 'pointwise_feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class SeparableConv2D(FeedbackLayer, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` whose error travels through feedback weights.

    Forward as in Keras; backward the error passes two feedback kernels, depthwise and pointwise, instead of the forward kernel's. With
    `feedback=None` the layer is `keras.layers.SeparableConv2D`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.SeparableConv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.SeparableConv2D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.SeparableConv2D(4, 3, feedback="fa")
    >>> y = layer(tf.ones((1, 5, 5, 2)))
    >>> sorted(layer.feedback_weights)
    ['depthwise_feedback_kernel', 'pointwise_feedback_kernel']
    """
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] | list[int],
        strides: int | tuple[int, ...] | list[int] = (1, 1),
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: int | tuple[int, ...] | list[int] = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class SimpleRNN(keras.layers.SimpleRNN):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class SimpleRNNCell(FeedbackLayer, keras.layers.SimpleRNNCell):
    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        *,
        feedback: Any = None,
        feedback_initializer: Any = "glorot_uniform",
        feedback_regularizer: Any = None,
        feedback_constraint: Any = None,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class TimeDistributed(keras.layers.TimeDistributed):
    def __init__(
        self,
        layer: Any,
        *,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

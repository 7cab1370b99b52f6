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
    "ReversibleEmbedding",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "TimeDistributed",
    "feedback_layers",
]

class GRU(keras.layers.GRU):
    """`keras.layers.GRU` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.GRU`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        units, ...: As of `keras.layers.GRU`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.GRU`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.GRUCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.GRU(4, feedback="fa")
    >>> layer(tf.ones((1, 3, 2))).shape
    TensorShape([1, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.LSTM` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.LSTM`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        units, ...: As of `keras.layers.LSTM`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.LSTM`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.LSTMCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.LSTM(4, feedback="fa")
    >>> layer(tf.ones((1, 3, 2))).shape
    TensorShape([1, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    r"""`keras.layers.BatchNormalization`, computed by TensorFlow's fused operation.

    With mean μ and variance σ² of the batch in training, and the moving averages otherwise,

    $$ y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta $$

    Arguments, weights, moving averages (of the variance without Bessel's correction) and files are
    those of Keras; outputs and gradients agree to rounding, not bit for bit. Half-precision
    inputs stay in half precision, where Keras makes a copy in float32; statistics are in float32.

    Keras' own computation is used for what the fused operation does not offer: inputs with a mask,
    another axis than the last, batch renormalisation, float64, and `synchronized=True` with
    several replicas. A method of feedback has no part in it: the layer has no feedback weights, and
    its error goes through γ.

    Args:
        axis, momentum, epsilon, ...: As of `keras.layers.BatchNormalization`.

    Input shape, output shape:
        `(batch, ..., channels)`, or with the channels on `axis`.

    Raises:
        ValueError: As of `keras.layers.BatchNormalization`.

    Reference: Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by
    reducing internal covariate shift", algorithm 1.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.BatchNormalization(momentum=0.9)
    >>> y = layer(tf.random.normal((8, 4, 4, 3), mean=5.0), training=True)
    >>> bool(tf.abs(tf.reduce_mean(y)) < 1e-4)
    True
    """
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
    """`keras.layers.ConvLSTM1D` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.ConvLSTM1D`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.ConvLSTM1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.ConvLSTM1D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.LSTMCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ConvLSTM1D(4, 3, feedback="fa")
    >>> layer(tf.ones((1, 3, 5, 2))).shape
    TensorShape([1, 3, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.ConvLSTM2D` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.ConvLSTM2D`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.ConvLSTM2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.ConvLSTM2D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.LSTMCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ConvLSTM2D(4, 3, feedback="fa")
    >>> layer(tf.ones((1, 3, 5, 5, 2))).shape
    TensorShape([1, 3, 3, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.ConvLSTM3D` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.ConvLSTM3D`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        filters, kernel_size, ...: As of `keras.layers.ConvLSTM3D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.ConvLSTM3D`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.LSTMCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ConvLSTM3D(4, 3, feedback="fa")
    >>> layer(tf.ones((1, 3, 5, 5, 5, 2))).shape
    TensorShape([1, 3, 3, 3, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.GRUCell` whose errors travel through feedback weights.

    Forward as in Keras. Backward as `tf_alignment.layers.LSTMCell`.

    Args:
        units, ...: As of `keras.layers.GRUCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: `(batch, features)`, the input of one time step.
        states: The state, `(batch, units)`, or a list of it.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.LSTMCell`; also with `reset_after=False`, where the
            candidate gets an input of its own.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> layer = keras.layers.RNN(ta.layers.GRUCell(8, feedback="sa"), return_sequences=True)
    >>> layer(tf.ones((2, 5, 4))).shape
    TensorShape([2, 5, 8])
    """
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
    """`keras.layers.GroupQueryAttention` whose projections have feedback weights.

    As `tf_alignment.layers.MultiHeadAttention`, with fewer heads for keys and values than for
    queries.

    Args:
        head_dim, num_query_heads, ...: As of `keras.layers.GroupQueryAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        As of `keras.layers.GroupQueryAttention`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.GroupQueryAttention(4, 4, 2, feedback="fa")
    >>> x = tf.ones((1, 3, 8))
    >>> layer(x, x).shape
    TensorShape([1, 3, 8])
    >>> [tuple(projection.kernel.shape) for projection in layer.projections]
    [(8, 4, 4), (8, 2, 4), (8, 2, 4), (4, 4, 8)]
    """
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
    """`keras.layers.LSTMCell` whose errors travel through feedback weights.

    Forward as in Keras. Backward the errors of all gates pass the feedback kernels of the input
    kernel, on their way down, and of the recurrent kernel, on their way back in time; the memory
    `c(t) = f c(t−1) + i g` has no kernel and passes its error as in Keras.

    Args:
        units, ...: As of `keras.layers.LSTMCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: `(batch, features)`, the input of one time step.
        states: `[h, c]`, each `(batch, units)`.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; and for a method with a `send` of its own where
            gates get inputs of their own (`implementation=1`, `recurrent_dropout`).

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> cells = [ta.layers.LSTMCell(8, feedback="kp"), ta.layers.LSTMCell(4, feedback="kp")]
    >>> keras.layers.RNN(cells)(tf.ones((2, 5, 3))).shape
    TensorShape([2, 4])
    """
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

class ReversibleEmbedding(FeedbackLayer, keras.layers.ReversibleEmbedding):
    """`keras.layers.ReversibleEmbedding` whose reverse product sends its error through feedback.

    The lookup sends no error and stays as it is. Called with `reverse=True`, the layer computes
    logits `z = x Eᵀ` as in Keras, E the embeddings; backward `dx = δ B`, B of the shape of E.
    With `tie_weights=False` a kernel K takes the place of Eᵀ, and B has the shape of K.

    Feedback weights that get the gradient of E, as Kolen-Pollack's do, get that of the lookup too:
    B comes to E only if both are changed alike. Other rules see the reverse product alone.

    Args:
        input_dim, output_dim, ...: As of `keras.layers.ReversibleEmbedding`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape:
        `(batch, ...)`, integers; with `reverse=True` `(batch, ..., output_dim)`.

    Output shape:
        `(batch, ..., output_dim)`; with `reverse=True` `(batch, ..., input_dim)`.

    Call arguments:
        inputs: A tensor.
        reverse: Whether to project onto the rows instead of looking rows up.
        training: Whether feedback that learns by alignment does so.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.ReversibleEmbedding(9, 4, feedback="fa")
    >>> layer(layer(tf.constant([[1, 2]])), reverse=True).shape
    TensorShape([1, 2, 9])
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (9, 4)
    """
    def __init__(
        self,
        input_dim: Any,
        output_dim: Any,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: Any = None,
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
    """`keras.layers.SimpleRNN` whose errors travel through feedback weights, down and in time.

    With `feedback=None` the layer is `keras.layers.SimpleRNN`, fast kernels included. The layer itself has
    no weights; those of its cell, and their feedback weights, are in `layer.cell`.

    Args:
        units, ...: As of `keras.layers.SimpleRNN`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        As of `keras.layers.SimpleRNN`.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.SimpleRNNCell`.

    Example:

    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.SimpleRNN(4, feedback="fa")
    >>> layer(tf.ones((1, 3, 2))).shape
    TensorShape([1, 4])
    >>> sorted(layer.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.SimpleRNNCell` whose errors travel through feedback weights.

    Forward `h(t) = φ(x(t) W + b + h(t−1) U)` as in Keras. Backward `dx(t) = δ(t) Bᵀ` and
    `dh(t−1) = δ(t) Cᵀ`, with feedback kernels B for the input kernel W and C for the recurrent
    kernel U. With both equal to the forward kernels that is backpropagation through time.

    Args:
        units, ...: As of `keras.layers.SimpleRNNCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Call arguments:
        sequence: `(batch, features)`, the input of one time step.
        states: The state, `(batch, units)`, or a list of it.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; and for a method with a `send` of its own.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> layer = keras.layers.RNN(ta.layers.SimpleRNNCell(8, feedback="fa"))
    >>> layer(tf.ones((2, 5, 4))).shape
    TensorShape([2, 8])
    >>> sorted(layer.cell.feedback_weights)
    ['input_feedback_kernel', 'recurrent_feedback_kernel']
    """
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
    """`keras.layers.TimeDistributed` that calls its layer once, on all steps at once.

    Time is folded into the batch: `(batch, time, ...)` becomes `(batch · time, ...)` for the layer
    and is unfolded again. Keras' own calls the layer once a step, and where the number of steps is
    unknown maps it with `vectorized_map`, which drops custom gradients. The outputs are the same
    for every layer that treats the examples of a batch one by one. Batch normalisation takes its
    statistics over all steps; feedback weights that learn by alignment see all steps.

    Args:
        layer: The layer to apply to every step, with feedback or without.

    Input shape:
        `(batch, time, ...)`; both may be unknown.

    Output shape:
        `(batch, time, ...)`.

    Call arguments:
        inputs: A tensor.
        training: Handed to the layer, if it takes it.
        mask: Boolean, `(batch, time, ...)`; folded and handed to the layer, if it takes one.

    Raises:
        ValueError: As `keras.layers.TimeDistributed`, for a mask of other examples or steps too.

    Example:
    >>> import keras, tf_alignment as ta
    >>> inputs = keras.Input((None, 4))
    >>> x = ta.layers.TimeDistributed(ta.layers.Dense(3, feedback="fa"))(inputs)
    >>> x.shape
    (None, None, 3)
    """
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

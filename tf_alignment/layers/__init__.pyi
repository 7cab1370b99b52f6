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
    "RNN",
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

    With `feedback=None` the layer behaves like `keras.layers.GRU`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        units, ...: Arguments of `keras.layers.GRU`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.GRU`.

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

    With `feedback=None` the layer behaves like `keras.layers.LSTM`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        units, ...: Arguments of `keras.layers.LSTM`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.LSTM`.

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

class RNN(keras.layers.RNN):
    """`keras.layers.RNN` that tells its cells which time steps a mask hides.

    Rules that learn by alignment from what a cell receives are applied once per forward pass. Here
    they use the first time step of each example that the mask does not hide; cells in
    `keras.layers.RNN` use the first time step of the batch, which in sequences padded in front is
    padding. The outputs are those of `keras.layers.RNN`. `tf_alignment.convert` exchanges Keras'
    layer for this one where its cells need it.

    Args:
        cell, ...: Arguments of `keras.layers.RNN`; a cell with feedback or without, or a list of
            cells.

    Input shape, output shape:
        The same as in `keras.layers.RNN`.

    Raises:
        ValueError: See `keras.layers.RNN`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.RNN(ta.layers.GRUCell(4, feedback="aa"))
    >>> mask = tf.constant([[False, True, True], [True, True, True]])
    >>> layer(tf.ones((2, 3, 5)), mask=mask).shape
    TensorShape([2, 4])
    """
    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        name: str | None = ...,
        dtype: Any = ...,
        trainable: bool = ...,
        autocast: bool = ...,
        activity_regularizer: Any = ...,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class BatchNormalization(keras.layers.BatchNormalization):
    r"""`keras.layers.BatchNormalization`, computed by TensorFlow's fused operation.

    With mean μ and variance σ² of the batch in training, and the moving averages otherwise,

    $$ y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta $$

    Arguments, weights, moving averages (of the variance without Bessel's correction) and files are
    the same as in Keras. Outputs and gradients agree to rounding, not bit for bit. Half-precision
    inputs stay in half precision, whereas Keras copies them to float32; statistics are in float32.

    Keras' own computation is used where the fused operation cannot be: inputs with a mask, an axis
    other than the last, batch renormalisation, float64, and `synchronized=True` with several
    replicas. The layer has no feedback weights; its error passes γ, with every feedback method.

    Args:
        axis, momentum, epsilon, ...: Arguments of `keras.layers.BatchNormalization`.

    Input shape, output shape:
        `(batch, ..., channels)`, or with the channels on `axis`.

    Raises:
        ValueError: For the arguments that `keras.layers.BatchNormalization` refuses.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv1D`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv1D`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv1DTranspose`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv1DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv1DTranspose`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv2D`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv2D`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv2DTranspose`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv2DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv2DTranspose`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv3D`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv3D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv3D`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.Conv3DTranspose`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.Conv3DTranspose`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.Conv3DTranspose`.

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

    With `feedback=None` the layer behaves like `keras.layers.ConvLSTM1D`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.ConvLSTM1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.ConvLSTM1D`.

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

    With `feedback=None` the layer behaves like `keras.layers.ConvLSTM2D`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.ConvLSTM2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.ConvLSTM2D`.

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

    With `feedback=None` the layer behaves like `keras.layers.ConvLSTM3D`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.ConvLSTM3D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.ConvLSTM3D`.

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

    The forward pass is `y = activation(x W + b)` as in Keras. In the backward pass the error is
    `dx = δ Bᵀ`; the feedback method decides what B is. With `feedback=None` the layer behaves like
    `keras.layers.Dense`.

    Args:
        units, ...: Arguments of `keras.layers.Dense`.
        feedback: Feedback method: `None`, a string id (`tf_alignment.feedback.METHODS`) or a
            `tf_alignment.feedback.Feedback` object.
        feedback_initializer: Initializer of the feedback weights, which gets a seed of its own.
            `None` takes the kernel's initializer.
        feedback_regularizer: Regularizer of feedback weights that learn; by default none, for KP
            and PFA the kernel's regularizer.
        feedback_constraint: Constraint of feedback weights that learn; by default none, for KP and
            PFA the kernel's constraint.

    Input shape:
        `(batch, ..., in)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: For "dfa" (see `tf_alignment.convert`), for an unknown id, with LoRA, under a
            quantized dtype policy, and, when the layer is built, for feedback weights that equal
            the kernel because one function or object without a seed has drawn both.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.DepthwiseConv1D`.

    Args:
        kernel_size, ...: Arguments of `keras.layers.DepthwiseConv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.DepthwiseConv1D`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes a feedback kernel. With
    `feedback=None` the layer behaves like `keras.layers.DepthwiseConv2D`.

    Args:
        kernel_size, ...: Arguments of `keras.layers.DepthwiseConv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.DepthwiseConv2D`.

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
        equation, output_shape, ...: Arguments of `keras.layers.EinsumDense`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See `Dense`.

    Input shape, output shape:
        Shapes that the equation gives.

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

    The forward pass is the same as in Keras, the backward pass the same as in
    `tf_alignment.layers.LSTMCell`.

    Args:
        units, ...: Arguments of `keras.layers.GRUCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: Input of one time step, `(batch, features)`.
        states: State `(batch, units)`, or a list with the state.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.LSTMCell`; also with `reset_after=False`, since the
            candidate then has a separate input.

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

    The layer is like `tf_alignment.layers.MultiHeadAttention`, with fewer heads for keys and values
    than for queries.

    Args:
        head_dim, num_query_heads, ...: Arguments of `keras.layers.GroupQueryAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.GroupQueryAttention`.

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

    The forward pass is the same as in Keras. In the backward pass the errors of all gates pass the
    feedback kernel of the input kernel on their way down, and the feedback kernel of the recurrent
    kernel on their way back in time. The memory `c(t) = f c(t−1) + i g` has no kernel and passes
    its error as in Keras.

    Args:
        units, ...: Arguments of `keras.layers.LSTMCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.SimpleRNNCell`.

    Call arguments:
        inputs: Input of one time step, `(batch, features)`.
        states: States `[h, c]`, each `(batch, units)`.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; also for a method with a `send` of its own if
            the gates have separate inputs (`implementation=1`, `recurrent_dropout`).

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

    The projections of query, key, value, gate (if there is one) and output are `EinsumDense` layers
    with the given method. The attention between the projections has no kernel and passes the error
    as in Keras.

    Args:
        num_heads, key_dim, ...: Arguments of `keras.layers.MultiHeadAttention`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.MultiHeadAttention`.

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
        input_dim, output_dim, ...: Arguments of `keras.layers.ReversibleEmbedding`.
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
        ValueError: See `tf_alignment.layers.Dense`; before Keras 3.12, which has no such layer.

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

    The forward pass is the same as in Keras. In the backward pass the error passes two feedback kernels, depthwise and pointwise. With
    `feedback=None` the layer behaves like `keras.layers.SeparableConv1D`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.SeparableConv1D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.SeparableConv1D`.

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

    The forward pass is the same as in Keras. In the backward pass the error passes two feedback kernels, depthwise and pointwise. With
    `feedback=None` the layer behaves like `keras.layers.SeparableConv2D`.

    Args:
        filters, kernel_size, ...: Arguments of `keras.layers.SeparableConv2D`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`.

    Input shape, output shape:
        The same as in `keras.layers.SeparableConv2D`.

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

    With `feedback=None` the layer behaves like `keras.layers.SimpleRNN`, including its fast kernels. All
    weights, forward and feedback, belong to the cell, `layer.cell`.

    Args:
        units, ...: Arguments of `keras.layers.SimpleRNN`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Input shape, output shape:
        The same as in `keras.layers.SimpleRNN`.

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

    The forward pass is `h(t) = φ(x(t) W + b + h(t−1) U)` as in Keras. In the backward pass the
    errors are `dx(t) = δ(t) Bᵀ` and `dh(t−1) = δ(t) Cᵀ`, with a feedback kernel B for the input
    kernel W and a feedback kernel C for the recurrent kernel U. If B = W and C = U, this is
    backpropagation through time.

    Args:
        units, ...: Arguments of `keras.layers.SimpleRNNCell`.
        feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
            `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

    Call arguments:
        sequence: Input of one time step, `(batch, features)`.
        states: State `(batch, units)`, or a list with the state.
        training: Whether dropout is applied.

    Raises:
        ValueError: See `tf_alignment.layers.Dense`; also for a method with a `send` of its own.

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
    """`keras.layers.TimeDistributed` that calls its layer once, on all time steps together.

    Time is folded into the batch: the layer receives `(batch · time, ...)` in place of
    `(batch, time, ...)`, and its output is unfolded again. Keras' version calls the layer once per
    time step; if the number of steps is unknown, it uses `vectorized_map`, which drops custom
    gradients. The outputs are the same for every layer that treats the examples of a batch
    independently. Batch normalisation takes its statistics over all time steps, and feedback
    weights that learn by alignment learn from all time steps.

    Args:
        layer: Layer to apply to every time step, with feedback or without.

    Input shape:
        `(batch, time, ...)`; the sizes of batch and time may be unknown.

    Output shape:
        `(batch, time, ...)`.

    Call arguments:
        inputs: Tensor `(batch, time, ...)`.
        training: Training mode, which is passed to the layer if its `call` has this argument.
        mask: Boolean tensor `(batch, time, ...)`, which is folded and passed to the layer if its
            `call` has this argument.

    Raises:
        ValueError: For inputs that `keras.layers.TimeDistributed` refuses, and for a mask with
            another number of examples or steps.

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

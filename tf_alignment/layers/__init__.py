"""Drop-in Keras layers whose error travels through feedback weights."""

from tf_alignment.layers.attention import GroupQueryAttention, MultiHeadAttention
from tf_alignment.layers.base import FeedbackLayer
from tf_alignment.layers.convolutional import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)
from tf_alignment.layers.core import Dense, EinsumDense
from tf_alignment.layers.embedding import ReversibleEmbedding
from tf_alignment.layers.inspection import feedback_layers
from tf_alignment.layers.normalization import BatchNormalization
from tf_alignment.layers.recurrent import (
    GRU,
    LSTM,
    RNN,
    ALIFCell,
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    GRUCell,
    LeakyRNNCell,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
)
from tf_alignment.layers.wrappers import TimeDistributed

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

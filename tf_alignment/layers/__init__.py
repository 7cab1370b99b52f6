"""Drop-in Keras layers whose error travels through feedback weights."""

from tf_alignment.layers.attention import MultiHeadAttention
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
from tf_alignment.layers.inspection import feedback_layers
from tf_alignment.layers.wrappers import TimeDistributed

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "FeedbackLayer",
    "MultiHeadAttention",
    "SeparableConv1D",
    "SeparableConv2D",
    "TimeDistributed",
    "feedback_layers",
]

"""Bilinear maps: the computation of a layer from input and kernel, before bias and activation.

A connection of your own layer needs such a map; see `tf_alignment.maps.base`.
"""

from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.convolution import (
    Convolution,
    DepthwiseConvolution,
    PointwiseConvolution,
    TransposedConvolution,
)
from tf_alignment.maps.dense import Matmul
from tf_alignment.maps.einsum import Einsum

__all__ = [
    "Convolution",
    "DepthwiseConvolution",
    "Einsum",
    "LinearMap",
    "Matmul",
    "PointwiseConvolution",
    "TransposedConvolution",
]

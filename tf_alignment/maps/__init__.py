"""Bilinear maps: what a layer computes from its input and its kernel, before bias and activation.

A layer of one's own gives its connection a map; see `tf_alignment.maps.base`.
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

"""Map of `EinsumDense`, and so of the projections of attention."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.shapes import size

__all__ = ["Einsum"]


class Einsum(LinearMap):
    """Map of `EinsumDense`, whose equation gives the shapes of kernel and input.

    Labels of the kernel are of three kinds: contracted with the input, new in the output, or shared
    by input and output (one independent matrix per value, like the groups of a grouped
    convolution).

    Args:
        equation: Einsum equation `"in,kernel->out"`, as in `keras.layers.EinsumDense`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> heads = ta.maps.Einsum("abc,cde->abde")
    >>> heads.apply(tf.ones((2, 3, 4)), tf.ones((4, 2, 5))).shape
    TensorShape([2, 3, 2, 5])
    """

    def __init__(self, equation: str) -> None:
        self.equation = equation.replace(" ", "")
        left, self.output = self.equation.split("->")
        self.input, self.kernel = left.split(",")
        self.new = [c for c in self.kernel if c in self.output and c not in self.input]
        self.shared = [c for c in self.kernel if c in self.output and c in self.input]

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.einsum(self.equation, x, kernel)

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        sizes = dict(zip(self.kernel, kernel_shape, strict=True))
        more = rank - len(self.input.replace("...", ""))  # the axes of an ellipsis
        labels = self.output.replace("...", "." * more)
        return tuple(sizes.get(label, 1) for label in labels)

    def unit_axes(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i for i, label in enumerate(self.kernel) if label in self.output)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        sizes = zip(self.kernel, kernel_shape, strict=True)
        return size(x) / float(math.prod(n for c, n in sizes if c in self.input))

    def initializer_axes(self) -> dict[str, list[int]]:
        inputs = [i for i, c in enumerate(self.kernel) if c not in self.output]
        outputs = [i for i, c in enumerate(self.kernel) if c in self.new]
        return {"input_axes": inputs, "output_axes": outputs}

"""Bilinear maps: the part of a layer before bias and activation, linear in input and in kernel.

Every method of this library is written once, for all layers, in terms of three products of a
bilinear map `z = x · K`:

    apply(x, K)          z   the forward product, Keras' own operation
    transpose(dz, K, x)  dx  the error sent down, shaped like x; backprop if K is the forward kernel
    outer(x, dz, K)      dK  activity times error, summed over batch and positions, shaped like K

`<apply(x, K), dz> = <x, transpose(dz, K, x)> = <K, outer(x, dz, K)>` holds for every map. The base
class derives `transpose` and `outer` from `apply` with the gradient tape; in a graph the forward
product of the tape is dead code and is never computed. A subclass overrides a product if it knows a
faster way.
"""

from __future__ import annotations

import math

import tensorflow as tf

__all__ = ["LinearMap"]


class LinearMap:
    """Bilinear map `z = x · K`. A subclass defines `apply`; everything else follows.

    Attributes:
        spatial: Whether the kernel acts at many positions of an example.

    Example: a complete map, linear in input and in kernel.
    >>> import tensorflow as tf, tf_alignment as ta
    >>> class Scaled(ta.maps.LinearMap):
    ...     def apply(self, x, kernel):
    ...         return x * kernel
    >>> x, scale = tf.ones((2, 3)), tf.constant([1.0, 2.0, 3.0])
    >>> Scaled().outer(x, x, scale).numpy().tolist()
    [2.0, 2.0, 2.0]
    """

    spatial = False

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Compute `x · K`, bit for bit as the Keras layer does."""
        raise NotImplementedError

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Send `dz` down through `kernel`; the result has the shape of `like`, the input."""
        like = tf.identity(like)  # in the body of a loop the tape does not know what is captured
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(like, kernel)
        return tape.gradient(z, like, output_gradients=dz)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Multiply `x` by `dz`, summed over batch and positions; `like` has the kernel's shape."""
        like = tf.identity(like)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(x, like)
        return tape.gradient(z, like, output_gradients=dz)

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        """Shape of a weight per unit, broadcastable to the response to an input of this rank."""
        return (*[1] * (rank - 1), kernel_shape[-1])

    def unit_axes(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Axes of a kernel that index the units."""
        return (len(kernel_shape) - 1,)

    def units(self, kernel_shape: tuple[int, ...]) -> int:
        """Number of output channels."""
        return math.prod(kernel_shape[i] for i in self.unit_axes(kernel_shape))

    def input_channels(self, kernel_shape: tuple[int, ...]) -> int | None:
        """Number of input channels, if the kernel's shape determines it."""
        return None

    def overlap(self) -> float:
        """Number of output positions that use an input entry, at most and on average."""
        return 1.0

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        """Number of products that `outer(x, z)` sums per entry of the kernel, a float32 scalar.

        It is the number of examples times the number of positions at which the same kernel acts. An
        entry of the kernel connects one input to one response. So for white `x` of variance σ² and
        `z = apply(x, W)`, every map has `E[outer(x, z)] = σ² · pairs · W`. Entries that reach
        beyond a padded border have fewer products; the number is that of entries inside the border.

        `size(z) / size(kernel)` is n/d, with n examples times positions and d inputs per unit: each
        entry of z is one equation for entries of the kernel, also in grouped maps.
        """
        ones = tf.ones_like(x), tf.ones_like(z), tf.zeros(kernel_shape, z.dtype)
        return tf.cast(tf.reduce_max(self.outer(*ones)), tf.float32)

    def initializer_axes(self) -> dict[str, list[int]]:
        """Arguments for the kernel axes of a `VarianceScaling` initializer; empty if not needed."""
        return {}

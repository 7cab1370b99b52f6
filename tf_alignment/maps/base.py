"""Bilinear maps: the part of a layer before bias and activation, linear in input and in kernel.

Every method of this library is written once, for all layers, in terms of three products of a
bilinear map `z = x · K`:

    apply(x, K)       z   the forward product, Keras' own operation
    transpose(dz, K)  dx  sends an error down; backprop when K is the forward kernel, x's shape
    outer(x, dz)      dK  pairs activity with error, summed over batch and positions, K's shape

`<apply(x, K), dz> = <x, transpose(dz, K)> = <K, outer(x, dz)>` holds for every map. The base class
derives the two companions from `apply` with the gradient tape; in a graph the tape's forward
product is dead code and is never computed. A subclass overrides one where it knows a faster way.
"""

from __future__ import annotations

import math

import tensorflow as tf

__all__ = ["LinearMap"]


class LinearMap:
    """A bilinear map `z = x · K`. Subclasses give `apply`; everything else follows.

    Attributes:
        spatial: Whether the kernel acts at many positions of an example.

    Example: a map that is linear in both, and needs nothing else.
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
        """`x · K`, bit for bit what the Keras layer computes."""
        raise NotImplementedError

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Send `dz` down through `kernel`; the result has the shape of `like`, the input."""
        like = tf.identity(like)  # in the body of a loop the tape does not know what is captured
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(like, kernel)
        return tape.gradient(z, like, output_gradients=dz)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Pair `x` with `dz`, summed over batch and positions; `like` has the kernel's shape."""
        like = tf.identity(like)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(x, like)
        return tape.gradient(z, like, output_gradients=dz)

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        """Shape of a weight per unit, broadcastable to the response to an input of this rank."""
        return (*[1] * (rank - 1), kernel_shape[-1])

    def unit_axes(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes of a kernel that tell the units apart."""
        return (len(kernel_shape) - 1,)

    def units(self, kernel_shape: tuple[int, ...]) -> int:
        """Number of output channels."""
        return math.prod(kernel_shape[i] for i in self.unit_axes(kernel_shape))

    def input_channels(self, kernel_shape: tuple[int, ...]) -> int | None:
        """Number of input channels, where the kernel alone tells."""
        return None

    def overlap(self) -> float:
        """In how many output positions an input entry takes part, at most and on average."""
        return 1.0

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        """How many products `outer(x, z)` sums up for an entry of the kernel, a float32 scalar.

        These are the examples, times the positions of an example at which the same kernel acts. An
        entry of the kernel is all that a pair of an input and a response shares. So white `x` of
        variance σ², with `z = apply(x, W)`, gives `E[outer(x, z)] = σ² · pairs · W` in every map.
        Entries that reach beyond a padded border pair less often; counted are those that never do.

        `size(z) / size(kernel)` is then n/d, of n examples times positions and d inputs of a unit:
        every entry of z is one equation for the entries of the kernel, in whatever groups.
        """
        ones = tf.ones_like(x), tf.ones_like(z), tf.zeros(kernel_shape, z.dtype)
        return tf.cast(tf.reduce_max(self.outer(*ones)), tf.float32)

    def initializer_axes(self) -> dict[str, list[int]]:
        """Kernel axes that a `VarianceScaling` initializer cannot guess; empty if it can."""
        return {}

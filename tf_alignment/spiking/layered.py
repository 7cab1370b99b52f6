"""A network of layers of sampling neurons, with forward and feedback synapses between them.

Layers are nodes of a tree, connections its edges; every connection has a forward kernel W, from the
lower layer to the upper, and a feedback kernel B back. Layers at even depth have synapses with
layers at odd depth alone. So all even layers side by side and all odd layers side by side make a
network of two parts, and a step of all of them takes two matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_alignment.spiking.arguments import integer
from tf_alignment.spiking.sampling import Potential

__all__ = ["LayeredNetwork"]


class LayeredNetwork:
    """Which layers there are and what connects them.

    Args:
        sizes: Neurons of each layer, the lowest layer first.
        connections: `(lower, upper)` indices of layers; every layer but the first is the upper one
            of exactly one connection, and comes as such before it is the lower one of others. By
            default each layer is connected with the next.

    Raises:
        ValueError: For sizes below 1, or if the connections do not make a tree.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking import LayeredNetwork
    >>> network = LayeredNetwork([3, 2, 4])
    >>> kernels = [tf.ones((3, 2)), 2 * tf.ones((2, 4))]
    >>> potential = network.potential(kernels, kernels, [tf.zeros(n) for n in network.sizes])
    >>> psp = network.join([tf.constant([[1.0, 0.0, 0.0]]), tf.ones((1, 2)), tf.zeros((1, 4))])
    >>> [u.numpy().tolist() for u in network.split(potential(psp))]
    [[[2.0, 2.0, 2.0]], [[1.0, 1.0]], [[4.0, 4.0, 4.0, 4.0]]]
    """

    def __init__(
        self, sizes: Sequence[int], connections: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.sizes = tuple(integer("sizes", size) for size in sizes)
        if connections is None:
            connections = [(i, i + 1) for i in range(len(self.sizes) - 1)]
        self.connections = tuple((int(lower), int(upper)) for lower, upper in connections)
        depth = {0: 0}
        for lower, upper in self.connections:
            if lower not in depth or upper in depth or not 0 < upper < len(self.sizes):
                break
            depth[upper] = depth[lower] + 1
        if len(depth) != len(self.sizes) or len(self.connections) != len(self.sizes) - 1:
            raise ValueError(
                "Argument `connections` must reach every layer once, from layer 0 on, and lead on "
                "only from layers that were reached. "
                f"Received: sizes={self.sizes}, connections={self.connections}"
            )
        self._halves = tuple([i for i in depth if depth[i] % 2 == odd] for odd in (0, 1))
        self._order = sorted(self._halves[0]) + sorted(self._halves[1])
        self._halves = sorted(self._halves[0]), sorted(self._halves[1])
        self._even = sum(self.sizes[i] for i in self._halves[0])

    @property
    def neurons(self) -> int:
        """Number of all neurons."""
        return sum(self.sizes)

    def join(self, layers: Sequence[tf.Tensor]) -> tf.Tensor:
        """Put tensors `(..., n)`, one a layer, side by side in the network's own order."""
        return tf.concat([layers[i] for i in self._order], -1)

    def split(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """The parts of a tensor `(..., neurons)` that belong to each layer."""
        parts = tf.split(tensor, [self.sizes[i] for i in self._order], -1)
        return [parts[self._order.index(i)] for i in range(len(self.sizes))]

    def potential(
        self,
        kernels: Sequence[tf.Tensor],
        feedback: Sequence[tf.Tensor],
        biases: Sequence[tf.Tensor],
    ) -> Potential:
        """What every neuron receives.

        Args:
            kernels: W of each connection, `(lower, upper)`.
            feedback: B of each connection, `(lower, upper)`.
            biases: Of each layer, `(n,)`.

        Returns:
            A function from PSPs, `(networks, neurons)`, to potentials of the same shape.
        """
        towards: dict[tuple[int, int], tf.Tensor] = {}
        for (lower, upper), w, b in zip(self.connections, kernels, feedback, strict=True):
            towards[lower, upper], towards[upper, lower] = w, tf.transpose(b)
        to_odd, to_even = (
            self._block(towards, *halves) for halves in (self._halves, self._halves[::-1])
        )
        bias = self.join(biases)

        def potential(psp: tf.Tensor) -> tf.Tensor:
            even, odd = psp[:, : self._even], psp[:, self._even :]
            return bias + tf.concat([tf.matmul(odd, to_even), tf.matmul(even, to_odd)], 1)

        return potential

    def _block(
        self, towards: dict[tuple[int, int], tf.Tensor], sources: list[int], targets: list[int]
    ) -> tf.Tensor:
        """The matrix from one half to the other; zeros where nothing leads."""
        rows = [
            [towards.get((i, j), tf.zeros((self.sizes[i], self.sizes[j]))) for j in targets]
            for i in sources
        ]
        return tf.concat([tf.concat(row, 1) for row in rows], 0)

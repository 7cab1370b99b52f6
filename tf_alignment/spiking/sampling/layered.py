"""A network of layers of sampling neurons, with forward and feedback synapses between them.

Every connection has a forward kernel W, from the lower layer to the upper, and a feedback kernel B
back.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_alignment._support.arguments import integers
from tf_alignment.spiking.sampling.neuron import Neuron, Potential, State, initial_state

__all__ = ["LayeredNetwork", "Layers"]

Layers = tuple[tf.Tensor, ...]
"""A tensor of each layer, or of each connection."""


class LayeredNetwork:
    """Sizes of layers, and the connections between them.

    Args:
        sizes: Neurons of each layer.
        connections: `(lower, upper)` indices of layers. By default each layer is connected with the
            next.

    Raises:
        ValueError: For sizes below 1, or connections of layers that are not there.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import LayeredNetwork
    >>> network = LayeredNetwork([3, 2, 4])
    >>> kernels = [tf.ones((3, 2)), 2 * tf.ones((2, 4))]
    >>> potential = network.potential(kernels, kernels, [tf.zeros(n) for n in network.sizes])
    >>> psp = tf.constant([[1.0, 0.0, 0.0]]), tf.ones((1, 2)), tf.zeros((1, 4))
    >>> [u.numpy().tolist() for u in potential(psp)]
    [[[2.0, 2.0, 2.0]], [[1.0, 1.0]], [[4.0, 4.0, 4.0, 4.0]]]
    """

    def __init__(
        self, sizes: Sequence[int], connections: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.sizes = integers("sizes", sizes)
        if connections is None:
            connections = [(i, i + 1) for i in range(len(self.sizes) - 1)]
        try:
            pairs = [integers("connections", pair, 0, length=2) for pair in connections]
            fits = all(i != j and max(i, j) < len(self.sizes) for i, j in pairs)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                "Argument `connections` must be pairs of two indices of `sizes`. "
                f"Received: sizes={self.sizes}, connections={connections!r}"
            )
        self.connections = tuple((i, j) for i, j in pairs)

    def initial_state(self, chains: int, neuron: Neuron) -> State:
        """Neurons of independent networks, all of which have not spiked for a long time.

        Args:
            chains: Number of networks that run in parallel.
            neuron: Constants of the neurons.
        """
        states = [initial_state((chains, n), neuron) for n in self.sizes]
        travelling = zip(*(s.travelling for s in states), strict=True)
        return State(tuple(s.age for s in states), tuple(travelling))

    def potential(
        self,
        kernels: Sequence[tf.Tensor],
        feedback: Sequence[tf.Tensor],
        biases: Sequence[tf.Tensor],
        resting: float = 0.0,
    ) -> Potential:
        """Input of every neuron.

        Args:
            kernels: W of each connection, `(lower, upper)`.
            feedback: B of each connection, `(lower, upper)`.
            biases: Biases of each layer, `(n,)`.
            resting: PSPs count by how much they are above this.

        Returns:
            A function from PSPs of each layer, `(networks, n)`, to potentials of the same shapes.
        """
        back = [tf.transpose(b) for b in feedback]

        def total(psp: Sequence[tf.Tensor], biases: Sequence[tf.Tensor]) -> Layers:
            found = list(biases)
            for (lower, upper), w, b in zip(self.connections, kernels, back, strict=True):
                found[upper] += tf.matmul(psp[lower], w)
                found[lower] += tf.matmul(psp[upper], b)
            return tuple(found)

        # all that rests is a bias: computed once, not in every step
        biases = total([tf.fill((1, n), -resting) for n in self.sizes], biases)
        return lambda psp: total(psp, biases)

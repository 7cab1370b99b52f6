"""A connection that acts at every time step: what belongs to weights alone is made once a pass.

A loss that is added inside the body of a loop is lost, and what is computed there is computed at
every step. So a cell reads its kernels, couples them to their followers (Kolen-Pollack), makes what
carries the error and lets B align before the loop begins; the loop multiplies.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tf_alignment import ops
from tf_alignment import probe as probing
from tf_alignment._support import watching
from tf_alignment.feedback.base import Backward
from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.dense import Matmul

if TYPE_CHECKING:
    from tf_alignment.layers.connection import Connection

__all__ = ["EveryStep", "Pass", "Plain", "Steps", "in_loop"]

_CARRIER = "carrier"
Response = Callable[[tf.Tensor], tf.Tensor]


class EveryStep(Matmul):
    """`Dense` at every time step: one kernel at many positions of an example."""

    spatial = True


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """The forward product of a connection, to be taken at every time step of one forward pass.

    Attributes:
        connection: The connection.
        kernel: Forward kernel, coupled to its follower, in the compute dtype; or some of its gates.
        stored: The method's weights as they are stored.
        weights: What the backward pass uses: the carrier alone, or all weights of the method.
        seed: Of a random method.
        add_bias, activation: The gates' bias and activation, for rules that see the response.
        backprop: Whether the error goes through the forward kernel's transpose, for a probe.
    """

    connection: Connection
    kernel: tf.Tensor
    stored: dict[str, tf.Tensor]
    weights: dict[str, tf.Tensor]
    seed: tf.Tensor | None
    backprop: bool
    add_bias: Response
    activation: Response

    @classmethod
    def begin(
        cls,
        connection: Connection,
        training: bool | None,
        add_bias: Response,
        activation: Response,
    ) -> Steps:
        """Read a connection's weights, outside of the loop."""
        watching.note("called", connection)
        layer, look = connection.layer, probing.current()
        method = layer.feedback
        kernel = tf.convert_to_tensor(connection.kernel)
        if look is not None and look.backprop:
            return cls(connection, kernel, {}, {}, None, True, add_bias, activation)
        stored = connection.stored()
        seed = layer.draw_seed(training) if method.random else None
        coupled = method.couple(kernel, stored, connection.map)
        with tf.control_dependencies(list(stored.values())):  # as in `Connection.run`
            coupled = tf.identity(coupled)
        weights = {name: tf.cast(weight, kernel.dtype) for name, weight in stored.items()}
        empty = tf.zeros((0,), kernel.dtype)
        carrier = method.carrier(Backward(connection.map, empty, kernel, weights, seed))
        if carrier is not None:
            weights = {_CARRIER: tf.stop_gradient(carrier)}
        return cls(connection, coupled, stored, weights, seed, False, add_bias, activation)

    def parts(self, sizes: list[int]) -> list[Steps]:
        """The gates that get an input of their own, by their numbers of output channels."""
        if len(sizes) == 1:
            return [self]
        kernels = tf.split(self.kernel, sizes, axis=-1)
        if self.backprop:
            return [dataclasses.replace(self, kernel=kernel) for kernel in kernels]
        carriers = tf.split(self.weights[_CARRIER], sizes, axis=-1)
        return [
            dataclasses.replace(self, kernel=kernel, weights={_CARRIER: carrier})
            for kernel, carrier in zip(kernels, carriers, strict=True)
        ]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`x · W` at one time step, with the method's backward pass."""
        linear_map = self.connection.map
        if self.backprop:
            return linear_map.apply(x, self.kernel)
        z = linear_map.apply(tf.stop_gradient(x), self.kernel)
        return ops.send_error(z, x, self.weights, functools.partial(self._send, z))

    def _send(
        self, z: tf.Tensor, dz: tf.Tensor, x: tf.Tensor, weights: ops.Tensors
    ) -> tuple[tf.Tensor, ops.Gradients]:
        watching.note("sent", self.connection)
        linear_map = self.connection.map
        if _CARRIER in weights:
            return linear_map.transpose(dz, weights[_CARRIER], x), {}
        layer: Any = self.connection.layer
        signal = layer.read_modulator()
        c = Backward(
            linear_map,
            x,
            self.kernel,
            weights,
            self.seed,
            z,
            self.add_bias,
            self.activation,
            signal,
        )
        return layer.feedback.send(c, dz)


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
    """A forward product without feedback weights, as `Steps`.

    Attributes:
        map: The bilinear map.
        kernel: Forward kernel.
        cut: Whether no error is sent on (e-prop's, along a recurrent kernel).
    """

    map: LinearMap
    kernel: tf.Tensor
    cut: bool

    def parts(self, sizes: list[int]) -> list[Plain]:
        """The gates that get an input of their own, by their numbers of output channels."""
        kernels = tf.split(self.kernel, sizes, axis=-1) if len(sizes) > 1 else [self.kernel]
        return [dataclasses.replace(self, kernel=kernel) for kernel in kernels]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`x · W` at one time step."""
        return self.map.apply(tf.stop_gradient(x) if self.cut else x, self.kernel)


class Pass:
    """The things that a cell keeps from the beginning of a loop over time to its end.

    Each thread has its own: a strategy runs a step's replicas in several, in turns.
    """

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def open(self) -> None:
        """A loop is about to begin; what an earlier one left (it may have failed) is gone."""
        self._made[threading.get_ident()] = None

    def is_open(self) -> bool:
        """Whether a loop over time has begun."""
        return threading.get_ident() in self._made

    def close(self) -> None:
        """The loop has ended."""
        self._made.pop(threading.get_ident(), None)

    def held(self) -> Any:
        """The things that the open pass keeps, or None."""
        return self._made.get(threading.get_ident())

    def keep(self, made: Any) -> None:
        """Hold `made` to the end of the loop, if one is open."""
        if self.is_open():
            self._made[threading.get_ident()] = made


def in_loop() -> bool:
    """Whether the body of a TensorFlow loop is being traced."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if "while_body" in getattr(graph, "name", ""):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False

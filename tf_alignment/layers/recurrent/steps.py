"""Connections that act at every time step; what depends on weights alone is done once per pass.

A loss that is added inside the body of a loop is lost, and the body is computed at every time step.
So before the loop begins, a cell reads its kernels, couples them to feedback kernels that follow
them (Kolen-Pollack), computes the kernel that carries the error, and lets B align. The loop only
multiplies.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tf_alignment import ops
from tf_alignment import probe as probing
from tf_alignment._support import watching
from tf_alignment.feedback.base import Backward, Feedback
from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.dense import Matmul

if TYPE_CHECKING:
    from tf_alignment.layers.connection import Connection

__all__ = ["EveryStep", "NoCarrier", "Pass", "Plain", "Steps", "WrongShape", "carrier", "in_loop"]

_CARRIER = "carrier"
Response = Callable[[tf.Tensor], tf.Tensor]


class NoCarrier(ValueError):
    """Raised where gates need one kernel that carries the error, and a method has none."""


class WrongShape(ValueError):
    """Raised if the kernel that carries the error has another shape than the forward kernel."""


class EveryStep(Matmul):
    """Map of `Dense` at every time step: one kernel acts at many positions of an example."""

    spatial = True


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """Forward product of a connection, for every time step of one forward pass.

    Attributes:
        connection: Connection whose product is taken.
        kernel: Forward kernel, or the columns of some of its gates, in the compute dtype; coupled
            to the feedback kernel that follows it.
        stored: Weights of the method as they are stored.
        weights: Weights that the backward pass uses: only the kernel that carries the error, or all
            weights of the method.
        seed: Seed of a random method.
        add_bias, activation: Bias function and activation of the gates, for rules that use the
            response.
        backprop: Whether the error goes through the forward kernel's transpose, for a probe.
        training: Whether the cell is called in training mode.
        sent: Whether an error has come back in this pass, as a list that is empty if not: all parts
            and all time steps share it.
    """

    connection: Connection
    kernel: tf.Tensor
    stored: dict[str, tf.Tensor]
    weights: dict[str, tf.Tensor]
    seed: tf.Tensor | None
    backprop: bool
    add_bias: Response
    activation: Response
    training: bool | None = None
    sent: list[bool] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(
        cls,
        connection: Connection,
        training: bool | None,
        add_bias: Response,
        activation: Response,
    ) -> Steps:
        """Read the weights of a connection, outside the loop."""
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
        through = carrier(method, Backward(connection.map, empty, kernel, weights, seed))
        if through is not None:
            weights = {_CARRIER: tf.stop_gradient(through)}
        return cls(
            connection, coupled, stored, weights, seed, False, add_bias, activation, training
        )

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
        """Compute `x · W` at one time step, with the method's backward pass."""
        linear_map = self.connection.map
        if self.backprop:
            return linear_map.apply(x, self.kernel)
        z = linear_map.apply(tf.stop_gradient(x), self.kernel)
        read = _late(self.connection.layer.modulation)
        return ops.send_error(z, x, self.weights, functools.partial(self._send, z, read))

    def _send(
        self,
        z: tf.Tensor,
        read: Callable[[tf.Tensor], tf.Tensor | None],
        dz: tf.Tensor,
        x: tf.Tensor,
        weights: ops.Tensors,
    ) -> tuple[tf.Tensor, ops.Gradients]:
        watching.note("sent", self.connection)
        if self.training and not self.sent:
            self.sent.append(True)
            self.connection.count_sent()
        linear_map = self.connection.map
        if _CARRIER in weights:
            return linear_map.transpose(dz, weights[_CARRIER], x), {}
        c = Backward(
            linear_map,
            x,
            self.kernel,
            weights,
            self.seed,
            z,
            self.add_bias,
            self.activation,
            read(dz),
        )
        return self.connection.layer.feedback.send(c, dz)


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
    """Forward product without feedback weights, with the interface of `Steps`.

    Attributes:
        map: Bilinear map of input and kernel.
        kernel: Forward kernel.
        cut: Whether no error is sent on, as in e-prop along a recurrent kernel.
    """

    map: LinearMap
    kernel: tf.Tensor
    cut: bool

    def parts(self, sizes: list[int]) -> list[Plain]:
        """The gates that get an input of their own, by their numbers of output channels."""
        kernels = tf.split(self.kernel, sizes, axis=-1) if len(sizes) > 1 else [self.kernel]
        return [dataclasses.replace(self, kernel=kernel) for kernel in kernels]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compute `x · W` at one time step."""
        return self.map.apply(tf.stop_gradient(x) if self.cut else x, self.kernel)


class Pass:
    """Storage of a cell from the beginning of a loop over time to its end.

    Each thread has its own storage, since a strategy traces the replicas of a step in threads.
    """

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._first: dict[int, Any] = {}
        self._told: set[int] = set()

    def open(self) -> None:
        """Open the storage before a loop, and discard what a failed loop may have left."""
        self._made[threading.get_ident()] = None
        if threading.get_ident() not in self._told:
            self._first.pop(threading.get_ident(), None)
        self._told.discard(threading.get_ident())

    def begin_with(self, inputs: Any, above: Sequence[Any]) -> None:
        """Store the inputs from which rules learn, if they are not those of the first step.

        This may be done just before the storage is opened, or after.

        Args:
            inputs: Inputs of one time step, or None for those of the first.
            above: Cells that receive the cell's output, and are to be told likewise.
        """
        self._first[threading.get_ident()] = None if inputs is None else (inputs, above)
        self._told.add(threading.get_ident())

    def first(self) -> Any:
        """What `begin_with` was given, or None."""
        return self._first.get(threading.get_ident())

    def is_open(self) -> bool:
        """Whether a loop over time has begun."""
        return threading.get_ident() in self._made

    def close(self) -> None:
        """Close the storage after the loop."""
        self._made.pop(threading.get_ident(), None)
        self._first.pop(threading.get_ident(), None)
        self._told.discard(threading.get_ident())

    def held(self) -> Any:
        """Object that the open storage keeps, or None."""
        return self._made.get(threading.get_ident())

    def keep(self, made: Any) -> None:
        """Keep `made` until the end of the loop, if the storage is open."""
        if self.is_open():
            self._made[threading.get_ident()] = made


def carrier(method: Feedback, c: Backward) -> tf.Tensor | None:
    """Kernel through which the method sends the errors of all time steps, or None.

    Args:
        method: Feedback method.
        c: Backward pass of the connection, whose `x` is empty.

    Raises:
        WrongShape: If the kernel has another shape than the forward kernel.
    """
    if method.modulated:  # the signal of this step comes only after the forward pass
        return None
    found = method.carrier(c)
    if found is not None and found.shape != c.kernel.shape:
        raise WrongShape(
            f"`feedback_kernel` of {type(method).__name__} must return a tensor of the forward "
            f"kernel's shape, {tuple(c.kernel.shape)}. Received: shape {tuple(found.shape)}"
        )
    return found


def _late(modulation: keras.Variable | None) -> Callable[[tf.Tensor], tf.Tensor | None]:
    """Function of δ that reads a rule's signal in the backward pass of a time step.

    The gradient of a loop cannot refer to a variable that the loop does not refer to, and may read
    it before anything else: only with δ is it known that the loss of this step is in the signal.
    """
    if modulation is None:
        return lambda dz: None
    handle = tf.convert_to_tensor(modulation.value.handle)

    def read(dz: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([dz]):
            return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)[0]

    return read


def in_loop() -> bool:
    """Whether the body of a TensorFlow loop is being traced."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if "while_body" in getattr(graph, "name", ""):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False

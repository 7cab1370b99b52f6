"""Probe that records the inputs and errors of a model's layers, and can perturb the inputs.

A layer looks for an open probe each time it is called. So a probe acts on calls that are *traced or
run inside* its `with` block; a function compiled before the block is not affected.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import tensorflow as tf

from tf_alignment.feedback.base import Activity

__all__ = ["Perturb", "Probe", "Probed", "probe"]


class Probed(Protocol):
    """Interface of a connection that a probe uses.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(2, feedback="fa", name="top")
    >>> layer.build((None, 3))
    >>> [connection.path for connection in layer.connections]
    ['top']
    """

    @property
    def path(self) -> str:
        """Path of the connection; several connections may have the same path."""


Perturb = Callable[[Any, int, tf.Tensor], tf.Tensor]
"""Function `f(connection, call, x)` that returns the input of a connection in place of `x`."""


class Probe:
    """Record of a forward pass, for the gradient tape.

    The keys are the connections themselves (`layer.connections`), since connections in nested
    models may have equal paths.

    Attributes:
        backprop: Whether layers send the error through the transpose of their forward weights.
        inputs: Inputs of each connection, `{connection: [tensor, ...]}` with one tensor per call.
            The gradient of such a tensor is the error that this connection alone sends down. The
            tensor has a gradient only if the layer's input has one, so the tape has to watch the
            input of the model.
        activities: Forward passes of each connection, `{connection: [Activity, ...]}`; empty with
            `backprop`.
        responses: Responses of each connection before the bias, `{connection: [tensor, ...]}`. The
            gradient of such a tensor is δ, the error at the pre-activation. Empty with `backprop`.
        perturb: Function `f(connection, call, x)` that returns the input of the connection in place
            of x, or None.
        tape: Gradient tape that watches inputs and responses, or None.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(2, feedback="fa", name="top")
    >>> with ta.probe.probe() as seen:
    ...     _ = layer(tf.ones((1, 3)))
    >>> {c.path: [tuple(x.shape) for x in calls] for c, calls in seen.inputs.items()}
    {'top': [(1, 3)]}
    """

    def __init__(
        self,
        backprop: bool = False,
        perturb: Perturb | None = None,
        tape: tf.GradientTape | None = None,
    ) -> None:
        self.backprop = backprop
        self.perturb = perturb
        self.tape = tape
        self.inputs: dict[Probed, list[tf.Tensor]] = {}
        self.activities: dict[Probed, list[Activity]] = {}
        self.responses: dict[Probed, list[tf.Tensor]] = {}

    def record(self, connection: Probed, x: Any) -> tf.Tensor:
        """Return a copy of a connection's input, whose gradient is separate."""
        calls = self.inputs.setdefault(connection, [])
        perturb = self.perturb
        calls.append(tf.identity(x) if perturb is None else perturb(connection, len(calls), x))
        if self.tape is not None:
            self.tape.watch(calls[-1])
        return calls[-1]

    def respond(self, connection: Probed, response: tf.Tensor) -> None:
        """Record the response of a connection, and let the tape watch it."""
        self.responses.setdefault(connection, []).append(response)
        if self.tape is not None:
            self.tape.watch(response)


_state = threading.local()


def current() -> Probe | None:
    """Open probe of this thread, or None."""
    return getattr(_state, "probe", None)


@contextlib.contextmanager
def probe(
    backprop: bool = False,
    perturb: Perturb | None = None,
    tape: tf.GradientTape | None = None,
) -> Iterator[Probe]:
    """Record the inputs of layers with feedback, and optionally let them do true backprop.

    Args:
        backprop: Whether every layer that is called inside the block sends the error through the
            transpose of its forward weights, whatever its method.
        perturb: Function `f(connection, call, x)` that returns the input of a connection in place
            of `x`, in the `call`-th call of the connection in a pass.
        tape: Gradient tape that watches inputs and responses of the connections, or None.

    Yields:
        `Probe` object, which is filled as layers are called.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(2, feedback="fa")
    >>> x = tf.ones((1, 3))
    >>> _ = layer(x)
    >>> with ta.probe.probe() as seen, tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     loss = tf.reduce_sum(layer(x))
    >>> [error] = tape.gradient(loss, seen.inputs[layer.connections[0]])
    >>> error.shape
    TensorShape([1, 3])
    """
    outer, inner = current(), Probe(backprop, perturb, tape)
    _state.probe = inner
    try:
        yield inner
    finally:
        _state.probe = outer

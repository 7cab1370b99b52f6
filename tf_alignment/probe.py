"""Looking into a model: what do its layers receive and send, and what if something were added?

A layer consults the open probe each time it is called. So a probe acts on what is *traced or run
inside* its `with` block; a function compiled before the block is not affected.
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
    """A connection, as far as a probe knows it.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(2, feedback="fa", name="top")
    >>> layer.build((None, 3))
    >>> [connection.path for connection in layer.connections]
    ['top']
    """

    @property
    def path(self) -> str:
        """Path of the connection; several may have the same."""


Perturb = Callable[[Any, int, tf.Tensor], tf.Tensor]
"""`f(connection, call, x)`: the input that a connection is to see in place of `x`."""


class Probe:
    """Record of a forward pass, for the gradient tape.

    It goes by the connections themselves (`layer.connections`): two of nested models may have the
    same path.

    Attributes:
        backprop: `True` if layers send the error through the transpose of their forward weights.
        inputs: `{connection: [tensor, ...]}`, the input of each connection, one tensor a
            call. Its gradient is the error that this connection alone sends down; it has one where
            the input does, so the tape has to watch a model's own input.
        activities: `{connection: [Activity, ...]}`, the forward passes of each connection;
            empty with `backprop`.
        responses: `{connection: [tensor, ...]}`, what each connection hands on before the
            bias; its gradient is δ, the error at the pre-activation. Empty with `backprop`.
        perturb: `f(connection, call, x)` gives the input that the connection is to see in place of
            x.
        tape: A tape that is to watch inputs and responses, or None.

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
        """Give a connection a copy of its input that has a gradient of its own."""
        calls = self.inputs.setdefault(connection, [])
        perturb = self.perturb
        calls.append(tf.identity(x) if perturb is None else perturb(connection, len(calls), x))
        if self.tape is not None:
            self.tape.watch(calls[-1])
        return calls[-1]

    def respond(self, connection: Probed, response: tf.Tensor) -> None:
        """Note the response of a connection, and have the tape watch it."""
        self.responses.setdefault(connection, []).append(response)
        if self.tape is not None:
            self.tape.watch(response)


_state = threading.local()


def current() -> Probe | None:
    """The open probe of this thread, or None."""
    return getattr(_state, "probe", None)


@contextlib.contextmanager
def probe(
    backprop: bool = False,
    perturb: Perturb | None = None,
    tape: tf.GradientTape | None = None,
) -> Iterator[Probe]:
    """Record what layers with feedback receive, and optionally let them do true backprop.

    Args:
        backprop: With `True` every layer called inside the block sends the error through the
            transpose of its forward weights, whatever its method.
        perturb: `f(connection, call, x)`, the input that the connection is to see, in its `call`-th
            call of the pass, in place of `x`.
        tape: A tape that is to watch what connections receive and respond.

    Yields:
        A `Probe`, filled as layers are called.

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

"""Loops over time, inside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["moving_sum", "scan"]


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]], state: Any, inputs: Any, like: Any
) -> tuple[Any, Any]:
    """Run `step` over the first axis of `inputs`, in one loop of the graph.

    Args:
        step: `(state, inputs of one step) -> (state, outputs of one step)`.
        state: State before the first step, a structure of tensors of static shape.
        inputs: Tensors `(time, ...)`, in a structure.
        like: Tensors of the shapes and types of a step's outputs, in their structure.

    Returns:
        The state after the last step, and the outputs, each `(time, ...)`.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.loops import scan
    >>> zero = tf.constant(0.0)
    >>> total, sums = scan(lambda s, x: (s + x, s + x), zero, tf.range(4.0), like=zero)
    >>> float(total), sums.numpy().tolist()
    (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    steps = tf.nest.flatten(inputs)[0].shape[0]
    if steps == 1:  # the loop itself would cost as much as its step
        state, new = step(state, tf.nest.map_structure(lambda x: x[0], inputs))
        return state, tf.nest.pack_sequence_as(like, [x[None] for x in tf.nest.flatten(new)])
    found = [tf.TensorArray(x.dtype, steps, element_shape=x.shape) for x in tf.nest.flatten(like)]

    def body(t: tf.Tensor, state: Any, found: list[Any]) -> tuple[tf.Tensor, Any, list[Any]]:
        state, new = step(state, tf.nest.map_structure(lambda x: x[t], inputs))
        flat = tf.nest.flatten(new)
        return t + 1, state, [a.write(t, x) for a, x in zip(found, flat, strict=True)]

    _, state, found = tf.while_loop(
        lambda t, *_: t < steps, body, (0, state, found), maximum_iterations=steps
    )
    return state, tf.nest.pack_sequence_as(like, [array.stack() for array in found])


def moving_sum(x: tf.Tensor, length: int) -> tf.Tensor:
    """Sums over `length` successive entries of the first axis, in log2(length) additions.

    Args:
        x: `(time, ...)`.
        length: At most `time`.

    Returns:
        `(time - length + 1, ...)`, without the rounding that differences of a running sum have.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.loops import moving_sum
    >>> moving_sum(tf.constant([1.0, 2.0, 3.0, 4.0]), 3).numpy().tolist()
    [6.0, 9.0]
    """
    steps = x.shape[0] - length + 1
    total, done, power = None, 0, 1
    while True:
        if length & power:
            part = x[done : done + steps]
            total = part if total is None else total + part
            done += power
        if 2 * power > length:
            return total
        x = x[:-power] + x[power:]
        power *= 2

"""Functions that are compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["traced_once"]


def traced_once(
    function: Callable[..., Any], jit_compile: bool | None = None, autograph: bool = True
) -> Callable[..., Any]:
    """A compiled function whose arguments have the same shapes and types at every call.

    It is traced at its first call. TensorFlow counts together the traces of all functions made at
    the same place, and would warn of retracing where there is one for each of many layers; one that
    is concrete it does not count.

    Args:
        function: A function of tensors, in structures.
        jit_compile: See `tf.function`.
        autograph: See `tf.function`. Off, Python runs the function as it is written, so that
            debuggers and coverage see it; loops and conditions on tensors have to be TensorFlow's
            own.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment._support.tracing import traced_once
    >>> double = traced_once(lambda x: 2 * x)
    >>> [int(double(tf.constant(x))) for x in (1, 2)]
    [2, 4]
    """
    compiled = tf.function(function, jit_compile=jit_compile, autograph=autograph)
    traced: list[Callable[..., Any]] = []

    def call(*given: Any) -> Any:
        if not traced:
            traced.append(compiled.get_concrete_function(*given))
        return traced[0](*given)

    return call

"""Functions that are compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["traced_once"]


def traced_once(
    function: Callable[..., Any], jit_compile: bool | None = None
) -> Callable[..., Any]:
    """Compile a function whose arguments have the same shapes and types at every call.

    The function is traced at its first call. TensorFlow counts the traces of all functions that
    were made at one place in the code together, and would warn of retracing if there is one
    function for each of many layers. Concrete functions are not counted.

    Python runs the function as it is written: AutoGraph, which takes longer to rewrite Keras' code
    than TensorFlow to trace it, is off, as it is in `keras.Model.fit`. Loops and conditions on
    tensors must use TensorFlow's operations.

    Args:
        function: Function of tensors, in structures.
        jit_compile: Whether to compile with XLA, see `tf.function`.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment._support.tracing import traced_once
    >>> double = traced_once(lambda x: 2 * x)
    >>> [int(double(tf.constant(x))) for x in (1, 2)]
    [2, 4]
    """
    compiled = tf.function(function, jit_compile=jit_compile, autograph=False)
    traced: list[Callable[..., Any]] = []

    def call(*given: Any) -> Any:
        if not traced:
            traced.append(compiled.get_concrete_function(*given))
        return traced[0](*given)

    return call

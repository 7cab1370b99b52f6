"""Giving back what models leave behind in a process."""

from __future__ import annotations

import gc

import keras

__all__ = ["clear_session"]


def clear_session() -> None:
    """`keras.utils.clear_session`, and the graphs that TensorFlow would keep for ever.

    TensorFlow registers the custom gradients of every traced function under names of their own and
    never forgets them; each holds the whole graph, of stock models too. Call it between the trials
    of a sweep, when no model of an earlier trial is used any more. Functions that are compiled
    already go on working; what was traced and never differentiated can no longer be.

    Long sweeps are better off in one process a trial: nothing is left then, whatever a trial does.

    Example:
    >>> import tf_alignment as ta
    >>> ta.clear_session()
    """
    keras.utils.clear_session()
    try:  # nothing public forgets
        from tensorflow.python.framework import ops

        registry = ops.gradient_registry._registry
    except (ImportError, AttributeError):
        registry = {}
    for name in [name for name in registry if str(name).startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()

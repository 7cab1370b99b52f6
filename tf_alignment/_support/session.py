"""Release of the memory that models leave behind in a process."""

from __future__ import annotations

import gc

import keras

__all__ = ["clear_session"]


def clear_session() -> None:
    """Call `keras.utils.clear_session`, and release graphs that TensorFlow would never release.

    TensorFlow registers the custom gradients of every traced function and never removes them. Each
    entry holds the whole graph, also for stock models. Call this function between the trials of a
    sweep, when the models of earlier trials are no longer used. Compiled functions continue to
    work; a function that was traced but not yet differentiated cannot be differentiated any more.

    For long sweeps, one process per trial is better: a process that has ended leaves nothing
    behind.

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

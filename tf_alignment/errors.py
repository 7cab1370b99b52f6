"""Errors of this library that have no Python class of their own."""

__all__ = ["DivergenceError"]


class DivergenceError(RuntimeError):
    """Error that phases and `AlignmentMonitor(on_divergence="raise")` raise for divergence.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> layer = ta.layers.Dense(2, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((3,)), layer])
    >>> _ = layer.feedback_weights["feedback_kernel"].assign(np.full((3, 2), np.nan))
    >>> try:
    ...     ta.phases.Phase().report(model)
    ... except ta.callbacks.DivergenceError:
    ...     print("lost")
    lost
    """

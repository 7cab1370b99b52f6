"""Comparing gradients, and saying in words how they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_alignment.testing.report import Mismatch

__all__ = ["as_float", "close", "compare", "well_formed"]


def as_float(value: Any) -> np.ndarray:
    """A tensor as float64 numbers: half precision overflows where it is compared."""
    return np.asarray(tf.cast(tf.convert_to_tensor(value), tf.float64))


def close(a: Any, b: Any, tolerance: float, scale: float = 1.0) -> bool:
    """Whether `a` is `b` within a fraction of the largest entry of `b`; None only equals None.

    A thousandth of `scale`, the size of the numbers that were added up, is added to that entry:
    what is zero in theory is rounding.
    """
    if a is None or b is None:
        return a is b
    x, y = as_float(a), as_float(b)
    if x.shape != y.shape or not np.all(np.isfinite(x)):
        return False
    bound = tolerance * (np.abs(y).max(initial=0) + 1e-3 * scale)
    return bool(np.abs(x - y).max(initial=0) <= bound)


def compare(found: Any, expected: Any) -> str:
    """The difference in words: a multiple, or the entry that differs most."""
    if found is None or expected is None:
        return f"{'nothing' if found is None else 'something'}"
    a, b = as_float(found), as_float(expected)
    if a.shape != b.shape:
        return f"the shape {a.shape} in place of {b.shape}"
    factor = float(np.vdot(a, b) / max(np.vdot(b, b), 1e-30))
    if np.abs(a - factor * b).max() <= 1e-3 * np.abs(a).max() and abs(factor - 1) > 1e-3:
        return f"{factor:.4g} times that"
    at = np.unravel_index(np.argmax(np.abs(a - b)), a.shape)
    where = tuple(int(i) for i in at)
    return f"{a[at]:.6g} in place of {b[at]:.6g} at index {where}, where they differ most"


def well_formed(name: str, gradient: tf.Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise unless there is a finite gradient of the shape."""
    if gradient is None:
        raise Mismatch(
            f"a gradient for {name}",
            "None",
            "a trainable weight for which neither `send` (learns = 'error') nor `align` "
            "(learns = 'alignment', created with aligned=True) returns a gradient.",
        )
    if tuple(gradient.shape) != shape:
        raise Mismatch(f"for {name} the shape {shape}", f"the shape {tuple(gradient.shape)}")
    if not np.all(np.isfinite(as_float(gradient))):
        raise Mismatch(f"finite numbers for {name}", "NaN or infinity", "a division by zero.")

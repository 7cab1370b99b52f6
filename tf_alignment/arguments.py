"""Checks of numbers that callers give, and their messages."""

from __future__ import annotations

import math
import numbers
from typing import Any

__all__ = ["integer", "number"]


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """A finite number in a range, as a float; NumPy's scalars are numbers too.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        above: It must be larger than this,
        least: at least this,
        below: smaller than this,
        most: and at most this.

    Raises:
        ValueError: If it is not.

    Example:
    >>> import numpy as np
    >>> from tf_alignment.arguments import number
    >>> number("rate", np.float32(0.5), above=0)
    0.5
    >>> number("rate", "fast", above=0)
    Traceback (most recent call last):
    ...
    ValueError: Argument `rate` must be a finite number above 0. Received: rate='fast'
    """
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not fits or not (above < value < below and least <= value <= most and math.isfinite(value)):
        bounds = {"above": above, "of at least": least, "below": below, "of at most": most}
        stated = [f" {text} {bound:g}" for text, bound in bounds.items() if math.isfinite(bound)]
        raise ValueError(
            f"Argument `{name}` must be a finite number{' and'.join(stated)}. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """An integer in a range; NumPy's are integers too.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        least: The smallest allowed.
        most: The largest allowed, or None.

    Raises:
        ValueError: If it is none, or out of range.

    Example:
    >>> from tf_alignment.arguments import integer
    >>> integer("steps", 2.5)
    Traceback (most recent call last):
    ...
    ValueError: Argument `steps` must be an integer of at least 1. Received: steps=2.5
    """
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):
        bound = "" if most is None else f" and at most {most}"
        raise ValueError(
            f"Argument `{name}` must be an integer of at least {least}{bound}. "
            f"Received: {name}={value!r}"
        )
    return int(value)

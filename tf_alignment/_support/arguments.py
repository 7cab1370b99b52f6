"""Checks of arguments, with their error messages."""

from __future__ import annotations

import math
import numbers
import os
import random
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tf_alignment._support.compat import MultiOptimizer

__all__ = [
    "boolean",
    "deprecated",
    "file_path",
    "instance",
    "integer",
    "integers",
    "is_config",
    "number",
    "number_or_schedule",
    "one_of",
    "optimizer_of",
    "seed",
    "tensor",
]


_LARGEST = float(np.finfo(np.float32).max)


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """Check a finite number, which float32 can hold, and return it as a float.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument, also a number of NumPy.
        above: Bound that the number must exceed, or None.
        least: Smallest allowed number, or None.
        below: Bound that the number must stay below, or None.
        most: Largest allowed number, or None.

    Raises:
        ValueError: If the value is no finite number, or out of range.

    Example:
    >>> import numpy as np
    >>> from tf_alignment._support.arguments import number
    >>> number("rate", np.float32(0.5), above=0)
    0.5
    >>> number("rate", "fast", above=0)
    Traceback (most recent call last):
    ...
    ValueError: Argument `rate` must be a finite number above 0. Received: rate='fast'
    """
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # what float32 cannot hold would be infinite where it is used
    fits = fits and bool(
        abs(value) <= _LARGEST and above < value < below and least <= value <= most
    )
    if not fits:
        bounds = {"above": above, "of at least": least, "below": below, "of at most": most}
        stated = [f" {text} {bound:g}" for text, bound in bounds.items() if math.isfinite(bound)]
        raise ValueError(
            f"Argument `{name}` must be a finite number{' and'.join(stated)}. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def number_or_schedule(name: str, value: Any, **bounds: float) -> float | LearningRateSchedule:
    """Check a number, or return a schedule unchanged.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        **bounds: Bounds of a number, see `number`. The values of a schedule are not checked.

    Raises:
        ValueError: If the value is neither a schedule nor a number within the bounds.

    Example:
    >>> from tf_alignment._support.arguments import number_or_schedule
    >>> number_or_schedule("rate", -1, above=0)
    Traceback (most recent call last):
    ...
    ValueError: Argument `rate` must be a schedule or a finite number above 0. Received: rate=-1
    """
    if isinstance(value, LearningRateSchedule):
        return value
    try:
        return number(name, value, **bounds)
    except ValueError as error:
        stated = str(error).replace("must be a", "must be a schedule or a", 1)
        raise ValueError(stated) from None


def seed(value: Any) -> int:
    """Check the argument `seed`, and draw a random seed for None.

    Args:
        value: Value of the argument.

    Raises:
        ValueError: If the value is neither None nor an integer of at least 0.

    Example:
    >>> from tf_alignment._support.arguments import seed
    >>> seed(7)
    7
    """
    return random.randint(1, 10**9) if value is None else integer("seed", value, 0)


def integer(name: str, value: Any, least: int = 1, most: int = 2**63 - 1) -> int:
    """Check an integer in a range.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument, also an integer of NumPy.
        least: Smallest allowed integer.
        most: Largest allowed integer; by default the largest of int64.

    Raises:
        ValueError: If the value is no integer, or out of range.

    Example:
    >>> from tf_alignment._support.arguments import integer
    >>> integer("steps", 2.5)
    Traceback (most recent call last):
    ...
    ValueError: Argument `steps` must be an integer of at least 1. Received: steps=2.5
    """
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not fits or value < least or value > most:
        bound = "" if most == 2**63 - 1 and not (fits and value > most) else f" and at most {most}"
        raise ValueError(
            f"Argument `{name}` must be an integer of at least {least}{bound}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def integers(
    name: str, value: Any, least: int = 1, *, length: int | None = None, entries: int = 1
) -> tuple[int, ...]:
    """Check several integers in a range, and return them as a tuple.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        least: Smallest allowed integer.
        length: Required number of integers, or None for any number.
        entries: Smallest allowed number of integers.

    Raises:
        ValueError: If the value is not such a sequence of integers.

    Example:
    >>> from tf_alignment._support.arguments import integers
    >>> integers("shape", (8, 8), length=3)
    Traceback (most recent call last):
    ...
    ValueError: Argument `shape` must be 3 integers of at least 1. Received: shape=(8, 8)
    """
    several = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)
    found = tuple(value) if several else None
    try:
        if found is None or not (len(found) == length if length else len(found) >= entries):
            raise ValueError
        return tuple(integer(name, entry, least) for entry in found)
    except ValueError:
        count = f"{length} " if length else f"at least {entries} " if entries > 1 else ""
        raise ValueError(
            f"Argument `{name}` must be {count}integers of at least {least}. "
            f"Received: {name}={value!r}"
        ) from None


def boolean(name: str, value: Any) -> bool:
    """Check a boolean.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument, also a boolean of NumPy.

    Raises:
        TypeError: If the value is neither True nor False.

    Example:
    >>> from tf_alignment._support.arguments import boolean
    >>> boolean("balanced", 1)
    Traceback (most recent call last):
    ...
    TypeError: Argument `balanced` must be a boolean. Received: balanced=1
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"Argument `{name}` must be a boolean. Received: {name}={value!r}")
    return bool(value)


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Check that a value is one of a few allowed values.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        allowed: Allowed values: strings, integers and None.

    Raises:
        ValueError: If the value is not allowed.

    Example:
    >>> from tf_alignment._support.arguments import one_of
    >>> one_of("form", "pfa", ("fa", "dfa"))
    Traceback (most recent call last):
    ...
    ValueError: Argument `form` must be one of ['fa', 'dfa']. Received: form='pfa'
    """
    allowed = list(allowed)
    # what compares to arrays in a way of its own, or True to 1, is none of them
    if not isinstance(value, str | numbers.Integral | None) or isinstance(value, bool):
        fits = False
    else:
        fits = value in allowed
    if not fits:
        raise ValueError(f"Argument `{name}` must be one of {allowed}. Received: {name}={value!r}")
    return value


def instance(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """Check that a value is an object of a class.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        kind: Allowed class, or several allowed classes.
        what: Description of the class in words, for the error message.

    Raises:
        TypeError: If the value is of another class.

    Example:
    >>> from tf_alignment._support.arguments import instance
    >>> instance("model", 3, dict, "a Keras model")
    Traceback (most recent call last):
    ...
    TypeError: Argument `model` must be a Keras model. Received: model=3
    """
    if not isinstance(value, kind):
        raise TypeError(f"Argument `{name}` must be {what}. Received: {name}={value!r}")
    return value


def optimizer_of(
    name: str,
    value: Any,
    what: str = "a Keras optimizer, its string id or its config",
    *,
    single: bool = False,
) -> keras.optimizers.Optimizer:
    """Make an optimizer from an object, an id or a config.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        what: Description of the allowed values, for the error message.
        single: Whether optimizers that contain others, `LossScaleOptimizer` and `MultiOptimizer`,
            are refused.

    Raises:
        TypeError: If the value is no optimizer, id or config (None and classes are not allowed).
        ValueError: If Keras knows no such id or config, or the optimizer is refused.

    Example:
    >>> from tf_alignment._support.arguments import optimizer_of
    >>> optimizer_of("solver", "fast", what="a Keras optimizer")
    Traceback (most recent call last):
    ...
    ValueError: Argument `solver` must be a Keras optimizer. Received: solver='fast'
    """
    instance(name, value, (keras.optimizers.Optimizer, str, dict), what)
    try:
        optimizer = keras.optimizers.get(value)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"Argument `{name}` must be {what}. Received: {name}={value!r}") from None
    wrappers = keras.optimizers.LossScaleOptimizer, MultiOptimizer
    if single and isinstance(optimizer, wrappers):
        raise ValueError(
            f"Argument `{name}` must be a single optimizer, not one that wraps others. "
            f"Received: {name}={optimizer!r}"
        )
    return optimizer


def file_path(name: str, value: Any) -> Path:
    """Check the path of a file or directory.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.

    Raises:
        ValueError: If the path is empty.
        TypeError: If the value is neither a string nor a path.

    Example:
    >>> from tf_alignment._support.arguments import file_path
    >>> file_path("csv", 3)
    Traceback (most recent call last):
    ...
    TypeError: Argument `csv` must be a path. Received: csv=3
    """
    instance(name, value, (str, os.PathLike), "a path")
    if not str(value):
        raise ValueError(f"Argument `{name}` must be a path. Received: {name}={value!r}")
    return Path(value)


def tensor(
    name: str, value: Any, least: int = 0, most: int | None = None, *, of_numbers: bool = True
) -> tf.Tensor:
    """Check an array, and convert it to a tensor.

    Args:
        name: Name of the argument, for the error message.
        value: Array, tensor, variable, or nested lists of numbers.
        least: Smallest allowed number of axes.
        most: Largest allowed number of axes, or None.
        of_numbers: Whether the entries must be numbers; booleans and strings are then refused.

    Raises:
        ValueError: If the value is no array, or has another number of axes.

    Example:
    >>> from tf_alignment._support.arguments import tensor
    >>> tensor("kernel", [[1.0], [2.0, 3.0]])
    Traceback (most recent call last):
    ...
    ValueError: Argument `kernel` must be an array. Received: kernel=[[1.0], [2.0, 3.0]]
    """
    try:
        found = tf.convert_to_tensor(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"Argument `{name}` must be an array. Received: {name}={value!r}"
        ) from None
    rank = found.shape.rank
    if rank is not None and (rank < least or (most is not None and rank > most)):
        axes = f"{least} axes" if least == most else f"at least {least} axes"
        raise ValueError(
            f"Argument `{name}` must be an array with {axes}. "
            f"Received: {name} of shape {tuple(found.shape)}"
        )
    if of_numbers and not (found.dtype.is_floating or found.dtype.is_integer):
        raise ValueError(
            f"Argument `{name}` must be an array of numbers. Received: {name} of {found.dtype.name}"
        )
    return found


def deprecated(value: Any, old: str, new: str, level: int = 3) -> Any:
    """Warn of a former spelling of an argument, and return the argument's value.

    Args:
        value: Value in its present form.
        old: Former spelling.
        new: Present spelling.
        level: Number of calls between this function and the code that is warned of, as in
            `warnings.warn`; by default, the warning points at the code that called the caller.

    Warns:
        DeprecationWarning: Always.
    """
    text = f"`{old}` is going to be removed. Use `{new}`"
    warnings.warn(text, DeprecationWarning, stacklevel=level)
    return value


def is_config(value: Any) -> bool:
    """Whether a value is the config of an object as Keras saves it, and no other dictionary.

    Args:
        value: Value of an argument.

    Example:
    >>> from tf_alignment._support.arguments import is_config
    >>> is_config({"class_name": "Noise", "config": {}}), is_config({"dense": "fa"})
    (True, False)
    """
    return isinstance(value, Mapping) and "class_name" in value

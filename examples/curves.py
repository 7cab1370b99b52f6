"""Curves of several runs: as arrays, and as mean and spread in the cell of a table.

The spread behind ± is the standard deviation in `with_deviation`, which says how far apart the runs
are, and the standard error in `with_error`, which says how well the mean of the runs is known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_alignment._support.statistics import mean_of, padded

__all__ = ["by_variant", "last", "stacked", "with_deviation", "with_error"]


def stacked(runs: Iterable[dict[str, Any]], curve: str) -> np.ndarray:
    """Stack one curve of several runs into an array.

    Args:
        runs: Runs, each with `curves`, `{name: values}`.
        curve: Name of the curve.

    Returns:
        Array `(runs, points)`, NaN where a run has no value.
    """
    return padded([r["curves"].get(curve, [math.nan]) for r in runs])


def by_variant(runs: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group the curves of runs by variant, `{variant: [curves of a run, ...]}`.

    This is the form that `ta.plots.learning_curves` takes.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["variant"], []).append(run["curves"])
    return found


def last(runs: Iterable[dict[str, Any]], curve: str, scale: float = 1.0) -> np.ndarray:
    """Return the last value of a curve in each of several runs.

    Args:
        runs: Runs, each with `curves`, `{name: values}`.
        curve: Name of the curve.
        scale: Factor on the values.

    Returns:
        Array `(runs,)`, NaN where a run has no such curve or ended before the longest run.
    """
    return scale * stacked(runs, curve)[:, -1]


def with_deviation(values: Any, digits: int = 2) -> str:
    """Format values as `mean ± standard deviation`.

    Args:
        values: Numbers, one per run. A single number is formatted without spread; if any number is
            missing (NaN), the result is `-`.
        digits: Number of digits after the decimal point.
    """
    return mean_of(values).text(digits) if np.isfinite(values).all() else "-"


def with_error(values: Any, digits: int = 2) -> str:
    """Format values as `mean ± standard error`.

    Args:
        values: Numbers, one per run. A single number is formatted without spread; if any number is
            missing (NaN), the result is `-`.
        digits: Number of digits after the decimal point.
    """
    found = mean_of(values)
    error = dataclasses.replace(found, deviation=found.deviation / math.sqrt(max(1, found.n)))
    return error.text(digits) if np.isfinite(values).all() else "-"

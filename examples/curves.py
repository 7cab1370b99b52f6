"""Numbers of several runs, side by side: stacked, and as cells of a table.

A cell says by its function's name what stands behind ±: the standard deviation, how far apart the
runs are, or the standard error, how well their mean is known.
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
    """A curve of several runs, `(runs, points)`, NaN where one has no value."""
    return padded([r["curves"].get(curve, [math.nan]) for r in runs])


def by_variant(runs: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Curves of the runs of each variant, as `ta.plots.learning_curves` takes them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["variant"], []).append(run["curves"])
    return found


def last(runs: Iterable[dict[str, Any]], curve: str, scale: float = 1.0) -> np.ndarray:
    """Last value of a curve in several runs, NaN where a run has none or ended early."""
    return scale * stacked(runs, curve)[:, -1]


def with_deviation(values: Any, digits: int = 2) -> str:
    """`mean ± standard deviation`, the value alone if there is one, `-` where one is missing."""
    return mean_of(values).text(digits) if np.isfinite(values).all() else "-"


def with_error(values: Any, digits: int = 2) -> str:
    """`mean ± standard error`, the value alone if there is one, `-` where one is missing."""
    found = mean_of(values)
    error = dataclasses.replace(found, deviation=found.deviation / math.sqrt(max(1, found.n)))
    return error.text(digits) if np.isfinite(values).all() else "-"

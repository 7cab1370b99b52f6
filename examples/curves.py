"""Numbers of several runs, side by side: stacked, as cells of a table, as a line with a band.

A cell says by its function's name what stands behind ±: the standard deviation, how far apart the
runs are, or the standard error, how well their mean is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["band", "stacked", "standard_error", "with_deviation", "with_error"]


def stacked(runs: Iterable[dict[str, Any]], curve: str) -> np.ndarray:
    """A curve of several runs, `(runs, points)`, NaN where one has no value.

    Args:
        runs: Each with `curves`.
        curve: Which of them.
    """
    rows = [np.array(r["curves"].get(curve, [math.nan]), float) for r in runs]
    length = max(map(len, rows))
    return np.array([np.pad(r, (0, length - len(r)), constant_values=math.nan) for r in rows])


def standard_error(values: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis; 0 if there is one run."""
    return values.std(0, ddof=len(values) > 1) / math.sqrt(len(values))


def with_deviation(values: Any, digits: int = 2) -> str:
    """`mean ± standard deviation` with n − 1, or `-` where a value is missing."""
    if _missing(values):
        return "-"
    deviation = np.std(values, ddof=len(values) > 1)
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def with_error(values: Any, digits: int = 2) -> str:
    """`mean ± standard error`, the value alone if there is one, or `-` where one is missing."""
    if _missing(values):
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {standard_error(np.asarray(values)):.{digits}f}"


def _missing(values: Any) -> bool:
    return not len(values) or bool(np.isnan(values).any())


def band(
    panel: Any, x: Any, values: np.ndarray, spread: np.ndarray, marker: Any = None, **style: Any
) -> None:
    """Draw the mean of runs with a band around it.

    Args:
        panel: Where.
        x: `(points,)`.
        values: `(runs, points)`.
        spread: Half the band's height, `(points,)`.
        marker: Of the mean's line.
        **style: `color`, and `label` of the line.
    """
    mean = values.mean(0)
    panel.plot(x, mean, linewidth=1.4, marker=marker, **style)
    panel.fill_between(
        x, mean - spread, mean + spread, color=style["color"], alpha=0.2, linewidth=0
    )

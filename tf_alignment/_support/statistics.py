"""Means over seeds, what their spread is, and differences by pairs.

The standard deviation is that of a sample, with n - 1. An interval is Student's, of 95 %: where the
mean of all seeds that could be drawn lies, if values are normal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Mean", "deviation", "mean_of", "paired"]

# Two-sided 95 % quantiles of Student's distribution for 1, 2, 3 ... degrees of freedom
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclasses.dataclass(frozen=True)
class Mean:
    """Several values in short.

    Attributes:
        n: How many.
        mean: NaN if there is none.
        deviation: With n - 1; NaN for fewer than two.
        interval: Half the width of the 95 % interval of the mean; NaN for fewer than two.
    """

    n: int
    mean: float
    deviation: float
    interval: float

    def text(self, digits: int = 2, spread: str = "deviation", scale: float = 1.0) -> str:
        """`mean ± spread`, the mean alone where there is no spread, or `-`.

        Args:
            digits: After the point.
            spread: `"deviation"` or `"interval"`.
            scale: A factor on both.
        """
        if not self.n or not math.isfinite(self.mean):
            return "-"
        text = f"{scale * self.mean:.{digits}f}"
        around = getattr(self, spread)
        return text if not math.isfinite(around) else f"{text} ± {scale * around:.{digits}f}"


def mean_of(values: Sequence[float | None]) -> Mean:
    """Mean, deviation and interval of the values that are numbers.

    Args:
        values: None and NaN are left out.

    Example:
    >>> from tf_alignment._support.statistics import mean_of
    >>> mean_of([1.0, 2.0, 3.0]).text(spread="deviation")
    '2.00 ± 1.00'
    """
    array = np.array([math.nan if value is None else value for value in values], float)
    array = array[np.isfinite(array)]
    if not len(array):
        return Mean(0, math.nan, math.nan, math.nan)
    if len(array) == 1:
        return Mean(1, float(array[0]), math.nan, math.nan)
    deviation = float(array.std(ddof=1))
    degrees = len(array) - 1
    quantile = _STUDENT[degrees - 1] if degrees <= len(_STUDENT) else 1.96 + 2.5 / degrees
    interval = quantile * deviation / math.sqrt(len(array))
    return Mean(len(array), float(array.mean()), deviation, interval)


def deviation(runs: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, with n - 1, NaN left out; 0 for fewer than two.

    Args:
        runs: `(seeds, ...)`.

    Example:
    >>> import numpy as np
    >>> from tf_alignment._support.statistics import deviation
    >>> deviation(np.array([[1.0, np.nan], [3.0, 5.0]])).round(3).tolist()
    [1.414, 0.0]
    """
    valid = np.isfinite(runs)
    count = valid.sum(axis=0)
    mean = np.where(valid, runs, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(valid, (runs - mean) ** 2, 0.0).sum(axis=0)
    return np.sqrt(squares / np.maximum(count - 1, 1))


def paired(values: Mapping[int, float | None], baseline: Mapping[int, float | None]) -> Mean:
    """Differences to a baseline, seed by seed.

    Args:
        values: `{seed: value}`.
        baseline: Likewise; seeds that one of them lacks are left out.
    """
    both = [seed for seed in values if seed in baseline]
    pairs = [(values[seed], baseline[seed]) for seed in both]
    return mean_of([a - b for a, b in pairs if a is not None and b is not None])

"""Means over seeds, their spread, and paired differences.

The standard deviation is the sample standard deviation, with n - 1. The interval is Student's 95 %
confidence interval of the mean, which assumes normally distributed values.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Mean", "deviation", "mean_of", "padded", "paired"]

# Two-sided 95 % quantiles of Student's distribution for 1, 2, 3 ... degrees of freedom
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclasses.dataclass(frozen=True)
class Mean:
    """Summary of several values.

    Attributes:
        n: Number of values.
        mean: Mean of the values; NaN if there are none.
        deviation: Standard deviation with n - 1; NaN for fewer than two values.
        interval: Half the width of the 95 % interval of the mean; NaN for fewer than two values.
    """

    n: int
    mean: float
    deviation: float
    interval: float

    def text(self, digits: int = 2, spread: str = "deviation", scale: float = 1.0) -> str:
        """Format as `mean ± spread`, as the mean alone if there is no spread, or as `-`.

        Args:
            digits: Number of digits after the decimal point.
            spread: Spread behind ±, `"deviation"` or `"interval"`.
            scale: Factor on mean and spread.
        """
        if not self.n or not math.isfinite(self.mean):
            return "-"
        text = f"{scale * self.mean:.{digits}f}"
        around = getattr(self, spread)
        return text if not math.isfinite(around) else f"{text} ± {scale * around:.{digits}f}"


def mean_of(values: Sequence[float | None]) -> Mean:
    """Compute mean, standard deviation and interval of values.

    Args:
        values: Numbers; None and NaN are left out.

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
    """Standard deviation over the first axis, with n - 1; 0 for fewer than two values.

    Args:
        runs: Array `(seeds, ...)`, in which NaN is left out.

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
    """Differences to a baseline, paired by seeds.

    Args:
        values: Values by seed, `{seed: value}`.
        baseline: Values of the baseline by seed. Only seeds that are in both are used.
    """
    both = [seed for seed in values if seed in baseline]
    pairs = [(values[seed], baseline[seed]) for seed in both]
    return mean_of([a - b for a, b in pairs if a is not None and b is not None])


def padded(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Curves of several lengths as one array `(curves, epochs)`, NaN where there is no value.

    Args:
        rows: Values over the epochs; None stands for NaN.
    """
    length = max(map(len, rows), default=0)
    array = np.full((len(rows), length), math.nan)
    for own, row in zip(array, rows, strict=True):
        own[: len(row)] = np.asarray(row, float)
    return array

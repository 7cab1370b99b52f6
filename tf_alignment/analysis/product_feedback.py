r"""Theory of product feedback: spectra, angles, norms.

| function | formula |
|---|---|
| `marchenko_pastur_support` | ends of the spectrum of `BᵀB` for a random `B` |
| `marchenko_pastur_density` | density of its eigenvalues in between |
| `product_path_angle` | angle at which product feedback ends, by expansion |
| `product_norm_ratio` | ratio of norms at which it ends |
| `reciprocal_correlation` | weight correlation when only some connections are reciprocal |

In product feedback alignment (`ta.feedback.ProductFeedback`) the error passes a random fixed kernel
`B` into a population that is `expansion` times as large, and a plastic kernel out of it;
\(\lambda\) is 1/expansion. The last function is about any feedback. Source of all: Ji-An & Benna,
"Deep Learning without Weight Symmetry".
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "marchenko_pastur_density",
    "marchenko_pastur_support",
    "product_norm_ratio",
    "product_path_angle",
    "reciprocal_correlation",
]


def marchenko_pastur_support(expansion: Any) -> tuple[np.ndarray, np.ndarray]:
    r"""Smallest and largest eigenvalue of `BᵀB` in the limit of many units.

    $$ \lambda_\pm = (1 \pm \sqrt{\lambda})^2, \qquad \lambda = 1 / \text{expansion} $$

    `B` is `(expansion · out, out)` with independent entries of mean 0 and variance
    `1 / (expansion · out)`. The eigenvalues have mean 1 and standard deviation
    \(\sqrt{\lambda}\).

    Args:
        expansion: Rows of `B` over its columns, 1 or larger, any shape.

    Returns:
        The lower and the upper end, each of the argument's shape, float64.

    Raises:
        ValueError: If an expansion is below 1 or not finite.

    Example:
    >>> low, high = marchenko_pastur_support(4.0)
    >>> print(f"{low:.2f} {high:.2f}")
    0.25 2.25

    Source: Marchenko & Pastur (1967), "Distribution of eigenvalues for some sets of random
    matrices"; Ji-An & Benna, below equation 8.
    """
    root = np.sqrt(1.0 / _at_least_one(expansion))
    return (1.0 - root) ** 2, (1.0 + root) ** 2


def marchenko_pastur_density(eigenvalues: Any, expansion: float) -> np.ndarray:
    r"""Density of the eigenvalues of `BᵀB` in the limit of many units.

    $$ \mu(v) = \frac{\sqrt{(\lambda_+ - v)(v - \lambda_-)}}{2 \pi \lambda v} $$

    between the ends of `marchenko_pastur_support`, 0 elsewhere.

    Args:
        eigenvalues: Eigenvalues at which to evaluate the density, any shape.
        expansion: Rows of `B` over its columns, 1 or larger.

    Returns:
        The density, of the shape of `eigenvalues`, float64. Infinite at 0 for expansion 1.

    Raises:
        ValueError: If the expansion is no number of at least 1, or not finite.

    Example:
    >>> v = np.linspace(0, 3, 3001)
    >>> density = marchenko_pastur_density(v, 4.0)
    >>> print(f"{np.trapezoid(density, v):.3f} {np.trapezoid(v * density, v):.3f}")
    1.000 1.000

    Source: Marchenko & Pastur (1967), "Distribution of eigenvalues for some sets of random
    matrices"; Ji-An & Benna, equation 8.
    """
    if np.ndim(expansion) != 0:
        raise ValueError(f"`expansion` must be one number. Received: expansion={expansion!r}")
    v = np.asarray(eigenvalues, dtype=float)
    low, high = marchenko_pastur_support(expansion)
    inside = np.sqrt(np.clip((high - v) * (v - low), 0.0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        density = inside * float(expansion) / (2.0 * np.pi * v)
    edge = np.inf if low == 0.0 else 0.0
    return np.where(v == 0.0, edge, density)


def product_path_angle(expansion: Any) -> np.ndarray:
    r"""Angle between `W` and the path `R B` once product feedback has forgotten its start.

    $$ \arccos \frac{1}{\sqrt{1 + \lambda}}, \qquad \lambda = 1 / \text{expansion} $$

    Then `R = W Bᵀ`, so that the path is `W BᵀB`; for weights without a preferred direction, its
    angle follows from the mean and the variance of the eigenvalues of `BᵀB`. It is 0 if `B` is
    semi-orthogonal.

    Args:
        expansion: Units of the extra population over output units, above 0, any shape.

    Returns:
        Degrees, of the argument's shape, float64.

    Raises:
        ValueError: If an expansion is not above 0 or not finite.

    Example:
    >>> [f"{angle:.2f}" for angle in product_path_angle([1.0, 10.0])]
    ['45.00', '17.55']

    Source: Ji-An & Benna, proposition 3.
    """
    return np.degrees(np.arctan(np.sqrt(1.0 / _positive(expansion))))


def product_norm_ratio(expansion: Any) -> np.ndarray:
    r"""Norm of the path `R B` over the norm of `W` once product feedback has forgotten its start.

    $$ \sqrt{\mathbb{E} v^2} = \sqrt{1 + \lambda}, \qquad \lambda = 1 / \text{expansion} $$

    with \(v\) the eigenvalues of `BᵀB`. It is 1 if `B` is semi-orthogonal.

    Args:
        expansion: Units of the extra population over output units, above 0, any shape.

    Returns:
        The ratio, of the argument's shape, float64.

    Raises:
        ValueError: If an expansion is not above 0 or not finite.

    Example:
    >>> print(f"{product_norm_ratio(10.0):.3f}")
    1.049

    Source: follows from the denominator in the proof of proposition 3 of Ji-An & Benna.
    """
    return np.sqrt(1.0 + 1.0 / _positive(expansion))


def reciprocal_correlation(fraction: Any, correlation: Any) -> np.ndarray:
    r"""Correlation of forward and backward weights when only some connections go both ways.

    $$ r = \sqrt{p} \, r_0 $$

    A fraction \(p\) of forward weights has a backward weight of the same distribution, mean 0, that
    correlates with it by \(r_0\); the other backward weights are 0. All pairs together have the
    covariance \(p \, r_0 \sigma^2\), forward weights the variance \(\sigma^2\), backward weights
    \(p \, \sigma^2\). The weight angle is the arc cosine of the result.

    Args:
        fraction: Fraction of connections that go both ways, 0 to 1, any shape.
        correlation: Correlation of their weights, -1 to 1, broadcastable.

    Returns:
        The correlation over all pairs, of the broadcast shape, float64. 0 if the fraction is.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> r = reciprocal_correlation(0.31, 0.36)
    >>> print(f"{r:.2f}, {np.degrees(np.arccos(r)):.1f} degrees")
    0.20, 78.4 degrees

    Source: the model of Ji-An & Benna, appendix 1.2, with the numbers of Song et al. (2005),
    "Highly nonrandom features of synaptic connectivity in local cortical circuits".
    """
    fraction, correlation = np.asarray(fraction, float), np.asarray(correlation, float)
    for name, value, low in (("fraction", fraction, 0.0), ("correlation", correlation, -1.0)):
        if not np.all((value >= low) & (value <= 1.0)):
            raise ValueError(f"`{name}` must be from {low:g} to 1. Received: {name}={value}")
    return np.sqrt(fraction) * correlation


def _positive(expansion: Any) -> np.ndarray:
    value = np.asarray(expansion, dtype=float)
    if not np.all((value > 0.0) & np.isfinite(value)):
        raise ValueError(f"`expansion` must be finite and above 0. Received: {expansion!r}")
    return value


def _at_least_one(expansion: Any) -> np.ndarray:
    value = _positive(expansion)
    if not np.all(value >= 1.0):
        raise ValueError(f"`expansion` must be at least 1. Received: {expansion!r}")
    return value

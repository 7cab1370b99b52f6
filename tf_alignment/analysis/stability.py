r"""Does an alignment rule make weights diverge or collapse? The scalar case, in closed form.

One synapse, its forward weight \(w\), its feedback weight \(b\), its input \(x\), its response
\(y = w x\). Both weights descend the rule's loss \(R\) (the symmetrised gradient flow), in which
what keeps \(b\) small acts on \(w\) too, as weight decay does in training:

| primitive | symmetrised loss | its part in |
|---|---|---|
| `decay`  | \(\tfrac12 (w^2 + b^2)\)     | \(S\): 1 |
| `sparse` | \(\tfrac12 x^2 (w^2 + b^2)\) | \(S\): \(x^2\) |
| `amp`    | \(-x^2 w b\)                 | \(C\): \(x^2\) |
| `self`   | \(-w b\)                     | \(C\): 1 |
| `null`   | \(\tfrac12 x^2 w^2 b^2\)     | \(N\): \(x^2\) |

With \(S, C, N\) the sums of these parts times the rule's coefficients,

$$ \dot w = C b - S w - N w b^2, \qquad \dot b = C w - S b - N b w^2. $$

| function | gives |
|---|---|
| `flow_field` | the flow at any weights |
| `flow_matrix` | its matrix \(A\), the flow being \(-A\) times the weights |
| `flow_eigenvalues` | of the symmetric and the skew component |
| `flow_fixed_points` | where it rests |
| `flow_verdict` | diverging, stable or collapsing |

A rule is a string id, an object (`ta.feedback.WeightMirror(1.0, 0.5)`), or a mix of primitives
(`{"amp": 1.0, "decay": 0.5}`). Of its options `normalize` counts; nonlinearities, biases and
centring are left out. A rule that learns from noise has the noise as its x.

Source: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight Symmetry",
section 4, equation 1 and figure 2.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tf_alignment import feedback
from tf_alignment.feedback.alignment import BUILT_IN

__all__ = [
    "FlowEigenvalues",
    "flow_eigenvalues",
    "flow_field",
    "flow_fixed_points",
    "flow_matrix",
    "flow_verdict",
]


class FlowEigenvalues(NamedTuple):
    """Rates at which the two components of the weights decay; where below 0, they grow.

    Attributes:
        symmetric: Rate of `(w + b) / 2`.
        skew: Rate of `(w - b) / 2`.

    Example:
    >>> FlowEigenvalues(symmetric=np.array(-0.5), skew=np.array(1.5)).skew
    array(1.5)
    """

    symmetric: np.ndarray
    skew: np.ndarray


class _Parts(NamedTuple):
    """`S`, `C` and `N` of the module's formulas, each of the shape of x."""

    restoring: np.ndarray
    coupling: np.ndarray
    null: np.ndarray


def flow_field(rule: Any, w: Any, b: Any, x: Any = 1.0) -> tuple[np.ndarray, np.ndarray]:
    r"""The symmetrised gradient flow at weights w and b.

    $$ \dot w = C b - S w - N w b^2, \qquad \dot b = C w - S b - N b w^2 $$

    with the sums of the module's table. \(w^2 - b^2\) decays as \(e^{-2 S t}\) under any rule.

    Args:
        rule: Id, object or mix of primitives.
        w: Forward weights, any shape.
        b: Feedback weights, broadcastable.
        x: Inputs, broadcastable.

    Returns:
        Time derivatives of w and of b, each of the broadcast shape, float64.

    Raises:
        TypeError: If the rule does not learn by alignment.
        ValueError: If the rule has other primitives than the five, a coefficient that is no number
            of at least 0, or `normalize="response"`.

    Example:
    >>> dw, db = flow_field({"amp": 1.0, "decay": 0.5}, w=[1.0, 1.0], b=[1.0, -1.0])
    >>> print(dw, db)
    [ 0.5 -1.5] [0.5 1.5]

    Source: Kunin et al. 2020, equation 1 and figure 2 a-c.
    """
    s, c, n = _parts(rule, x)
    w, b = np.asarray(w, dtype=float), np.asarray(b, dtype=float)
    return c * b - s * w - n * w * b**2, c * w - s * b - n * b * w**2


def flow_matrix(rule: Any, x: float = 1.0) -> np.ndarray:
    r"""The matrix \(A\) of the flow: the time derivative of `[w, b]` is `-A @ [w, b]`.

    $$ A = \begin{pmatrix} S & -C \\ -C & S \end{pmatrix} $$

    For a rule with `null`, which is not linear, this is its linearisation at 0.

    Args:
        rule: Id, object or mix of primitives.
        x: Input, one number.

    Returns:
        A, `(2, 2)`, float64.

    Raises:
        TypeError: As for `flow_field`.
        ValueError: As for `flow_field`, and if x is not one number.

    Example:
    >>> print(flow_matrix({"amp": 1.0, "decay": 0.5}, x=2.0))
    [[ 0.5 -4. ]
     [-4.   0.5]]

    Source: Kunin et al. 2020, equation 1.
    """
    s, c, _ = _scalar_parts(rule, x)
    return np.array([[s, -c], [-c, s]])


def flow_eigenvalues(rule: Any, x: Any = 1.0) -> FlowEigenvalues:
    r"""Eigenvalues of `flow_matrix`: \(S - C\) of the symmetric, \(S + C\) of the skew component.

    The skew component always decays. The symmetric one of a weight mirror has
    \(\alpha (\lambda - x^2)\) with \(\lambda = \beta / \alpha\): it grows where λ is below \(x^2\).
    That of symmetric and of activation alignment has 0 if α = β, whatever the input.

    Args:
        rule: Id, object or mix of primitives.
        x: Inputs, any shape.

    Returns:
        Both eigenvalues, each of the shape of x, float64.

    Raises:
        TypeError: As for `flow_field`.
        ValueError: As for `flow_field`.

    Example:
    >>> mirror = flow_eigenvalues({"amp": 1.0, "decay": 0.5}, x=[0.5, 1.0])
    >>> print(mirror.symmetric, mirror.skew)
    [ 0.25 -0.5 ] [0.75 1.5 ]

    Source: Kunin et al. 2020, section 4, below equation 1; section 5 for symmetric and activation
    alignment.
    """
    s, c, _ = _parts(rule, x)
    return FlowEigenvalues(s - c, s + c)


def flow_fixed_points(rule: Any, x: float = 1.0) -> np.ndarray:
    r"""Weights with w = b at which the flow rests, for a single input.

    0 is one. `null` adds, if \(C > S\), two that attract:

    $$ w = b = \pm \sqrt{(C - S) / N}, $$

    where the symmetric component returns at the rate \(2 (C - S)\), the skew one at \(2 S\). For
    information alignment, \(w^2 = (\alpha x^2 - \beta) / (\gamma x^2)\). There are no others, with
    two exceptions: without `null` all w = b rest if \(C = S\) (then the list has 0 alone), and with
    \(S = 0\) all of the hyperbola \(w b = C / N\).

    Args:
        rule: Id, object or mix of primitives.
        x: Input, one number.

    Returns:
        Values of w = b in ascending order, `(1,)` or `(3,)`, float64.

    Raises:
        TypeError: As for `flow_field`.
        ValueError: As for `flow_field`, and if x is not one number.

    Example:
    >>> print(flow_fixed_points({"amp": 1.0, "decay": 0.75, "null": 1.0}))
    [-0.5  0.   0.5]

    Source: of the flow of Kunin et al. 2020, section 4, with the null primitive of table 1.
    """
    parts = _scalar_parts(rule, x)
    growth = _growth(parts)
    if parts.null == 0.0 or growth <= 0.0:
        return np.zeros(1)
    root = np.sqrt(growth / parts.null)
    return np.array([-root, 0.0, root])


def flow_verdict(rule: Any, x: float = 1.0) -> str:
    r"""Fate of symmetric weights, w = b.

    `"diverging"` if they grow without bound, `"collapsing"` if they decay to 0, `"stable"` if they
    stay (\(S = C\), without `null`) or settle at a fixed point other than 0 (\(S < C\), with it).
    S and C are compared to 12 digits.

    `"ia"` with its defaults is `"collapsing"`: its noise is divided by its power, so that
    \(S = C\) (β = α), and `null`, which is left, pulls symmetric weights to 0, ever more slowly
    (\(\dot w = -N w^3\)). In training `null` acts on B alone, and B ends close to W; see
    `tf_alignment.feedback.InformationAlignment`. With β < α the verdict is `"stable"`.

    Args:
        rule: Id, object or mix of primitives.
        x: Input, one number.

    Returns:
        `"diverging"`, `"stable"` or `"collapsing"`.

    Raises:
        TypeError: As for `flow_field`.
        ValueError: As for `flow_field`, and if x is not one number.

    Example:
    >>> [flow_verdict({"amp": 1.0, "decay": decay}) for decay in (0.5, 1.0, 2.0)]
    ['diverging', 'stable', 'collapsing']
    >>> flow_verdict({"amp": 1.0, "decay": 0.5, "null": 0.1})
    'stable'
    >>> flow_verdict("ia")  # β = α, see above
    'collapsing'

    Source: Kunin et al. 2020, section 4 and figure 2.
    """
    parts = _scalar_parts(rule, x)
    growth, bounded = _growth(parts), parts.null > 0.0
    if growth < 0.0 or (growth == 0.0 and bounded):
        return "collapsing"
    return "stable" if growth == 0.0 or bounded else "diverging"


def _growth(parts: _Parts) -> float:
    """`C - S`, with which small symmetric weights grow; 0 where both agree to 12 digits."""
    s, c = float(parts.restoring), float(parts.coupling)
    return 0.0 if math.isclose(s, c, rel_tol=1e-12) else c - s


def _parts(rule: Any, x: Any) -> _Parts:
    given = _rule(rule)
    power = np.square(np.asarray(x, dtype=float))
    one = np.ones_like(power)
    if given.normalize in ("input", "variance", "noise"):
        power = one
    elif given.normalize == "covariance":
        power = one / (1.0 + given.damping)  # x² divided by the damped x²
    of = dict.fromkeys(BUILT_IN, 0.0) | _coefficients(given)
    return _Parts(
        restoring=of["decay"] * one + of["sparse"] * power,
        coupling=of["self"] * one + of["amp"] * power,
        null=of["null"] * power,
    )


def _scalar_parts(rule: Any, x: float) -> _Parts:
    if np.ndim(x) != 0:
        raise ValueError(f"`x` must be one number. Received: x={x!r}")
    return _parts(rule, x)


def _rule(rule: Any) -> feedback.Alignment:
    given = feedback.Alignment(rule) if isinstance(rule, Mapping) else feedback.get(rule)
    if not isinstance(given, feedback.Alignment):
        raise TypeError(
            "`rule` must learn by alignment: an id, a `ta.feedback.Alignment`, or a dict "
            f"{{primitive: coefficient}}. Received: rule={rule!r}"
        )
    if given.normalize == "response":
        raise ValueError(
            "`rule` must not divide by its response, whose flow has no matrix. "
            f"Received: rule={rule!r} with normalize='response'"
        )
    return given


def _coefficients(rule: feedback.Alignment) -> dict[str, float]:
    """By the name of the primitive."""
    names = {primitive: name for name, primitive in BUILT_IN.items()}
    found = {}
    for primitive, coefficient in rule.terms:
        if primitive not in names:
            raise ValueError(
                f"`rule` must be of the primitives {sorted(BUILT_IN)}. Received: {primitive!r}"
            )
        if not isinstance(coefficient, numbers.Real) or coefficient < 0:
            raise ValueError(
                "Coefficients of `rule` must be numbers of at least 0. "
                f"Received: {names[primitive]}={coefficient!r}"
            )
        found[names[primitive]] = float(coefficient)
    return found

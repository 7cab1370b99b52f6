r"""From windows to feedback weights: the causal effect \(\beta\) of a unit on each unit above.

An estimator says what sums there are, adds the events of a simulation to them, and reads the
effects off; the phase keeps the sums from run to run. Only the effects' relative size counts: the
phase gives them the scale of the feedback kernel.

An own estimator is a subclass of `Estimator`; every file here is one.
"""

from __future__ import annotations

from tf_alignment.spiking.lif.estimators.base import Estimator, Sums
from tf_alignment.spiking.lif.estimators.line import Line
from tf_alignment.spiking.lif.estimators.mirror import Mirror
from tf_alignment.spiking.lif.estimators.pooled import Pooled
from tf_alignment.spiking.lif.estimators.sgd import SGD

__all__ = ["ESTIMATORS", "SGD", "Estimator", "Line", "Mirror", "Pooled", "Sums", "get"]

ESTIMATORS: dict[str, type[Estimator]] = {
    "pooled": Pooled,
    "line": Line,
    "sgd": SGD,
    "mirror": Mirror,
}


def get(estimator: str | Estimator) -> Estimator:
    """An estimator from its id, or as it is.

    Raises:
        ValueError: If it is neither.

    Example:
    >>> import tf_alignment as ta
    >>> ta.spiking.lif.estimators.get("line").ridge
    1.0
    """
    if isinstance(estimator, Estimator):
        return estimator
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        return ESTIMATORS[estimator]()
    raise ValueError(
        f"Argument `estimator` must be one of {list(ESTIMATORS)} or an `Estimator` object. "
        f"Received: estimator={estimator!r}"
    )

"""The alignment rules that have names (Kunin et al. 2020, table 2).

| rule | loss | local |
|---|---|---|
| weight mirror          | α amp + β decay          | yes |
| information alignment  | α amp + β decay + γ null | yes |
| symmetric alignment    | α self + β decay         | no |
| activation alignment   | α amp + β sparse         | no |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tf_alignment._support.arguments import number_or_schedule
from tf_alignment._support.noise import Noise
from tf_alignment.feedback.alignment import (
    Alignment,
    Coefficient,
    serialize_coefficient,
)

__all__ = ["ActivationAlignment", "InformationAlignment", "SymmetricAlignment", "WeightMirror"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


class _Named(Alignment):
    """Base of the named rules: subclasses name the primitive of each coefficient, and options."""

    greek: Mapping[str, str]
    defaults: Mapping[str, Any] = {}

    def __init__(self, options: dict[str, Any], **coefficients: Coefficient) -> None:
        self.coefficients = {n: number_or_schedule(n, c) for n, c in coefficients.items()}
        terms = {self.greek[name]: value for name, value in self.coefficients.items()}
        usual = dict(self.defaults)
        if usual:
            from_noise = options.get("noise", usual["noise"]) is not None
            usual["normalize"] = "noise" if from_noise else self.on_activity
        super().__init__(terms, **{**usual, **options})

    def _normalize_for(self, noise: Noise | None) -> str | None:
        from_own = self.noise is None and self.normalize == self.on_activity
        if self.defaults and noise is not None and from_own:
            return "noise"
        return super()._normalize_for(noise)

    def get_config(self) -> dict[str, Any]:
        greek = {name: serialize_coefficient(value) for name, value in self.coefficients.items()}
        return {**greek, **self._plain_options()}

    def __repr__(self) -> str:
        own, usual = self._options(), type(self).from_config({})._options()
        # the default of `normalize` depends on the noise
        usual["normalize"] = type(self).from_config({"noise": own["noise"]}).normalize
        options = {n: v for n, v in own.items() if v != usual[n]}
        given = {**self.coefficients, **options}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in given.items())})"


# The local rules learn from noise, as published for WM: real activity is far from white, so
# that by plain gradient steps B would see little but its mean direction. Divided by the noise's own
# power, WM ends at (α/β) W in every layer; a step that shrinks where a layer has many inputs and
# few positions to average over (`normalize="noise"`) suits all layers and depths
# (docs/results/two_routes.md).
_FROM_NOISE = {"noise": "rademacher", "normalize": "noise", "response_bias": False}


@_package
class WeightMirror(_Named):
    """WM: `α amp + β decay`, a local rule; B follows `(α/β) xᵀ y / N`.

    By default the alignment input is noise (as in Akrout's mirror phase, with the bias blocked),
    and amp is divided by the power of the noise and by the number of positions, so that B converges
    to `(α/β) W` in every layer. The rule costs two more products per step. B follows W with a delay
    of `(1 + d/n) / (rate · β)` steps, with d inputs per unit and n examples times positions. If W
    changes much during this delay (large learning rates, no warm-up), training can diverge. Smaller
    coefficients average over more noise and make the delay longer.

    The rule as published is `WeightMirror(alpha, beta, normalize=None)`, on noise or, with
    `noise=None`, on the layer's input, which saves a product. The scale of B then depends on the
    layer: B converges to `(α/β) P σ² W` for white input of variance σ² and P positions. B grows if
    λ = β/α is below the power of the input and shrinks towards 0 if λ is above it; λ has to be
    tuned for each network and does not transfer to other depths.

    An extension of this library, whitened WM, is `WeightMirror(noise=None,
    normalize="covariance")`: the presynaptic side is whitened, and B follows
    `(α/β) (C + λ)⁻¹ xᵀy`, which equals W in the directions in which the activity varies.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of decay, a number or schedule.
        **options: Further options of `Alignment`. Defaults: `noise="rademacher"`,
            `normalize="noise"`, `response_bias=False`; with `noise=None`, `normalize="variance"`.

    Reference: Akrout et al. 2019, "Deep learning without weight transport"; Kunin et al. 2020.

    Example:
    >>> import tf_alignment as ta
    >>> published = ta.feedback.WeightMirror(0.1, 0.1, normalize=None)
    >>> layer = ta.layers.Dense(8, feedback=published)
    """

    id = "wm"
    greek = {"alpha": "amp", "beta": "decay"}
    defaults = _FROM_NOISE
    on_activity = "variance"

    def __init__(self, alpha: Coefficient = 0.5, beta: Coefficient = 0.5, **options: Any) -> None:
        super().__init__(options, alpha=alpha, beta=beta)


@_package
class InformationAlignment(_Named):
    """IA: `α amp + β decay + γ null`, a local rule.

    By default the alignment input is noise, and the terms are divided by the power of the noise,
    as in `WeightMirror`: with fixed W, B converges to `α W (γ WᵀW + β)⁻¹`, which is close to W for
    small γ. As published (`normalize=None`), with fixed W and response z, B converges to
    `α xᵀz (γ zᵀz + β N I)⁻¹`, which differs from W. The rule costs three more products per step,
    two with `noise=None`.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of decay, a number or schedule.
        gamma: Coefficient of null, a number or schedule.
        **options: Further options of `Alignment`, with the defaults of `WeightMirror`.

    Reference: Kunin et al. 2020, section 4.

    Example:
    >>> import tf_alignment as ta
    >>> ta.feedback.InformationAlignment(gamma=0.01)
    InformationAlignment(alpha=0.5, beta=0.5, gamma=0.01)
    """

    id = "ia"
    greek = {"alpha": "amp", "beta": "decay", "gamma": "null"}
    defaults = _FROM_NOISE
    on_activity = "variance"

    def __init__(
        self,
        alpha: Coefficient = 0.5,
        beta: Coefficient = 0.5,
        gamma: Coefficient = 0.005,
        **options: Any,
    ) -> None:
        super().__init__(options, alpha=alpha, beta=beta, gamma=gamma)


@_package
class SymmetricAlignment(_Named):
    """SA: `α self + β decay`; with α = β, B descends `(α/2) ‖B − W‖²`.

    It needs no additional matrix product.

    The rule is not local; it is weight *estimation* instead of weight transport. B approaches W
    over time, and is stable if rate · α is below 2. The published code has the defaults
    α = β = 2e-3 in this convention, under the forward optimizer. B is 1 / (rate · α) steps behind
    W; the longer this delay, the smaller the forward learning rates at which training is stable
    (docs/results/where_rules_train.md). With the defaults here and in
    `tf_alignment.optimizers.split`, rate · α is 1.

    Args:
        alpha: Coefficient of self, a number or schedule.
        beta: Coefficient of decay, a number or schedule.
        **options: Further options of `Alignment`.

    Reference: Kunin et al. 2020, section 5.

    Example:
    >>> import keras, tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback=ta.feedback.SymmetricAlignment())
    >>> optimizer = ta.optimizers.split(keras.optimizers.SGD(0.1))  # 0.5 for B: rate · α = 1
    """

    id = "sa"
    greek = {"alpha": "self", "beta": "decay"}

    def __init__(self, alpha: Coefficient = 2.0, beta: Coefficient = 2.0, **options: Any) -> None:
        super().__init__(options, alpha=alpha, beta=beta)


@_package
class ActivationAlignment(_Named):
    """AA: `α amp + β sparse`; with α = β, B descends `(α/2N) ‖x W − x B‖²`. It is not local.

    By default, an extension of this library, the gradient is multiplied by a damped inverse of the
    covariance of the layer's own input (`normalize="covariance"`). With rate · α = 1, the defaults
    here and in `tf_alignment.optimizers.split`, a step is the damped least-squares step: if a batch
    has as many rows as a unit has inputs, B equals W of the previous step in all directions in
    which the batch varies. Without tuning its training loss stays within 0.04 of
    backpropagation's in the five networks of docs/results/own_activity.md; test accuracies of the
    deeper ones scatter too much to be compared. The inverse is not local. The rule as published is
    `ActivationAlignment(2e-3, 2e-3, normalize=None, response_bias=True)`, with an adaptive
    optimizer for B.

    On the layer's own input, plain gradient steps are unstable or slow: 16 to 75 % of the trace of
    the input's second moments lies in one direction, and their median eigenvalue is a
    four-hundredth of the trace or less (docs/results/own_activity.md). Adam gives each layer a
    scale of its own. The recipe is `ActivationAlignment(normalize=None)` with B under
    `keras.optimizers.Adam(0.01)` (argument `feedback` of `tf_alignment.optimizers.split`). On MNIST
    it came within half a point of backpropagation at learning rates of W up to 0.03
    (docs/results/where_rules_train.md), and diverged at 0.05 (docs/results/own_activity.md): try
    more than one rate. B learns W only in the directions in which the input varies. A warning says
    that momentum makes B oscillate; it also applies to Adam.

    With `noise="rademacher"` the rule learns from noise, normalised for it: the defaults give the
    fastest step in every layer, B is 1 + d/n steps behind W, with d inputs per unit and n examples
    times positions, and the rule costs two more products per step. Wide dense layers at small
    batches then need a small rate of W.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of sparse, a number or schedule.
        **options: Further options of `Alignment`. Defaults: `noise=None`,
            `normalize="covariance"`, `response_bias=False`; with noise, `normalize="noise"`.

    Reference: Kunin et al. 2020, section 5.

    Example:
    >>> import tf_alignment as ta
    >>> ta.feedback.ActivationAlignment(1.0, 1.0)
    ActivationAlignment(alpha=1.0, beta=1.0)
    """

    id = "aa"
    greek = {"alpha": "amp", "beta": "sparse"}
    defaults = {"noise": None, "normalize": "covariance", "response_bias": False}
    on_activity = "covariance"

    def __init__(self, alpha: Coefficient = 2.0, beta: Coefficient = 2.0, **options: Any) -> None:
        super().__init__(options, alpha=alpha, beta=beta)

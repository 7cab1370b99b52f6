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
from tf_alignment.feedback.alignment import (
    Alignment,
    Coefficient,
    serialize_coefficient,
)

__all__ = ["ActivationAlignment", "InformationAlignment", "SymmetricAlignment", "WeightMirror"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


class _Named(Alignment):
    """A rule with Greek coefficients: subclasses name the primitive of each, and its options."""

    greek: Mapping[str, str]
    defaults: Mapping[str, Any] = {}

    def __init__(self, options: dict[str, Any], **coefficients: Coefficient) -> None:
        self.coefficients = {n: number_or_schedule(n, c) for n, c in coefficients.items()}
        terms = {self.greek[name]: value for name, value in self.coefficients.items()}
        usual = dict(self.defaults)
        if usual and options.get("noise", usual["noise"]) is None:
            usual["normalize"] = self.on_activity
        super().__init__(terms, **{**usual, **options})

    def get_config(self) -> dict[str, Any]:
        greek = {name: serialize_coefficient(value) for name, value in self.coefficients.items()}
        return {**greek, **self._plain_options()}

    def __repr__(self) -> str:
        usual = dict(type(self).from_config({})._options())
        options = {n: v for n, v in self._options().items() if v != usual[n]}
        given = {**self.coefficients, **options}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in given.items())})"


# The local rules and AA learn from noise, as published for WM: real activity is far from white, so
# that by plain gradient steps B would see little but its mean direction. Divided by the noise's own
# power, WM ends at (α/β) W in every layer; a step that shrinks where a layer has many inputs and
# few positions to average over (`normalize="noise"`) suits all layers and depths
# (docs/results/two_routes.md).
_FROM_NOISE = {"noise": "rademacher", "normalize": "noise", "response_bias": False}


@_package
class WeightMirror(_Named):
    """WM: `α amp + β decay`, a local rule; B follows `(α/β) xᵀ y / N`.

    By default the alignment input is noise (as in Akrout's mirror phase, with the bias blocked),
    and amp is divided by its power and by the number of positions, so that B ends at `(α/β) W` in
    every layer. Costs two more products a step. B follows W with a delay of
    `(1 + d/n) / (rate · β)` steps, d inputs of a unit and n examples times positions: where W moves
    fast in that time (large learning rates, no warm-up) training can blow up. Smaller coefficients
    average more noise and lag more.

    The rule as published is `WeightMirror(alpha, beta, normalize=None)`, on noise or, with
    `noise=None`, on the layer's input, which saves a product. Its scale then depends on the layer:
    B ends at `(α/β) P σ² W` for white input of variance σ² and P positions. It grows where λ = β/α
    is below the input's power and collapses where it is above; it has to be tuned per network and
    does not transfer to other depths.

    An extension of this library, whitened WM, is `WeightMirror(noise=None,
    normalize="covariance")`: the presynaptic side is whitened, and B follows
    `(α/β) (C + λ)⁻¹ xᵀy`, which is W in the directions that the activity shows.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of decay.
        **options: See `Alignment`. Defaults: `noise="rademacher"`, `normalize="noise"`,
            `response_bias=False`; with `noise=None`, `normalize="variance"`.

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

    By default on noise and divided by its power, like `WeightMirror`: with W fixed B ends at
    `α W (γ WᵀW + β)⁻¹`, which is close to W for small γ. As published (`normalize=None`), with W
    fixed and response z, B ends at `α xᵀz (γ zᵀz + β N I)⁻¹`, which is not W. Costs three more
    products a step, two with `noise=None`.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of decay.
        gamma: Coefficient of null.
        **options: See `Alignment`. Defaults as of `WeightMirror`.

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
    """SA: `α self + β decay`; with α = β, B descends `(α/2) ‖B − W‖²`. No product.

    Not local, but weight *estimation* instead of transport: B approaches W over time, and any
    rate · α below 2 is stable. The published code's defaults are α = β = 2e-3 in this convention,
    under the forward optimizer. The longer B lags behind W, by 1 / (rate · α) steps, the smaller
    the forward rates at which training is stable (docs/results/where_rules_train.md); with the
    defaults here and in `tf_alignment.optimizers.split`, rate · α is 1.

    Args:
        alpha: Coefficient of self, a number or schedule.
        beta: Coefficient of decay.
        **options: See `Alignment`.

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
    """AA: `α amp + β sparse`; with α = β, B descends `(α/2N) ‖x W − x B‖²`. Not local.

    By default on noise and normalised for it, so that rate · α = 1, with the defaults here and in
    `tf_alignment.optimizers.split`, is the fastest step in every layer: B is 1 + d/n steps behind
    W, d inputs of a unit and n examples times positions, which in convolutions is hardly more than
    for SA. Costs two more products a step. As published:
    `ActivationAlignment(2e-3, 2e-3, noise=None, normalize=None, response_bias=True)`, with an
    adaptive optimizer for B. The default, on noise, is a rule of this library.

    On the layer's own input, plain gradient steps are unstable or slow: 40 to 97 % of the input's
    covariance lies in one direction, and its median eigenvalue is a five-hundredth of the trace or
    less. Adam gives each layer a scale of its own. The recipe is
    `ActivationAlignment(noise=None, normalize=None)` with B under `keras.optimizers.Adam(0.01)`
    (argument `feedback` of `tf_alignment.optimizers.split`). In a small convolutional network on
    digits, with SGD of rate 0.01 and momentum 0.9 for W, it reached 94.2, 95.8 and 94.4 % in ten
    epochs, backpropagation 93.3, 96.1 and 94.7 %, the default of this class 80.0, 91.7 and 91.4 %
    (three seeds). At rate 0.003 Adam blew up there (12.8 %, one seed), and at 0.01 on MNIST with
    rate 0.05 for W (docs/results/own_activity.md): try a few. B learns only what the input shows
    it. A warning says that momentum makes B swing, which is so here too.

    An extension of this library is `ActivationAlignment(noise=None, normalize="covariance")`: AA on
    the layer's own input, times a damped inverse of its covariance. With rate · α = 1, a step is
    the damped least-squares step: where a batch has as many rows as a unit has inputs, B is W of
    the step before in all directions that the batch shows.

    Args:
        alpha: Coefficient of amp, a number or schedule.
        beta: Coefficient of sparse.
        **options: See `Alignment`. Defaults: `noise="rademacher"`, `normalize="noise"`,
            `response_bias=False`; with `noise=None`, `normalize="input"`.

    Reference: Kunin et al. 2020, section 5.

    Example:
    >>> import tf_alignment as ta
    >>> ta.feedback.ActivationAlignment(1.0, 1.0)
    ActivationAlignment(alpha=1.0, beta=1.0)
    """

    id = "aa"
    greek = {"alpha": "amp", "beta": "sparse"}
    defaults = _FROM_NOISE

    def __init__(self, alpha: Coefficient = 2.0, beta: Coefficient = 2.0, **options: Any) -> None:
        super().__init__(options, alpha=alpha, beta=beta)

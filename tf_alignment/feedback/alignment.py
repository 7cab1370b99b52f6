"""Feedback weights that learn to align with the forward weights, by any mix of primitives.

The forward weights W descend the loss of the task along the error that the feedback weights B send
down. B descends an alignment loss, which is a weighted sum of primitives (see
`tf_alignment.primitives`). The named rules are in `tf_alignment.feedback.rules`.

B needs a fast optimizer without momentum, whatever optimizer W has: use
`tf_alignment.optimizers.split`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import primitives
from tf_alignment._support.arguments import boolean, is_config, number, number_or_schedule, one_of
from tf_alignment._support.noise import Noise, noise_of
from tf_alignment.feedback.base import Activity, Backward, Feedback, Setup
from tf_alignment.feedback.conditioning import conditioned, first_examples
from tf_alignment.primitives import Gradient, Local, Primitive

__all__ = ["Alignment", "Coefficient", "serialize_coefficient"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")
_Schedule = keras.optimizers.schedules.LearningRateSchedule
Coefficient = Any  # a number or a LearningRateSchedule
Terms = Mapping[str, Coefficient] | Iterable[tuple[Primitive | str, Coefficient]]

BUILT_IN: dict[str, Primitive] = {
    "decay": primitives.decay,
    "amp": primitives.amp,
    "null": primitives.null,
    "sparse": primitives.sparse,
    "self": primitives.self_,
}

NORMALIZERS = ("input", "response", "variance", "noise", "covariance")
DAMPING = 1e-3


@_package
class Alignment(Feedback):
    """Alignment rule: `dx = δ Bᵀ`, and B descends a mix of primitives, `Σ coefficient · P(B)`.

    Args:
        terms: Primitives and their coefficients: a dict such as `{"amp": 1.0, "decay": 0.5}` with
            names from `decay, amp, null, sparse, self`, or pairs
            `[("decay", 0.5), (primitive, coefficient), ...]`, each with one of these names or a
            `tf_alignment.primitives.Primitive` of your own. A coefficient is a number, or a
            `keras.optimizers.schedules.LearningRateSchedule` of the training step (see also
            `tf_alignment.schedules`).
        response: Choice of the response y: `"linear"`, the product `x W` with its bias, before
            batch normalisation and activation; or `"output"`, the layer's output after its
            activation. The fixed point of AA is W with `"linear"`, but not with `"output"`.
        response_bias: Whether the response contains the layer's bias.
        noise: White noise that replaces the layer's input as alignment input, drawn on each
            replica: `"rademacher"`, `"gaussian"` (or `"normal"`) or `"uniform"`, of variance 1; a
            number, the standard deviation of Rademacher noise; a distribution of
            `tfp.distributions`; or a `tf_alignment.Noise`. `None` keeps the layer's input. Noise
            costs one more forward product. The rules depend only on the variance of the noise, and
            `"rademacher"` takes about a twelfth of the time of `"gaussian"`.
        batch_center: Whether to subtract the mean over the batch from the input of `x B` and from
            the response. Under a strategy the batch is the batch of one replica.
        feature_center: Whether to subtract the mean over each example's features from the alignment
            input, the response and the feedback projections.
        feature_normalize: Whether to divide the alignment input, the response and the feedback
            projections by the L2 norm over each example's features.
        feedback_activation: Keras activation on the feedback projections `y Bᵀ` and `x B`.
        feedback_bias: Whether `y Bᵀ` has a bias of its own, which is learned with B.
        normalize: Divisor of amp, null and sparse besides the number of examples N, so that
            learning rate and coefficients need not depend on the layer's scale. This option is an
            extension of this library; `None`, no further divisor, is the published form.

            * `"input"`: mean squared norm of the alignment input (of the patches, for a
              convolution), as in normalised least mean squares with regressor x.
            * `"response"`: mean squared norm of the response, for the regressor y.
            * `"variance"`: mean square of one entry of the input, times the number of positions.
            * `"noise"`: as `"variance"`; besides, the whole gradient, including decay, is divided
              by 1 + d/n, with d inputs per unit and n examples times positions. For white noise,
              the fastest step of least mean squares is then learning rate times coefficient = 1 in
              every layer.
            * `"covariance"`: no divisor. Instead, amp and sparse are multiplied by a damped inverse
              of the input's covariance in the batch, which gives a least-squares step (see
              `damping`); decay and self are not multiplied. It is meant for rules of amp, sparse,
              decay and self that learn from the layer's own input. It uses the first examples of a
              batch, up to 1024 rows of inputs; layers whose input has no rows (einsum, depthwise,
              transposed) take four steps of conjugate gradients. In a brain, the inverse would need
              connections between the inputs of a layer.

            Under a strategy each replica computes the divisor from its own batch.
        damping: Number added to the diagonal of the covariance with `normalize="covariance"`, in
            units of the mean eigenvalue of the covariance. Where float32 cannot factor the damped
            covariance of inputs that have one direction, the step is divided by its trace.
        positions: Reduction over the positions of a convolution with `normalize=None`: `"sum"` (as
            published) or `"mean"`. Every other `normalize` has a reduction of its own, beside which
            `"mean"` is an error.

    A layer that is called several times in one forward pass (shared, or unrolled over time) aligns
    at its first call. Your own training loops have to add `model.losses` to the loss, as for any
    Keras regularizer, and to call the model with `training=True`: otherwise B does not learn, or
    sees the same noise at every step. In a layer under rematerialisation the rule runs without it.

    Raises:
        TypeError: If `terms` is neither a dict nor pairs.
        ValueError: If a coefficient is neither a finite number nor a schedule, and for unknown
            names or values; the message lists the known ones.

    Reference: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight
    Symmetry", section 3 and tables 1 and 2.

    Example:
    >>> import tf_alignment as ta
    >>> rule = ta.feedback.Alignment({"amp": 1.0, "sparse": 1.0, "decay": 1e-3}, normalize="input")
    >>> layer = ta.layers.Dense(8, feedback=rule)
    """

    id = "alignment"
    learns = "alignment"
    on_activity = "input"  # what takes the place of normalize="noise" on the layer's own input

    def __init__(
        self,
        terms: Terms,
        *,
        response: str = "linear",
        response_bias: bool = True,
        noise: Any = None,
        batch_center: bool = False,
        feature_center: bool = False,
        feature_normalize: bool = False,
        feedback_activation: Any = None,
        feedback_bias: bool = False,
        normalize: str | None = None,
        positions: str = "sum",
        damping: float = DAMPING,
    ) -> None:
        self.terms = _check_terms(terms)
        self.response = one_of("response", response, ("linear", "output"))
        self.response_bias = boolean("response_bias", response_bias)
        self.noise = None if noise is None else noise_of("noise", noise)
        self.batch_center = boolean("batch_center", batch_center)
        self.feature_center = boolean("feature_center", feature_center)
        self.feature_normalize = boolean("feature_normalize", feature_normalize)
        try:
            self.feedback_activation = (
                None if feedback_activation is None else keras.activations.get(feedback_activation)
            )
        except (TypeError, ValueError):
            raise ValueError(
                "Argument `feedback_activation` must be a Keras activation or None. Received: "
                f"feedback_activation={feedback_activation!r}"
            ) from None
        self.feedback_bias = boolean("feedback_bias", feedback_bias)
        self.normalize = one_of("normalize", normalize, (None, *NORMALIZERS))
        if self.normalize == "noise" and self.noise is None:
            raise ValueError(
                "`normalize` must not be 'noise' for a rule that learns from the layer's own "
                "input. Received: normalize='noise', noise=None"
            )
        self.positions = one_of("positions", positions, ("sum", "mean"))
        self.damping = number("damping", damping, above=0)
        if self.normalize == "covariance":
            self._check_conditioned()
        elif self.damping != DAMPING:
            raise ValueError(
                "`damping` is used with normalize='covariance' alone. "
                f"Received: damping={damping!r}, normalize={normalize!r}"
            )
        if self.normalize is not None and self.positions == "mean":
            raise ValueError(
                "`positions` must be 'sum' beside `normalize`, which has a reduction of its own. "
                f"Received: positions='mean', normalize={normalize!r}"
            )
        self.random = None if self.noise is None else "replica"
        self.scheduled = any(isinstance(coefficient, _Schedule) for _, coefficient in self.terms)
        self.weights_only = all(primitive.weights_only for primitive, _ in self.terms)

    def build(self, setup: Setup) -> None:
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, trainable=True, aligned=True)
        if self.feedback_bias:
            zeros = keras.initializers.Zeros()
            setup.add("feedback_bias", setup.input_channels, zeros, trainable=True, aligned=True)

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        return c.weights["feedback_kernel"]

    def with_input(self, noise: Noise | None) -> Alignment:
        """Copy of the rule with another alignment input.

        Args:
            noise: Noise to learn from, or None for the layer's own input. With None,
                `normalize="noise"` is replaced by the rule's default for its own input, or by
                "input" if an option does not go with the covariance.
                `WeightMirror`, `InformationAlignment` and `ActivationAlignment` do the reverse with
                noise: their default for own input is replaced by `normalize="noise"`.
        """
        own = {**self._options(), "noise": noise, "normalize": self._normalize_for(noise)}
        if own["normalize"] != "covariance":
            own["damping"] = DAMPING
        rule = copy.copy(self)  # rules of a subclass may have a constructor of their own
        Alignment.__init__(rule, self.terms, **own)
        return rule

    def _normalize_for(self, noise: Noise | None) -> str | None:
        """The `normalize` of a copy with another alignment input."""
        if noise is not None or self.normalize != "noise":
            return self.normalize
        return "input" if self.on_activity == "covariance" and self._against() else self.on_activity

    def local(self, activity: Activity, weights: Mapping[str, tf.Tensor]) -> Local:
        """Quantities from which the primitives are computed, with the rule's options applied.

        Args:
            activity: Forward pass of the connection.
            weights: Feedback weights in float32, `{"feedback_kernel": B}`, with `"feedback_bias"`
                if there is one.
        """
        x = self._features(self._alignment_input(activity))
        kernel = activity.kernel
        z = activity.z if x is activity.x else activity.map.apply(x, kernel)
        y = activity.add_bias(z) if self.response_bias else z
        if self.response == "output":
            y = activity.activation(y)
        sparse_x = None
        if self.batch_center:
            y = y - tf.reduce_mean(y, 0, keepdims=True)
            sparse_x = x - tf.reduce_mean(x, 0, keepdims=True)
        y = self._features(y)
        plain = not (self.feature_center or self.feature_normalize or self.feedback_activation)
        return Local(
            map=activity.map,
            x=x,
            y=y,
            kernel=tf.cast(kernel, weights["feedback_kernel"].dtype),
            feedback=weights["feedback_kernel"],
            divisor=self._divisor(activity, x, y),
            linear=y is z,
            bias=weights.get("feedback_bias"),
            post=None if plain else self._post,
            sparse_x=sparse_x,
        )

    def loss(self, activity: Activity, weights: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Alignment loss, a float32 scalar; training needs only the gradient, see `align`."""
        local = self.local(activity, weights)
        values = [
            tf.cast(self._at(coefficient, activity), tf.float32)
            * tf.cast(primitive.value(local), tf.float32)
            for primitive, coefficient in self.terms
        ]
        return self._step(local) * tf.add_n(values)

    def align(
        self, activity: Activity, weights: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Gradient of `loss` in closed form, for every weight in `weights`.

        With `normalize="covariance"` the result is a least-squares step and no gradient of a loss.
        """
        if self.normalize == "covariance":
            activity = first_examples(activity)
        local = self.local(activity, weights)
        total = Gradient()
        for primitive, coefficient in self.terms:
            gradient = primitive.gradient(local)
            total = total + gradient.scaled(self._at(coefficient, activity))
        if self.normalize == "covariance":
            return {"feedback_kernel": conditioned(local, total, self.damping)}
        gradients = total.resolve(local)
        if self.normalize != "noise":
            return gradients
        step = self._step(local)
        return {name: tf.cast(step, g.dtype) * g for name, g in gradients.items()}

    def _against(self) -> list[str]:
        """Options that change x B, which the covariance of the input does not condition."""
        given = {
            "batch_center": self.batch_center,
            "feature_center": self.feature_center,
            "feature_normalize": self.feature_normalize,
            "feedback_activation": self.feedback_activation,
            "feedback_bias": self.feedback_bias,
        }
        return [name for name, value in given.items() if value]

    def _check_conditioned(self) -> None:
        wrong = self._against()
        if wrong or any(primitive is primitives.null for primitive, _ in self.terms):
            raise ValueError(
                "`normalize` must not be 'covariance' (AA's default on own input) with the term "
                "null or an option that changes x B: the covariance of the input does not "
                "condition them. Give `normalize='input'` or None, or `noise`. Received: "
                f"normalize='covariance', {', '.join(wrong) or 'null among the terms'}"
            )

    def _step(self, local: Local) -> float | tf.Tensor:
        """Factor that multiplies the whole gradient."""
        if self.normalize != "noise":
            return 1.0
        # with xᵀx/n = σ²(1 ± √(d/n)) in all directions, smaller steps average, larger ones swing
        unknowns, equations = (tf.cast(tf.size(a), tf.float32) for a in (local.feedback, local.y))
        return 1.0 / (1.0 + unknowns / equations)  # d/n, see `LinearMap.pairs`

    def _at(self, coefficient: Coefficient, activity: Activity) -> float | tf.Tensor:
        return coefficient(activity.step) if isinstance(coefficient, _Schedule) else coefficient

    def _alignment_input(self, activity: Activity) -> tf.Tensor:
        if self.noise is None:
            return activity.x
        shape, dtype = tf.shape(activity.x), activity.x.dtype
        noise = self.noise.sample(shape, activity.seed, dtype)
        return tf.ensure_shape(noise, activity.x.shape)

    def _features(self, x: tf.Tensor) -> tf.Tensor:
        if not (self.feature_center or self.feature_normalize):
            return x
        axes, dtype = list(range(1, x.shape.rank)), x.dtype
        x = tf.cast(x, tf.float32)  # half precision overflows in a sum of squares
        if self.feature_center:
            x = x - tf.reduce_mean(x, axes, keepdims=True)
        if self.feature_normalize:
            x = tf.math.l2_normalize(x, axes)
        return tf.cast(x, dtype)

    def _post(self, projection: tf.Tensor) -> tf.Tensor:
        if self.feedback_activation is not None:
            projection = self.feedback_activation(projection)
        return self._features(projection)

    def _divisor(self, activity: Activity, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        linear_map = activity.map

        def total(a: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.square(tf.cast(a, tf.float32)))

        def power() -> tf.Tensor:
            centered = self.feature_center or self.feature_normalize
            if self.noise is not None and self.noise.kind == "rademacher" and not centered:
                return tf.constant(self.noise.variance)  # of every entry
            return total(x) / tf.cast(tf.size(x), tf.float32)

        def pairs() -> tf.Tensor:  # examples times positions
            return linear_map.pairs(x, y, tuple(activity.kernel.shape))

        # sums over the batch and over positions; each input entry lies in `overlap` patches
        if self.normalize == "input":
            divisor = power() * tf.cast(tf.size(x), tf.float32) * linear_map.overlap()
        elif self.normalize == "response":
            divisor = total(y) * linear_map.overlap()
        elif self.normalize in ("variance", "noise"):
            divisor = power() * pairs()
        elif self.positions == "mean":
            divisor = pairs()
        else:
            divisor = tf.cast(tf.shape(x)[0], tf.float32)
        return tf.maximum(divisor, 1e-7)

    def get_config(self) -> dict[str, Any]:
        return {"terms": _serialize_terms(self.terms), **self._plain_options()}

    def _options(self) -> dict[str, Any]:
        return {
            "response": self.response,
            "response_bias": self.response_bias,
            "noise": self.noise.short() if self.noise else None,
            "batch_center": self.batch_center,
            "feature_center": self.feature_center,
            "feature_normalize": self.feature_normalize,
            "feedback_activation": None
            if self.feedback_activation is None
            else keras.activations.serialize(self.feedback_activation),
            "feedback_bias": self.feedback_bias,
            "normalize": self.normalize,
            "positions": self.positions,
            "damping": self.damping,
        }

    def _plain_options(self) -> dict[str, Any]:
        """Options in the form in which a config stores them."""
        options = self._options()
        if isinstance(options["noise"], Noise):
            options["noise"] = keras.saving.serialize_keras_object(options["noise"])
        return options

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Alignment:
        config = {key: _revive(value) for key, value in config.items()}
        if "noise_stddev" in config:  # files of version 0.1.0
            config["noise"] = _with_stddev(config.get("noise"), config.pop("noise_stddev"))
        if isinstance(config.get("terms"), Mapping):
            config["terms"] = {name: _revive(c) for name, c in config["terms"].items()}
        if isinstance(config.get("terms"), list | tuple):
            config["terms"] = [(_revive(p), _revive(c)) for p, c in config["terms"]]
        return cls(**config)


def _with_stddev(noise: Any, stddev: Any) -> Noise | None:
    """Noise from the two arguments by which version 0.1.0 described it."""
    stddev = number("noise_stddev", stddev, above=0)
    kind = noise.kind if isinstance(noise, Noise) else noise
    return None if kind is None else noise_of("noise", kind, stddev=stddev)


def _check_terms(terms: Terms) -> tuple[tuple[Primitive, Coefficient], ...]:
    try:
        named = [(p, c) for p, c in (terms.items() if isinstance(terms, Mapping) else terms)]
    except (TypeError, ValueError):
        raise TypeError(
            "Argument `terms` must be a dict {name: coefficient} or pairs "
            f"[(primitive or name, coefficient), ...]. Received: terms={terms!r}"
        ) from None
    of_names = isinstance(terms, Mapping)
    unknown = [str(p) for p, _ in named if (of_names or isinstance(p, str)) and p not in BUILT_IN]
    if unknown:
        raise ValueError(
            f"Argument `terms` must name primitives out of {sorted(BUILT_IN)}. "
            f"Received unknown names: {sorted(unknown)}"
        )
    pairs = [(BUILT_IN[p] if isinstance(p, str) else p, c) for p, c in named]
    for primitive, _ in pairs:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                "Argument `terms` must pair names or `tf_alignment.primitives.Primitive` objects "
                f"with coefficients. Received: {primitive!r}"
            )
    if not pairs:
        raise ValueError(
            "Argument `terms` must name at least one primitive; for feedback weights that never "
            f"learn use 'fa'. Received: terms={terms!r}"
        )
    pairs = [(p, number_or_schedule(p.name, coefficient)) for p, coefficient in pairs]
    if len({primitive for primitive, _ in pairs}) < len(pairs):
        raise ValueError(
            "Argument `terms` must name each primitive once. Received: "
            f"{[primitive.name for primitive, _ in pairs]}"
        )
    return tuple(pairs)


def serialize_coefficient(value: Any) -> Any:
    """Coefficient in the form in which a config stores it."""
    return keras.saving.serialize_keras_object(value) if isinstance(value, _Schedule) else value


def _revive(value: Any) -> Any:
    return keras.saving.deserialize_keras_object(value) if is_config(value) else value


def _serialize_terms(terms: tuple[tuple[Primitive, Coefficient], ...]) -> Any:
    names = {primitive: name for name, primitive in BUILT_IN.items()}
    if all(primitive in names for primitive, _ in terms):
        return {names[primitive]: serialize_coefficient(c) for primitive, c in terms}
    return [[keras.saving.serialize_keras_object(p), serialize_coefficient(c)] for p, c in terms]

"""Noise of known variance that is drawn from seeds, and its form in arguments."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import is_config, number, one_of
from tf_alignment._support.optional import require

__all__ = ["KINDS", "Noise", "draw", "kind_of", "noise_of", "signs"]

KINDS = ("rademacher", "gaussian", "uniform")
"""Kinds of noise, as they are written in configs."""
_SYNONYMS = {"normal": "gaussian"}


def kind_of(name: str, value: Any, allowed: Iterable[str | None] = KINDS) -> Any:
    """Check a kind of noise; `"normal"` means the same as `"gaussian"`.

    Args:
        name: Name of the argument, for the error message.
        value: Value of the argument.
        allowed: Allowed kinds, possibly including None.

    Raises:
        ValueError: If the kind is not allowed.

    Example:
    >>> from tf_alignment._support.noise import kind_of
    >>> kind_of("distribution", "normal")
    'gaussian'
    """
    return one_of(name, _SYNONYMS.get(value, value) if isinstance(value, str) else value, allowed)


def draw(
    kind: str,
    stddev: float,
    shape: tf.Tensor,
    seed: tf.Tensor,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Draw independent numbers with mean 0; kinds differ in higher moments and in speed.

    Args:
        kind: Kind of noise, one of `KINDS`.
        stddev: Standard deviation of the numbers.
        shape: Shape of the result.
        seed: Two int32 numbers; equal seeds give equal numbers.
        dtype: Type of the result. Numbers are drawn in float32 and rounded.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment._support.noise import draw
    >>> float(tf.reduce_max(draw("rademacher", 0.5, (100,), tf.constant([1, 2]))))
    0.5
    """
    if kind == "rademacher":
        return signs(stddev, shape, seed, dtype)
    if kind == "gaussian":
        return tf.cast(tf.random.stateless_normal(shape, seed, stddev=stddev), dtype)
    limit = 3.0**0.5 * stddev
    return tf.cast(tf.random.stateless_uniform(shape, seed, -limit, limit), dtype)


@keras.saving.register_keras_serializable(package="tf_alignment")
class Noise:
    """White noise: independent numbers with mean 0 and the same known variance.

    Every argument called `noise` takes such an object, or a short form: the name of a kind, which
    implies the default standard deviation of the function; a number, which is the standard
    deviation of the function's default kind; or a distribution of TensorFlow Probability.

    Args:
        kind: Distribution of the numbers: `"rademacher"` (plus or minus `stddev`; drawn fastest),
            `"gaussian"` (or `"normal"`), `"uniform"`, or a scalar distribution of
            `tfp.distributions` whose mean is 0.
        stddev: Standard deviation, above 0. Must not be given with a distribution, which has its
            own.

    Attributes:
        stddev, variance: Standard deviation and variance of every entry, floats.

    Raises:
        TypeError: If `kind` is neither a name nor a distribution.
        ValueError: For an unknown name, a standard deviation not above 0, or a distribution that
            is not scalar, has another mean than 0 or a variance that is not finite and above 0.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> noise = ta.Noise("rademacher", 0.5)
    >>> noise.variance
    0.25
    >>> tuple(noise.sample((2, 3), tf.constant([1, 2])).shape)
    (2, 3)
    >>> rule = ta.feedback.WeightMirror(noise=noise)
    """

    def __init__(self, kind: Any = "rademacher", stddev: float | None = None) -> None:
        self._distribution = None
        if _is_distribution(kind):
            if stddev is not None:
                raise ValueError(
                    "Argument `stddev` must be None for a distribution, which has its own. "
                    f"Received: stddev={stddev!r}"
                )
            self.kind, self._distribution = "distribution", kind
            self.variance = _variance(kind)
            self.stddev = self.variance**0.5
        elif isinstance(kind, str):
            self.kind = kind_of("kind", kind)
            self.stddev = number("stddev", 1.0 if stddev is None else stddev, above=0)
            self.variance = self.stddev**2
        else:
            raise TypeError(
                f"Argument `kind` must be one of {KINDS} or a distribution of `tfp.distributions`. "
                f"Received: kind={kind!r}"
            )

    def sample(self, shape: tf.Tensor, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Draw noise.

        Args:
            shape: Shape of the result.
            seed: Two int32 numbers; equal seeds give equal noise.
            dtype: Type of the result. Numbers are drawn in float32 and rounded.
        """
        if self._distribution is not None:
            return tf.cast(self._distribution.sample(shape, seed=seed), dtype)
        return draw(self.kind, self.stddev, shape, seed, dtype)

    def short(self) -> Any:
        """Short form: the name of the kind if the variance is 1, otherwise the noise itself."""
        return self.kind if self._distribution is None and self.stddev == 1.0 else self

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor.

        Raises:
            ValueError: For a distribution with parameters that are not numbers.
        """
        if self._distribution is None:
            return {"kind": self.kind, "stddev": self.stddev}
        given = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self._distribution.parameters.items()
        }
        name = type(self._distribution).__name__
        if not all(isinstance(v, bool | int | float | str | None) for v in given.values()):
            raise ValueError(
                "Noise can be saved if its distribution is given by plain numbers. Received: "
                f"{name} with {given}"
            )
        return {"kind": {"distribution": name, "parameters": given}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Noise:
        """Make noise from its config."""
        kind = config["kind"]
        if isinstance(kind, dict):
            tfp = require("tensorflow_probability", "Noise of a distribution")
            kind = getattr(tfp.distributions, kind["distribution"])(**kind["parameters"])
        return cls(kind, config.get("stddev"))

    def _key(self) -> tuple[Any, ...]:
        own = self._distribution
        return self.kind, self.variance, type(own), None if own is None else str(own.parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Noise) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self._distribution is not None:
            return f"Noise({self._distribution!r})"
        return f"Noise({self.kind!r}, {self.stddev:g})"


def noise_of(name: str, value: Any, kind: str = "rademacher", stddev: float = 1.0) -> Noise:
    """Make the noise that an argument describes.

    Args:
        name: Name of the argument, for the error message.
        value: `Noise` object, its config, name of a kind, standard deviation or distribution.
        kind: Kind of noise if `value` is only a standard deviation.
        stddev: Standard deviation if `value` is only a kind.

    Raises:
        TypeError: If `value` is of another type.
        ValueError: For an unknown kind, a standard deviation not above 0, or a distribution that
            `Noise` refuses.

    Example:
    >>> from tf_alignment._support.noise import noise_of
    >>> noise_of("noise", "normal"), noise_of("noise", 0.5)
    (Noise('gaussian', 1), Noise('rademacher', 0.5))
    """
    if is_config(value):
        value = keras.saving.deserialize_keras_object(value)
    if isinstance(value, Noise):
        return value
    if _is_distribution(value):
        return Noise(value)
    message = (
        f"Argument `{name}` must be one of {KINDS}, a standard deviation above 0, a distribution "
        f"of `tfp.distributions` or a `ta.Noise`. Received: {name}={value!r}"
    )
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number or isinstance(value, str)):
        raise TypeError(message)
    try:
        return Noise(kind, float(value)) if is_number else Noise(value, stddev)
    except ValueError:
        raise ValueError(message) from None


def _is_distribution(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("sample", "mean", "variance", "batch_shape"))


def _variance(distribution: Any) -> float:
    """Variance of a distribution, which is checked to be usable as noise."""
    if tuple(distribution.batch_shape) or tuple(distribution.event_shape):
        raise ValueError(
            "Argument `noise` must be a scalar distribution. Received: batch shape "
            f"{tuple(distribution.batch_shape)}, event shape {tuple(distribution.event_shape)}"
        )
    mean, variance = float(distribution.mean()), float(distribution.variance())
    if not 0 < variance < float("inf"):
        raise ValueError(
            "Argument `noise` must have a finite variance above 0. "
            f"Received: a variance of {variance:g}"
        )
    if abs(mean) > 1e-6 * variance**0.5:
        raise ValueError(f"Argument `noise` must have mean 0. Received: a mean of {mean:g}")
    return variance


def signs(
    size: float, shape: tf.Tensor, seed: tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Draw numbers from {-size, size}, in about a twelfth of the time of Gaussian numbers.

    Each random byte selects eight signs in a table.

    Args:
        size: Absolute value of the numbers.
        shape: Shape of the result.
        seed: Two int32 numbers; equal seeds give equal numbers.
        dtype: Type of the result.
    """
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    table = tf.constant(size * (2.0 * bits - 1.0), dtype)
    count = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform([(count + 31) // 32], seed, None, None, tf.int32)
    drawn = tf.gather(table, tf.cast(tf.bitcast(words, tf.uint8), tf.int32))
    return tf.reshape(tf.reshape(drawn, [-1])[:count], shape)

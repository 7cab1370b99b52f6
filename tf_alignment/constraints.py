"""Dale's law: a neuron excites all that it reaches, or inhibits all."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import boolean, instance, integer, number
from tf_alignment._support.seeds import named_initializer, reseeded

__all__ = ["Dale", "DaleInitializer", "signs_of_units"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


def signs_of_units(count: int, excitatory: float, seed: int) -> np.ndarray:
    """Which units excite, 1, and which inhibit, -1.

    Args:
        count: Number of units.
        excitatory: Fraction that excites; `round(excitatory · count)` do, no matter what the seed.
        seed: Integer, says which.

    Returns:
        A float32 array `(count,)`.

    Example:
    >>> from tf_alignment.constraints import signs_of_units
    >>> signs_of_units(5, 0.8, seed=1).sum()
    np.float32(3.0)
    """
    signs = np.where(np.arange(count) < round(excitatory * count), 1.0, -1.0)
    return np.random.default_rng(seed).permutation(signs).astype("float32")


@_package
class Dale(keras.constraints.Constraint):
    """Each presynaptic unit has synapses of one sign: what has the other is set to 0.

    `W ← s ∘ max(s ∘ W, 0)`, s = ±1 per unit that sends. That is the nearest kernel that obeys the
    law. Weights are to begin with it: `Dale(...).initializer()`.

    Args:
        axis: Axis of the units that send. -2, the input channels, for the kernels of dense layers,
            convolutions and depthwise ones; -1, the output channels, for their feedback kernels,
            through which the error comes from above. The other way round in transposed
            convolutions. `EinsumDense` has axes of its own.
        excitatory: Fraction of the units that excite, from 0 to 1.
        seed: Integer, says which they are; the same on every kernel with as many units. None for a
            random one.

    Raises:
        ValueError: For a fraction out of range, or an axis or seed that is no integer.

    References: Eccles, Fatt & Koketsu 1954 (the law); Song, Yang & Wang 2016, "Training
    excitatory-inhibitory recurrent neural networks for cognitive tasks" (a fraction of .8).

    Example:
    >>> import numpy as np, tf_alignment as ta
    >>> dale = ta.constraints.Dale(seed=1)
    >>> layer = ta.layers.Dense(
    ...     8, feedback="fa", kernel_initializer=dale.initializer(), kernel_constraint=dale
    ... )
    >>> layer.build((None, 10))
    >>> [len(set(row)) for row in np.sign(layer.kernel)]
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """

    def __init__(self, axis: int = -2, excitatory: float = 0.8, seed: int | None = None) -> None:
        self.axis = integer("axis", axis, -(10**3))
        self.excitatory = number("excitatory", excitatory, least=0, most=1)
        self.seed = random.randint(1, 10**9) if seed is None else integer("seed", seed, 0)

    def signs(self, shape: Any) -> np.ndarray:
        """Signs per unit that broadcast to a kernel of this shape.

        Args:
            shape: Of the kernel.

        Raises:
            ValueError: If the kernel has no such axis.
        """
        shape = tuple(shape)
        if not -len(shape) <= self.axis < len(shape):
            raise ValueError(
                f"Argument `axis` must be one of the {len(shape)} axes of the kernel. "
                f"Received: axis={self.axis}"
            )
        own = [1] * len(shape)
        own[self.axis] = shape[self.axis]
        return signs_of_units(shape[self.axis], self.excitatory, self.seed).reshape(own)

    def __call__(self, w: Any) -> Any:
        """The nearest kernel that obeys the law."""
        s = tf.constant(self.signs(w.shape), w.dtype)
        return s * tf.nn.relu(s * tf.convert_to_tensor(w))

    def initializer(
        self, base: Any = "glorot_uniform", balanced: bool = True, seed: int | None = None
    ) -> DaleInitializer:
        """Weights to begin with: see `DaleInitializer`.

        Args:
            base: Keras initializer of the magnitudes.
            balanced: Whether excitation and inhibition cancel.
            seed: Integer, or None for a random one.
        """
        return DaleInitializer(self, base, balanced, seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"axis": self.axis, "excitatory": self.excitatory, "seed": self.seed}


@_package
class DaleInitializer(keras.initializers.Initializer):
    """Magnitudes of another initializer, with the signs of `Dale`.

    Balanced, the synapses of the few inhibitory units are stronger by (units that excite) / (units
    that inhibit), so that both cancel on average, and all are scaled to the root mean square of
    `base`.

    Args:
        dale: A `Dale`.
        base: Keras initializer of the magnitudes.
        balanced: Whether excitation and inhibition cancel; without effect where one is missing.
        seed: Integer, or None for a random one.

    Raises:
        TypeError: If `dale` is no `Dale`, or `balanced` no boolean.
        ValueError: If `base` is no initializer.

    Example:
    >>> import tf_alignment as ta
    >>> dale = ta.constraints.Dale(axis=-1, seed=1)
    >>> layer = ta.layers.Dense(10, feedback="fa", feedback_initializer=dale.initializer())
    """

    def __init__(
        self, dale: Any, base: Any = "glorot_uniform", balanced: bool = True, seed: Any = None
    ) -> None:
        if isinstance(dale, dict):
            dale = keras.saving.deserialize_keras_object(dale)
        self.dale = instance("dale", dale, Dale, "a `tf_alignment.constraints.Dale`")
        self.base = named_initializer("base", base)
        self.balanced = boolean("balanced", balanced)
        self._given = seed
        self.seed = random.randint(1, 10**9) if seed is None else integer("seed", seed, 0)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """The weights.

        Args:
            shape: Of the kernel.
            dtype: Of the weights; Keras' `floatx` by default.
        """
        dtype = dtype or keras.config.floatx()
        drawn = tf.cast(reseeded(self.base, self.seed)(tuple(shape), dtype="float32"), tf.float32)
        signs = self.dale.signs(shape)
        size = np.ones_like(signs)
        excite, inhibit = (signs > 0).sum(), (signs < 0).sum()
        if self.balanced and excite and inhibit:
            size = np.where(signs < 0, excite / inhibit, 1.0)
            size = size / np.sqrt(np.mean(size**2))
        return tf.cast(tf.abs(drawn) * (signs * size), dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "dale": keras.saving.serialize_keras_object(self.dale),
            "base": keras.initializers.serialize(self.base),
            "balanced": self.balanced,
            "seed": self._given,
        }

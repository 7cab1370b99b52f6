"""Dale's law: a neuron either excites all its target neurons or inhibits all of them."""

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
    """Signs of units: 1 for excitatory, -1 for inhibitory units.

    Args:
        count: Number of units.
        excitatory: Fraction of excitatory units; for every seed their number is
            `round(excitatory · count)`.
        seed: Integer seed from which the excitatory units are drawn.

    Returns:
        Array `(count,)`, float32.

    Example:
    >>> from tf_alignment.constraints import signs_of_units
    >>> signs_of_units(5, 0.8, seed=1).sum()
    np.float32(3.0)
    """
    signs = np.where(np.arange(count) < round(excitatory * count), 1.0, -1.0)
    return np.random.default_rng(seed).permutation(signs).astype("float32")


@_package
class Dale(keras.constraints.Constraint):
    """Constraint by Dale's law: each presynaptic unit has synapses of one sign, the rest are 0.

    `W ← s ∘ max(s ∘ W, 0)` with s = ±1 per presynaptic unit, which is the nearest kernel that obeys
    the law. Initial weights should obey the law too: use `Dale(...).initializer()`.

    Args:
        axis: Axis of the presynaptic units. It is -2, the input channels, for the kernels of dense
            layers, convolutions and depthwise convolutions, and -1, the output channels, for their
            feedback kernels, since the error comes from above. In transposed convolutions the axes
            are exchanged. In `EinsumDense` the axis depends on the equation.
        excitatory: Fraction of excitatory units, from 0 to 1.
        seed: Integer seed from which the excitatory units are drawn, the same for all kernels with
            the same number of units. None for a random seed.

    Raises:
        ValueError: For a fraction out of range, or an axis or seed that is no integer.

    References: Eccles, Fatt & Koketsu 1954 (the law); Song, Yang & Wang 2016, "Training
    excitatory-inhibitory recurrent neural networks for cognitive tasks" (a fraction of 0.8).

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
        """Signs of the units in a shape that broadcasts to a kernel.

        Args:
            shape: Shape of the kernel.

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
        """Return the nearest kernel that obeys the law."""
        s = tf.constant(self.signs(w.shape), w.dtype)
        return s * tf.nn.relu(s * tf.convert_to_tensor(w))

    def initializer(
        self, base: Any = "glorot_uniform", balanced: bool = True, seed: int | None = None
    ) -> DaleInitializer:
        """Initializer for weights that obey the law, see `DaleInitializer`.

        Args:
            base: Keras initializer of the magnitudes.
            balanced: Whether excitation and inhibition cancel.
            seed: Integer seed, or None for a random seed.
        """
        return DaleInitializer(self, base, balanced, seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"axis": self.axis, "excitatory": self.excitatory, "seed": self.seed}


@_package
class DaleInitializer(keras.initializers.Initializer):
    """Initializer with the magnitudes of another initializer and the signs of `Dale`.

    With `balanced=True` the synapses of inhibitory units are stronger by the factor (number of
    excitatory units) / (number of inhibitory units), so that excitation and inhibition cancel on
    average, and all synapses are scaled to the root mean square of `base`.

    Args:
        dale: `Dale` constraint with the signs.
        base: Keras initializer of the magnitudes.
        balanced: Whether excitation and inhibition cancel; without effect if all units have the
            same sign.
        seed: Integer seed, or None for a random seed.

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
        """Draw the weights.

        Args:
            shape: Shape of the kernel.
            dtype: Type of the weights; Keras' `floatx` by default.
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

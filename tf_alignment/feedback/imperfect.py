"""Feedback paths with the imperfections of hardware and brains.

A method sends the error through a kernel K. The imperfections change K in this order:

    rank       K P, with a projection P on random directions
    Dale       synapses with the wrong sign become 0
    bits       values are rounded to a few evenly spaced levels
    mismatch   each synapse times 1 + mismatch · ξ, with fixed ξ
    density    absent synapses become 0, and so do synapses stuck off
    stuck on   some synapses take the largest magnitude, with a fixed sign
    noise      plus noise · rms(K) · ξ, with new ξ at every step
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import integer, number
from tf_alignment._support.seeds import derived_seed
from tf_alignment.constraints import signs_of_units
from tf_alignment.feedback.alignment import Alignment
from tf_alignment.feedback.base import Activity, Backward, Feedback, Setup
from tf_alignment.feedback.direct import DirectFeedback
from tf_alignment.feedback.error_driven import ProductFeedback
from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.wide import widen

__all__ = ["Imperfect", "quantise"]

_OF_THE_ERROR = "as the kernel"


def quantise(x: tf.Tensor, bits: int, each: bool = False) -> tf.Tensor:
    """Round to a few evenly spaced levels, symmetric around 0: `Δ round(x / Δ)`.

    The levels are `-n Δ, ..., 0, ..., n Δ` with `n = 2^(bits - 1) - 1` and `Δ = max|x| / n`. One
    bit is `mean|x| · sign(x)`, and 0 stays 0.

    Args:
        x: Tensor to round.
        bits: Number of bits, 1 or more.
        each: Whether the mean and the maximum are taken over each example (along the first axis)
            separately, instead of over all entries.

    Returns:
        Tensor with the shape and type of `x`.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.feedback.imperfect import quantise
    >>> quantise(tf.constant([-1.5, 0.2, 0.4, 1.3]), 3).numpy().tolist()
    [-1.5, 0.0, 0.5, 1.5]
    """
    exact = tf.cast(x, tf.float32)
    axes = list(range(1 if each else 0, exact.shape.rank))
    if bits == 1:
        return tf.cast(tf.reduce_mean(tf.abs(exact), axes, keepdims=True) * tf.sign(exact), x.dtype)
    levels = 2.0 ** (bits - 1) - 1.0
    step = tf.reduce_max(tf.abs(exact), axes, keepdims=True) / levels
    return tf.cast(step * tf.round(tf.math.divide_no_nan(exact, step)), x.dtype)


@keras.saving.register_keras_serializable(package="tf_alignment")
class Imperfect(Feedback):
    r"""Any feedback method over a path with defects, noise or limited precision.

    If the method sends the error through a kernel K, `dx = δ Kᵀ`, the imperfect path sends

    $$ dx = q(\delta) \, \tilde K^\top, \quad
       \tilde K = g \circ q(K P) + s \max|K P| + \nu \, \xi_t $$

    with g and s fixed per synapse, and noise new at every step. The stored weights stay exact and
    are read through the defects. A rule that learns by alignment (`sa`, `aa`, `wm` ...) receives
    the weights with the defects but without the noise, and its gradient changes the stored weights;
    so it can learn to compensate a defect. It does not compensate coarse rounding: with one or two
    bits the path of `sa` flips between two levels, and ends further from W than W rounded. `kp` and
    `pfa` copy the gradient of the forward kernel, which does not depend on the defects. In rules
    that learn by alignment, absent and stuck synapses do not learn, nor does what a path of low
    rank or Dale's law leaves out. A mismatch multiplies each synapse's step by the gain of the
    synapse: learning rate times coefficient must stay below 2 divided by the largest gain, or the
    synapses with large gains diverge (for `sa` with a mismatch of 0.5, use
    `SymmetricAlignment(0.5, 0.5)`).

    A method without a kernel that carries the error (`brsf`, or a method that overrides `send`)
    receives a map whose `transpose` has the defects.

    Args:
        method: Feedback method in any form that `tf_alignment.feedback.get` accepts; not "dfa",
            whose path does not belong to a layer.
        bits: Number of bits of the kernel, 1 to 16, or None for an exact kernel: see `quantise`.
        error_bits: Number of bits of δ, with a range for each example, like a converter that is
            scaled to the largest input; by default the same as `bits`, None for an exact error.
        noise: Read noise: standard deviation per synapse divided by the root mean square of the
            kernel. Noise is drawn anew at every step and is the same for all examples; every
            replica has its own, except with "brsf".
        mismatch: Device mismatch: each synapse is multiplied by `max(0, 1 + mismatch · ξ)`, with a
            fixed, standard normal ξ.
        density: Fraction of the synapses that exist, above 0 and at most 1.
        rank: Number of fixed random directions, in the space of the units (of each group's units,
            in grouped maps), that the error passes: P = U Uᵀ with orthonormal U. None keeps all.
        stuck_off: Fraction of synapses stuck at 0 (stuck-at-0 faults).
        stuck_on: Fraction of synapses stuck at the largest magnitude of the kernel, with a fixed
            random sign (stuck-at-1 faults).
        excitatory: Fraction of units that are excitatory under Dale's law. An excitatory unit sends
            the error through positive feedback synapses only, any other unit through negative ones
            only; synapses with the wrong sign are 0. None means no such law.
        seed: Integer from which, together with the path of the layer's kernel, the defects are
            drawn, so that runs with other weights have the same defects. The layers, and the model,
            need names for this: a name that Keras makes by counting (`dense_3`, `sequential_1`) is
            different in the next model of the same process, and so are the defects. None takes the
            kernel's seed.

    Raises:
        ValueError: For numbers out of range, and for "dfa", None or another `Imperfect` as method.
        TypeError: If `method` is no method.

    References: Rasch et al. 2021, "A flexible and fast PyTorch toolkit for simulating training and
    inference on analog crossbar arrays" (read noise, device variation); Hanut & Kadmon 2025,
    arXiv:2502.20580 (error feedback of low rank; there its directions learn). The combination, and
    what a learning rule sees of it, are this library's.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> chip = ta.feedback.Imperfect("sa", bits=4, mismatch=0.2, noise=0.05, seed=1)
    >>> layer = ta.layers.Dense(8, feedback=chip)
    >>> layer(tf.ones((2, 4))).shape
    TensorShape([2, 8])
    >>> sorted(layer.feedback_weights)
    ['feedback_kernel', 'imperfect_gain']
    """

    def __init__(
        self,
        method: Any,
        *,
        bits: int | None = None,
        error_bits: int | str | None = _OF_THE_ERROR,
        noise: float = 0.0,
        mismatch: float = 0.0,
        density: float = 1.0,
        rank: int | None = None,
        stuck_off: float = 0.0,
        stuck_on: float = 0.0,
        excitatory: float | None = None,
        seed: int | None = None,
    ) -> None:
        from tf_alignment.feedback import get

        try:
            inner = get(method)
        except (TypeError, ValueError) as error:
            raise type(error)(
                "Argument `method` must be a feedback method. "
                f"Received: method={method!r} ({error})"
            ) from None
        if inner is None or isinstance(inner, DirectFeedback | Imperfect):
            raise ValueError(
                "Argument `method` must be the feedback method of a layer: neither None nor 'dfa' "
                f"nor another `Imperfect`. Received: method={method!r}"
            )
        self.method = inner
        self.bits = None if bits is None else integer("bits", bits, 1, 16)
        if error_bits is None or error_bits == _OF_THE_ERROR:
            self._error_bits: int | str | None = error_bits
        else:
            self._error_bits = integer("error_bits", error_bits, 1, 16)
        self.noise = number("noise", noise, least=0)
        self.mismatch = number("mismatch", mismatch, least=0)
        self.density = number("density", density, above=0, most=1)
        self.rank = None if rank is None else integer("rank", rank)
        self.stuck_off = number("stuck_off", stuck_off, least=0, most=1)
        self.stuck_on = number("stuck_on", stuck_on, least=0, most=1)
        if self.stuck_off + self.stuck_on > 1:
            raise ValueError(
                "Arguments `stuck_off` and `stuck_on` must add up to at most 1. Received: "
                f"stuck_off={stuck_off!r}, stuck_on={stuck_on!r}"
            )
        self.excitatory = (
            None if excitatory is None else number("excitatory", excitatory, least=0, most=1)
        )
        self.seed = None if seed is None else integer("seed", seed, 0)
        self.id = f"imperfect_{inner.id}"  # type: ignore[misc]
        self.learns = inner.learns  # type: ignore[misc]
        self.random = inner.random or ("replica" if self.noise else None)
        self.scheduled, self.linear = inner.scheduled, inner.linear
        self.weights_only, self.modulated = inner.weights_only, inner.modulated
        self.through_time = inner.through_time

    @property
    def error_bits(self) -> int | None:
        """Number of bits of δ, or None for an exact error."""
        return self.bits if isinstance(self._error_bits, str) else self._error_bits

    @property
    def unwrapped(self) -> Feedback:
        """The method whose path has the defects."""
        return self.method

    @property
    def has_kernel(self) -> bool:
        """Whether the method has a kernel that carries the error."""
        return self.method.has_kernel

    def no_kernel_because(self) -> str:
        """End of the error message if the method has no effective feedback kernel."""
        return self.method.no_kernel_because()

    def build(self, setup: Setup) -> None:
        self.method.build(setup)
        of = setup.seed() if self.seed is None else derived_seed(self.seed, setup.kernel.path)
        shape = tuple(setup.kernel.shape)

        def random(what: str) -> np.random.Generator:
            return np.random.default_rng(derived_seed(of, what))

        def gain(*_: Any) -> tf.Tensor:
            device = np.maximum(
                0.0, 1.0 + self.mismatch * random("mismatch").standard_normal(shape)
            )
            exists = random("density").random(shape) < self.density
            works = random("stuck").random(shape) >= self.stuck_off + self.stuck_on
            return tf.constant(device * exists * works, tf.float32)

        def stuck(*_: Any) -> tf.Tensor:
            on = random("stuck").random(shape) < self.stuck_on
            return tf.constant(on * random("signs").choice([-1.0, 1.0], shape), tf.float32)

        def signs(*_: Any) -> tf.Tensor:
            drawn = signs_of_units(setup.units, self.excitatory or 0.0, derived_seed(of, "dale"))
            return tf.constant(np.reshape(drawn, of_units), tf.float32)

        square, axes = widen(setup.map, shape, 1.0), setup.map.unit_axes(shape)
        of_units = tuple(n if i in axes else 1 for i, n in enumerate(shape))

        def projection(*_: Any) -> tf.Tensor:
            count, units = square.blocks, square.block_shape[0]
            kept = min(self.rank or units, units)
            drawn = random("rank").standard_normal((count, units, kept))
            u = np.linalg.qr(drawn)[0]
            return tf.constant((u @ u.transpose(0, 2, 1)).reshape(square.fixed_shape), tf.float32)

        parts = {
            "imperfect_gain": (self._has_gain, shape, gain),
            "imperfect_stuck": (self.stuck_on > 0, shape, stuck),
            "imperfect_signs": (self.excitatory is not None, of_units, signs),
            "imperfect_rank": (self.rank is not None, square.fixed_shape, projection),
        }
        for name, (present, dims, draw) in parts.items():
            if present:
                setup.add(name, dims, draw, trainable=False)

    @property
    def _has_gain(self) -> bool:
        return self.mismatch > 0 or self.density < 1 or self.stuck_off + self.stuck_on > 0

    def path(
        self,
        kernel: tf.Tensor,
        weights: Mapping[str, tf.Tensor],
        linear_map: LinearMap,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Kernel with all defects, through which the error passes.

        Args:
            kernel: Kernel of the method without defects, of the forward kernel's shape.
            weights: Feedback weights of the layer, by name.
            linear_map: Bilinear map of the connection.
            seed: Two int32 numbers for the read noise; None for a path without noise.

        Returns:
            Tensor with the shape and type of `kernel`.
        """
        held = {n: tf.cast(w, tf.float32) for n, w in weights.items() if n.startswith("imperfect")}
        k = self._of_rank(tf.cast(kernel, tf.float32), held, linear_map)
        if self.excitatory is not None:
            k = held["imperfect_signs"] * tf.nn.relu(held["imperfect_signs"] * k)
        full = tf.reduce_max(tf.abs(k))
        if self.bits is not None:
            k = quantise(k, self.bits)
        if self._has_gain:
            k = held["imperfect_gain"] * k
        if self.stuck_on:
            k = k + full * held["imperfect_stuck"]
        if self.noise and seed is not None:
            size = self.noise * tf.sqrt(tf.reduce_mean(tf.square(k)))
            k = k + size * tf.random.stateless_normal(k.shape, seed)
        return tf.cast(k, kernel.dtype)

    def couple(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        return self.method.couple(kernel, weights, linear_map)

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        """Kernel with all defects but without the read noise."""
        return self.path(self.method.feedback_kernel(c), c.weights, c.map)

    def send(self, c: Backward, dz: tf.Tensor) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        exact = dz
        if self.error_bits is not None:
            dz = quantise(dz, self.error_bits, each=True)
        if isinstance(self.method, ProductFeedback):  # two kernels in a row: the defects of both
            path = self._read(self.method.feedback_kernel(c), c)
            return c.map.transpose(dz, path, c.x), self.method.send(c, exact)[1]
        defective = copy.copy(c.map)

        def transpose(dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
            return c.map.transpose(dz, self._read(kernel, c), like)

        defective.transpose = transpose  # type: ignore[method-assign]
        return self.method.send(dataclasses.replace(c, map=defective), dz)

    def carrier(self, c: Backward) -> tf.Tensor | None:
        if type(self).send is not Imperfect.send or self.error_bits is not None:
            return None
        kernel = self.method.carrier(c)
        return None if kernel is None else self._read(kernel, c)

    def _read(self, kernel: tf.Tensor, c: Backward) -> tf.Tensor:
        """Kernel with all defects and the read noise of the step."""
        # beside the seed that the method draws from
        seed = None if c.seed is None else tf.stack([c.seed[0], c.seed[1] + 0x2545F491])
        return self.path(kernel, c.weights, c.map, seed)

    def align(
        self, activity: Activity, weights: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Gradient of the method, computed with the kernel that has the defects.

        What the path does not show of the stored weights does not move: the rule could not see how
        far they went.
        """
        kernel = weights.get("feedback_kernel")
        if kernel is None or kernel.shape != activity.kernel.shape:
            return self.method.align(activity, weights)
        held, linear_map = activity.stored, activity.map
        seen = self.path(kernel, held, linear_map)
        found = dict(self.method.align(activity, {**weights, "feedback_kernel": seen}))
        step = tf.cast(found["feedback_kernel"], tf.float32)
        if self._has_gain:
            step = step * tf.cast(held["imperfect_gain"] > 0, tf.float32)
        if self.excitatory is not None:
            signs = tf.cast(held["imperfect_signs"], tf.float32)
            on = signs * self._of_rank(tf.cast(kernel, tf.float32), held, linear_map) > 0
            step = tf.where(on | (signs * step < 0), step, 0.0)  # or on the way back
        step = self._of_rank(step, held, linear_map)
        return {**found, "feedback_kernel": tf.cast(step, kernel.dtype)}

    def _of_rank(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        """K P, or K where all directions are kept."""
        if self.rank is None:
            return kernel
        square = widen(linear_map, tuple(kernel.shape), 1.0)
        return square.compose(square.unfold(kernel), tf.cast(weights["imperfect_rank"], tf.float32))

    def with_input(self, noise: Any) -> Imperfect:
        """Copy with another alignment input of the method, see `Alignment.with_input`.

        Args:
            noise: Noise to learn from, or None for the layer's own input.
        """
        other, method = copy.copy(self), self.method
        if not isinstance(method, Alignment):
            raise TypeError(f"No rule of `ta.feedback.Alignment`. Received: method={method!r}")
        other.method = method.with_input(noise)
        return other

    def get_config(self) -> dict[str, Any]:
        names = ("noise", "mismatch", "density", "rank", "stuck_off", "stuck_on", "excitatory")
        return {
            "method": keras.saving.serialize_keras_object(self.method),
            "bits": self.bits,
            "error_bits": self._error_bits,
            **{name: getattr(self, name) for name in names},
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        usual = type(self)(self.method).get_config()
        given = {n: v for n, v in self.get_config().items() if v != usual[n]}
        arguments = [repr(self.method), *(f"{name}={value!r}" for name, value in given.items())]
        return f"Imperfect({', '.join(arguments)})"

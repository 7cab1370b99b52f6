"""Cells that Keras does not have: leaky rate units, and spiking neurons with adaptive threshold."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_alignment._support.arguments import integer, number
from tf_alignment.layers.recurrent.base import Gates
from tf_alignment.layers.recurrent.cells import SimpleRNNCell
from tf_alignment.layers.recurrent.steps import Plain

__all__ = ["ALIFCell", "LeakyRNNCell"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


class _OwnCell(SimpleRNNCell):
    """Cell with the weights of `SimpleRNNCell` and other dynamics."""

    def call(  # type: ignore[override]
        self, sequence: Any, states: Any, training: bool | None = False
    ) -> Any:
        """Compute one time step, with the method's backward pass."""
        if self.feedback is not None:
            return super().call(sequence, states, training=training)
        gates = tuple(
            [Plain(linear_map, tf.convert_to_tensor(kernel), cut=False)]
            for linear_map, kernel in zip(
                self._maps(), (self.kernel, self.recurrent_kernel), strict=True
            )
        )
        return self._advance(gates, self._tensor(sequence), states, training)  # type: ignore[arg-type]

    def _drive(
        self, gates: Gates, inputs: tf.Tensor, h: tf.Tensor, training: bool | None
    ) -> tf.Tensor:
        """Input of the units, `x W + b + h U`, with dropout."""
        [feed], [recur] = gates
        mask, recurrent_mask = self._input_mask(inputs), self.get_recurrent_dropout_mask(h)
        if training and mask is not None:
            inputs = inputs * mask
        if training and recurrent_mask is not None:
            h = h * recurrent_mask
        u = feed(inputs)
        if self.bias is not None:
            u = ops.add(u, self.bias)
        return u + recur(h)


@_package
class LeakyRNNCell(_OwnCell):
    """Leaky rate units: `h(t) = (1 − α) h(t−1) + α φ(x(t) W + b + h(t−1) U)`.

    With `leak=1` the cell is the same as `SimpleRNNCell`. The leak gives each unit a memory along
    which an error travels back in time without a kernel; "rflo" and "eprop" keep only this path.

    Args:
        units: Number of units.
        leak: Leak α, above 0 and at most 1: the time step divided by the time constant.
        **kwargs: Further arguments of `tf_alignment.layers.SimpleRNNCell`.

    Raises:
        ValueError: If `leak` is out of range; see also `tf_alignment.layers.SimpleRNNCell`.

    Reference: Murray 2019, "Local online learning in recurrent networks with random feedback",
    equation 1.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> cell = ta.layers.LeakyRNNCell(8, leak=0.2, feedback="rflo")
    >>> keras.layers.RNN(cell)(tf.ones((2, 5, 4))).shape
    TensorShape([2, 8])
    """

    def __init__(self, units: int, leak: float = 0.1, **kwargs: Any) -> None:
        if number("leak", leak, above=0) > 1:
            raise ValueError(f"Argument `leak` must be at most 1. Received: leak={leak!r}")
        super().__init__(integer("units", units), **kwargs)
        self.leak = float(leak)

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        several = isinstance(states, list | tuple)
        h = states[0] if several else states
        u = self._drive(gates, inputs, h, training)
        h = (1.0 - self.leak) * h + self.leak * self._gate_activation(u)
        return h, [h] if several else h

    def get_config(self) -> dict[str, Any]:
        """Config of `SimpleRNNCell` plus the leak."""
        return {**super().get_config(), "leak": self.leak}


@_package
class ALIFCell(_OwnCell):
    """Leaky integrate-and-fire neurons with an adaptive threshold; their outputs are spikes.

    The potential is `v(t) = α v(t−1) + x(t) W + b + z(t−1) U − v_th z(t−1)`, the adaptation is
    `a(t) = ρ a(t−1) + z(t−1)`, and the output is a spike, `z(t) = 1`, if `v(t) > v_th + β a(t)`.
    The derivative of a spike is replaced by
    `ψ = (γ / v_th) max(0, 1 − |v − v_th − β a| / v_th)`. The reset passes no error. In the paper a
    neuron has no connection to itself; here the diagonal of `U` is not constrained. With `beta=0`
    the neurons are LIF neurons.

    Args:
        units: Number of neurons.
        tau: Time constant of the potential, in time steps: `α = exp(−1/τ)`.
        tau_adaptation: Time constant of the threshold, in time steps: `ρ = exp(−1/τ_a)`.
        beta: Increase of the threshold per spike, 0 or more.
        threshold: Threshold `v_th` without adaptation, above 0.
        gamma: Height of the pseudo-derivative, above 0.
        **kwargs: Further arguments of `tf_alignment.layers.SimpleRNNCell` except `activation`.

    Call arguments:
        sequence: Input of one time step, `(batch, features)`.
        states: States `[z, v, a]`, each `(batch, units)`.
        training: Whether dropout is applied.

    Raises:
        ValueError: If a number is out of range; see also `tf_alignment.layers.SimpleRNNCell`.

    Reference: Bellec et al. 2020, "A solution to the learning dilemma for recurrent networks of
    spiking neurons", equations 6 to 10.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> cell = ta.layers.ALIFCell(8, beta=0.2, feedback="eprop")
    >>> keras.layers.RNN(cell, return_sequences=True)(tf.ones((2, 5, 4))).shape
    TensorShape([2, 5, 8])
    """

    def __init__(
        self,
        units: int,
        tau: float = 20.0,
        tau_adaptation: float = 200.0,
        beta: float = 0.2,
        threshold: float = 1.0,
        gamma: float = 0.3,
        **kwargs: Any,
    ) -> None:
        given = {"tau": tau, "tau_adaptation": tau_adaptation, "threshold": threshold}
        for name, value in {**given, "gamma": gamma}.items():
            number(name, value, above=0)
        if number("beta", beta) < 0:
            raise ValueError(f"Argument `beta` must be 0 or more. Received: beta={beta!r}")
        activation = kwargs.pop("activation", None)
        if activation not in (None, "linear", keras.activations.linear):
            raise ValueError(
                "Argument `activation` must be left out: the outputs of these neurons are spikes. "
                f"Received: activation={activation!r}"
            )
        super().__init__(integer("units", units), activation=None, **kwargs)
        self.tau, self.tau_adaptation = float(tau), float(tau_adaptation)
        self.beta, self.threshold, self.gamma = float(beta), float(threshold), float(gamma)
        self.state_size = [self.units] * 3
        self.output_size = self.units

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        z, v, a = states
        keep, keep_threshold = (math.exp(-1.0 / t) for t in (self.tau, self.tau_adaptation))
        v = keep * v + self._drive(gates, inputs, z, training)
        v = v - self.threshold * tf.stop_gradient(z)
        a = keep_threshold * a + z
        spikes = _spike(v - self.threshold - self.beta * a, self.threshold, self.gamma)
        return spikes, [spikes, v, a]

    def get_initial_state(self, batch_size: Any = None) -> list[tf.Tensor]:
        """Zeros of shape `(batch, units)` for spikes, potential and adaptation."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in range(3)]

    def get_config(self) -> dict[str, Any]:
        """Config of `SimpleRNNCell` plus the constants of the neurons."""
        own = ("tau", "tau_adaptation", "beta", "threshold", "gamma")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _spike(distance: tf.Tensor, threshold: float, gamma: float) -> tf.Tensor:
    """Spikes, 1 where a potential is above its threshold, with a triangle for the derivative."""

    @tf.custom_gradient
    def op(distance: tf.Tensor) -> Any:
        def grad(dz: tf.Tensor) -> tf.Tensor:
            return dz * (gamma / threshold) * tf.nn.relu(1.0 - tf.abs(distance) / threshold)

        return tf.cast(distance > 0, distance.dtype), grad

    return op(distance)

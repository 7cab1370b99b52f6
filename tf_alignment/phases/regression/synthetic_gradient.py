"""Feedback fitted to the true gradient: what node perturbation would learn without its noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_alignment.phases.regression.base import GradientRegression
from tf_alignment.phases.regression.sites import Sent, Site

__all__ = ["SyntheticGradient"]


class SyntheticGradient(GradientRegression):
    """Learns B such that the error sent down predicts the gradient of backpropagation.

    As `NodePerturbation`, with the true gradient in place of its estimate from noise. It needs the
    transpose of the forward weights, so it explains nothing about brains: it is the baseline that
    tells what the noise costs.

    Args:
        dataset, loss, solver, form, steps, layers, gain, gamma, forgetting, batch_size, seed, name:
            See `tf_alignment.phases.NodePerturbation`.

    Raises:
        TypeError, ValueError: As `tf_alignment.phases.NodePerturbation`.

    Reference: Lansdell, Prakash and Kording 2020, "Learning to solve the credit assignment
    problem", section 4.4; Jaderberg et al. 2016, "Decoupled neural interfaces using synthetic
    gradients".

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, "tanh"),
    ...                           ta.layers.Dense(4, feedback="fa", name="top")], name="net")
    >>> x, y = np.random.normal(size=(256, 6)), np.random.normal(size=(256, 4))
    >>> loss = lambda y_true, y_pred: keras.ops.sum((y_pred - y_true) ** 2, -1)
    >>> data = x.astype("float32"), y.astype("float32")
    >>> phase = ta.phases.SyntheticGradient(data, loss, steps=500, seed=1)
    >>> bool(phase.run(model)["net/top"]["weight_angle"] < 1)
    True
    """

    name = "synthetic_gradient"

    def __init__(
        self,
        dataset: Any,
        loss: Any,
        solver: Any = None,
        form: str = "fa",
        steps: int = 100,
        layers: Sequence[str] | None = None,
        *,
        gain: float = 0.1,
        gamma: float = 0.1,
        forgetting: float = 0.999,
        batch_size: int = 32,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            dataset,
            loss,
            solver,
            form,
            steps,
            layers,
            gain,
            gamma,
            forgetting,
            batch_size,
            seed,
            name,
        )

    def targets(
        self, data: Any, losses: tf.Tensor, sent: dict[Site, Sent]
    ) -> dict[Site, tf.Tensor]:
        """The gradient for every site, by backpropagation."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            found, exact = self.losses(data, tape=tape, backprop=True)
            total = tf.reduce_sum(found)
        gradients = tape.gradient(total, exact.sites, unconnected_gradients="zero")
        return {site: tf.cast(gradient, tf.float32) for site, gradient in gradients.items()}

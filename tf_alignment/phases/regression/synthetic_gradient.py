"""Feedback fitted to the true gradient: what node perturbation would learn without its noise."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_alignment.phases.regression.base import GradientRegression
from tf_alignment.phases.regression.sites import Sent, Site

__all__ = ["SyntheticGradient"]


class SyntheticGradient(GradientRegression):
    """Learns B such that the error sent down predicts the gradient of backpropagation.

    As `NodePerturbation`, with the true gradient in place of its estimate from noise. It needs the
    transpose of the forward weights, so it explains nothing about brains: it is the baseline that
    shows the cost of the noise.

    Args:
        loss: Loss of each example, `(batch,)`: a Keras loss with `reduction=None`, or any function
            of `(y_true, y_pred)`; a structure of them for several outputs, whose losses are added.
        dataset: `(x, y)` or `(x, y, sample_weight)`, arrays of which each step draws
            `batch_size` examples; or a batched `tf.data.Dataset` of such; or None, where
            `tf_alignment.phases.interleave` hands on the training batches.
        solver: The way in which B is fitted: `NormalizedLMS(gain=...)`, `Ridge(gamma=...,
            forgetting=...)` or a Keras optimizer, used as a template; or, with the defaults of
            each, `"nlms"`, `"ridge"` or `"sgd"`. By default `"nlms"` in the FA form and `"ridge"`
            in the DFA form.
        form: `"fa"`, or `"dfa"` for a model with direct feedback: B is fitted at the output of
            every tapped block, with the error at the network's output in place of δ.
        steps: Steps of one run.
        batch_size: Examples per step on each replica.
        layers, seed, name: See `tf_alignment.phases.Phase`.

    Raises:
        TypeError: For a dataset, loss or solver of the wrong type.
        ValueError: For values out of range; when it runs, for a loss that is not one number per
            example, a layer that `Ridge` cannot serve, or a model without feedback kernels.

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
    >>> phase = ta.phases.SyntheticGradient(loss, dataset=data, steps=500, seed=1)
    >>> bool(phase.run(model)["net/top"]["weight_angle"] < 1)
    True
    """

    name = "synthetic_gradient"

    def targets(
        self, data: Any, losses: tf.Tensor, sent: dict[Site, Sent]
    ) -> dict[Site, tf.Tensor]:
        """The gradient for every site, by backpropagation."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            found, exact = self.losses(data, tape=tape, backprop=True)
            total = tf.reduce_sum(found)
        gradients = tape.gradient(total, exact.sites, unconnected_gradients="zero")
        return {site: tf.cast(gradient, tf.float32) for site, gradient in gradients.items()}

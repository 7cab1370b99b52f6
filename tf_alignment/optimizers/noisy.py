"""Noise on what an optimizer does: how much of it can a way of learning stand?"""

from __future__ import annotations

import random
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import integer, number, one_of, optimizer_of
from tf_alignment._support.seeds import derived_seed

__all__ = ["NoisyUpdates"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class NoisyUpdates(keras.optimizers.Optimizer):
    r"""Any Keras optimizer, with Gaussian noise on its updates or on its gradients.

    With `on="updates"`, after the optimizer's own step of every weight,

    $$ w \leftarrow w + \eta \, \xi, \qquad \xi \sim N(0, \text{variance}) $$

    with η its learning rate; with `on="gradients"` the optimizer is given `g + ξ`. The noise is new
    at every step, the same on all replicas of a strategy, and follows from `seed` and the count of
    steps, so that a run that resumes sees what it would have seen.

    To put the noise on feedback weights only, let it be the second optimizer of `split`; on all
    gradients, let it be the only one.

    Clipping, weight decay, moving averages and gradient accumulation are done as `optimizer` says.
    Noise enters after clipping, and once per accumulated step. What was excluded from weight decay
    has to be excluded again, on the result.

    Args:
        optimizer: A Keras optimizer, its string id or its config. Used as a template: the result
            has variables of its own.
        variance: Variance of the noise, 0 or more.
        on: `"updates"` or `"gradients"`.
        seed: Integer, or None for a random one.
        name: Name of the result, by default that of `optimizer`.

    Raises:
        TypeError: If `optimizer` is no optimizer, id or config.
        ValueError: For values out of range, an unknown id or config, or an optimizer that wraps
            others.

    Reference: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight
    Symmetry", figure 5 (noise on updates of the feedback weights; noise on backpropagation's
    gradients as the control).

    Example:
    >>> import keras, tf_alignment as ta
    >>> sgd = keras.optimizers.SGD
    >>> noisy = ta.optimizers.NoisyUpdates(sgd(0.5), variance=1e-4, seed=1)
    >>> optimizer = ta.optimizers.split(sgd(0.05, momentum=0.9), noisy)
    """

    def __init__(
        self,
        optimizer: Any,
        variance: float,
        on: str = "updates",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        given = optimizer_of("optimizer", optimizer, single=True)
        if isinstance(given, NoisyUpdates):
            raise ValueError(
                "Argument `optimizer` must not be one with noise already. "
                f"Received: optimizer={optimizer!r}"
            )
        variance = number("variance", variance, least=0)
        one_of("on", on, ("updates", "gradients"))
        config = given.get_config()
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.saving.deserialize_keras_object(rate)
        around = (
            *("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema"),
            *("ema_momentum", "ema_overwrite_frequency", "loss_scale_factor"),
            "gradient_accumulation_steps",
        )
        super().__init__(
            rate, name=given.name if name is None else name, **{n: config.get(n) for n in around}
        )
        # The template's own rule is all that is left to it: the rest is done around it, here.
        off = {"use_ema": False, "gradient_accumulation_steps": None, "loss_scale_factor": None}
        self.optimizer = type(given).from_config(config | off)
        self.variance = variance
        self.on = on
        self.seed = random.randint(1, 10**9) if seed is None else integer("seed", seed, 0)

    def build(self, variables: Any) -> None:
        """Create the optimizer's variables for `variables`."""
        if self.built:
            return
        super().build(variables)
        self.optimizer.build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """Its own variables, then those of the optimizer inside."""
        return [*self._variables, *self.optimizer.variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the variables, as any Keras optimizer does."""
        super().apply(grads, trainable_variables)
        # some rules (Adam's) look at the count of their steps
        self.optimizer.iterations.assign(self.iterations)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, with noise before or after the optimizer's own step."""
        noise = self._noise(variable)
        if self.on == "gradients":
            self.optimizer.update_step(gradient + noise, variable, learning_rate)
        else:
            self.optimizer.update_step(gradient, variable, learning_rate)
            self.assign_add(variable, tf.cast(learning_rate, variable.dtype) * noise)

    def _noise(self, variable: Any) -> tf.Tensor:
        own = derived_seed(self.seed, self._get_variable_index(variable))
        seed = tf.stack([tf.constant(own, tf.int32), tf.cast(self.iterations, tf.int32)])
        noise = tf.random.stateless_normal(variable.shape, seed, stddev=self.variance**0.5)
        return tf.cast(noise, variable.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the learning rate as it is now."""
        inner = keras.saving.serialize_keras_object(self.optimizer)
        around = super().get_config()
        inner["config"].update({n: v for n, v in around.items() if n in inner["config"]})
        own = {"variance": self.variance, "on": self.on, "seed": self.seed, "name": self.name}
        return {"optimizer": inner, **own}

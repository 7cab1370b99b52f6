"""Noise on the updates or gradients of an optimizer, to test how robust a learning rule is."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support import arguments
from tf_alignment._support.arguments import deprecated, number, one_of, optimizer_of
from tf_alignment._support.noise import noise_of
from tf_alignment._support.seeds import derived_seed

__all__ = ["NoisyUpdates"]

_BASE = keras.optimizers.Optimizer
# What the new optimizer does itself; a template's own version would never be called.
_AROUND = (
    *("apply", "_backend_apply_gradients", "_backend_update_step"),
    *("_clip_gradients", "_apply_weight_decay"),
)


@keras.saving.register_keras_serializable(package="tf_alignment")
class NoisyUpdates(keras.optimizers.Optimizer):
    r"""Any Keras optimizer, with noise on its updates or on its gradients.

    With `on="updates"`, noise is added after the optimizer's step of every weight,

    $$ w \leftarrow w + \eta \, \xi $$

    where ξ is the noise and η the learning rate of the optimizer. With `on="gradients"` the
    optimizer receives `g + ξ`. The noise is new at every step and the same on all replicas of a
    strategy. It depends only on `seed` and the number of the step, so that a resumed run has the
    same noise as an uninterrupted one.

    For noise on feedback weights alone, use this optimizer as the second argument of `split`; for
    noise on all gradients, use it as the only optimizer.

    Clipping, weight decay, moving averages and gradient accumulation are the same as in
    `optimizer`. Noise enters after clipping, and once per accumulated step. Variables that were
    excluded from weight decay have to be excluded again, on the new optimizer.

    Args:
        optimizer: Keras optimizer, its string id or its config, used as a template: the new
            optimizer has variables of its own.
        noise: Noise ξ: a number, the standard deviation of Gaussian noise; `"gaussian"` (or
            `"normal"`), `"uniform"` or `"rademacher"`, of variance 1; a distribution of
            `tfp.distributions`; a `tf_alignment.Noise`; or None for no noise.
        on: Place of the noise, `"updates"` or `"gradients"`.
        seed: Integer seed of the noise, or None for a random seed.
        name: Name of the new optimizer, by default the name of `optimizer`.
        variance: Former spelling of the noise, replaced by `noise=variance**0.5`.

    Raises:
        TypeError: If `optimizer` is no optimizer, id or config, or `noise` is of no listed kind.
        ValueError: For values out of range, an unknown id or config, an optimizer that wraps
            others, or one whose rule is not in `update_step` alone (Nadam, Muon).

    Reference: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight
    Symmetry", figure 5 (noise on updates of the feedback weights; noise on backpropagation's
    gradients as the control).

    Example:
    >>> import keras, tf_alignment as ta
    >>> sgd = keras.optimizers.SGD
    >>> noisy = ta.optimizers.NoisyUpdates(sgd(0.5), noise=0.01, seed=1)
    >>> optimizer = ta.optimizers.split(sgd(0.05, momentum=0.9), noisy)
    """

    def __init__(
        self,
        optimizer: Any,
        noise: Any = None,
        on: str = "updates",
        seed: int | None = None,
        name: str | None = None,
        variance: float | None = None,
    ) -> None:
        given = optimizer_of("optimizer", optimizer, single=True)
        if isinstance(given, NoisyUpdates):
            raise ValueError(
                "Argument `optimizer` must not be one with noise already. "
                f"Received: optimizer={optimizer!r}"
            )
        own = [n for n in _AROUND if getattr(type(given), n, None) is not getattr(_BASE, n, None)]
        if own:
            raise ValueError(
                "Argument `optimizer` must have its rule in `update_step` alone, around which "
                f"noise is added. Received: optimizer={given!r}, which overrides `{own[0]}`"
            )
        if variance is not None:
            noise = _of_variance(variance)
            deprecated(noise, f"variance={variance!r}", f"noise={noise!r}")
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
        self.noise = None if noise is None else noise_of("noise", noise, "gaussian")
        self.on = on
        self.seed = arguments.seed(seed)

    def build(self, variables: Any) -> None:
        """Create the optimizer's variables for `variables`."""
        if self.built:
            return
        super().build(variables)
        self.optimizer.build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables of the wrapper, then the variables of the optimizer inside."""
        return [*self._variables, *self.optimizer.variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the variables, as any Keras optimizer does."""
        super().apply(grads, trainable_variables)
        # some rules (Adam's) look at the count of their steps
        self.optimizer.iterations.assign(self.iterations)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, with noise before or after the optimizer's own step."""
        noise = self._draw(variable)
        if noise is None:
            self.optimizer.update_step(gradient, variable, learning_rate)
        elif self.on == "gradients":
            self.optimizer.update_step(gradient + noise, variable, learning_rate)
        else:
            self.optimizer.update_step(gradient, variable, learning_rate)
            self.assign_add(variable, tf.cast(learning_rate, variable.dtype) * noise)

    def _draw(self, variable: Any) -> tf.Tensor | None:
        if self.noise is None:
            return None
        own = derived_seed(self.seed, self._get_variable_index(variable))
        seed = tf.stack([tf.constant(own, tf.int32), tf.cast(self.iterations, tf.int32)])
        return self.noise.sample(variable.shape, seed, tf.as_dtype(variable.dtype))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, with the present learning rate."""
        inner = keras.saving.serialize_keras_object(self.optimizer)
        around = super().get_config()
        inner["config"].update({n: v for n, v in around.items() if n in inner["config"]})
        noise = None if self.noise is None else keras.saving.serialize_keras_object(self.noise)
        own = {"noise": noise, "on": self.on, "seed": self.seed, "name": self.name}
        return {"optimizer": inner, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> NoisyUpdates:
        """Make an optimizer from its config, also from a config that version 0.1.0 wrote.

        Args:
            config: Config that `get_config` returned.
            custom_objects: Classes that Keras does not know, by name.
        """
        config = dict(config)
        if "variance" in config:
            config["noise"] = _of_variance(config.pop("variance"))
        return super().from_config(config, custom_objects)


def _of_variance(variance: Any) -> float | None:
    """Standard deviation of a variance, or None if it is 0."""
    return number("variance", variance, least=0) ** 0.5 or None

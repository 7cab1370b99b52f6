"""Signal for all layers, like a neuromodulator: the loss, or its change against a running mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import instance, number
from tf_alignment.layers.inspection import feedback_layers

__all__ = ["modulate"]

Signal = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
_SIGNALS: dict[str, Signal] = {
    "loss": lambda loss, mean: loss,
    "change": lambda loss, mean: loss - mean,
}


def modulate(
    model: keras.Model, signal: str | Signal | None = "change", decay: float = 0.9
) -> None:
    r"""Give the rules of a model that are `modulated` a signal made of the training loss.

    At every training step the loss L is computed before the backward pass begins, and every layer
    whose rule has `modulated = True` receives one number, in the same compiled step:

    $$ m = L, \quad \text{or} \quad m = L - \bar L, \qquad
       \bar L \leftarrow \bar L + \max(1 - d, 1/t) \, (L - \bar L) $$

    where t counts the steps including the present one: in the first steps the running mean is a
    plain mean. The rule reads m as the attribute `modulator` of `Backward` and `Activity`. Under a
    strategy m is the mean over the replicas.

    The signal is computed in the model's `compute_loss`, which Keras' own training step calls. Call
    `modulate` again after the model has been loaded. Your own training loop must call
    `model.compute_loss`; or call `modulate(model, None)` once and set the signal of each layer by
    `layer.modulation.assign([m, 0, 0])`, in recurrent layers before the forward pass.

    Args:
        model: Built Keras model.
        signal: Signal m: `"loss"`, `"change"`, or a function of two scalars, the loss and its
            running mean before this step, made of TensorFlow's operations. `None` means that your
            own code sets the signal.
        decay: Decay d of the running mean per step, from 0 to below 1.

    Raises:
        TypeError: If `model` is no model.
        ValueError: If the model has no layer with a modulated rule, or for unknown signals.

    Reference: Frémaux & Gerstner 2016, "Neuromodulated spike-timing-dependent plasticity, and
    theory of three-factor learning rules" (the surprise of a reward as third factor).

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> class Rewarded(ta.feedback.FeedbackAlignment):  # B follows xᵀy where the loss is low
    ...     learns, modulated = "error", True
    ...     def build(self, setup):
    ...         setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)
    ...     def send(self, c, dz):
    ...         hebb = c.map.outer(c.x, c.output, c.kernel)
    ...         dx, _ = super().send(c, dz)
    ...         return dx, {"feedback_kernel": tf.cast(c.modulator, hebb.dtype) * hebb}
    >>> layer = ta.layers.Dense(1, feedback=Rewarded())
    >>> model = keras.Sequential([keras.Input((2,)), layer])
    >>> model.compile(ta.optimizers.split("sgd"), "mse")
    >>> ta.modulate(model, "loss")
    >>> loss = model.train_on_batch(tf.ones((4, 2)), tf.ones((4, 1)))
    >>> abs(float(loss) - float(layer.modulation[0])) < 1e-6
    True
    """
    instance("model", model, keras.Model, "a Keras model")
    number("decay", decay, least=0, below=1)
    layers = [layer for layer in feedback_layers(model) if layer.modulation is not None]
    if not layers:
        raise ValueError(
            "Argument `model` must be a built model with a layer whose feedback rule is "
            f"`modulated`. Received: a model named '{model.name}' without one"
        )
    known = isinstance(signal, str) and signal in _SIGNALS
    if not (signal is None or callable(signal) or known):
        raise ValueError(
            f"Argument `signal` must be one of {list(_SIGNALS)}, a function of the loss and its "
            f"running mean, or None. Received: signal={signal!r}"
        )
    for layer in layers:
        layer.expect_signal(True)
    given = vars(model).get("compute_loss")
    compute = getattr(given, "unmodulated", model.compute_loss)
    if signal is None:
        model.compute_loss = compute
    else:
        made = _SIGNALS[signal] if isinstance(signal, str) else signal
        model.compute_loss = _Told(compute, layers, made, decay)
    model.train_function = None  # it may have been traced without


class _Told:
    """Replacement of `compute_loss` that passes the signal to the layers."""

    def __init__(self, compute: Any, layers: list[Any], signal: Any, decay: float) -> None:
        self.unmodulated, self.layers, self.signal, self.decay = compute, layers, signal, decay

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        loss = self.unmodulated(*args, **kwargs)
        if not kwargs.get("training", True):
            return loss
        self._tell(loss)
        return self._before_errors(loss)

    def _before_errors(self, loss: Any) -> Any:
        """The loss, whose errors begin only when all layers have the signal.

        A compiled loop over time reads it by itself, in an order that TensorFlow does not know.
        """

        @tf.custom_gradient
        def op(loss: tf.Tensor) -> Any:
            def grad(error: tf.Tensor) -> tf.Tensor:
                told = [layer.read_modulator() for layer in self.layers]
                with tf.control_dependencies(told):
                    return tf.identity(error)

            return tf.identity(loss), grad

        return op(loss)

    def _tell(self, loss: Any) -> None:
        # Keras divides what a replica returns by their number, so that sums over them are means.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        value = tf.stop_gradient(tf.cast(loss, tf.float32)) * float(replicas)
        for layer in self.layers:
            _, mean, steps = tf.unstack(tf.convert_to_tensor(layer.modulation))
            before = tf.where(steps > 0, mean, value)
            following = before + tf.maximum(1.0 - self.decay, 1.0 / (steps + 1)) * (value - before)
            layer.modulation.assign([self.signal(value, before), following, steps + 1.0])

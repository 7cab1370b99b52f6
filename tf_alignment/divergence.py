"""Detection of divergence by the norms of forward and feedback weights."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.tracing import traced_once
from tf_alignment.feedback import Feedback
from tf_alignment.layers.inspection import direct_connections, kernels

__all__ = ["NormWatch", "loss_of"]

_ADVICE: dict[str | None, str] = {
    "wm": "Weight mirror is stable only where beta/alpha equals the power of the layer's input: "
    "raise beta if B ran away, lower it if B collapsed, try the option `normalize`, or take 'sa'.",
    "alignment": "Give the feedback weights an optimizer without momentum of their own "
    "(`ta.optimizers.split`), or lower its learning rate; with the option `normalize` of the rule "
    "that rate does not depend on the scale of the layer's input.",
    "error": "The feedback weights learn from the error, as the forward weights do: lower the "
    "learning rate, clip gradients, or change the weight decay of both.",
    None: "Lower the learning rate, or the scale of the feedback weights (`feedback_initializer`).",
}


@dataclasses.dataclass
class _Watched:
    """Watched weight; `forward` is the index of the forward kernel that it belongs to."""

    name: str
    path: str
    variable: keras.Variable
    method: Feedback | None
    forward: int | None = None

    @property
    def label(self) -> str:
        of = f"'{self.name}' of layer '{self.path}'"
        if self.method is None:
            return of
        return f"{of} (feedback '{self.method.id}', {type(self.method).__name__})"

    @property
    def advice(self) -> str:
        if self.method is None:
            return _ADVICE[None]
        return _ADVICE.get(self.method.unwrapped.id, _ADVICE[self.method.learns])


def _weights(model: keras.Model) -> list[_Watched]:
    """Forward kernels, including those of stock layers, and their feedback weights."""
    found: list[_Watched] = []
    for kernel in kernels(model):
        forward = len(found)
        found.append(_Watched("kernel", kernel.path, kernel.variable, kernel.method))
        if kernel.connection is not None:
            for name, variable in kernel.connection.weights.items():
                found.append(_Watched(name, kernel.path, variable, kernel.method, forward))
    for path, direct in direct_connections(model).items():
        tap = path.removesuffix(f"/{direct.layer_name}")
        variable = direct.weights["feedback_kernel"]
        found.append(_Watched(direct.layer_name, tap, variable, direct.layer.feedback))
    return found


class NormWatch:
    """Comparison of the norms of forward and feedback kernels with the norms at the start.

    One compiled function computes all norms from the present values of the weights.

    Args:
        model: Built Keras model.
        max_norm_ratio: Limit of the ratio between the norms of a feedback weight that learns and
            its forward kernel, and of the inverse ratio; relative to the ratio at the start if this
            is above 1.
        max_growth: Limit of any norm divided by its value at the start (by 1 if that is below 1).
    """

    def __init__(
        self, model: keras.Model, max_norm_ratio: float = 100.0, max_growth: float = 1000.0
    ) -> None:
        self.max_norm_ratio = max_norm_ratio
        self.max_growth = max_growth
        self._watched = _weights(model)
        if self._watched:
            self._norms = traced_once(self._compute_norms)
        self._start = self.norms()

    def norms(self) -> list[float]:
        """Present norms of all watched weights."""
        return [float(n) for n in self._norms().numpy()] if self._watched else []

    def _compute_norms(self) -> tf.Tensor:
        values = [tf.convert_to_tensor(w.variable) for w in self._watched]
        # Overflow of a square is divergence too, so there is no need to scale first.
        return tf.stack([tf.sqrt(tf.reduce_sum(tf.square(tf.cast(v, tf.float32)))) for v in values])

    def problems(self) -> dict[str, tuple[str, str]]:
        """Present problems, `{weight: (what happened, what to change)}`, or an empty dict.

        A weight is named `<path of its layer>/<name>`.

        Feedback weights come first: if they diverge, the forward kernels diverge later.
        """
        found: dict[str, tuple[str, str]] = {}
        norms = self.norms()
        watch = list(zip(self._watched, norms, self._start, strict=True))
        for watched, norm, start in sorted(watch, key=lambda w: w[0].forward is None):
            message = self._growth(norm, start)
            i = watched.forward
            # A fixed weight says nothing against its kernel, unless something moved it.
            if not message and i is not None and (watched.variable.trainable or norm != start):
                message = self._against_forward(norm, start, norms[i], self._start[i])
            if message:
                name = f"{watched.path}/{watched.name}"
                found[name] = f"{watched.label} {message}.", watched.advice
        return found

    def _growth(self, norm: float, start: float) -> str:
        if not math.isfinite(norm):
            return "contains NaN or infinity, or entries whose squares overflow"
        if norm > self.max_growth * max(start, 1.0):
            return f"ran away: its norm is {norm:.3g}, at the start {start:.3g}"
        return ""

    def _against_forward(
        self, norm: float, start: float, forward: float, forward_start: float
    ) -> str:
        if not (math.isfinite(forward) and forward > 0.0):
            return ""
        ratio = norm / forward
        ratio_start = start / forward_start if forward_start > 0.0 else 1.0
        now = f"its norm is {norm:.3g}, {ratio:.3g} times the forward kernel's"
        then = f"at the start {start:.3g} and {ratio_start:.3g} times"
        if ratio > self.max_norm_ratio * max(1.0, ratio_start):
            return f"ran away: {now}; {then}"
        if ratio * self.max_norm_ratio < min(1.0, ratio_start):
            what = "collapsed" if norm < start else "was left behind by the forward kernel"
            return f"{what}: {now}; {then}"
        return ""


def loss_of(logs: Any) -> float | None:
    """Loss in the `logs` of a callback, if there is one."""
    loss = (logs or {}).get("loss")
    return None if loss is None else float(loss)

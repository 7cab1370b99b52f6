"""A rule on a layer beside the Keras layer: what the checks look at, computed once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tf_alignment.feedback import Feedback
from tf_alignment.layers.recurrent.steps import NoCarrier, WrongShape
from tf_alignment.testing.numbers import well_formed
from tf_alignment.testing.report import Mismatch, NotApplicable, Runner
from tf_alignment.testing.table import LayerCase, gradients, normal

__all__ = ["RuleCheck", "Trial", "needs", "registered"]

_T = TypeVar("_T")
_TRANSPOSED = "a transpose too many: `map.transpose` sends the error the other way itself."


@dataclasses.dataclass(frozen=True)
class RuleCheck:
    """A check: its function, what it checks, what usually makes it fail, and on which layers."""

    function: Callable[[Trial], None]
    what: str
    cause: str
    layers: tuple[str, ...] | None = None

    def on(self, names: Sequence[str]) -> list[str]:
        """Those of the layers `names` that the check runs on: at least one."""
        if self.layers is None:
            return list(names)
        return [name for name in names if name in self.layers] or list(names[:1])

    def run(self, check: str, where: str, trial: Trial, runner: Runner) -> None:
        """Run the check on the layer named `where`."""
        runner.run(check, where, self.what, self.cause, lambda: self.function(trial))


def once(method: Callable[[Any], _T]) -> Any:
    """A property computed once; an exception is kept too, so that its checks report it once."""
    name = method.__name__

    @functools.wraps(method)
    def get(self: Any) -> _T:
        kept: dict[str, Any] = self.__dict__.setdefault("_kept", {})
        if name not in kept:
            try:
                kept[name] = method(self)
            except Exception as error:  # noqa: BLE001 raised again, here and to whoever asks next
                kept[name] = _Raised(error)
        if isinstance(kept[name], _Raised):
            raise kept[name].error
        return kept[name]

    return property(get)


@dataclasses.dataclass
class _Raised:
    error: Exception


class Trial:
    """A rule on a layer, beside the Keras layer with the same weights; each pass runs once."""

    def __init__(
        self,
        rule: Feedback,
        case: LayerCase,
        seed: int = 0,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.rule, self.case, self.seed, self.strategy = rule, case, seed, strategy

    @property
    def x(self) -> tf.Tensor:
        """The input."""
        return tf.constant(self.case.inputs(self.seed))

    @once
    def stock(self) -> keras.layers.Layer:
        """The Keras layer; its bias is not zero, so that it cannot be forgotten."""
        stock = self.case.stock(name="stock", dtype="float32")
        try:
            stock(self.x)
        except tf.errors.UnimplementedError:  # as channels-first convolutions on some processors
            raise NotApplicable(f"{self.case.kind} of Keras does not run here either") from None
        for weight in stock.weights:
            if weight.name == "bias":
                weight.assign(normal(tuple(weight.shape), self.seed + 2))
        return stock

    def build(self, **extra: Any) -> Any:
        """A new layer with the rule and the weights of the Keras layer."""
        layer = self.case.layer(self.rule, name="checked", **extra)
        with _explained():
            layer.build(self.case.input_shape)
        for source, target in zip(self.stock.weights, layer.weights, strict=False):
            target.assign(source)
        return layer

    @once
    def layer(self) -> Any:
        """The layer with the rule."""
        layer = self.build(dtype="float32")
        with _explained():
            layer(self.x)
        return layer

    @once
    def state(self) -> list[np.ndarray]:
        """The layer's variables before any pass: weights, counters, random states."""
        return [np.array(variable) for variable in self.layer.variables]

    def rewind(self) -> Any:
        """The layer with its variables as they were before any pass."""
        for variable, value in zip(self.layer.variables, self.state, strict=True):
            variable.assign(value)
        return self.layer

    @once
    def expected(self) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """Output and gradients of the Keras layer."""
        return gradients(self.stock, self.x)

    @once
    def found(self) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """Output and gradients of the layer with the rule."""
        return gradients(self.rewind(), self.x)

    @once
    def kernels(self) -> list[tf.Tensor]:
        """The effective feedback kernels, of the forward kernels' shapes."""
        kernels = [c.feedback_kernel() for c in self.rewind().connections]
        for c, kernel in zip(self.layer.connections, kernels, strict=True):
            if tuple(kernel.shape) != tuple(c.kernel.shape):
                raise Mismatch(
                    "`feedback_kernel` to return the forward kernel's shape "
                    f"{tuple(c.kernel.shape)}",
                    f"{tuple(kernel.shape)}",
                    _TRANSPOSED,
                )
        return kernels

    @property
    def over_time(self) -> bool:
        """Whether the layer is recurrent."""
        return any(connection.over_time for connection in self.layer.connections)

    @once
    def first(self) -> int:
        """The first of the gradients that are Keras' own, whatever carries the error.

        The depthwise kernel of a separable layer gets its error through the pointwise feedback, and
        all weights of a recurrent layer get theirs over time.
        """
        return len(self.expected[1]) if self.over_time else len(self.layer.connections)

    @once
    def formed(self) -> None:
        """Raise unless there is a finite gradient of the right shape for all that learns."""
        if self.rule.has_kernel:
            _ = self.kernels
        (_, found), (_, expected) = self.found, self.expected
        like = [self.x, *self.layer.trainable_weights]
        names = self.weight_names(self.layer)
        for i, (name, gradient, of) in enumerate(zip(names, found, like, strict=True)):
            if not self.first <= i < len(expected):
                well_formed(name, gradient, tuple(of.shape))

    @once
    def registered(self) -> None:
        """Raise unless Keras can find the rule and its primitives when it loads a model."""
        for thing in (self.rule, *(p for p, _ in getattr(self.rule, "terms", ()))):
            registered(thing)

    def weight_names(self, layer: Any) -> list[str]:
        """The names of the tensors to which the gradients belong."""
        return ["the error for the layer below", *(f"`{w.name}`" for w in layer.trainable_weights)]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what a recurrent layer refuses into the findings of checks."""
    try:
        yield
    except NoCarrier:
        raise NotApplicable("gates get inputs of their own, and the rule has no carrier") from None
    except WrongShape as error:
        expected, _, received = str(error).partition(" Received: ")
        raise Mismatch(expected, received, _TRANSPOSED) from None


def registered(thing: Any) -> None:
    """Raise unless Keras can find the class of `thing` when it loads a model."""
    cls = type(thing)
    found = keras.saving.get_registered_object(keras.saving.get_registered_name(cls))
    if found is not cls:
        raise Mismatch(
            f"the class `{cls.__name__}` to be registered with Keras",
            f"{'another class' if found else 'nothing'} under its name",
            "the line `@keras.saving.register_keras_serializable(package=...)` above the class is "
            "missing: without it Keras cannot find the class when it loads a model.",
        )


def needs(trial: Trial, run: Callable[[], _T]) -> _T:
    """The Keras layer's results; where the layer raises, there is nothing to compare with."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 whatever it is, it is not the rule's
        kind = f"{trial.case.kind} of Keras raises {type(error).__name__} here as well"
        raise NotApplicable(kind) from None

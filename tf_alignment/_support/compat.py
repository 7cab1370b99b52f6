"""Replacements for parts of Keras that older versions do not have, chosen by version.

Keras 3.12 brought `ReversibleEmbedding`. Keras 3.15 brought `MultiOptimizer` with `OptimizerMap`,
and the arguments `input_axes` and `output_axes` of initializers. The library imports these from
here, never from Keras itself.
"""

from __future__ import annotations

import re
from typing import Any

import keras

__all__ = ["KERAS", "MultiOptimizer", "OptimizerMap", "ReversibleEmbedding", "glorot_uniform"]

KERAS = tuple(int(part) for part in re.findall(r"\d+", keras.__version__)[:2])
"""Version of Keras, `(major, minor)`."""

ReversibleEmbedding: Any = getattr(keras.layers, "ReversibleEmbedding", ())
"""Class of Keras, or an empty tuple before Keras 3.12: `isinstance` is then never true."""

_PACKAGE = "tf_alignment"


def glorot_uniform(seed: int, axes: dict[str, list[int]]) -> keras.initializers.Initializer:
    """Glorot's uniform initializer with the fans of given axes.

    Before Keras 3.15 the axes are left out, as they are for the kernels of Keras' own layers.

    Args:
        seed: Seed of the draw.
        axes: `input_axes` and `output_axes` of the kernel; may be empty.

    Example:
    >>> from tf_alignment._support.compat import glorot_uniform
    >>> glorot_uniform(0, {"input_axes": [0], "output_axes": [1]})((3, 2)).shape
    TensorShape([3, 2])
    """
    known = axes if KERAS >= (3, 15) else {}
    return keras.initializers.VarianceScaling(1.0, "fan_avg", "uniform", seed=seed, **known)


@keras.saving.register_keras_serializable(package=_PACKAGE, name="OptimizerMap")
class _OptimizerMap:
    """Choice of the optimizer that updates a variable, by the pattern that its path matches.

    Args:
        default_optimizer: Optimizer of the variables that no pattern matches.
        optimizer_map: Optimizers by regular expressions for the whole path, `{pattern: optimizer}`.
    """

    def __init__(self, default_optimizer: Any, optimizer_map: dict[str, Any]) -> None:
        self.default_optimizer = default_optimizer
        self.optimizer_map = optimizer_map

    def __call__(self, variable: Any) -> Any:
        for pattern, optimizer in self.optimizer_map.items():
            if re.fullmatch(pattern, variable.path):
                return optimizer
        return self.default_optimizer

    def values(self) -> list[Any]:
        """Optimizers of the patterns."""
        return list(self.optimizer_map.values())

    def get_config(self) -> dict[str, Any]:
        """Both arguments, serialised."""
        return {
            "default_optimizer": keras.saving.serialize_keras_object(self.default_optimizer),
            "optimizer_map": keras.saving.serialize_keras_object(self.optimizer_map),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _OptimizerMap:
        """Make a map from its config."""
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


@keras.saving.register_keras_serializable(package=_PACKAGE, name="MultiOptimizer")
class _MultiOptimizer(keras.optimizers.Optimizer):
    """Optimizer made of several optimizers, each with its own variables.

    The attribute `learning_rate` is the learning rate of the default optimizer, so that callbacks
    which set it act on this optimizer alone.

    Args:
        optimizer_map: Function that returns the optimizer of a variable.
        loss_scale_factor: Factor of the loss, by which each of the optimizers divides gradients.
        name: Name of the combined optimizer.
    """

    def __init__(
        self, optimizer_map: Any, loss_scale_factor: float | None = None, name: str | None = None
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self._map = optimizer_map
        self.optimizers = [*optimizer_map.values(), optimizer_map.default_optimizer]
        self.loss_scale_factor = loss_scale_factor

    @property
    def loss_scale_factor(self) -> float | None:
        """Factor of the loss; setting it sets the factor of all optimizers."""
        return self._factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._factor = value
        for optimizer in getattr(self, "optimizers", ()):  # none while Keras sets the whole up
            optimizer.loss_scale_factor = value

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the default optimizer."""
        return self._map.default_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._map.default_optimizer.learning_rate = value

    @property
    def variables(self) -> list[Any]:
        """Step count and the variables of all optimizers."""
        return [*self._variables, *(v for o in self.optimizers for v in o.variables)]

    def _shares(self, variables: list[Any]) -> list[list[int]]:
        """Indices of the variables of each optimizer."""
        owners = [self._map(variable) for variable in variables]
        return [[i for i, owner in enumerate(owners) if owner is o] for o in self.optimizers]

    def build(self, variables: list[Any]) -> None:
        """Build each optimizer with its own variables."""
        if self.built:
            return
        for optimizer, share in zip(self.optimizers, self._shares(variables), strict=True):
            if share:
                optimizer.build([variables[i] for i in share])
        super().build(variables)

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Pass each optimizer the gradients of its own variables."""
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = list(trainable_variables)
            self.build(variables)
        for optimizer, share in zip(self.optimizers, self._shares(variables), strict=True):
            if share:
                optimizer.apply([grads[i] for i in share], [variables[i] for i in share])
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Finish the moving averages of each optimizer."""
        for optimizer, share in zip(self.optimizers, self._shares(var_list), strict=True):
            if share:
                optimizer.finalize_variable_values([var_list[i] for i in share])

    def get_config(self) -> dict[str, Any]:
        """All arguments, the map serialised."""
        return {
            "optimizer_map": keras.saving.serialize_keras_object(self._map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> _MultiOptimizer:
        """Make an optimizer from its config."""
        optimizers = keras.saving.deserialize_keras_object(config["optimizer_map"], custom_objects)
        return cls(**{**config, "optimizer_map": optimizers})


if KERAS >= (3, 15):
    MultiOptimizer = keras.optimizers.MultiOptimizer
    OptimizerMap = keras.optimizers.OptimizerMap
    # Files that were written with an older Keras hold the stand-ins' names.
    keras.saving.get_custom_objects()[f"{_PACKAGE}>MultiOptimizer"] = MultiOptimizer
    keras.saving.get_custom_objects()[f"{_PACKAGE}>OptimizerMap"] = OptimizerMap
else:
    MultiOptimizer, OptimizerMap = _MultiOptimizer, _OptimizerMap

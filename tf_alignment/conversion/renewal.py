"""Renewal of the compiled functions and the optimizer of a model whose layers have changed."""

from __future__ import annotations

import collections
from typing import Any

import keras

from tf_alignment.layers.inspection import walk

__all__ = ["carry_optimizer", "renew"]


def renew(model: keras.Model) -> None:
    """Discard the compiled functions of a changed model, and fit the optimizer to its variables.

    An optimizer is built for certain variables. If the model's variables have changed, a new
    optimizer with the same configuration replaces the old one and takes over the state of each
    variable that is the same.

    Args:
        model: Keras model.
    """
    for layer, _ in walk(model):
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = layer.predict_function = None
    old = getattr(model, "optimizer", None)
    if not isinstance(old, keras.optimizers.Optimizer) or not old.built:
        return
    known = {id(v) for v in _updated(old)}
    if known == {id(v) for v in model.trainable_variables}:
        return
    new = type(old).from_config(old.get_config())
    new.build(model.trainable_variables)
    carry_optimizer(old, new)
    model.optimizer = new


def carry_optimizer(old: Any, new: Any) -> None:
    """Copy the state of an optimizer to another one, for the variables that both have.

    Args:
        old: Built optimizer.
        new: Built optimizer with the same configuration.
    """
    values: dict[str, collections.deque[Any]] = collections.defaultdict(collections.deque)
    for variable in _variables(old):
        values[_suffix(variable, old)].append(variable)
    for variable in _variables(new):
        same = values.get(_suffix(variable, new))
        if same and tuple(same[0].shape) == tuple(variable.shape):
            variable.assign(same.popleft())


def _parts(optimizer: Any) -> list[Any]:
    """An optimizer and the optimizers inside it, the outermost first."""
    inner = [getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "optimizers", ())]
    return [optimizer, *(part for one in inner if one is not None for part in _parts(one))]


def _updated(optimizer: Any) -> list[keras.Variable]:
    """Variables that an optimizer was built for."""
    own = (getattr(part, "_trainable_variables", None) or () for part in _parts(optimizer))
    return list({id(v): v for some in own for v in some}.values())


def _variables(optimizer: Any) -> list[keras.Variable]:
    own = (part.variables for part in _parts(optimizer))
    return list({id(v): v for some in own for v in some}.values())


def _suffix(variable: keras.Variable, optimizer: Any) -> str:
    """Path of a variable."""
    return str(variable.path)

"""Renewal of the compiled functions and the optimizer of a model whose layers have changed."""

from __future__ import annotations

import collections
import inspect
from typing import Any

import keras

from tf_alignment.layers.inspection import walk

__all__ = ["compile_like", "renew"]


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
    _carry_exclusions(old, new, model.variables, {})
    new.build(model.trainable_variables)
    _carry(old, new, {id(v): v for v in model.trainable_variables})
    model.optimizer = new


def compile_like(model: Any, target: Any, weights: dict[int, keras.Variable]) -> None:
    """Compile a copy as the original, with what its optimizer knows.

    Losses go into both: their files would have no lambdas, and no functions without a name that
    Keras knows. Metrics, which hold state, are made anew.

    Args:
        model: The original.
        target: The copy, compiled or not. If it is, its optimizer stays.
        weights: `{id of a weight of the original: its copy}`.

    Raises:
        ValueError: If a metric cannot be made anew.
    """
    if not model.compiled:
        return
    arguments = dict(getattr(getattr(model, "_compile_config", None), "config", None) or {})
    if not arguments or type(model).compile is not keras.Model.compile:
        if not target.compiled:
            target.compile_from_config(model.get_compile_config() or {})
    else:
        held = getattr(target, "optimizer", None)
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        same = type(held) is type(model.optimizer)
        arguments["optimizer"] = held if same else _anew(arguments["optimizer"])
        arguments["auto_scale_loss"] = scaled  # not among the arguments that Keras keeps
        for name in ("metrics", "weighted_metrics"):
            arguments[name] = keras.tree.map_structure(_anew, arguments.get(name))
        target.compile(**arguments)
    old, new = getattr(model, "optimizer", None), getattr(target, "optimizer", None)
    if not isinstance(old, keras.optimizers.Optimizer):
        return
    if new is not None:
        _carry_exclusions(old, new, model.variables, weights)
    if old.built and new is not None and not new.built:
        new.build(target.trainable_variables)
        _carry(old, new, weights)


def _anew(part: Any) -> Any:
    """A part of a compilation that holds state, from its configuration; others as they are."""
    if not isinstance(part, keras.optimizers.Optimizer | keras.metrics.Metric):
        return part
    held = {v.__name__: v for v in vars(part).values() if inspect.isfunction(v)}
    try:
        with keras.saving.custom_object_scope(held):
            return type(part).from_config(part.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"A model compiled with {part!r} cannot be copied, since it cannot be made again from "
            "its configuration. Convert it with `inplace=True`, or before it is compiled. "
            f"Received: inplace=False; {error}"
        ) from error


def _carry(old: Any, new: Any, weights: dict[int, keras.Variable]) -> None:
    """Copy the state of an optimizer to another one.

    Args:
        old: Built optimizer.
        new: Built optimizer with the same configuration, of a copied or changed model.
        weights: `{id of a weight of the old optimizer: the weight of the new one}`.
    """
    ours, theirs = _state(new), _state(old)
    for (weight, name), variable in theirs.items():
        target = ours.get((id(weights[weight]) if weight in weights else weight, name))
        if target is not None:
            target.assign(variable)


def _carry_exclusions(
    old: Any, new: Any, variables: list[keras.Variable], weights: dict[int, keras.Variable]
) -> None:
    """Exclude the same weights from the decay as in another optimizer.

    The configuration of an optimizer does not have what was given to `exclude_from_weight_decay`,
    and Keras has no public way to read it. Where the attributes of Keras 3.15 that are read here
    are missing, nothing is carried; `tests/conversion/test_compiled` detects this.

    Args:
        old: Optimizer, built or not.
        new: Optimizer with the same configuration.
        variables: Variables of the model of the old optimizer.
        weights: `{id of a weight of the old model: the weight of the new one}`.
    """
    for one, other in zip(_parts(old), _parts(new), strict=False):
        listed: set[Any] = getattr(one, "_exclude_from_weight_decay", set())
        pattern = getattr(one, "_exclude_from_weight_decay_pattern", None)
        if not listed and pattern is None:
            continue
        excluded = [weights.get(id(v), v) for v in variables if one._var_key(v) in listed]
        other._exclude_from_weight_decay = {other._var_key(v) for v in excluded}
        other._exclude_from_weight_decay_pattern = pattern
        other._exclude_from_weight_decay_cache = {}


def _state(optimizer: Any) -> dict[tuple[int, str], keras.Variable]:
    """Variables of an optimizer, `{(id of a weight, or 0, name): variable}`.

    Keras names the momentum of `layer/kernel`, say, `sgd/layer_kernel_momentum`. Weights may have
    equal paths; the optimizer then has made their variables in the order of the weights.
    """
    found: dict[tuple[int, str], keras.Variable] = {}
    seen: set[int] = set()
    for number, part in enumerate(reversed(_parts(optimizer))):  # the inner ones first
        owners = collections.defaultdict(list)
        for weight in getattr(part, "_trainable_variables", None) or ():
            owners[str(weight.path).replace("/", "_") + "_"].append(weight)
        for variable in part.variables:
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            name = str(variable.path).rpartition("/")[2]
            prefix = max((p for p in owners if name.startswith(p)), key=len, default="")
            rest = f"{number}/{name.removeprefix(prefix)}"
            keys = [(id(weight), rest) for weight in owners.get(prefix, ())] or [(0, rest)]
            found.setdefault(next((key for key in keys if key not in found), keys[-1]), variable)
    return found


def _parts(optimizer: Any) -> list[Any]:
    """An optimizer and the optimizers inside it, the outermost first."""
    inner = [getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "optimizers", ())]
    return [optimizer, *(part for one in inner if one is not None for part in _parts(one))]


def _updated(optimizer: Any) -> list[keras.Variable]:
    """Variables that an optimizer was built for."""
    own = (getattr(part, "_trainable_variables", None) or () for part in _parts(optimizer))
    return list({id(v): v for some in own for v in some}.values())

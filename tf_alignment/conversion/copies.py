"""A model like another, with weights of its own.

Plain functional and Sequential models are cloned call by call. Layers that are adapted to data, and
layers of the user's own without variables, go into both models: what their configuration does not
say stays right.
Other models are saved and loaded again in memory, as `copy.deepcopy` does with every Keras model:
class, methods, tables and the state of optimizers come along.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
import warnings
from typing import Any

import keras

from tf_alignment.conversion.graph import (
    borrows,
    clone_operation,
    copy_weights,
    fresh_inputs,
    functional_class,
    parts,
    uncompiled,
)
from tf_alignment.conversion.registry import is_stock, stock_class
from tf_alignment.feedback import Feedback
from tf_alignment.layers.inspection import layers_of, walk

__all__ = ["carry", "copy_layer", "copy_model"]


def copy_model(
    model: keras.Model,
) -> tuple[keras.Model, dict[int, Any], dict[int, keras.Variable]]:
    """Copy a model.

    Args:
        model: Built Keras model.

    Returns:
        The copied model, `{id of a layer: its copy}` and `{id of a weight: its copy}`, of weights
        that could learn. A copied functional model may not be compiled.

    Raises:
        ValueError: If the model cannot be copied.
    """
    state = random.getstate()  # seeds of layers that are made and not used shift no others
    try:
        with keras.saving.custom_object_scope(_own_objects(model)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no feedback weights.*")
            warnings.filterwarnings("ignore", message=".*plain Keras.*")
            warnings.filterwarnings("ignore", message=".*includes a `lambda`.*")
            new = _clone(model) if _plain(model) else copy.deepcopy(model)
    except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError) as error:
        raise _refusal(model, error) from error
    except ValueError as error:
        raise _refusal(model, error) from error
    finally:
        random.setstate(state)
    old_layers, new_layers = layers_of(model), layers_of(new)
    pairs = list(zip(old_layers, new_layers, strict=False))
    if len(old_layers) != len(new_layers) or any(_stock(a) is not _stock(b) for a, b in pairs):
        raise _refusal(model, "its copy has other layers")
    weights: dict[int, keras.Variable] = {}
    for a, b in pairs:
        carry(a, b)
        weights.update(
            (id(v), w) for v, w in zip(a._trainable_variables, b._trainable_variables, strict=False)
        )
    return new, {id(a): b for a, b in pairs}, weights


def _refusal(model: keras.Model, why: Any) -> ValueError:
    text = " ".join(str(why).split())
    return ValueError(
        f"Model '{model.name}' of class {type(model).__name__} cannot be copied: Keras has to "
        "make its layers again from their configuration, and load their state. Use `inplace=True`, "
        f"which changes the model itself, or mend its `get_config`. Received: inplace=False; "
        f"{text[:600]}"
    )


def _plain(model: Any) -> bool:
    return type(model) in (keras.Sequential, functional_class())


def _stock(layer: Any) -> type:
    return stock_class(type(layer)) or type(layer)


def _own_objects(model: keras.Model) -> dict[str, Any]:
    """Classes and functions that Keras cannot find by itself when it loads the model."""
    found: dict[str, Any] = {}

    def add(value: Any) -> None:
        one = value if inspect.isfunction(value) else type(value)
        if one.__module__.partition(".")[0] not in ("keras", "builtins", "numpy", "tensorflow"):
            found.setdefault(one.__name__, one)

    kept = (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    for layer, _ in walk(model):
        one = _stock(layer)
        if not one.__module__.startswith(("keras.", "tf_alignment.")):
            found.setdefault(one.__name__, one)
        method = getattr(layer, "feedback", None)
        if isinstance(method, Feedback):
            for part in (method, *(primitive for primitive, _ in getattr(method, "terms", ()))):
                add(part)
        for value in vars(layer).values():
            if isinstance(value, kept) or (inspect.isfunction(value) and "<" not in value.__name__):
                add(value)
    compilation = getattr(getattr(model, "_compile_config", None), "config", None) or {}
    for value in keras.tree.flatten([getattr(model, "loss", None), compilation]):
        for part in (value, *getattr(value, "__dict__", {}).values()):
            if inspect.isfunction(part) or (part is value and hasattr(part, "get_config")):
                add(part)
    return found


def carry(old: Any, new: Any) -> None:
    """Give a copied layer the state that is in neither its configuration nor its weights."""
    if old is new:
        return
    held = vars(new)
    for name, value in list(vars(old).items()):
        if isinstance(value, keras.initializers.Initializer) and name in held:
            if type(held[name]) is type(value):  # it holds the seed that was drawn
                with contextlib.suppress(AttributeError):
                    setattr(new, name, value)
        elif name not in held and not name.startswith("_") and _is_data(value):
            setattr(new, name, value)
    policy = old.dtype_policy  # of a model: `compile` asks it whether to scale the loss
    if policy != new.dtype_policy and policy.quantization_mode is None:
        new.dtype_policy = policy
    if new.trainable != old.trainable:
        new.trainable = old.trainable
    for a, b in zip(old._trainable_variables, new._trainable_variables, strict=False):
        if a.trainable != b.trainable:
            b.trainable = a.trainable
    for a, b in zip(old._seed_generators, new._seed_generators, strict=False):
        b.state.assign(a.state)


def _is_data(value: Any) -> bool:
    """Whether an attribute is a plain value of the user's own."""
    return isinstance(value, str | int | float | bool | bytes)


def _clone(model: keras.Model) -> keras.Model:
    """A clone of a plain model with the original's weights, compiled or not."""
    copies: dict[int, Any] = {}
    pairs: list[tuple[Any, Any]] = []
    own = parts(model)

    def run(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if borrows(operation, (args, kwargs), own):
            raise ValueError(
                f"'{operation.name}' uses a layer or weight of the model outside of that layer's "
                "call, and would use the original's in a copy too"
            )
        return operation(*args, **kwargs)

    def one(layer: Any) -> Any:
        if id(layer) not in copies:
            if _plain(layer):
                copies[id(layer)] = rebuild(layer)
            else:
                copies[id(layer)] = copy_layer(layer)
                pairs.append((layer, copies[id(layer)]))
        return copies[id(layer)]

    def rebuild(model: keras.Model) -> keras.Model:
        if not isinstance(model, keras.Sequential):
            return keras.models.clone_model(
                uncompiled(model),
                input_tensors=fresh_inputs(model),
                clone_function=one,
                call_function=run,
            )
        # one inside another model has an input of its own only if it was given one
        first = [fresh_inputs(model)] if getattr(model, "inputs", None) else []
        layers = [*first, *(one(layer) for layer in model.layers)]
        return keras.Sequential(layers, name=model.name, trainable=model.trainable)

    clone = rebuild(model)
    for old, new in pairs:
        copy_weights(old, new)
    return clone


def copy_layer(layer: Any) -> Any:
    """A copy of a layer or operation of a plain model.

    Each model needs layers of its own even where they have no weights: `layer.output` is the tensor
    of the only call. A layer of the user's own without variables goes into both models, as its
    configuration may leave something out.
    """
    if not isinstance(layer, keras.layers.Layer):
        return clone_operation(layer)
    held = [inner for inner, _ in walk(layer) if inner is not layer]
    if not layer.variables and not held:
        known = is_stock(type(layer)) and not hasattr(layer, "adapt")
        return clone_operation(layer) if known else layer
    if any(hasattr(inner, "adapt") for inner in held):  # what is adapted may be no variable
        return copy.deepcopy(layer)
    return clone_operation(layer)

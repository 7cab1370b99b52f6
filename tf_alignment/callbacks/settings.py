"""How a training run was set up, as plain data: two runs that differ must not share a backup."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from tf_alignment.layers.inspection import walk

__all__ = ["describe", "difference"]

_NAMED = {"trainable", "learning_rate", "optimizer_map", "inner_optimizer"}
_PLAIN = (bool, int, float, str, type(None))


def describe(model: keras.Model, data: Any = None) -> dict[str, Any]:
    """Layers, methods, weights and optimizer of a model, and what orders its data.

    Names that Keras counts up are left out, and so is what cannot be told in plain data.

    Args:
        model: A built model.
        data: See `tf_alignment.callbacks.Resume`.

    Returns:
        What `json` can write.
    """
    layers = [
        {"class": type(layer).__name__, **_config(layer)}
        for layer, _ in walk(model)
        if not isinstance(layer, keras.Model)
    ]
    return {
        "layers": layers,
        "weights": [[list(v.shape), str(v.dtype)] for v in model.weights],
        "optimizer": {"class": type(model.optimizer).__name__, **_config(model.optimizer)},
        "data": attributes(data, but=("epoch",)),
    }


def attributes(value: Any, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The public attributes of an object in plain data, and its class.

    Args:
        value: Any object.
        but: Names to leave out.
    """
    own = {k: v for k, v in getattr(value, "__dict__", {}).items() if k[0] != "_" and k not in but}
    plain = {k: v if isinstance(v, _PLAIN) else _config(v) for k, v in own.items()}
    return {"class": type(value).__name__, **_as_json(plain)}


def difference(stored: Any, present: Any, path: str = "") -> str | None:
    """The first place where two descriptions differ, in words; None if they do not.

    Args:
        stored: What `describe` said when the backup was begun.
        present: What it says now.
        path: Of the place in the whole description.
    """
    if isinstance(stored, Mapping) and isinstance(present, Mapping):
        for key in sorted({*stored, *present}):
            found = difference(stored.get(key), present.get(key), f"{path}/{key}".lstrip("/"))
            if found is not None:
                return found
        return None
    if isinstance(stored, list) and isinstance(present, list) and len(stored) == len(present):
        for i, (a, b) in enumerate(zip(stored, present, strict=True)):
            found = difference(a, b, f"{path}/{i}")
            if found is not None:
                return found
        return None
    if stored == present:
        return None
    shown = [f"{len(v)} entries" if isinstance(v, list) else repr(v) for v in (stored, present)]
    return f"{path} was {shown[0]} and is {shown[1]}"


def _config(value: Any) -> dict[str, Any]:
    """The configuration of an object of Keras or of this library, or nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # functions that do not serialise
            config = dict(_as_json(keras.saving.serialize_keras_object(value.get_config())))
            config.pop("name", None)
            return config
    except Exception:  # noqa: BLE001 - a layer of one's own may say anything, or nothing
        return {}


def _as_json(value: Any) -> Any:
    plain = json.loads(json.dumps(value, default=lambda other: type(other).__name__))
    return _without_names(plain)


def _without_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_names(v) for v in value]
    if not isinstance(value, dict):
        return "object" if isinstance(value, str) and " at 0x" in value else value
    left_out = {"build_config", "shared_object_id"} | ({"name"} if _NAMED & value.keys() else set())
    return {k: _without_names(v) for k, v in value.items() if k not in left_out}

"""Files of models whose configuration does not name the class of every layer.

The configuration of a functional or Sequential model names the class of every layer. A subclassed
model, or a layer that makes its sublayers itself, has a configuration without these names: its file
would load with stock layers. So a layer whose class was exchanged also saves a record of its
method, beside its feedback weights.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from tf_alignment.conversion.inplace import adapt_loops, give, give_holders
from tf_alignment.conversion.renewal import renew
from tf_alignment.conversion.sites import Site, sites
from tf_alignment.conversion.training import watch
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS
from tf_alignment.layers.connection import RECORD
from tf_alignment.layers.inspection import feedback_layers

__all__ = ["load_model", "remember"]


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,  # noqa: A002 - Keras' name
) -> keras.Model:
    """Load a model from a `.keras` file, including the feedback of layers inside custom layers.

    `keras.models.load_model` is enough for models whose configuration names every layer:
    functional and Sequential models made of layers of Keras and of this library. Other models,
    for instance subclassed models and models of KerasHub, it loads with stock layers and gives
    no warning.

    Args:
        filepath: Path of a `.keras` file on this machine that `model.save` wrote.
        custom_objects: Custom classes and functions by name, as in `keras.models.load_model`.
        compile: Whether to compile the model with the settings it was saved with.

    Returns:
        Model with its feedback weights and, if it is compiled, the state of its optimizer.

    Raises:
        ValueError: If Keras cannot load the file, or if it is of another kind (`.h5`) or remote.

    Example:
    >>> import keras, tempfile, warnings, tf_alignment as ta
    >>> class Block(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.dense = keras.layers.Dense(4)
    ...         self.dense.build(shape)
    ...     def call(self, x):
    ...         return self.dense(x)
    >>> layers = [keras.Input((4,)), keras.layers.Dense(4), Block(), keras.layers.Dense(2)]
    >>> model = ta.convert(keras.Sequential(layers), "fa")
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # of the class that is not registered
    ...     model.save(f"{folder}/model.keras")
    ...     loaded = ta.load_model(f"{folder}/model.keras", custom_objects={"Block": Block})
    >>> len(ta.layers.feedback_layers(loaded))
    2
    """
    path = str(filepath)
    with _records() as records:
        model = keras.models.load_model(path, custom_objects, compile=False)
    config = _config(path)
    if not config:  # nothing would tell how the model was compiled, or of feedback inside layers
        raise ValueError(
            "Argument `filepath` must be the path of a `.keras` file on this machine; other files "
            f"are for `keras.models.load_model`. Received: filepath={path!r}"
        )
    missing = [(layer, record) for layer, record in records if not _has_method(layer)]
    with keras.saving.custom_object_scope(custom_objects or {}):
        for layer, record in missing:
            give(layer, **_arguments(record))
        if missing:
            found = sites(model)
            given = {id(layer) for layer, _ in missing}
            carrying = [s for s in found if id(s.layer) in given]
            give_holders(carrying, found)
            adapt_loops(carrying)
            remember(model, carrying)
        if compile and config.get("compile_config"):
            model.compile_from_config(config["compile_config"])
    if missing or (compile and model.compiled):
        model.load_weights(path)
    renew(model)
    if feedback_layers(model):
        watch(model)
    return model


def remember(model: keras.Model, given: list[Site]) -> None:
    """Mark layers whose feedback is missing from the model's configuration, for when it is saved.

    Args:
        model: Converted model.
        given: Sites of the layers that have been given feedback.
    """
    untold = [site for site in given if not site.told(model)]
    names = [site.path for site in untold]
    for position, site in enumerate(untold):
        site.layer.feedback_store.untold = names if position == 0 else []


def _has_method(layer: Any) -> bool:
    return getattr(layer, "feedback", None) is not None


@contextlib.contextmanager
def _records() -> Iterator[list[tuple[Any, dict[str, Any]]]]:
    """Collect `(layer, record)` of the file that Keras loads inside the block.

    Keras passes the path of a layer's folder in the file to the layer's method `load_assets`, if
    it has one. Only Keras knows which layer a folder belongs to, so every layer has the method
    while the file is loaded.
    """
    found: list[tuple[Any, dict[str, Any]]] = []
    layer_class = keras.layers.Layer
    original = vars(layer_class).get("load_assets")

    def load_assets(self: Any, path: Any) -> Any:
        file = Path(str(path), "feedback_store", RECORD)
        if path and file.is_file():
            found.append((self, json.loads(file.read_text(encoding="utf-8"))))
        return None if original is None else original(self, path)

    layer_class.load_assets = load_assets
    try:
        yield found
    finally:
        if original is None:
            del layer_class.load_assets
        else:
            layer_class.load_assets = original


def _arguments(record: dict[str, Any]) -> dict[str, Any]:
    return {
        ("method" if name == "feedback" else name): keras.saving.deserialize_keras_object(
            record[name]
        )
        for name in FEEDBACK_ARGUMENTS
    }


def _config(path: str) -> dict[str, Any]:
    """Configuration that Keras wrote for a model, including the settings of `compile`."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    file = Path(path, "config.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

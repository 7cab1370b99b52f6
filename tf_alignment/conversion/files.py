"""Files of models whose configuration cannot say that layers have feedback.

The configuration of a functional or Sequential model names the class of every layer. That of a
model or layer that makes its layers itself does not: its file would load with stock layers. So the
feedback weights of a layer whose class was exchanged put a record of the method beside the weights.
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

from tf_alignment.conversion.inplace import fold_time, give, give_holders
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
    """Load a model from a `.keras` file, with the feedback of layers inside custom layers too.

    `keras.models.load_model` does as well for models whose configuration names every layer
    (functional and Sequential models of Keras' layers and this library's). Others, subclassed
    models and KerasHub's for instance, it would load with stock layers, without a word.

    Args:
        filepath: Path of a `.keras` file, saved by `model.save`.
        custom_objects: As of `keras.models.load_model`.
        compile: Whether to compile the model as it was when it was saved.

    Returns:
        The model, with its feedback weights and, if compiled, the state of its optimizer.

    Raises:
        ValueError: If Keras cannot load the file.

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
    missing = [(layer, record) for layer, record in records if not _has_method(layer)]
    with keras.saving.custom_object_scope(custom_objects or {}):
        for layer, record in missing:
            give(layer, **_arguments(record))
        if missing:
            found = sites(model)
            given = {id(layer) for layer, _ in missing}
            carrying = [s for s in found if id(s.layer) in given]
            give_holders(carrying, found)
            fold_time(carrying)
            remember(model, carrying)
        config = _config(path)
        if compile and config.get("compile_config"):
            model.compile_from_config(config["compile_config"])
    if missing or (compile and model.compiled):
        model.load_weights(path)
    renew(model)
    if feedback_layers(model):
        watch(model)
    return model


def remember(model: keras.Model, given: list[Site]) -> None:
    """Have layers whose feedback the model's configuration cannot tell say so when it is saved.

    Args:
        model: The model.
        given: Its layers that have been given feedback.
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

    Keras hands every layer that has a method `load_assets` the folder of its own in the file. So
    all have one while the file is loaded: which layer a folder belongs to only Keras knows.
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
    """The configuration of a model that Keras wrote, and how the model was compiled."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    file = Path(path, "config.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

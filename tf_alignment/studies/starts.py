"""Models of a case and a seed, built once and saved, from which all variants of the seed start."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from typing import Any

import keras
import numpy as np

from tf_alignment.studies.encoding import Encoder, load_reference
from tf_alignment.studies.store import Store, unwritten

__all__ = ["Start", "build_model", "save_start"]


class Start:
    """Saved model from which runs start.

    Attributes:
        name: Name of the model's file, a digest of architecture and weights.
        files: Files of the modules that are needed to load the model, see `Encoder`.
        sources: Digests of the code of the user's layers in the model, see `Encoder`.
        parameters: Number of parameters.
        weights: Digest of the trainable weights alone; empty if there are none.
    """

    def __init__(self, model: keras.Model) -> None:
        encoder = Encoder()
        config = encoder.config("build", model)
        for name in ("compile_config", "build_config"):
            config.pop(name, None)
        content = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for variable in model.variables:
            content.update(np.asarray(variable).tobytes())
        self.name = content.hexdigest()[:16]
        self.files, self.sources = encoder.files, encoder.sources
        self.parameters = int(model.count_params())
        weights = hashlib.sha256()
        for variable in model.trainable_variables:
            weights.update(np.asarray(variable).tobytes())
        self.weights = weights.hexdigest() if model.trainable_variables else ""


def build_model(build: Any, seed: int) -> keras.Model:
    """Build the model of a seed.

    Args:
        build: Function without arguments or of the seed, a reference `"module:function"`, or a
            model, whose architecture gets new weights.
        seed: Seed of the weights.

    Raises:
        TypeError: If `build` makes no Keras model.
    """
    if isinstance(build, str):
        build = load_reference(build)
    # layers are named by counters, and curves of several seeds are found by the layers' names
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    if isinstance(build, keras.Model):
        model: Any = keras.models.clone_model(build)
    elif callable(build):
        model = build(seed) if _takes_seed(build) else build()
    else:
        model = build
    if not isinstance(model, keras.Model):
        raise TypeError(
            "Argument `build` must be a Keras model or a function that returns one. "
            f"Received: build={build!r}, which gives {model!r}"
        )
    if not model.built:
        raise ValueError(
            "Argument `build` must return a model that is built: start it with `keras.Input`. "
            f"Received: an unbuilt model named '{model.name}'"
        )
    return model


def save_start(model: keras.Model, store: Store) -> Start:
    """Save a model in the directory of a study, if it has not been saved yet.

    Args:
        model: Built Keras model.
        store: Files of the study.
    """
    start = Start(model)
    file = store.file("starts", start.name, ".keras")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        new = unwritten(file)
        model.save(new)
        os.replace(new, file)
    return start


def _takes_seed(build: Any) -> bool:
    """Whether a function has one argument that must be given, or one called `seed`."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return False
    if isinstance(build, functools.partial) and "seed" in build.keywords:
        return False
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )

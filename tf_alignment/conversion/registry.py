"""Table of Keras' layer classes and the classes of this library that replace them.

The table is made of the names that `tf_alignment.layers` exports. An exported class replaces the
Keras class that has the same name and is one of its base classes. A new layer needs no entry here.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tf_alignment import layers as drop_in
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS, FeedbackLayer

__all__ = [
    "STOCK",
    "WITH_FEEDBACK",
    "is_kernel_layer",
    "is_leaf",
    "is_ours",
    "is_stock",
    "overridden",
    "stock_class",
    "version",
]


def is_stock(cls: type) -> bool:
    """Whether a class of layers is part of Keras.

    Args:
        cls: Class of a layer.
    """
    return cls.__module__.startswith("keras.src.")


def _pairs() -> dict[type, type]:
    found: dict[type, type] = {}
    for name in drop_in.__all__:
        ours, stock = getattr(drop_in, name), getattr(keras.layers, name, None)
        if isinstance(ours, type) and isinstance(stock, type) and issubclass(ours, stock):
            found[stock] = ours
            cell = getattr(ours, "cell_class", None)
            if cell is not None:  # Keras does not export every class of cells
                found[next(base for base in cell.__mro__ if is_stock(base))] = cell
    return found


STOCK: dict[type, Any] = {ours: stock for stock, ours in _pairs().items()}
"""`{class of this library: Keras' class}`, including layers without a feedback argument."""

WITH_FEEDBACK: dict[type, Any] = {
    stock: ours
    for stock, ours in _pairs().items()
    if "feedback" in inspect.signature(ours).parameters
}
"""`{Keras' class: class of this library with feedback}`."""

_HARMLESS = {"variable_serialization_spec"}

_DERIVED: dict[type, Any] = {}  # versions of classes of users' own
_ORIGINAL: dict[type, type] = {}  # and back


def version(cls: type) -> Any | None:
    """Class with feedback that a layer of class `cls` can be given, or None.

    Args:
        cls: Class of the layer: a class of Keras, a class of this library, or a subclass of either
            that overrides nothing of what the layer computes, see `overridden`.
    """
    if cls in WITH_FEEDBACK:
        return WITH_FEEDBACK[cls]
    if cls in _ORIGINAL:
        return cls
    own = _stock_base(cls, STOCK)
    if own is not None:
        return cls if STOCK[own] in WITH_FEEDBACK else None
    base = _stock_base(cls, WITH_FEEDBACK)
    if base is None or overridden(cls):
        return None
    if cls not in _DERIVED:
        _DERIVED[cls] = _derive(cls, WITH_FEEDBACK[base])
        _ORIGINAL[_DERIVED[cls]] = cls
    return _DERIVED[cls]


def overridden(cls: type) -> list[str]:
    """Names of what a subclass of a convertible Keras layer overrides of its computation.

    These are `call`, `build` and all other methods and properties that the Keras class has of its
    own, as `kernel` or `convolution_op`, but for those that are about shapes and files.

    Args:
        cls: Class of a layer.
    """
    base = _stock_base(cls, WITH_FEEDBACK)
    if base is None:
        return []
    stock = [k for k in base.__mro__ if is_stock(k) and issubclass(k, keras.layers.Layer)]
    own = {name for k in stock for name in vars(k)}
    of_all = set(dir(keras.layers.Layer)) - {"call", "build"}
    names = sorted(n for n in own - of_all - _HARMLESS if not n.startswith("__"))
    return [n for n in names if getattr(cls, n, None) is not getattr(base, n, None)]


def stock_class(cls: type) -> type | None:
    """Keras class, or class of the user's own, that a class of this library replaces, or None.

    Args:
        cls: Class of a layer.
    """
    return _ORIGINAL.get(cls, STOCK.get(cls))


def is_ours(cls: type) -> bool:
    """Whether a class of layers is one of this library, or derived from one."""
    return cls in _ORIGINAL or _stock_base(cls, STOCK) is not None


def is_leaf(cls: type) -> bool:
    """Whether a class of this library has connections itself, and not only in its sublayers."""
    return issubclass(cls, FeedbackLayer)


def is_kernel_layer(layer: Any) -> bool:
    """Whether a layer has connections itself, or would have them with feedback."""
    cls = version(type(layer))
    return cls is not None and is_leaf(cls)


def _stock_base(cls: type, table: dict[type, Any]) -> type | None:
    """First class among `cls` and its bases that is in the table."""
    return next((base for base in cls.__mro__ if base in table), None)


def _derive(cls: type, ours: Any) -> Any:
    """Subclass of both classes that is saved as `cls`: the file loads without this library."""

    def get_config(self: Any) -> dict[str, Any]:
        config = super(derived, self).get_config()
        return {k: v for k, v in config.items() if k not in FEEDBACK_ARGUMENTS}

    names = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "get_config": get_config,
    }
    derived: Any = type(cls.__name__, (cls, ours), names)
    registered = keras.saving.get_registered_name(cls)
    package, separator, name = registered.partition(">")
    if separator:  # both get the name; what it stands for stays the user's class
        for one in (derived, cls):
            keras.saving.register_keras_serializable(package, name)(one)
    return derived

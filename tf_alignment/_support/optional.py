"""Import of optional libraries where they are used, never together with the package."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]

# What pip is asked for, where it is not the name of the module.
_DISTRIBUTIONS = {
    "keras_hub": "keras-hub",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_probability": "tensorflow-probability tf-keras",
    "yaml": "PyYAML",
}


def require(module: str, purpose: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Args:
        module: Name of the module, for example `"sklearn.datasets"`.
        purpose: Feature that needs the library, as the beginning of a sentence, for example
            `"Neural predictivity"`.

    Returns:
        Imported module.

    Raises:
        ImportError: If the library is not installed; the message has the command that installs it.

    Example:
        >>> require("math", "Arithmetic").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise  # Something that the library itself needs is missing: its own message is better.
        wanted = _DISTRIBUTIONS.get(top, top)
        raise ImportError(
            f"{purpose} needs {wanted.partition(' ')[0]}, which is not installed. "
            f"Install it with: pip install {wanted}"
        ) from error

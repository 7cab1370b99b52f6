"""Libraries that only some users need are imported where they are used, never with the package."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]

_DISTRIBUTIONS = {
    "matplotlib": ("matplotlib", "examples"),
    "optuna": ("optuna", "examples"),
    "yaml": ("PyYAML", "dev"),
    "tensorboard": ("tensorboard", "dev"),
    "sklearn": ("scikit-learn", "examples"),
    "tensorflow_datasets": ("tensorflow-datasets", "examples"),
    "tensorflow_probability": ("tensorflow-probability", "tfp"),
}


def require(module: str, purpose: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Args:
        module: Name to import, for example `"sklearn.datasets"`.
        purpose: What needs it, as the beginning of a sentence: `"The digits dataset"`.

    Returns:
        The imported module.

    Raises:
        ImportError: If the library is not installed; the message names the extra that brings it.

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
        distribution, extra = _DISTRIBUTIONS[top]
        raise ImportError(
            f"{purpose} needs {distribution}, which is not installed. "
            f'Install it with: pip install "tf_alignment[{extra}]"'
        ) from error

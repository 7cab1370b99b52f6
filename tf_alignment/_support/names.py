"""Public names alone in `dir` and tab completion."""

from __future__ import annotations

from types import ModuleType

__all__ = ["show_public_names"]


def show_public_names(module: ModuleType) -> None:
    """Have `dir(module)` list `module.__all__` alone, and likewise in public modules inside.

    Args:
        module: A module with `__all__`.
    """
    names = sorted(module.__all__)
    vars(module)["__dir__"] = lambda: names
    for name in names:
        inner = getattr(module, name)
        if isinstance(inner, ModuleType):
            show_public_names(inner)

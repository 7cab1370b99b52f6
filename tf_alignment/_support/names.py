"""Restriction of `dir` and tab completion to public names."""

from __future__ import annotations

from types import ModuleType

__all__ = ["show_public_names"]


def show_public_names(module: ModuleType) -> None:
    """Make `dir` list only `__all__` of a module, and of the public modules inside it.

    Args:
        module: Module with `__all__`.
    """
    names = sorted(module.__all__)
    vars(module)["__dir__"] = lambda: names
    for name in names:
        inner = getattr(module, name)
        if isinstance(inner, ModuleType):
            show_public_names(inner)

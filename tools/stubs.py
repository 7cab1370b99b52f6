"""Write `tf_alignment/layers/__init__.pyi`: signatures of layers for editors and type checkers.

    python tools/stubs.py

A layer takes the arguments of its Keras parent and the feedback arguments. Its signature is built
when the layer is imported, so that static tools, which do not import it, need this file.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

__all__ = ["TARGET", "stub"]

TARGET = Path(__file__).parents[1] / "tf_alignment" / "layers" / "__init__.pyi"

# Keyword arguments of Keras' base class, which the signatures of layers replace by `**kwargs`.
_BASE = {
    "name": "str | None",
    "dtype": "Any",
    "trainable": "bool",
    "autocast": "bool",
    "activity_regularizer": "Any",
}
_SIZES = "int | tuple[int, ...] | list[int]"
_TYPES = {
    "units": "int",
    "filters": "int",
    "kernel_size": _SIZES,
    "strides": _SIZES,
    "dilation_rate": _SIZES,
    "padding": "str",
    "groups": "int",
    "depth_multiplier": "int",
    "equation": "str",
    "num_heads": "int",
    "key_dim": "int",
    "head_dim": "int",
    "num_query_heads": "int",
    "num_key_value_heads": "int",
}

_HEAD = '''"""Signatures of the layers, for editors and type checkers. Written by tools/stubs.py."""

from typing import Any

import keras

'''


def stub() -> str:
    """Return the text of the stub file."""
    from tf_alignment import layers

    classes, others = [], []
    for name in layers.__all__:
        value = getattr(layers, name)
        parent = getattr(keras_layers(), name, None) if isinstance(value, type) else None
        if parent is None:
            others.append(f"from {value.__module__} import {name} as {name}")
        else:
            classes.append(_class(name, value))
    names = "\n".join(f'    "{name}",' for name in layers.__all__)
    imports = "\n".join(sorted(others))
    return f"{_HEAD}{imports}\n\n__all__ = [\n{names}\n]\n\n" + "\n".join(classes)


def keras_layers() -> Any:
    """Return `keras.layers`, imported only when needed, since importing Keras takes seconds."""
    import keras

    return keras.layers


def _class(name: str, cls: type) -> str:
    from tf_alignment.layers import FeedbackLayer

    bases = [f"keras.layers.{name}"]
    if issubclass(cls, FeedbackLayer):
        bases.insert(0, "FeedbackLayer")
    parameters = list(inspect.signature(cls).parameters.values())
    names = {p.name for p in parameters}
    lines = ["        self,"]
    keyword_only = False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = [f"{n}: {t} = ..." for n, t in _BASE.items() if n not in names]
            if rest and not keyword_only:
                lines.append("        *,")
            lines += [f"        {entry}," for entry in rest]
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("        *,")
        lines.append(f"        {_declared(parameter)},")
    signature = "\n".join(lines)
    return (
        f"class {name}({', '.join(bases)}):\n{_documentation(cls)}\n"
        f"    def __init__(\n{signature}\n    ) -> None: ...\n"
        "    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...\n"
    )


def _documentation(cls: type) -> str:
    """Return the docstring of a layer, indented, for editors and the site.

    Some layers make their docstring when they are imported.
    """
    doc = f"{inspect.getdoc(cls)}"
    text = f'{"r" if chr(92) in doc else ""}"""{doc}\n"""'
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def _declared(parameter: inspect.Parameter) -> str:
    kind = _TYPES.get(parameter.name)
    if kind is None:
        kind = type(parameter.default).__name__
        kind = kind if kind in ("bool", "float") else "Any"
    if parameter.default is parameter.empty:
        return f"{parameter.name}: {kind}"
    default = parameter.default
    shown = json.dumps(default) if isinstance(default, str) else repr(default)
    return f"{parameter.name}: {kind} = {shown}"


def main() -> None:
    """Write the stub file."""
    TARGET.write_text(stub(), encoding="utf-8")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()

"""Griffe extension: what docstrings here call by other names than Griffe does, and links."""

import inspect
import re
from typing import Any

import griffe

# `Example:` with its lines below, indented or not, is what Griffe knows as `Examples:`.
_EXAMPLE = re.compile(r"^Examples?:\n\n?((?:.+\n?)+)", re.MULTILINE)
# Keras' sections, a line each.
_SHAPE = re.compile(r"^(Input shape|Output shape|Input shape, output shape):\n +", re.MULTILINE)
# Names of this library in the text lead to where they are described, if they are.
_NAME = re.compile(r"(?<!`)`(?:ta|tf_alignment)((?:\.\w+)+)((?:\([^`]*\))?)`(?!`)")


def _link(line: str) -> str:
    if line.lstrip().startswith((">>>", "...", "|")):
        return line
    return _NAME.sub(
        r'<autoref optional identifier="tf_alignment\1"><code>ta\1\2</code></autoref>', line
    )


def _section(match: re.Match[str]) -> str:
    lines = inspect.cleandoc(match[1]).splitlines()
    return "Examples:\n" + "".join(f"    {line}\n" for line in lines)


class Sections(griffe.Extension):
    """Rewrites examples and shapes."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            text = "".join(map(_link, obj.docstring.value.splitlines(keepends=True)))
            text = _EXAMPLE.sub(_section, text)
            obj.docstring.value = _SHAPE.sub(r"**\1:** ", text)

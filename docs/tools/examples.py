"""Griffe extension: examples that stand at the margin of a docstring become sections."""

import inspect
import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Examples?:\n\n?((?:.+\n?)+)", re.MULTILINE)


def _section(match: re.Match[str]) -> str:
    lines = inspect.cleandoc(match[1]).splitlines()
    return "Examples:\n" + "".join(f"    {line}\n" for line in lines)


class Examples(griffe.Extension):
    """`Example:` with its lines below, indented or not, is what Griffe knows as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the example of one object's docstring."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_section, obj.docstring.value)

"""Write a page of the documentation as a notebook: `make notebook`.

    python tools/notebook.py

Python blocks become cells; blocks that show output are left out, since running makes it anew. Links
to other pages lose their target, which a notebook opened elsewhere cannot reach.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["NOTEBOOK", "PAGE", "SETUP", "notebook", "render"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorials" / "quickstart.md"
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
SETUP = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("tf_alignment") is None:
    packages = ["tf_alignment[tensorflow,examples]"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)
importlib.import_module("matplotlib.pyplot")  # has figures shown below their cells"""


def notebook(page: str) -> dict[str, Any]:
    """A page as a notebook of format 4, which begins by installing the library where it is missing.

    Args:
        page: Markdown with fenced blocks.
    """
    title, rest = page.split("\n", 1)
    cells = [("markdown", title), ("code", SETUP)]
    for part in re.split(r"^(```.*?^```)\n", rest, flags=re.DOTALL | re.MULTILINE):
        if part.startswith("```python\n"):
            cells.append(("code", part.removeprefix("```python\n").removesuffix("\n```")))
        elif not part.startswith("```") and part.strip():
            cells.append(
                ("markdown", re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", part.strip()))
            )
    return {
        "cells": [_cell(f"cell-{i}", kind, text) for i, (kind, text) in enumerate(cells)],
        "metadata": {
            "colab": {"name": NOTEBOOK.name, "provenance": []},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(name: str, kind: str, text: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def render() -> str:
    """The file, as it has to be."""
    cells = notebook(PAGE.read_text("utf-8"))
    return json.dumps(cells, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(render(), "utf-8")
    print(f"Written: {NOTEBOOK.relative_to(ROOT)}")

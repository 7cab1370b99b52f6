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
# tf_alignment is not on PyPI. Where it is missing, this cell installs it from the checkout in which
# the notebook is, or from a wheel beside the notebook: `make dist` in a checkout builds one into
# dist; in Colab, upload it to the folder on the left.
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("tf_alignment") is None:
    here = Path.cwd()
    sources = sorted(here.glob("tf_alignment-*.whl"))
    sources += [folder for folder in (here, here.parent) if (folder / "setup.py").exists()]
    if not sources:
        raise FileNotFoundError("Put a wheel of tf_alignment beside this notebook: see above.")
    package = f"{sources[0]}[tensorflow,examples]"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
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

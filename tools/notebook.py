"""Write the tutorials as notebooks: `make notebook`.

    python tools/notebook.py

Python blocks become cells. Output and figures are left out, since running the notebook makes them.
Links to other pages lose their target, which a notebook that is opened elsewhere cannot reach. If
the repository has an address (`tf_alignment/_version.py`), each notebook begins with a link that
opens the notebook in Colab.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

__all__ = ["NOTEBOOKS", "SETUP", "notebook", "render"]

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = {
    FOLDER / f"{page.stem}.ipynb": page for page in sorted((ROOT / "docs/tutorials").glob("*.md"))
}
"""Files of the notebooks and of their pages, `{notebook: page}`."""
_URL = runpy.run_path(str(ROOT / "tf_alignment" / "_version.py"))["URL"]
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
    sources += [folder for folder in (here, *here.parents) if (folder / "setup.py").exists()]
    if not sources:
        raise FileNotFoundError("Put a wheel of tf_alignment beside this notebook: see above.")
    package = f"{sources[0]}[tensorflow]"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
if "ipykernel" in sys.modules:  # figures are shown below their cells
    from IPython import get_ipython

    get_ipython().run_line_magic("matplotlib", "inline")"""


def notebook(page: str, name: str = "", url: str = "") -> dict[str, Any]:
    """Convert a page to a notebook of format 4.

    The first code cell of the notebook installs the library where it is missing.

    Args:
        page: Text of the page, Markdown with fenced blocks.
        name: Name of the notebook's file.
        url: Address of the repository on GitHub, or an empty string.
    """
    title, rest = page.split("\n", 1)
    if url:
        place = url.removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{place}/blob/main/examples/notebooks"
        title += f"\n\n[Open in Colab]({colab}/{name})"
    rest = re.sub(r"^!\[.*\n(\n.*\n\{: \.caption \}\n)?", "", rest, flags=re.MULTILINE)
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
            "colab": {"name": name, "provenance": []},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(name: str, kind: str, text: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def render(file: Path) -> str:
    """Return the text of a notebook's file, made from its page.

    Args:
        file: File of the notebook, a key of `NOTEBOOKS`.
    """
    cells = notebook(NOTEBOOKS[file].read_text("utf-8"), file.name, _URL)
    return json.dumps(cells, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file in NOTEBOOKS:
        file.write_text(render(file), "utf-8")
        print(f"Written: {file.relative_to(ROOT)}")

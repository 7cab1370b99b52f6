"""Run pages of the documentation as scripts: print their output, keep their figures.

    python tools/pages.py docs/tutorials/*.md

A page that shows figures (`![...](figures/name.png)`) has code that writes a file of that name; the
file is copied to where the page looks for it. The output is printed, to be held against the page.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

__all__ = ["figures", "run"]


def figures(page: Path) -> list[str]:
    """Names of the files in `figures` that a page shows."""
    return re.findall(r"\]\(figures/([^)]+)\)", page.read_text("utf-8"))


def run(page: Path) -> None:
    """Run a page's blocks of Python in a directory of their own, and keep its figures.

    Args:
        page: A Markdown file.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    target = page.resolve().parent / "figures"
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            script = Path("page.py")  # for AutoGraph, which reads the source
            script.write_text("\n".join(blocks), "utf-8")
            exec(compile(script.read_text("utf-8"), str(script.resolve()), "exec"), {})
            for name in figures(back / page):
                target.mkdir(exist_ok=True)
                shutil.copy(name, target / name)
        finally:
            os.chdir(back)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"== {argument}", flush=True)
        run(Path(argument))

"""Run pages of the documentation as scripts: print their output, and store their figures.

    python tools/pages.py docs/tutorials/*.md

A page that shows figures (`![...](figures/name.png)`) has code that writes a file of that name. The
file is copied to the folder `figures` beside the page. The output is printed, so that it can be
compared with the page.
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
    """Return the names of the files in the folder `figures` that a page shows."""
    return re.findall(r"\]\(figures/([^)]+)\)", page.read_text("utf-8"))


def run(page: Path) -> None:
    """Run the Python blocks of a page in a temporary directory, and store the figures.

    Args:
        page: Markdown file of the page.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    target = page.resolve().parent / "figures"
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            script = Path("page.py")  # a file, since AutoGraph reads the source
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

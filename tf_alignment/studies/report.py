"""A study on one page: HTML that loads nothing, or Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["write_report"]


def write_report(results: Any, file: Path, spread: str = "deviation") -> Path:
    """Write the report of a study.

    Args:
        results: `Results`.
        file: Where; Markdown.
        spread: See `Results.table`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    text = [f"# {results.description['title']}", results.table(spread), results.notes(spread)]
    file.write_text("\n\n".join(text) + "\n")
    return file

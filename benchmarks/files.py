"""What the benchmarks write: numbers with where they come from, and tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["circumstances", "markdown", "write"]


def circumstances() -> dict[str, Any]:
    """Versions and machine that numbers were made with."""
    import keras  # the tables need neither
    import tensorflow as tf

    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
    }


def write(file: Path, content: Any) -> None:
    """Write a JSON file, and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written: {file}")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under its head."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))

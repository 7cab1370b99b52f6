"""What the benchmarks write: numbers with where they come from, and tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["circumstances", "markdown", "processor", "write"]


def circumstances() -> dict[str, Any]:
    """Versions and machine that numbers were made with."""
    import keras  # the tables need neither
    import tensorflow as tf

    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "processors": os.cpu_count(),
        "processor": processor(),
        "machine": platform.machine(),
    }


def processor() -> str:
    """The processor's own name for itself, with what tells models of one name apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    known = {key.strip(): value.strip() for key, value in found.items()}
    name = known.get("model name", platform.machine())
    numbers = [f"{key} {known[key]}" for key in ("cpu family", "model") if key in known]
    flags = known.get("flags", "").split()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join([*numbers, *fast])})"


def write(file: Path, content: Any) -> None:
    """Write a JSON file, and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written: {file}")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under its head."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))

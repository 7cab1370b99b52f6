"""Output of the benchmarks: JSON files with versions and machine, and Markdown tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["circumstances", "markdown", "processor", "write"]


def circumstances() -> dict[str, Any]:
    """Return the versions and the machine with which numbers are made."""
    import keras  # imported here, since scripts that only print tables need no TensorFlow
    import tensorflow as tf

    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "processors": os.cpu_count(),
        "processor": processor(),
        "machine": platform.machine(),
    }


def processor() -> str:
    """Return the name of the processor, with family, model and vector instructions.

    Different models of processors can have the same name.
    """
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
    """Write a JSON file, and print its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written: {file}")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with a head and rows of cells."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))

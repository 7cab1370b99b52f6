"""Measure the time of `import tf_alignment` after TensorFlow and Keras have been imported.

Each run is a new interpreter, and the result is the median over the runs. The exit status is 1 if
the median of processor time, on which other processes have little influence, is above the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import files

CODE = """
import time
import tensorflow, keras
# The names that most programs touch first, which TensorFlow loads when they are touched.
tensorflow.data.Dataset, keras.layers.Dense
start = time.perf_counter(), time.process_time()
import tf_alignment
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""


def measure() -> list[float]:
    """Import the package in a new interpreter.

    Returns:
        Elapsed time and processor time of the import, in seconds.
    """
    # Bytecode is used as in an installed package; otherwise every import would compile the sources.
    with_bytecode = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=with_bytecode)
    return [float(seconds) for seconds in run.stdout.split()]


def main() -> None:
    """Measure and print the times, write a file, and exit with 1 if the limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="fresh interpreters (default: 5)")
    parser.add_argument(
        "--limit", type=float, default=0.15, help="processor seconds (default: 0.15)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results/import_time.json"), help="JSON file to write"
    )
    arguments = parser.parse_args()
    measure()  # not counted: the first import may compile bytecode
    times = [measure() for _ in range(arguments.runs)]
    clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
    print("import tf_alignment:", " ".join(f"{time:.3f} ({used:.3f})" for time, used in times), "s")
    print(f"median {clock:.3f} s; of processor time {processor:.3f} s, limit {arguments.limit} s")
    row = {
        "what": "import tf_alignment",
        "seconds": clock,
        "processor_seconds": processor,
        "limit": arguments.limit,
    }
    files.write(arguments.output, {**files.circumstances(), "rows": [row]})
    sys.exit(processor > arguments.limit)


if __name__ == "__main__":
    main()

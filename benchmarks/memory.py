"""Measure peak memory of training with each method, relative to stock Keras backpropagation.

Each run is a new interpreter that makes a few training steps through the function that `fit`
compiles, on one batch in memory. The operating system (Linux) gives two numbers: the resident
memory before the network is built, and the largest resident memory of the process. The benchmark
reports medians over the runs: of the peak, and of its increase by building and training, which
includes weights, activations and the temporary arrays of a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import files
import models
import step_time

import tf_alignment as ta

ONE_KERNEL = ["backprop", "fa", "usf", "brsf", "frsf", "kp", "wm", "ia", "sa", "aa"]
"""Ids of methods with at most one feedback kernel per layer."""


def train(name: str, method: str, steps: int) -> None:
    """Train for some steps, and print the memory as JSON: `start` and `peak`, in megabytes.

    Args:
        name: Name in `models.MODELS`.
        method: Method id, or `"stock"`.
        steps: Number of training steps.
    """
    start = _status("VmRSS")
    model = step_time.build(name, method, jit_compile=False)
    step_time.stepper(model, *step_time.batch_for(name))(steps)
    print(json.dumps({"start": start, "peak": _status("VmHWM")}))


def _status(what: str) -> float:
    """Return an entry of the process's status in /proc, such as `VmRSS`, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{what}:")]
    return int(value) / 1024


def measure(name: str, method: str, steps: int, runs: int) -> tuple[float, float]:
    """Train in new interpreters, and measure memory.

    Args:
        name: Name in `models.MODELS`.
        method: Method id, or `"stock"`.
        steps: Number of training steps per run.
        runs: Number of runs, each in an interpreter of its own.

    Returns:
        Peak memory and its increase by training, in megabytes, as medians over the runs.
    """
    peaks, added = [], []
    command = [sys.executable, __file__, "--child", name, method, "--steps", str(steps)]
    for _ in range(runs):
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(run.stdout.splitlines()[-1])
        peaks.append(found["peak"])
        added.append(found["peak"] - found["start"])
    return statistics.median(peaks), statistics.median(added)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", choices=list(models.MODELS), default=list(models.MODELS)
    )
    parser.add_argument("--methods", nargs="+", choices=ta.feedback.METHODS, default=ONE_KERNEL)
    parser.add_argument("--runs", type=int, default=3, help="interpreters per method (default: 3)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a run (default: 5)")
    parser.add_argument(
        "--output", type=Path, default=Path("results/memory.json"), help="JSON file to write"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure all networks and methods, print the rows, and write them to a file."""
    arguments = parse()
    if arguments.child:
        name, method = arguments.child
        train(name, method, arguments.steps)
        return
    rows: list[dict[str, object]] = []
    for name in arguments.models:
        print(f"{name}\n  {'method':<10}{'peak MB':>10}{'over stock':>12}{'added MB':>10}{'':>12}")
        stock = (0.0, 0.0)
        for method in (step_time.STOCK, *arguments.methods):
            step_time.progress(f"{name}: {method}")
            peak, added = measure(name, method, arguments.steps, arguments.runs)
            if method == step_time.STOCK:
                stock = (peak, added)
            row = {
                "model": name,
                "method": method,
                "peak_megabytes": peak,
                "peak_ratio": peak / stock[0],
                "training_megabytes": added,
                "training_ratio": added / stock[1],
            }
            rows.append(row)
            step_time.progress("")
            print(
                f"  {method:<10}{peak:>10.0f}{row['peak_ratio']:>12.2f}"
                f"{added:>10.0f}{row['training_ratio']:>12.2f}",
                flush=True,
            )
        print()
    report = {**files.circumstances(), "runs": arguments.runs, "rows": rows}
    files.write(arguments.output, report)


if __name__ == "__main__":
    main()

"""Measure the speed of the spiking simulations of `phases.RDD` and `phases.SAL`.

RDD aligns the layers of the network in its paper, 1600-384-192-10 units with Gaussian weights, for
30 simulated seconds per layer, and for ten times as long. SAL aligns the layers of a perceptron of
784-256-128-64-10 units in 4000 steps of 64 chains. "Simulated a second" is in seconds for RDD, and
in steps of a chain for SAL. Each phase runs once to compile and then several times, with and
without XLA in turns, so that slow drifts of the machine affect both equally. A run is timed as in
training, with the estimates, the assignment of the feedback kernels and the reported measures. The
time of compiling, which training needs once, is the time of the first run minus that of a later
run.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import files
import keras

import tf_alignment as ta

SIZES = {"rdd": (1600, 384, 192, 10), "sal": (784, 256, 128, 64, 10)}
CHAINS = 64


def network(phase: str) -> keras.Model:
    """Return a network of dense layers with Gaussian weights and with feedback weights.

    The first layer of the perceptron for SAL sends no error down and has no feedback weights. The
    first dense layer of the network for RDD would be above convolutions and has feedback weights.

    Args:
        phase: `"rdd"` or `"sal"`.
    """
    inputs, *sizes = SIZES[phase]
    model = keras.Sequential([keras.Input((inputs,))])
    for i, units in enumerate(sizes):
        kernel = keras.initializers.RandomNormal(stddev=0.05, seed=i)
        if phase == "sal" and i == 0:
            model.add(keras.layers.Dense(units, kernel_initializer=kernel))
        else:
            model.add(ta.layers.Dense(units, feedback="fa", kernel_initializer=kernel))
    return model


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Call a function, and return elapsed seconds, seconds of processor time, and its result."""
    start, processor = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - start, time.process_time() - processor, result


def measure(
    name: str, simulated: float, make: Callable[[bool], ta.phases.Phase], runs: int
) -> list[dict[str, Any]]:
    """Time a phase with and without XLA.

    Args:
        name: Name of the row, whose first word is that of the phase, `rdd` or `sal`.
        simulated: Simulated seconds, or steps, per run.
        make: Function that returns the phase; its argument says whether XLA compiles.
        runs: Number of timed runs after the first run.

    Returns:
        Two rows, with XLA and without.
    """
    phases: dict[bool, Callable[[], Any]] = {}
    first: dict[bool, tuple[float, Any]] = {}
    times: dict[bool, list[tuple[float, float]]] = {}
    for xla in (True, False):
        phases[xla] = functools.partial(make(xla).run, network(name.split()[0]))
        seconds, _, results = timed(phases[xla])
        first[xla], times[xla] = (seconds, results), []
    for _ in range(runs):
        for xla, run in phases.items():
            times[xla].append(timed(run)[:2])
    rows = []
    for xla, (seconds, results) in first.items():
        wall, processor = zip(*times[xla], strict=True)
        rows.append(
            {
                "phase": name,
                "xla": xla,
                "seconds": statistics.median(wall),
                "simulated_a_second": simulated / statistics.median(wall),
                "fastest_seconds": min(wall),
                "processor_seconds": statistics.median(processor),
                "compile_seconds": seconds - statistics.median(wall),
                "weight_angle": {path: r["weight_angle"] for path, r in results.items()},
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows of all simulations."""
    columns = ("median s", "fastest s", "processor s", "compile s", "simulated / s")
    print(f"{'':<22}" + "".join(f"{name:>15}" for name in columns))
    for row in rows:
        values = (
            row["seconds"],
            row["fastest_seconds"],
            row["processor_seconds"],
            row["compile_seconds"],
        )
        name = f"{row['phase']} {'XLA' if row['xla'] else 'without XLA'}"
        rate = f"{row['simulated_a_second']:>15,.0f}"
        print(f"{name:<22}" + "".join(f"{value:>15.2f}" for value in values) + rate)


def main() -> None:
    """Time all simulations, print the rows, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--duration", type=float, default=30.0, help="of RDD, simulated seconds per layer (30)"
    )
    parser.add_argument("--steps", type=int, default=4000, help="of SAL (4000)")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each (default: 9)")
    parser.add_argument(
        "--estimator", choices=list(ta.spiking.lif.estimators.ESTIMATORS), default="pooled"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results/spiking.json"), help="JSON file to write"
    )
    arguments = parser.parse_args()

    def rdd(times: int, runs: int) -> list[dict[str, Any]]:
        duration = times * arguments.duration

        def make(xla: bool) -> ta.phases.Phase:
            return ta.phases.RDD(
                duration=duration, estimator=arguments.estimator, seed=1, jit_compile=xla
            )

        return measure(f"rdd {duration:g} s", 3 * duration, make, runs)

    def sal(xla: bool) -> ta.phases.Phase:
        return ta.phases.SAL(steps=arguments.steps, chains=CHAINS, seed=1, jit_compile=xla)

    runs = arguments.runs
    rows = rdd(1, runs) + rdd(10, max(1, runs // 3))
    rows += measure("sal", arguments.steps * CHAINS, sal, runs)
    show(rows)
    report = {
        **files.circumstances(),
        "sizes": SIZES,
        "duration": arguments.duration,
        "estimator": arguments.estimator,
        "steps": arguments.steps,
        "runs": arguments.runs,
        "rows": rows,
    }
    files.write(arguments.output, report)


if __name__ == "__main__":
    main()

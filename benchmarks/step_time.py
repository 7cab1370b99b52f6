"""Measure the time of a training step with each method, relative to stock Keras backpropagation.

Every method trains the same network on the same batch, in two modes: `fit`, through the function
that `fit` compiles, and `function`, in a `tf.function` that contains only the step. The methods
take turns of a few steps, in an order that changes from round to round, so that slow drifts of the
machine affect all methods equally. The benchmark reports medians over the rounds of the time, and
of its ratio to stock Keras in the same round. It also reports the ratio of processor time with its
range, on which other processes have less influence, and the ratio of floating-point operations (see
`tf_alignment.studies.operations`), with which the time can be compared.

The input is one batch in memory. The autotuner of the input pipeline is off, since it can double
the measured time of a step.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import files
import keras
import models
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.studies import operations as flops

STOCK = "stock"
MODES = ("fit", "function")
Row = dict[str, Any]


def build(name: str, method: str, jit_compile: bool, fused: bool = False) -> keras.Model:
    """Build and compile one of the networks.

    Args:
        name: Name in `models.MODELS`.
        method: Method id, or `"stock"` for the unconverted network.
        jit_compile: Whether XLA compiles the step.
        fused: Whether the optimizer is `ta.optimizers.SGD` instead of Keras' SGD.

    Returns:
        Compiled model.
    """
    # The learning rates are so small that the weights stay near their start with every method.
    sgd = ta.optimizers.SGD if fused else keras.optimizers.SGD
    forward, feedback = sgd(1e-6, momentum=0.9), sgd(1e-6, name="feedback")
    model = models.MODELS[name][0]()
    if method != STOCK:
        model = ta.convert(model, method)
    model.compile(
        forward if method == STOCK else ta.optimizers.split(forward, feedback),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    return model


def batch_for(name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return random inputs and labels with the shape and batch size of a network."""
    function, size = models.MODELS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((size, *function().input_shape[1:]), dtype=np.float32)
    return tf.constant(x), tf.constant(rng.integers(0, 10, size, dtype=np.int32))


def endless(x: tf.Tensor, y: tf.Tensor) -> Iterator[Any]:
    """Return an endless iterator over the same batch, in the form that `fit` takes."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return iter(tf.data.Dataset.from_tensors((x, y)).cache().repeat().with_options(options))


def stepper(
    model: keras.Model, x: tf.Tensor, y: tf.Tensor, mode: str = "fit"
) -> Callable[[int], tuple[float, float]]:
    """Return a function that runs and times training steps.

    Args:
        model: Compiled model.
        x: Batch of inputs, `(batch, ...)`.
        y: Targets of the batch.
        mode: `"fit"` for the function that `fit` compiles, `"function"` for a `tf.function` that
            contains only the step.

    Returns:
        `f(steps)`, which returns elapsed seconds and seconds of processor time per step.
    """
    if mode == "fit":
        model.make_train_function()
        train, batches = model.train_function, endless(x, y)
        step = lambda: train(batches)  # noqa: E731
    else:
        compiled = bool(model.jit_compile)
        step = tf.function(lambda: model.train_step((x, y)), autograph=False, jit_compile=compiled)

    return timed(step, model.name)


def timed(step: Callable[[], Any], name: str) -> Callable[[int], tuple[float, float]]:
    """Return a function that runs and times calls of a step, see `stepper`.

    Args:
        step: Function of one step, which returns `{"loss": value}`.
        name: Name of the step in the error message for a loss that is not finite.
    """

    def run(steps: int) -> tuple[float, float]:
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            logs = step()
        # Reading the loss waits for the end of the last step.
        if not np.isfinite(float(logs["loss"])):
            raise RuntimeError(f"The loss of '{name}' is not finite: not a normal step.")
        seconds = time.perf_counter() - start, time.process_time() - processor
        return seconds[0] / steps, seconds[1] / steps

    return run


def measure(
    name: str,
    methods: list[str],
    modes: list[str],
    rounds: int,
    seconds: float,
    jit: bool,
    fused: bool = False,
) -> list[Row]:
    """Time one network with every method.

    Args:
        name: Name in `models.MODELS`.
        methods: Method ids.
        modes: Modes of `stepper`.
        rounds: Number of turns per method.
        seconds: Approximate duration of a turn, in seconds.
        jit: Whether XLA compiles the step.
        fused: Whether the methods, but not stock Keras, train with `ta.optimizers.SGD`.

    Returns:
        One row per mode and method, stock Keras first: time per step in milliseconds, the ratios,
        and the time of tracing and compiling in seconds, by which the first step is longer than the
        second.
    """
    x, y = batch_for(name)
    steppers: dict[tuple[str, str], Callable[[int], tuple[float, float]]] = {}
    operations: dict[str, int] = {}
    compiling: dict[tuple[str, str], float] = {}
    for method in (STOCK, *methods):
        progress(f"{name}: compiling {method}")
        model = build(name, method, jit, fused and method != STOCK)
        operations[method] = flops.step_flops(model, x, y)
        for mode in modes:
            step = steppers[mode, method] = stepper(model, x, y, mode)
            compiling[mode, method] = step(1)[0] - step(1)[0]
    times: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in steppers}
    steps = max(1, round(seconds / steppers[modes[0], STOCK](2)[0]))
    order = list(steppers)
    for turn in range(rounds):
        progress(f"{name}: round {turn + 1} of {rounds}")
        order = order[1:] + order[:1]
        for key in order if turn % 2 else order[::-1]:
            times[key].append(steppers[key](steps))
    progress("")
    return [
        _row(name, mode, method, times[mode, method], times[mode, STOCK])
        | {
            "batch_size": int(x.shape[0]),
            "compile_seconds": compiling[mode, method],
            "flops": operations[method],
            "flops_ratio": operations[method] / operations[STOCK],
        }
        for mode in modes
        for method in (STOCK, *methods)
    ]


def _row(
    name: str,
    mode: str,
    method: str,
    times: list[tuple[float, float]],
    stock: list[tuple[float, float]],
) -> Row:
    wall, processor = (
        [ours[i] / theirs[i] for ours, theirs in zip(times, stock, strict=True)] for i in (0, 1)
    )
    return {
        "model": name,
        "mode": mode,
        "method": method,
        "milliseconds": 1000 * statistics.median(time for time, _ in times),
        "time_ratio": statistics.median(wall),
        "time_ratio_range": [min(wall), max(wall)],
        "processor_milliseconds": 1000 * statistics.median(time for _, time in times),
        "processor_ratio": statistics.median(processor),
        "processor_ratio_range": [min(processor), max(processor)],
    }


def progress(text: str) -> None:
    """Show the progress in a line that the next call overwrites, if the output is a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<40}\r", end="", file=sys.stderr, flush=True)


def show(rows: list[Row]) -> None:
    """Print the rows of one network and mode."""
    first = rows[0]
    print(f"{first['model']}, batch size {first['batch_size']}, {first['mode']}")
    print(
        f"  {'method':<10}{'ms per step':>12}{'time':>8}{'processor':>11}{'(range)':>15}"
        f"{'operations':>12}{'compile s':>11}"
    )
    for row in rows:
        low, high = row["processor_ratio_range"]
        print(
            f"  {row['method']:<10}{row['milliseconds']:>12.2f}{row['time_ratio']:>8.2f}"
            f"{row['processor_ratio']:>11.2f}{f'({low:.2f}-{high:.2f})':>15}"
            f"{row['flops_ratio']:>12.2f}{row['compile_seconds']:>11.1f}"
        )
    print()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", choices=list(models.MODELS), default=list(models.MODELS)
    )
    parser.add_argument(
        "--methods", nargs="+", choices=ta.feedback.METHODS, default=list(ta.feedback.METHODS)
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--rounds", type=int, default=7, help="turns of every method (default: 7)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="about the length of a turn (default: 0.5)"
    )
    parser.add_argument("--jit", action="store_true", help="compile the step with XLA")
    parser.add_argument("--policy", default="float32", help="dtype policy (default: float32)")
    parser.add_argument(
        "--fused-sgd", action="store_true", help="ta.optimizers.SGD for the methods, not for stock"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results/step_time.json"), help="JSON file to write"
    )
    return parser.parse_args()


def main() -> None:
    """Time all networks and methods, print the rows, and write them to a file."""
    arguments = parse()
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces: there is one per model
    keras.config.set_dtype_policy(arguments.policy)
    print(f"time and operations over stock Keras {'with' if arguments.jit else 'without'} XLA\n")
    rows: list[Row] = []
    for name in arguments.models:
        found = measure(
            name,
            arguments.methods,
            arguments.modes,
            arguments.rounds,
            arguments.seconds,
            arguments.jit,
            arguments.fused_sgd,
        )
        for mode in arguments.modes:
            show([row for row in found if row["mode"] == mode])
        rows += found
    report = {
        **files.circumstances(),
        "xla": arguments.jit,
        "policy": arguments.policy,
        "fused_sgd": arguments.fused_sgd,
        "rounds": arguments.rounds,
        "rows": rows,
    }
    files.write(arguments.output, report)


if __name__ == "__main__":
    main()

"""Compare the time of a step of node perturbation with two forward passes and one backward pass.

The phases and the reference run many steps in one graph call, on batches drawn from arrays in the
same way. A step of the reference has a forward pass of the stock model on a batch, a forward pass
on a slightly changed batch, and the gradient of all weights for the first pass. Phases and
reference take turns. The benchmark reports medians over the rounds of the time and of the ratio in
the same round, and the ratio of floating-point operations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import files
import keras
import models
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.studies import operations as flops

NETWORKS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "perceptron": (models.perceptron, 32),
    "mlp": models.MODELS["mlp"],
    "lenet_cifar": models.MODELS["lenet_cifar"],
}
PHASES: dict[str, tuple[type, dict[str, Any]]] = {
    "np": (ta.phases.NodePerturbation, {}),
    "np, sgd": (ta.phases.NodePerturbation, {"solver": "sgd"}),
    "np, sgd, no control variate": (
        ta.phases.NodePerturbation,
        {"solver": "sgd", "control_variate": False},
    ),
    "np, ridge": (ta.phases.NodePerturbation, {"solver": "ridge"}),
    "np, direct": (ta.phases.NodePerturbation, {"form": "dfa"}),
}
Loop = Callable[[tf.Tensor], None]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


def reference(model: keras.Model, data: Any, size: int) -> tuple[Loop, Callable[[Any, Any], None]]:
    """Return the reference: two forward passes and a backward pass of a stock model.

    Args:
        model: Stock model.
        data: Inputs and labels from which batches are drawn.
        size: Number of examples per batch.

    Returns:
        Function that runs a number of steps, and the function of a single step.
    """
    count = tf.Variable(0)

    def step(batch: Any, other: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(LOSS(batch[1], model(batch[0], training=True)))
        gradients = tape.gradient(loss, model.trainable_variables)
        perturbed = LOSS(other[1], model(other[0], training=True))
        with tf.control_dependencies([*map(tf.convert_to_tensor, gradients), perturbed]):
            count.assign_add(1)

    def draw() -> Any:
        seed = tf.stack([0, count])
        rows = tf.random.stateless_uniform((size,), seed, 0, len(data[0]), tf.int32)
        return tuple(tf.gather(a, rows) for a in data)

    @tf.function
    def loop(steps: tf.Tensor) -> None:
        for _ in tf.range(steps):
            batch = draw()
            step(batch, (batch[0] + 1e-3, batch[1]))

    return loop, step


def measure(name: str, rounds: int, seconds: float, chosen: list[str]) -> list[dict[str, Any]]:
    """Time one network with the reference and the phases.

    Args:
        name: Name in `NETWORKS`.
        rounds: Number of turns per phase.
        seconds: Approximate duration of a turn, in seconds.
        chosen: Names of the phases in `PHASES`.

    Returns:
        One row per phase, the reference first: time per step in milliseconds, and ratios to the
        reference.
    """
    build, size = NETWORKS[name]
    rng = np.random.default_rng(0)
    shape = build().input_shape[1:]
    x = tf.constant(rng.standard_normal((8 * size, *shape), dtype=np.float32))
    y = tf.constant(rng.integers(0, 10, len(x), dtype=np.int32))
    batch = x[:size], y[:size]
    loop, step = reference(build(), (x, y), size)
    loops, operations = {"reference": loop}, {}
    operations["reference"] = flops.graph_flops(lambda a, b: step((a, b), (a + 1.0, b)), *batch)
    for phase_name in chosen:
        kind, options = PHASES[phase_name]
        model = ta.convert(build(), "dfa" if options.get("form") == "dfa" else "fa")
        phase = kind(LOSS, dataset=(x, y), batch_size=size, seed=1, **options)
        try:
            phase.build(model)
        except ValueError as error:
            print(f"{name}: left out {phase_name}: {error}")
            continue
        operations[phase_name] = flops.graph_flops(
            lambda a, b, p=phase, m=model: p.step(m, p.connections(m), (a, b)), *batch
        )
        loops[phase_name] = _steps_of(phase, model)
    for one in loops.values():
        one(tf.constant(3))
    start = time.perf_counter()
    loops["reference"](tf.constant(10))
    steps = tf.constant(max(3, round(10 * seconds / (time.perf_counter() - start))))
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in loops}
    for turn in range(rounds):
        for key in list(loops)[:: 1 if turn % 2 else -1]:
            start, processor = time.perf_counter(), time.process_time()
            loops[key](steps)
            wall = time.perf_counter() - start
            times[key].append((wall / int(steps), (time.process_time() - processor) / int(steps)))
    base = times["reference"]
    return [
        {
            "model": name,
            "phase": key,
            "milliseconds": 1e3 * statistics.median(t for t, _ in found),
            "time_ratio": statistics.median(
                t / b for (t, _), (b, _) in zip(found, base, strict=True)
            ),
            "processor_ratio": statistics.median(
                t / b for (_, t), (_, b) in zip(found, base, strict=True)
            ),
            "flops_ratio": operations[key] / operations["reference"],
        }
        for key, found in times.items()
    ]


def _steps_of(phase: Any, model: keras.Model) -> Loop:
    def loop(steps: tf.Tensor) -> None:
        phase.steps = int(steps)
        phase.advance(model)

    return loop


def main() -> None:
    """Time all networks and phases, print the rows, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--phases", nargs="+", choices=list(PHASES), default=list(PHASES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="about the length of a turn")
    parser.add_argument("--output", type=Path, default=Path("results/phase_time.json"))
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces: there is one per model
    rows = []
    for name in arguments.models:
        found = measure(name, arguments.rounds, arguments.seconds, arguments.phases)
        print(
            f"{name}\n  {'':<28}{'ms per step':>12}{'time':>7}{'processor':>11}{'operations':>12}"
        )
        for row in found:
            print(
                f"  {row['phase']:<28}{row['milliseconds']:>12.3f}{row['time_ratio']:>7.2f}"
                f"{row['processor_ratio']:>11.2f}{row['flops_ratio']:>12.2f}"
            )
        rows += found
    files.write(arguments.output, {**files.circumstances(), "rows": rows})


if __name__ == "__main__":
    main()

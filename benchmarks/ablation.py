"""Where the time of a training step goes, by leaving parts of it out.

A profiler's times of single operations add up to more than a step takes: operations that run at the
same time are charged each other's waiting. Here whole steps are timed, each without one part, and
the part's share is the difference. The variants take turns, so that drifts fall on all alike.

    python benchmarks/ablation.py --models resnet20 mlp
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import files
import keras
import models
import step_time
import tensorflow as tf

import tf_alignment as ta

Turn = Callable[[int], tuple[float, float]]


class Nothing(keras.layers.Layer):
    """A layer that passes its input on, with the arguments of those whose place it takes."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The input."""
        return inputs


def without(model: keras.Model, kinds: type | tuple[type, ...]) -> keras.Model:
    """A copy of a model in which layers of these kinds pass their input on."""

    def clone(layer: Any) -> Any:
        name = layer.name
        if isinstance(layer, kinds):
            return Nothing(name=name)
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def compiled(model: keras.Model, optimizer: Any = None, **options: Any) -> keras.Model:
    """Compiled as `step_time.build` does."""
    model.compile(
        keras.optimizers.SGD(1e-6, momentum=0.9) if optimizer is None else optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=options.pop("jit_compile", False),
        **options,
    )
    return model


def partial_step(model: keras.Model, x: tf.Tensor, y: tf.Tensor, backward: bool) -> Turn:
    """Only the forward pass, or without the update of the weights."""

    def step() -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        if not backward:
            return {"loss": loss}
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return {"loss": loss, "gradients": gradients}  # what is not returned is optimised away

    return step_time.timed(tf.function(step, autograph=False), model.name)


def products(model: keras.Model, batch: int, dtype: str = "float32") -> Turn:
    """Only the products with kernels: of the forward pass, and of both gradients.

    They are independent of each other here, and between random numbers. The lowest layer's error
    is left out. No way of training with a whole error can take less than these.
    """

    def random(shape: tuple[int, ...]) -> tf.Variable:
        return tf.Variable(tf.cast(tf.random.normal(shape), dtype))

    operands = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
            shapes = (batch, *layer.input.shape[1:]), (batch, *layer.output.shape[1:])
            operands.append((layer, *map(random, (*shapes, layer.kernel.shape))))

    def forward(layer: keras.layers.Layer, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if isinstance(layer, keras.layers.Dense):
            return tf.matmul(x, kernel)
        return tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())

    def step() -> dict[str, Any]:
        found = []
        for index, (layer, x, error, kernel) in enumerate(operands):
            weights, below = kernel.value(), x.value()
            ends = [weights, below] if index else [weights]
            with tf.GradientTape() as tape:
                tape.watch(ends)
                y = forward(layer, below, weights)
            found += [y, *tape.gradient(y, ends, error.value())]
        return {"loss": tf.constant(0.0), "products": found}

    return step_time.timed(tf.function(step, autograph=False), model.name)


def variants(name: str, x: tf.Tensor, y: tf.Tensor) -> dict[str, tuple[Turn, int]]:
    """`{what is left: (stepper, steps that one of its steps is)}`, the whole step first.

    Args:
        name: Name in `models.MODELS`.
        x: A batch.
        y: Its labels.
    """
    build = models.MODELS[name][0]
    step = step_time.stepper
    many = 20
    found = {
        "the whole step": (step(compiled(build()), x, y), 1),
        "forward and backward pass": (partial_step(compiled(build()), x, y, True), 1),
        "forward pass": (partial_step(compiled(build()), x, y, False), 1),
        "products alone": (products(build(), x.shape[0]), 1),
        "products alone, in bfloat16": (products(build(), x.shape[0], "bfloat16"), 1),
        "no call from Python": (step(compiled(build()), x, y, "function"), 1),
        f"{many} steps a call": (step(compiled(build(), steps_per_execution=many), x, y), many),
        "update in one pass": (step(compiled(build(), ta.optimizers.SGD(1e-6, 0.9)), x, y), 1),
        "XLA": (step(compiled(build(), jit_compile=True), x, y), 1),
        f"XLA, {many} steps a call": (
            step(compiled(build(), jit_compile=True, steps_per_execution=many), x, y),
            many,
        ),
        "no activations": (
            step(compiled(without(build(), (keras.layers.ReLU, keras.layers.Activation))), x, y),
            1,
        ),
    }
    norms = keras.layers.BatchNormalization
    if any(isinstance(layer, norms) for layer in build().layers):
        found["no batch normalisation"] = step(compiled(without(build(), norms)), x, y), 1
        fused = ta.fuse_batch_normalization(build())
        found["fused batch normalisation"] = step(compiled(fused), x, y), 1
    return found


def measure(name: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Time the variants of one network.

    Args:
        name: Name in `models.MODELS`.
        rounds: How often each takes its turn.
        seconds: About how long a turn is.

    Returns:
        A row each, the whole step first: processor milliseconds a step, and their ratio to the
        whole step's in the same round, with its range.
    """
    x, y = step_time.batch_for(name)
    turns = variants(name, x, y)
    for turn, _ in turns.values():
        turn(2)
    whole, steps = next(iter(turns)), {}
    for key, (turn, many) in turns.items():
        steps[key] = max(1, round(seconds / turn(1)[0])), many
    times: dict[str, list[float]] = {key: [] for key in turns}
    for round_ in range(rounds):
        step_time.progress(f"{name}: round {round_ + 1} of {rounds}")
        for key in list(turns)[:: 1 if round_ % 2 else -1]:
            count, many = steps[key]
            times[key].append(turns[key][0](count)[1] / many)
    step_time.progress("")
    rows = []
    for key, found in times.items():
        ratios = [time / base for time, base in zip(found, times[whole], strict=True)]
        rows.append(
            {
                "model": name,
                "variant": key,
                "processor_milliseconds": 1000 * statistics.median(found),
                "processor_ratio": statistics.median(ratios),
                "processor_ratio_range": [min(ratios), max(ratios)],
            }
        )
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(models.MODELS),
        default=["mlp", "lenet_cifar", "resnet20"],
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="about the length of a turn")
    parser.add_argument("--output", type=Path, default=Path("results/ablation.json"))
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # It warns that many models are many traces.
    rows = []
    for name in arguments.models:
        found = measure(name, arguments.rounds, arguments.seconds)
        print(f"{name}\n  {'':<28}{'processor ms':>13}{'of the whole':>14}{'(range)':>15}")
        for row in found:
            low, high = row["processor_ratio_range"]
            print(
                f"  {row['variant']:<28}{row['processor_milliseconds']:>13.2f}"
                f"{row['processor_ratio']:>14.2f}{f'({low:.2f}-{high:.2f})':>15}"
            )
        rows += found
    files.write(arguments.output, {**files.circumstances(), "rows": rows})


if __name__ == "__main__":
    main()

"""Measure where the time of a training step goes, by leaving out parts of the step.

The times of single operations in a profiler add up to more than the time of a step, since
operations that run at the same time include the time in which they wait for each other. This
benchmark times steps that lack one part; the time of the part is the difference to the whole step.
The variants take turns, so that slow drifts of the machine affect all variants equally.

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
    """Layer that returns its input, with the call arguments of the layers that it replaces."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the input."""
        return inputs


def without(model: keras.Model, kinds: type | tuple[type, ...]) -> keras.Model:
    """Return a copy of a model in which all layers of some classes only return their input."""

    def clone(layer: Any) -> Any:
        name = layer.name
        if isinstance(layer, kinds):
            return Nothing(name=name)
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def compiled(model: keras.Model, optimizer: Any = None, **options: Any) -> keras.Model:
    """Compile a model with the same loss and optimizer as `step_time.build`, and return it.

    Args:
        model: Model to compile.
        optimizer: Optimizer; by default Keras' SGD with momentum.
        **options: Further arguments of `model.compile`.
    """
    model.compile(
        keras.optimizers.SGD(1e-6, momentum=0.9) if optimizer is None else optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=options.pop("jit_compile", False),
        **options,
    )
    return model


def partial_step(model: keras.Model, x: tf.Tensor, y: tf.Tensor, backward: bool) -> Turn:
    """Return a timer of steps without update of the weights.

    Args:
        model: Compiled model.
        x: Batch of inputs.
        y: Labels of the batch.
        backward: Whether a step has a backward pass; otherwise it is only the forward pass.
    """

    def step() -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        if not backward:
            return {"loss": loss}
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return {"loss": loss, "gradients": gradients}  # else TensorFlow would not compute them

    return step_time.timed(tf.function(step, autograph=False), model.name)


def products(model: keras.Model, batch: int, dtype: str = "float32") -> Turn:
    """Return a timer of steps that only have the products of the forward pass and both gradients.

    The products are independent of each other and have random operands. The gradient of the lowest
    layer's input is left out. These products are a lower bound on the time of training with a full
    error.

    Args:
        model: Stock model, from which the shapes are taken.
        batch: Number of examples.
        dtype: Data type of the operands.
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
    """Return timers of a network's step and of variants of this step, the whole step first.

    Args:
        name: Name in `models.MODELS`.
        x: Batch of inputs.
        y: Labels of the batch.

    Returns:
        `{name of the variant: (timer, number of training steps per call of the step)}`.
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
    """Time the variants of one network's step.

    Args:
        name: Name in `models.MODELS`.
        rounds: Number of turns per variant.
        seconds: Approximate duration of a turn, in seconds.

    Returns:
        One row per variant, the whole step first: processor time per step in milliseconds, and its
        ratio to that of the whole step in the same round, with range. Numbers are medians over the
        rounds.
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
    """Time the variants of all networks, print the rows, and write them to a file."""
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
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces: there is one per model
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

r"""What a training step costs with each method, from one machine to a TPU pod.

    python benchmarks/scale.py                        # ResNet-50v2 at 299 pixels, 8 to 512 cores
    python benchmarks/scale.py --depth 50 --version 1 --size 224 --batch 32
    python benchmarks/scale.py --check                # the counts against what graphs and devices do

Operations, weights and traffic are counted from the layers' shapes. Times are bounds, not
predictions: arithmetic at a part of the peak rate, weights and states through memory once, and an
all-reduce at the interconnect's bandwidth, none of it hidden behind another.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flops
import keras
import models
import numpy as np
import step_time
import tensorflow as tf

import tf_alignment as ta

FLOAT = 4  # bytes
POPULATION = 10  # neurons of product feedback for every output
NOISE_PRODUCTS = {"wm": 2, "ia": 3, "aa": 2}
"""Products of a layer's size besides those of backpropagation, for the rules' defaults."""
LEARNED = ("kp", "wm", "ia", "sa", "aa")
"""Methods whose feedback kernel is trained, as large as the forward kernel."""
FIXED = ("fa", "frsf")


@dataclasses.dataclass(frozen=True)
class Connection:
    """A forward kernel and what passes through it, for one example.

    Attributes:
        kernel: Number of its entries.
        outputs: Channels or units that it leads to.
        positions: Where it is applied.
    """

    kernel: int
    outputs: int
    positions: int

    @property
    def operations(self) -> int:
        """Of one product, a multiply and an add being two."""
        return 2 * self.kernel * self.positions


@dataclasses.dataclass(frozen=True)
class Machine:
    """An accelerator of which many are connected, two cores a chip.

    Attributes:
        rate: Peak operations a second of a chip.
        memory: Bytes a second between a chip and its memory.
        links: Bytes a second that a chip exchanges with others in an all-reduce.
        used: Part of the peak rate that training reaches.
    """

    rate: float = 123e12
    memory: float = 900e9
    links: float = 340e12 / 1024
    used: float = 0.4


def connections(model: keras.Model) -> list[Connection]:
    """The kernels of a stock model, from the input on."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            shape, output = tuple(layer.kernel.shape), layer.output.shape
            found.append(Connection(math.prod(shape), shape[-1], math.prod(output[1:-1])))
    return found


def operations(kernels: Sequence[Connection], method: str, batch: int) -> int:
    """Floating-point operations of the products in a training step.

    Args:
        kernels: See `connections`. The first sends no error down.
        method: A method id.
        batch: Examples of the step.
    """
    once = batch * sum(k.operations for k in kernels)
    above = kernels[1:]
    sent = batch * sum(k.operations for k in above)
    if method == "dfa":
        classes = kernels[-1].outputs
        return 2 * once + batch * sum(2 * k.outputs * k.positions * classes for k in kernels[:-1])
    total = 2 * once + sent + NOISE_PRODUCTS.get(method, 0) * sent
    if method in ("pfa", "pfa_o"):
        total += sum(_population(k, batch) for k in above)
    return total


def _population(k: Connection, batch: int) -> int:
    """Operations of product feedback beyond those of backpropagation."""
    neurons, inputs = POPULATION * k.outputs, k.kernel // k.outputs
    if k.positions > 1 or k.outputs <= 32:  # the path R B, and R's gradient from W's
        return 2 * (2 * inputs * neurons * k.outputs)
    # every example through the population, and R's gradient from its activity
    through = 2 * neurons * k.outputs + 2 * (2 * inputs * neurons)
    return batch * (through - k.operations)


def feedback_bytes(kernels: Sequence[Connection], method: str) -> tuple[int, int]:
    """Bytes of feedback weights: all of them, and those that are trained.

    Sign symmetry has a number a layer at most, which is left out.
    """
    above = sum(k.kernel for k in kernels[1:])
    if method in FIXED:
        return FLOAT * above, 0
    if method in LEARNED:
        return FLOAT * above, FLOAT * above
    if method == "dfa":
        classes = kernels[-1].outputs
        return FLOAT * classes * sum(k.outputs * k.positions for k in kernels[:-1]), 0
    if method in ("pfa", "pfa_o"):
        plastic = FLOAT * POPULATION * above
        fixed = FLOAT * POPULATION * sum(k.outputs**2 for k in kernels[1:])
        return plastic + fixed, plastic
    return 0, 0


def reduced_bytes(model: keras.Model, x: np.ndarray, y: np.ndarray) -> int:
    """Bytes that each of two replicas gives to all-reduces in a training step, counted.

    Args:
        model: Makes a model under the strategy's scope, compiled.
        x: A batch for both.
        y: Its targets.
    """


class Counting(tf.distribute.ReductionToOneDevice):
    """Reduces, and counts the bytes that a replica gives."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def reduce_implementation(self, reduce_op: Any, value: Any, *others: Any) -> Any:
        """Count, then reduce."""
        self.bytes += _size(value)
        return super().reduce_implementation(reduce_op, value, *others)

    def batch_reduce_implementation(self, reduce_op: Any, pairs: Any, options: Any) -> Any:
        """Count all, then reduce them one by one."""
        return [self.reduce_implementation(reduce_op, v, d, options) for v, d in pairs]

"""Cost of a method: time, operations and memory of a training step relative to stock Keras."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.studies.operations import step_flops

__all__ = ["measure_cost"]

_ROUNDS, _EXECUTIONS = 9, 3


def measure_cost(
    model: keras.Model,
    stock: keras.Model,
    compile_model: Callable[[keras.Model], None],
    batches: Any,
) -> dict[str, float | None]:
    """Measure the costs of a training step, relative to the stock model.

    The two models take turns, so that other load of the machine affects both; the result is the
    median over the turns. The measurement trains both models further.

    Args:
        model: Compiled model that was trained by at least one step.
        stock: Same model without feedback.
        compile_model: Function that compiles `stock` in the same way as `model`.
        batches: Training data, see `tf_alignment.studies.sources.Batches`.

    Returns:
        Dict of ratios: `step_time`; `operations` (None if the graph has a product of a kind that
        cannot be counted); and `memory` of all variables, including the optimizer's.
    """
    compile_model(stock)
    train, execution = batches.dataset.repeat(), model.steps_per_execution
    stock.fit(train, steps_per_epoch=execution, shuffle=False, verbose=0)
    # processor time where it is all there is to it: other load of the machine is no part of that
    on_cpu = not tf.config.list_physical_devices("GPU")
    clock = time.process_time if on_cpu else time.perf_counter
    ratios = []
    for _ in range(_ROUNDS):
        times = []
        for trained in (model, stock):
            batch = iter(train)
            next(batch)  # the pipeline's own start is no part of a step
            start = clock()
            for _ in range(_EXECUTIONS):
                logs = trained.train_function(batch)
            float(logs["loss"])  # waits for the last step
            times.append(clock() - start)
        ratios.append(times[0] / times[1])
    x, y = next(iter(batches.dataset))
    counts = [_operations(each, x, y) for each in (model, stock)]
    sizes = [_bytes(each) for each in (model, stock)]
    return {
        "step_time": round(statistics.median(ratios), 3),
        "operations": None if None in counts else round(counts[0] / counts[1], 3),  # type: ignore[operator]
        "memory": round(sizes[0] / sizes[1], 3),
    }


def _operations(model: keras.Model, x: Any, y: Any) -> int | None:
    try:
        return step_flops(model, x, y)
    except (NotImplementedError, TypeError, ValueError):
        return None


def _bytes(model: keras.Model) -> int:
    variables = [*model.variables, *model.optimizer.variables]
    return sum(_size(v) for v in variables)


def _size(variable: Any) -> int:
    width = tf.as_dtype(keras.backend.standardize_dtype(variable.dtype)).size
    return width * math.prod(variable.shape)

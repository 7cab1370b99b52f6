"""Lower training steps and phases to TPU code, on a machine that has no TPU.

    make tpu-check
    make tpu-check ARGS="--depth 20 --methods sa wm"

The TPU build of TensorFlow compiles a function to the code that the compiler of a TPU takes
("HLO"), and refuses operations that TPUs lack. The training step is complete: forward pass, errors
through feedback weights, alignment gradients, batch statistics, states of random generators, and
the optimizers' arithmetic (momentum for forward weights, plain descent for feedback weights that
learn by alignment). The check fails if an operation is refused, if a gradient is missing, or if a
shape depends on data.

Compiled functions cannot capture variables here, so that weights and states are arguments.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no metadata server to query
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import tf_alignment as ta

RATE, MOMENTUM, FEEDBACK_RATE = 0.1, 0.9, 0.5
FAILED = "FAILED"
Structure = Any  # of tensors


def lowered(function: Callable[..., Structure], *arguments: Structure) -> str:
    """Return the TPU code of a function.

    Args:
        function: Function of TensorFlow operations that captures no variables.
        arguments: Arguments of the function, as structures of `tf.TensorSpec`s.

    Returns:
        HLO as text.
    """
    flat = tf.nest.flatten(arguments)

    def of_flat(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return tf.nest.flatten(function(*tf.nest.pack_sequence_as(arguments, tensors)))

    compiled = tf.function(of_flat, jit_compile=True)
    return compiled.experimental_get_compiler_ir(*flat)(stage="hlo", platform_name="TPU")


def specs(variables: Sequence[Any]) -> list[tf.TensorSpec]:
    """Return the `tf.TensorSpec`s that represent variables in the arguments of `lowered`."""
    return [tf.TensorSpec(v.shape, v.dtype) for v in variables]


def training_step(model: keras.Model, batch: int) -> str:
    """Return the code of a training step with `ta.optimizers.split(SGD(momentum))`.

    Args:
        model: Model with feedback weights.
        batch: Number of examples.
    """
    aligned = [re.fullmatch(ta.optimizers.ALIGNED, v.path) for v in model.trainable_variables]

    def step(weights: Any, states: Any, momenta: Any, x: tf.Tensor, y: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits, states, extra = model.stateless_call(
                weights, states, x, training=True, return_losses=True
            )
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(errors) + (tf.add_n(extra) if extra else 0.0)
        gradients = tape.gradient(loss, weights)
        missing = [
            v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None
        ]
        if missing:
            raise RuntimeError(f"No gradient reaches {missing}")
        momenta = [MOMENTUM * m + g for m, g in zip(momenta, gradients, strict=True)]
        weights = [
            w - (FEEDBACK_RATE * g if own else RATE * m)
            for w, g, m, own in zip(weights, gradients, momenta, aligned, strict=True)
        ]
        return loss, weights, states, momenta

    weights = specs(model.trainable_variables)
    x, y = tf.TensorSpec((batch, *model.input_shape[1:])), tf.TensorSpec((batch,), tf.int32)
    return lowered(step, weights, specs(model.non_trainable_variables), weights, x, y)


def node_perturbation(form: str) -> str:
    """Return the code of a step of node perturbation on a perceptron.

    Args:
        form: `"fa"` for feedback through the layers, `"dfa"` for direct feedback.
    """
    model = ta.models.perceptron((20, 16, 10), "tanh", feedback="dfa" if form == "dfa" else "fa")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    phase = ta.phases.NodePerturbation(loss, form=form, seed=1)
    phase.build(model)
    variables = [*model.variables, *phase.variables]

    def step(values: Any, x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            phase.take_step(model, (x, y))
        return [tf.convert_to_tensor(scope.get_current_value(v)) for v in variables]

    batch = tf.TensorSpec((8, 20)), tf.TensorSpec((8,), tf.int32)
    return lowered(step, specs(variables), *batch)


def regression_discontinuity() -> str:
    """Return the code of a part of a simulation of regression discontinuity."""
    from tf_alignment.spiking.lif import Paradigm, estimators
    from tf_alignment.spiking.lif.plan import Plan

    units, above = 40, 10
    estimator = estimators.Pooled()
    plan = Plan(Paradigm(), estimator, units, above, 2.0, seed=1, jit_compile=True, sparse=False)
    sums = {name: tf.TensorSpec(s) for name, s in estimator.shapes(units, above).items()}
    kernel, seed = tf.TensorSpec((units, above)), tf.TensorSpec((2,), tf.int32)
    return lowered(plan._advance, kernel, sums, seed)


def spike_alignment() -> str:
    """Return the code of a simulation of spike-based alignment learning."""
    from tf_alignment.spiking import sampling

    network = sampling.LayeredNetwork((20, 16, 10))
    neurons, rule = sampling.Neuron(5), sampling.SpikeAlignment(5)
    learning = sampling.FeedbackLearning(network, neurons, rule, chains=8, jit_compile=True)
    kernels = [tf.TensorSpec((20, 16)), tf.TensorSpec((16, 10))]
    state = learning.start([tf.zeros(k.shape) for k in kernels])
    state = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), state)
    number = tf.TensorSpec((), tf.int32)
    biases = [tf.TensorSpec((n,)) for n in network.sizes]
    return lowered(learning._blocks, state, kernels, biases, number, number)


def refused() -> str:
    """Lower an operation that TPUs lack, which must fail: otherwise the check has no meaning."""
    return lowered(lambda x: tf.strings.length(tf.strings.as_string(x)), tf.TensorSpec((3,)))


def summary(lower: Callable[[], str]) -> str:
    """Return the counts of instructions in the TPU code, or the reason of failure, as text.

    Args:
        lower: Function that returns the code.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    start = time.perf_counter()
    try:
        code = lower()
    except Exception as error:  # noqa: BLE001
        return f"{FAILED}: {str(error).strip()[-600:]}"
    if re.search(r"\[[^\]]*<=", code):  # as in f32[<=8,3]
        return f"{FAILED}: a shape depends on data"
    counts = [code.count(text) for text in (" = ", " convolution(", " dot(", " while(")]
    return "".join(f"{n:>14}" for n in counts) + f"{time.perf_counter() - start:>8.1f}"


def main() -> None:
    """Lower all steps and phases, print a row per step or phase, and exit with 1 on a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="of the residual network (50)")
    parser.add_argument("--version", type=int, default=2, help="of it (2)")
    parser.add_argument("--batch", type=int, default=32, help="examples per core (32)")
    parser.add_argument("--methods", nargs="+", choices=ta.feedback.METHODS, metavar="ID")
    arguments = parser.parse_args()

    def of_method(method: str) -> Callable[[], str]:
        def lower() -> str:
            # DFA has a weight from each of 1000 outputs to each activity: 20 GB at full size
            shape = (32, 32, 3) if method == "dfa" else None
            feedback = None if method == "backprop" else method
            model = ta.models.resnet(
                arguments.depth, arguments.version, feedback=feedback, input_shape=shape
            )
            return training_step(model, arguments.batch)

        return lower

    network = f"resnet{arguments.depth}v{arguments.version}"
    methods = arguments.methods or ta.feedback.METHODS
    checks = {f"{network}, {method}": of_method(method) for method in methods}
    if not arguments.methods:
        checks |= {
            "node perturbation, fa": lambda: node_perturbation("fa"),
            "node perturbation, dfa": lambda: node_perturbation("dfa"),
            "regression discontinuity": regression_discontinuity,
            "spike-based alignment": spike_alignment,
        }
    columns = ("instructions", "convolutions", "products", "loops")
    print(f"{'':<28}" + "".join(f"{name:>14}" for name in columns) + f"{'s':>8}")
    rows = []
    for name, lower in checks.items():
        rows.append(summary(lower))
        print(f"{name:<28}{rows[-1]}", flush=True)
    caught = summary(refused).startswith(FAILED)
    if not caught:
        print(f"{FAILED}: an operation that TPUs lack was not refused")
    sys.exit(not caught or any(row.startswith(FAILED) for row in rows))


if __name__ == "__main__":
    main()

"""Nøkland 2016: direct feedback alignment on MNIST, beside feedback alignment and backpropagation.

    python -m examples.classics.nokland --data-dir DIRECTORY --output docs/results/classics
    python -m examples.classics.nokland --quick

784-240-240-240-10 with tanh, cross-entropy of each output summed, batch 64, RMSprop, inputs in
[0, 1], no regularisation: as in the author's implementation, but for the size of the network, the
epochs (5 instead of 300) with a rate of 1e-3 instead of 1e-4, and weights that start alike (Glorot)
for all three.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.curves import by_variant

METHODS = ("backprop", "fa", "dfa")
HIDDEN = 3
BATCH, RATE = 64, 1e-3


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The sum over the outputs, each of which is the logit of a class by itself."""
    targets = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), logits.shape[-1])
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), -1)


def network(inputs: int, width: int) -> keras.Model:
    """Three hidden layers, and logits."""
    return ta.models.perceptron((inputs, *[width] * HIDDEN, 10), "tanh")


def data(run: Any) -> ta.data.Arrays:
    """Flat images with values in [0, 1]."""
    loaded = ta.data.load(run.settings["dataset"], run.data_dir)
    return common.normalised(loaded, 0.0, 1.0, flat=True)


def to_page(run: common.Numbers) -> common.Numbers:
    """A run as the file has it: errors, and the angle of each hidden kernel's gradient."""
    found = run["curves"]
    curves = {
        "test_error": [100 * (1 - a) for a in found["val_accuracy"]],
        "train_error": [100 * (1 - a) for a in found["accuracy"]],
    }
    for i in range(1, 1 + HIDDEN):
        [curves[f"hidden{i}"]] = [
            values for name, values in found.items() if name.endswith(f"hidden{i}/gradient_angle")
        ]
    return {name: run[name] for name in ("variant", "seed", "seconds")} | {"curves": curves}


def table(runs: list[common.Numbers]) -> str:
    """Errors and angles after the last epoch, as Markdown."""
    names = ("test_error", "train_error", *(f"hidden{i}" for i in range(1, 1 + HIDDEN)))
    rows = []
    for method, own in common.grouped(runs, "variant").items():
        last = [common.mean_of([run["curves"][name][-1] for run in own]) for name in names]
        errors = (found.text(2) for found in last[:2])
        rows.append((f"`{method}`", str(len(own)), *errors, *(f.text(1) for f in last[2:])))
    angles = (f"gradient angle, layer {i} °" for i in range(1, 1 + HIDDEN))
    return common.markdown(("method", "n", "test error %", "training error %", *angles), rows)


def draw(runs: list[common.Numbers]) -> Any:
    """Test errors, and angles of the lowest layer, over the epochs."""
    curves = by_variant(runs)
    labels = {"test_error": "test error (%)", "hidden1": "gradient angle, layer 1 (°)"}
    return ta.plots.learning_curves(curves, labels=labels)


def main() -> None:
    """Train, print, draw."""
    parser = command_line.new_parser(
        __doc__, "classics", seeds=3, methods=METHODS, epochs="5; --quick: 2, digits", jobs=True
    )
    given = parser.parse_args()
    dataset = "digits" if given.quick else "mnist"
    found = ta.data.load(dataset, given.data_dir)  # what is missing is said here
    results = common.study(
        given,
        "nokland",
        functools.partial(network, found.train.x[0].size, 50 if given.quick else 240),
        data,
        list(given.methods),
        compile={"optimizer": keras.optimizers.RMSprop(RATE), "loss": cross_entropy},
        epochs=given.epochs or (2 if given.quick else 5),
        batch_size=BATCH,
        settings={"dataset": dataset},
        probe=256,
    )
    runs = [to_page(run) for run in common.ended(results)]
    print("", table(runs), sep="\n")
    common.write(given.output / "nokland", {"dataset": dataset, "runs": runs}, draw(runs))


if __name__ == "__main__":
    command_line.run(main)

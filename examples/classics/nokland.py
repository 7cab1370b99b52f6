"""Nøkland 2016: direct feedback alignment on MNIST, beside feedback alignment and backpropagation.

    python -m examples.classics.nokland --data-dir DIRECTORY --output docs/results/classics
    python -m examples.classics.nokland --quick

The network has 784-240-240-240-10 units with tanh. The loss is the sum of the outputs'
cross-entropies. RMSprop has batches of 64, inputs are in [0, 1], and there is no regularisation.
All this is as in the author's implementation, with these differences: the size of the network, 5
epochs in place of 300 with a rate of 1e-3 in place of 1e-4, and the same initial weights (Glorot)
for all three methods.
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
    """Return the sum of the binary cross-entropies of the outputs of each example, `(batch,)`.

    Args:
        labels: Classes, `(batch,)` or `(batch, 1)`.
        logits: Logit of each class, independent of the others, `(batch, classes)`.
    """
    targets = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), logits.shape[-1])
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), -1)


def network(inputs: int, width: int) -> keras.Model:
    """Return a stock perceptron with three hidden layers, and logits as outputs.

    Args:
        inputs: Number of inputs.
        width: Number of units of each hidden layer.
    """
    return ta.models.perceptron((inputs, *[width] * HIDDEN, 10), "tanh")


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a run, with images as vectors and values in [0, 1]."""
    loaded = ta.data.load(run.settings["dataset"], run.data_dir)
    return common.normalised(loaded, 0.0, 1.0, flat=True)


def to_page(run: common.Numbers) -> common.Numbers:
    """Convert a run to the form of the JSON file.

    The file has the errors in percent, and the gradient angle of each hidden kernel in degrees.
    """
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
    """Return a Markdown table of errors and angles after the last epoch, with a row per method."""
    names = ("test_error", "train_error", *(f"hidden{i}" for i in range(1, 1 + HIDDEN)))
    rows = []
    for method, own in common.grouped(runs, "variant").items():
        last = [common.mean_of([run["curves"][name][-1] for run in own]) for name in names]
        errors = (found.text(2) for found in last[:2])
        rows.append((f"`{method}`", str(len(own)), *errors, *(f.text(1) for f in last[2:])))
    angles = (f"gradient angle, layer {i} °" for i in range(1, 1 + HIDDEN))
    return common.markdown(("method", "n", "test error %", "training error %", *angles), rows)


def draw(runs: list[common.Numbers]) -> Any:
    """Draw test errors, and gradient angles of the lowest layer, over the epochs."""
    curves = by_variant(runs)
    labels = {"test_error": "test error (%)", "hidden1": "gradient angle, layer 1 (°)"}
    return ta.plots.learning_curves(curves, labels=labels)


def main() -> None:
    """Train the network with all methods, print the table, and write numbers and figure."""
    parser = command_line.new_parser(
        __doc__, "classics", seeds=3, methods=METHODS, epochs="5; --quick: 2, digits", jobs=True
    )
    given = parser.parse_args()
    dataset = "digits" if given.quick else "mnist"
    found = ta.data.load(dataset, given.data_dir)  # missing data fail here
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

"""Tables 1 and 2b of the paper: a convolutional network for CIFAR with direct feedback.

    python -m examples.node_perturbation.cifar --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.cifar --dataset cifar100
    python -m examples.node_perturbation.cifar --quick

The network has convolutions of 96, 128 and 256 filters of 5x5 with tanh and pooling, two dense
layers of 2048 units with dropout, and a softmax. Images are standardised one by one, and Adam
trains the forward weights. The output error is sent directly to every block (`dfa`), through
feedback weights that learn by node perturbation (`np`) or from the true gradient (`sg`). `--width`
scales all layers; the full network takes a quarter of an hour per epoch on two cores. Here the
perturbed loss and the error are both those of the cross-entropy. In the authors' code, the
perturbed loss is half the squared distance between softmax and target, and the error is that of the
cross-entropy.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, markdown
from examples.node_perturbation.experiment import (
    by_row,
    carry_out,
    draw,
    end,
    load,
    parser,
    passes_of,
)

BATCH, NOISE, RATE, FEEDBACK_RATE = 128, 0.067, 4.78e-6, 8.32e-6
LAYERS = ("conv1", "conv2", "conv3", "dense1", "dense2")
# Test accuracies in the paper, percent: (CIFAR-10, CIFAR-100).
PUBLISHED = {
    "backprop": ("76.9 ± 0.1", "51.2 ± 0.1"),
    "dfa": ("72.3 ± 0.1", "47.3 ± 0.1"),
    "np": ("74.8 ± 0.2", "48.1 ± 0.2"),
    "np-published": ("74.8 ± 0.2", "48.1 ± 0.2"),
    "sg": ("75.3 ± 0.3", "-"),
    "backprop+noise": ("76.8 ± 0.2", "-"),
    "dfa+noise": ("72.4 ± 0.2", "-"),
}


def network(shape: tuple[int, ...], classes: int, width: float, noise: float) -> keras.Model:
    """Return the network of Crafton et al. (2019) in stock Keras, with logits as outputs.

    Args:
        shape: Shape of an image, `(height, width, channels)`.
        classes: Number of classes.
        width: Factor on the number of filters and units.
        noise: Standard deviation of the noise on the hidden activities in training; 0 for none.
    """
    x = inputs = keras.Input(shape)

    def finish(x: Any) -> Any:
        return keras.layers.GaussianNoise(noise)(x) if noise else x

    for i, filters in enumerate((96, 128, 256)):
        size = max(4, round(width * filters))
        x = keras.layers.Conv2D(size, 5, padding="same", activation="tanh", name=f"conv{i + 1}")(x)
        x = finish(keras.layers.MaxPooling2D(3, 2, padding="same")(x))
    x = keras.layers.Flatten()(x)
    for i in range(2):
        units = max(8, round(width * 2048))
        x = keras.layers.Dense(units, activation="tanh", name=f"dense{i + 1}")(x)
        x = finish(keras.layers.Dropout(0.5)(x))
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name="cnn")


@functools.cache
def images(name: str, data_dir: str | None) -> ta.data.Arrays:
    """Return a dataset with every image standardised by its own mean and deviation."""

    def standardised(x: np.ndarray) -> np.ndarray:
        x = x - x.mean((1, 2, 3), keepdims=True)
        deviation = x.std((1, 2, 3), keepdims=True)
        return x / np.maximum(deviation, 1 / np.sqrt(x[0].size))

    return load(name, data_dir).map(standardised)


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run, with standardised images."""
    return images(run.settings["dataset"], run.data_dir)


def phase(run: Any, row: str) -> ta.phases.Phase:
    """Return the phase in which the feedback weights learn in every step.

    Args:
        run: Run of the study.
        row: Name of the row without `+noise`: `"np"`, `"np-published"` or `"sg"`.
    """
    options: Numbers = {"form": "dfa", "seed": run.seed + 1}
    gaussian: Numbers = {"noise": ta.Noise("gaussian", NOISE), **options}
    each = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    if row == "sg":
        return ta.phases.SyntheticGradient(each, **options)
    if row == "np-published":
        gaussian |= {"solver": keras.optimizers.SGD(FEEDBACK_RATE), "control_variate": False}
    return ta.phases.NodePerturbation(each, **gaussian)


def variant(row: str, build: Any) -> ta.studies.Variant:
    """Return a row of the table as a variant of the study.

    Args:
        row: Name of the row in `PUBLISHED`.
        build: Function of the noise that returns the stock network.
    """
    name, _, noisy = row.partition("+")
    return ta.studies.Variant(
        row,
        "backprop" if name == "backprop" else "dfa",
        feedback_initializer=None,
        phases=[] if name in ("backprop", "dfa") else [functools.partial(phase, row=name)],
        every="step",
        build=functools.partial(build, noise=NOISE if noisy else 0.0),
    )


def curves(found: Any) -> dict[str, list[float]]:
    """Return curves of loss and training accuracy, test accuracy in percent, and gradient angles.

    Args:
        found: Curves as the study has stored them.
    """
    kept = {name: found[name] for name in ("accuracy", "loss")}
    kept["test_accuracy"] = [100.0 * value for value in found["val_accuracy"]]
    for name, values in found.items():
        path, _, measure = name.rpartition("/")
        if measure == "gradient_angle" and path not in ("mean", "hidden"):
            kept[f"{path.rpartition('/')[2]}/gradient_angle"] = values
    return kept


def table(results: list[Numbers]) -> str:
    """Return a Markdown table of test accuracy and gradient angles after training.

    A row has mean and standard error over the seeds of a method.
    """
    heads = ["method", "seeds", "test accuracy %", "paper"]
    heads += [f"gradient angle °, {name}" for name in LAYERS]
    rows = []
    for name, runs in by_row(results).items():
        column = 1 if runs[0]["settings"]["dataset"] == "cifar100" else 0
        row = [f"`{name}`", str(len(runs)), end(runs, "test_accuracy"), PUBLISHED[name][column]]
        rows.append([*row, *(end(runs, f"{n}/gradient_angle", 1) for n in LAYERS)])
    return markdown(heads, rows)


def figure(results: list[Numbers]) -> Any:
    """Draw test accuracy, and gradient angles from the lowest layer to the highest."""
    angles = {f"{layer}/gradient_angle": f"gradient angle (°)\n{layer}" for layer in LAYERS}
    return draw(results, {"test_accuracy": "test accuracy (%)", **angles})


def main() -> None:
    """Train the networks, print the table, and draw the figure."""
    command = parser(
        __doc__, "78000, 200 epochs", 5, list(PUBLISHED), quick=["backprop", "dfa", "np"]
    )
    command.add_argument("--dataset", choices=("cifar10", "cifar100"), default="cifar10")
    command.number("--width", "scale of all layers", 1.0, 0.06, kind=float)
    command.number("--rate", "of Adam", RATE, 1e-3, kind=float)
    given = command.parse_args()
    name, dataset, iterations = given.dataset, given.dataset, 78_000
    if given.quick:
        name, dataset, iterations = "cnn-quick", "digits", 44
    found = images(dataset, given.data_dir)
    examples, *shape = found.train.x.shape
    build = functools.partial(network, tuple(shape), found.classes, given.width)
    carry_out(
        given,
        name,
        functools.partial(build, 0.0),
        data,
        [variant(row, build) for row in given.methods],
        {"dataset": dataset, "width": given.width, "rate": given.rate},
        table,
        figure,
        compile={
            "optimizer": keras.optimizers.Adam(given.rate, epsilon=1e-5),
            "steps_per_execution": min(examples // BATCH, 30),
        },
        epochs=passes_of(given.iterations or iterations, examples, BATCH),
        curves=curves,
        batch_size=BATCH,
        probe=200,
    )


if __name__ == "__main__":
    command_line.run(main)

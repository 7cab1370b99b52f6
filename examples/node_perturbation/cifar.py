"""Tables 1 and 2b of the paper: a convolutional network for CIFAR with direct feedback.

    python -m examples.node_perturbation.cifar --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.cifar --dataset cifar100
    python -m examples.node_perturbation.cifar --quick

Convolutions of 96, 128 and 256 filters of 5x5 with tanh and pooling, two dense layers of 2048 with
dropout, softmax; images standardised one by one, Adam. The output error goes straight to every
block (`dfa`), through weights that node perturbation (`np`) or the true gradient (`sg`) teach.
`--width` scales all layers: the full network takes a quarter of an hour an epoch on two cores.
Noise and errors are of the cross-entropy throughout; the authors' code perturbs ½ the squared
distance of the softmax from the target, and takes the error of the cross-entropy.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, markdown, new_figure
from examples.node_perturbation.experiment import (
    Run,
    carry_out,
    chosen,
    grouped,
    last,
    load,
    parser,
    tasks,
)
from examples.node_perturbation.perceptron import line

BATCH, NOISE, RATE, FEEDBACK_RATE = 128, 0.067, 4.78e-6, 8.32e-6
# The paper's accuracies: (CIFAR-10, CIFAR-100).
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
    """The network of Crafton et al. (2019), in stock Keras, ending in logits."""
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
    """The dataset with every image standardised by its own mean and deviation."""

    def standardised(x: np.ndarray) -> np.ndarray:
        x = x - x.mean((1, 2, 3), keepdims=True)
        deviation = x.std((1, 2, 3), keepdims=True)
        return x / np.maximum(deviation, 1 / np.sqrt(x[0].size))

    return load(name, data_dir).map(standardised)


def batches(settings: Numbers) -> ta.data.EpochShuffled:
    """The training data in the order of a seed."""
    train = images(settings["dataset"], settings["data_dir"]).train
    return ta.data.EpochShuffled(*train, BATCH, seed=settings["seed"], drop_remainder=True)


def build(settings: Numbers) -> Run:
    """Network, method and measures of one run."""
    name, _, noisy = settings["row"].partition("+")
    data = images(settings["dataset"], settings["data_dir"])
    keras.utils.set_random_seed(settings["seed"])
    noise = NOISE if noisy else 0.0
    stock = network(data.train.x.shape[1:], data.classes, settings["width"], noise)
    method = "backprop" if name == "backprop" else "dfa"
    model = ta.convert(stock, method, feedback_initializer=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = len(data.train.x) // BATCH
    model.compile(
        keras.optimizers.Adam(settings["rate"], epsilon=1e-5),
        loss,
        metrics=["accuracy"],
        steps_per_execution=min(steps, 30),
    )
    phase: Any = None
    options: Numbers = {"form": "dfa", "seed": settings["seed"] + 1}
    gaussian: Numbers = {"noise": ta.Noise("gaussian", NOISE), **options}
    each = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    if name == "np":
        phase = ta.phases.NodePerturbation(each, **gaussian)
    elif name == "np-published":
        gaussian |= {"solver": keras.optimizers.SGD(FEEDBACK_RATE), "control_variate": False}
        phase = ta.phases.NodePerturbation(each, **gaussian)
    elif name == "sg":
        phase = ta.phases.SyntheticGradient(each, **options)
    probe = ta.metrics.GradientProbe(model)

    def measure() -> dict[str, float]:
        test = model.evaluate(*data.test, batch_size=500, verbose=0, return_dict=True)
        angles = probe(data.test.x[:200], data.test.y[:200])
        found = {"test_accuracy": 100.0 * float(test["accuracy"])}
        for path, measured in angles.items():
            found[f"{path.rsplit('/', 1)[-1]}/gradient_angle"] = measured["kernel"]
        return found

    return Run(model, measure, phase)


def table(results: list[Numbers]) -> str:
    """Test accuracy and gradient angles at the end, mean and standard error over seeds."""
    layers = ("conv1", "conv2", "conv3", "dense1", "dense2")
    heads = ["method", "seeds", "test accuracy %", "paper"]
    heads += [f"gradient angle °, {name}" for name in layers]
    rows = []
    for name, runs in grouped(results, "row").items():
        column = 1 if runs[0]["settings"]["dataset"] == "cifar100" else 0
        row = [f"`{name}`", str(len(runs)), last(runs, "test_accuracy"), PUBLISHED[name][column]]
        rows.append([*row, *(last(runs, f"{n}/gradient_angle", digits=1) for n in layers)])
    return markdown(heads, rows)


def draw(results: list[Numbers], file: Path) -> None:
    """Accuracy, and gradient angles from the lowest layer to the highest."""
    from matplotlib import colormaps

    layers = ("conv1", "conv2", "conv3", "dense1", "dense2")
    figure, axes = new_figure(1, 1 + len(layers), width=2.8)
    for i, (name, runs) in enumerate(grouped(results, "row").items()):
        colour = colormaps["tab10"](i)
        line(axes[0, 0], runs, "test_accuracy", colour, name)
        for panel, layer in zip(axes[0, 1:], layers, strict=True):
            line(panel, runs, f"{layer}/gradient_angle", colour, name)
    axes[0, 0].set(xlabel="iteration", ylabel="test accuracy (%)")
    axes[0, 0].legend(frameon=False, fontsize=7)
    for panel, layer in zip(axes[0, 1:], layers, strict=True):
        panel.set(xlabel="iteration", ylabel="gradient angle (°)", title=layer)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Train, draw and print."""
    command = parser(__doc__, "78000, 200 epochs", seeds=5)
    command.add_argument("--dataset", choices=("cifar10", "cifar100"), default="cifar10")
    command.add_argument("--width", type=float, default=1.0, help="scale of all layers (1.0)")
    command.add_argument("--rate", type=float, default=RATE, help=f"of Adam ({RATE})")
    arguments = command.parse_args()
    names = chosen(command, arguments.methods, list(PUBLISHED))
    name, dataset, iterations, seeds = arguments.dataset, arguments.dataset, 78_000, arguments.seeds
    width, rate = arguments.width, arguments.rate
    if arguments.quick:
        name, dataset, iterations, seeds, width, rate = "cnn-quick", "digits", 44, 1, 0.06, 1e-3
    iterations = arguments.iterations or iterations
    steps = len(images(dataset, arguments.data_dir).train.x) // BATCH
    runs = tasks(
        f"{name}-{width:g}",
        {row: {} for row in names},
        seeds,
        build,
        batches,
        passes=max(1, round(iterations / steps)),
        dataset=dataset,
        data_dir=arguments.data_dir,
        width=width,
        rate=rate,
    )
    carry_out(arguments, name, runs, table, draw)


if __name__ == "__main__":
    command_line.run(main)

"""Figure 3 and table 2a of the paper: an autoencoder for MNIST with a bottleneck of two units.

    python -m examples.node_perturbation.autoencoder --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.autoencoder --iterations 200000 --methods np fa backprop
    python -m examples.node_perturbation.autoencoder --quick

The network has 784-200-2-200-784 units with tanh, identity, tanh and relu. The loss is half the
squared distance between image and output, summed over the pixels and the 32 images of a batch. Rows
that end in `+noise` add Gaussian noise to all hidden activities in training. The paper's numbers
for `np`, `sg` and `matched` are those of networks with 50 hidden units, which `--hidden 50` trains.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, caption, markdown, new_figure, of_seeds
from examples.curves import stacked, with_error
from examples.node_perturbation.experiment import (
    by_row,
    carry_out,
    iterations,
    load,
    parser,
    passes_of,
)
from examples.node_perturbation.perceptron import half_squared_error
from tf_alignment.plots.curves import line, over_epochs

BATCH = 32
ACTIVITY_NOISE = 0.02
NOISE = 0.0189  # standard deviation of the noise of node perturbation


@dataclasses.dataclass(frozen=True)
class Method:
    """Settings of a row of the table.

    Attributes:
        feedback: Id of the feedback method.
        rate: Learning rate for the loss summed over a batch.
        published: Test loss in the paper, mean and standard error.
        adam: Whether Adam trains the forward weights; otherwise plain SGD does.
        input_noise: Standard deviation of noise on the images in training.
        phase: Phase in which the feedback weights learn: `"np"` for node perturbation, `"sg"` for
            the true gradient, `""` for none.
        options: Arguments of the phase, as pairs `(name, value)`.
    """

    feedback: str
    rate: float
    published: str
    adam: bool = False
    input_noise: float = 0.0
    phase: str = ""
    options: tuple[tuple[str, Any], ...] = ()


METHODS = {
    "backprop": Method("backprop", 5e-5, "609.8 ± 14.4"),
    "backprop-1e-4": Method("backprop", 1e-4, "-"),  # control: the rate of node perturbation
    "adam": Method("backprop", 1.41e-4, "533.3 ± 2.2", adam=True),
    "fa": Method("fa", 5e-5, "759.1 ± 3.3"),
    "dae": Method("backprop", 1e-4, "539.8 ± 4.9", input_noise=0.3),
    "np": Method("fa", 1e-4, "515.3 ± 4.1", phase="np"),
    "np-published": Method(
        "fa",
        1e-4,
        "515.3 ± 4.1",
        phase="np",
        options=(("control_variate", False), ("solver", "sgd")),
    ),
    "sg": Method("fa", 1e-4, "521.6 ± 2.3", phase="sg"),
    "matched": Method("kp", 1e-4, "615.0 ± 0.4"),
}
NOISY = {
    "backprop": "536.8 ± 2.1",
    "adam": "522.3 ± 0.4",
    "fa": "768.2 ± 2.7",
    "matched": "629.9 ± 1.1",
}
ROWS = [*METHODS, *(f"{name}+noise" for name in NOISY)]


def network(inputs: int, hidden: int, input_noise: float, noise: float) -> keras.Model:
    """Return the autoencoder, in stock Keras.

    Args:
        inputs: Number of pixels.
        hidden: Number of units of encoder and decoder.
        input_noise: Standard deviation of the noise on the images in training; 0 for none.
        noise: Standard deviation of the noise on the hidden activities in training; 0 for none.
    """
    layers: list[Any] = [keras.Input((inputs,))]
    if input_noise:
        layers.append(keras.layers.GaussianNoise(input_noise))
    for units, activation, name in (
        (hidden, "tanh", "encode"),
        (2, None, "latent"),
        (hidden, "tanh", "decode"),
    ):
        layers.append(keras.layers.Dense(units, activation, name=name))
        if noise:
            layers.append(keras.layers.GaussianNoise(noise))
    layers.append(keras.layers.Dense(inputs, "relu", name="image"))
    return keras.Sequential(layers, name="autoencoder")


def images(dataset: str, data_dir: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of a split as vectors, `(examples, pixels)`, and their labels."""
    x, y = getattr(load(dataset, data_dir), split)
    return x.reshape(len(x), -1), y


def data(run: Any) -> tuple[Any, Any]:
    """Return both splits of a run's dataset, with the images as inputs and as targets."""
    train, test = (
        images(run.settings["dataset"], run.data_dir, split)[0] for split in ("train", "test")
    )
    return (train, train), (test, test)


def phase(run: Any, kind: str, options: dict[str, Any]) -> ta.phases.Phase:
    """Return the phase in which the feedback weights learn in every step.

    Args:
        run: Run of the study.
        kind: `"np"` for node perturbation, `"sg"` for the true gradient.
        options: Arguments of the phase.
    """
    options = {"loss": half_squared_error, "seed": run.seed + 1, **options}
    if options.get("solver") == "sgd":
        options["solver"] = keras.optimizers.SGD(8e-6)
    if kind == "np":
        return ta.phases.NodePerturbation(noise=ta.Noise("gaussian", NOISE), **options)
    return ta.phases.SyntheticGradient(**options)


def latent_plane(run: Any) -> Numbers:
    """Measure the bottleneck of a trained autoencoder.

    Returns:
        `latent_accuracy`, see `separation`; and for the first seed also `latent`, the activities of
        the bottleneck for 2000 test images, and `reconstructions` of 10 test images.
    """
    model = run.model
    x, labels = images(run.settings["dataset"], run.data_dir, "test")
    encoder = keras.Model(model.inputs, model.get_layer("latent").output)
    latent = encoder.predict(x, batch_size=len(x), verbose=0)
    kept: Numbers = {"latent_accuracy": separation(latent, labels)}
    if run.seed == 0:
        kept["latent"] = latent[:2000].round(3).tolist()
        kept["reconstructions"] = model.predict(x[:10], verbose=0).round(2).tolist()
    return kept


def variant(row: str, inputs: int, hidden: int, rate: float | None) -> ta.studies.Variant:
    """Return a row of the table as a variant of the study.

    Args:
        row: Name of the row in `ROWS`.
        inputs: Number of pixels.
        hidden: Number of units of encoder and decoder.
        rate: Learning rate; None for that of the method.
    """
    name, _, noisy = row.partition("+")
    method = METHODS[name]
    rate = rate or method.rate
    learned = functools.partial(phase, kind=method.phase, options=dict(method.options))
    return ta.studies.Variant(
        row,
        method.feedback,
        feedback_initializer=None,
        phases=[learned] if method.phase else [],
        every="step",
        optimizer=(
            keras.optimizers.Adam(rate) if method.adam else keras.optimizers.SGD(rate * BATCH)
        ),
        build=functools.partial(
            network, inputs, hidden, method.input_noise, ACTIVITY_NOISE if noisy else 0.0
        ),
    )


def curves(found: Any) -> dict[str, list[float]]:
    """Return the curves of training and test loss, summed over a batch as in the paper."""
    return {"loss": found["loss"], "test_loss": [BATCH * value for value in found["val_loss"]]}


def separation(latent: np.ndarray, labels: np.ndarray) -> float:
    """Return how well nearest neighbours in the latent plane tell the digits apart.

    Args:
        latent: Activities of the bottleneck, `(images, 2)`.
        labels: Digits, `(images,)`.

    Returns:
        Accuracy of a classifier of 15 nearest neighbours, cross-validated, in percent.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    scores = cross_val_score(KNeighborsClassifier(15), latent, labels, cv=5)
    return round(100.0 * float(scores.mean()), 2)


def table(results: list[Numbers]) -> str:
    """Return a Markdown table with a row per method, mean and standard error over the seeds.

    The test loss is the lowest one during training.
    """
    heads = ["method", "seeds", "test loss", "digits told apart in the latent plane %", "paper"]
    rows = []
    for name, runs in by_row(results).items():
        lowest = with_error(np.nanmin(stacked(runs, "test_loss"), 1), 1)
        apart = with_error([r["latent_accuracy"] for r in runs], 1)
        base, _, noisy = name.partition("+")
        published = NOISY[base] if noisy else METHODS[base].published
        rows.append([f"`{name}`", str(len(runs)), lowest, apart, published])
    return markdown(heads, rows)


def figure(results: list[Numbers], originals: np.ndarray, labels: np.ndarray) -> Any:
    """Draw the test loss of each row and, below, latent planes and reconstructions.

    The latent planes and reconstructions are those of the first seed.

    Args:
        results: Runs of the study.
        originals: Test images as vectors, `(images, pixels)`.
        labels: Digits of the test images.
    """
    groups = by_row(results)
    shown = {name: runs[0] for name, runs in groups.items() if "latent" in runs[0]}
    columns = 4
    blocks = -(-len(shown) // columns)
    figure, axes = new_figure(1 + 2 * blocks, columns, height=1.9)
    for panel in axes[0]:
        panel.remove()
    loss, looks = figure.add_subplot(axes[0, 0].get_gridspec()[0, :-1]), ta.plots.styles(groups)
    positions, unit = iterations(results)
    for name, runs in groups.items():
        line(loss, stacked(runs, "test_loss"), looks[name], positions)
    over_epochs(loss, "test loss", unit)
    loss.set_ylim(top=1.1 * np.nanquantile(stacked(results, "test_loss"), 0.9))
    legend = loss.legend(loss.lines, groups, loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)
    legend.set_in_layout(False)  # it is in the last column, which has no other panel in this row
    for panel in axes[1:].flat:
        panel.set_axis_off()
    for i, (name, run) in enumerate(shown.items()):
        above, below = axes[1 + 2 * (i // columns) :, i % columns][:2]
        latent = np.array(run["latent"])
        above.scatter(*latent.T, c=labels[: len(latent)], s=1, cmap="tab10", vmin=0, vmax=9)
        above.set_title(f"{name}: {run['latent_accuracy']:.0f} %", fontsize=9)
        made = np.array(run["reconstructions"])
        below.imshow(mosaic(originals[: len(made)], made), cmap="gray", vmin=0, vmax=1)
    counts = {len(runs) for runs in groups.values()}
    text = of_seeds(counts, "; band: ± 1 standard deviation (n - 1)")
    if shown:
        text += "; below: latent plane by digit, part told apart, originals above reconstructions"
    caption(figure, text)
    return figure


def mosaic(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Arrange pairs of square images in one image, with five pairs per row.

    Args:
        above: Upper image of each pair as a vector, `(images, pixels)`.
        below: Lower image of each pair, `(images, pixels)`.
    """
    side = round(above.shape[1] ** 0.5)
    pairs = np.stack([above, below], 1).reshape(-1, 5, 2, side, side)
    return pairs.transpose(0, 2, 3, 1, 4).reshape(-1, 5 * side)


def main() -> None:
    """Train the autoencoders, print the table, and draw the figure."""
    command = parser(__doc__, "1000000", 3, ROWS, quick=["backprop", "fa", "np"])
    command.number("--hidden", "hidden units", 200)
    given = command.parse_args()
    name, dataset, steps = f"autoencoder-{given.hidden}", "mnist", 1_000_000
    rate = None
    if given.quick:
        name, dataset, steps, rate = "autoencoder-quick", "digits", 1_000, 1e-3
    originals, labels = images(dataset, given.data_dir, "test")
    examples, inputs = images(dataset, given.data_dir, "train")[0].shape
    carry_out(
        given,
        name,
        functools.partial(network, inputs, given.hidden, 0.0, 0.0),
        data,
        [variant(row, inputs, given.hidden, rate) for row in given.methods],
        {"dataset": dataset, "hidden": given.hidden, "rate": rate},
        table,
        functools.partial(figure, originals=originals, labels=labels),
        compile={
            "loss": half_squared_error,
            "metrics": [],
            "steps_per_execution": min(examples // BATCH, 625),
        },
        epochs=passes_of(given.iterations or steps, examples, BATCH),
        curves=curves,
        batch_size=BATCH,
        metric="val_loss",
        finish=[latent_plane],
    )


if __name__ == "__main__":
    command_line.run(main)

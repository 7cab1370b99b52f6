"""Akrout et al. 2019: weight mirror and Kolen-Pollack on MNIST, beside their published log.

    python -m examples.classics.akrout --data-dir DIRECTORY --output docs/results/classics
    python -m examples.classics.akrout --quick

The network has 784-500-10 units with sigmoids in both layers. The loss is the sum of the outputs'
cross-entropies. SGD has batches of 128 and learning rates of 0.2 (backpropagation, FA), 0.3 (KP)
and 0.05 (WM). Initial weights, biases and B are Gaussian with variance 1 / (in + out).

All this is as in the authors' implementation, whose log has one run per method (`PUBLISHED`). The
authors' implementation differs from the text of the paper: KP has no weight decay; the mirror's
normalisation of B has no effect, so that B grows only by the amplifying term, for an epoch before
training and by one step with every training step; biases learn at 1/128 of the rate. Unlike in the
authors' implementation, examples are shuffled here, and the mirror step comes before the training
step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.curves import by_variant

BATCH = 128
RATES = {"backprop": 0.2, "fa": 0.2, "kp": 0.3, "wm": 0.05}
EPOCHS = (1, 2, 5, 10, 15)  # columns of the table
MIRROR_RATE = 0.01  # learning rate for the sum over the batch
# The noise is uniform between -0.05 and 0.05, and the response is the unit's output with its bias.
MIRROR = ta.feedback.Alignment(
    {"amp": 1.0}, response="output", noise=ta.Noise("uniform", 0.1 / 12**0.5)
)
# Test accuracies and angles (degrees) after the epochs in `EPOCHS`, from the authors' log.
PUBLISHED = {
    "accuracy": {
        "backprop": (0.8800, 0.8969, 0.9184, 0.9412, 0.9524),
        "fa": (0.8549, 0.8804, 0.8988, 0.9086, 0.9163),
        "kp": (0.8890, 0.9065, 0.9346, 0.9541, 0.9653),
        "wm": (0.7848, 0.8423, 0.8848, 0.9049, 0.9160),
    },
    "angle": {
        "fa": (40.0, 34.9, 30.5, 29.3, 29.8),
        "kp": (19.7, 17.1, 13.9, 11.2, 9.7),
        "wm": (61.3, 53.2, 38.0, 27.5, 22.3),
    },
}


def cross_entropy(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Return the sum of the binary cross-entropies of the outputs of each example, `(batch,)`.

    Args:
        labels: Classes, `(batch,)` or `(batch, 1)`.
        outputs: Probability of each class, independent of the others, `(batch, classes)`.
    """
    classes = outputs.shape[-1]
    targets = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), classes)
    return classes * keras.losses.binary_crossentropy(targets, outputs)


@keras.saving.register_keras_serializable(package="examples")
class SlowBias(keras.optimizers.SGD):
    """Plain SGD in which the learning rate of biases is divided by the batch size.

    The authors' implementation takes the mean over the batch twice for biases.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        """Build the optimizer, and determine which variables are biases."""
        super().build(variables)
        self.biases = [variable.name == "bias" for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, at a lower rate if it is a bias."""
        slow = self.biases[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate / BATCH if slow else learning_rate)


def network(inputs: int, hidden: int) -> keras.Model:
    """Return a stock network of sigmoid units, with a hidden layer and ten outputs.

    Args:
        inputs: Number of inputs.
        hidden: Number of hidden units.
    """
    layers = []
    for below, units, name in ((inputs, hidden, "hidden"), (hidden, 10, "output")):
        normal = keras.initializers.RandomNormal(stddev=(below + units) ** -0.5)
        start = {"kernel_initializer": normal, "bias_initializer": normal.clone()}
        layers.append(keras.layers.Dense(units, "sigmoid", name=name, **start))
    return keras.Sequential([keras.Input((inputs,)), *layers])


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a run, with images as vectors and values in [0, 1]."""
    loaded = ta.data.load(run.settings["dataset"], run.data_dir)
    return common.normalised(loaded, 0.0, 1.0, flat=True)


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run, with the learning rate of its method."""
    return SlowBias(RATES[run.variant])


def mirror(run: Any, steps: int = 1) -> ta.phases.Alignment:
    """Return the phase of the weight mirror.

    Args:
        run: Run of the study.
        steps: Number of mirror steps per call of the phase.
    """
    rate = keras.optimizers.SGD(MIRROR_RATE * BATCH)
    return ta.phases.Alignment(
        MIRROR, steps=steps, optimizer=rate, batch_size=BATCH, seed=run.seed + steps
    )


def warm_up(run: Any) -> None:
    """Mirror for an epoch before training, except the last step.

    This step is the mirror step before the first training step.
    """
    if run.phases and not run.resumed:
        mirror(run, run.steps_per_epoch - 1).run(run.model)


def measure(run: Any) -> dict[str, float]:
    """Return the angle between W and B in the output layer in degrees, if there is B."""
    layer = run.model.get_layer("output")
    if getattr(layer, "feedback", None) is None:
        return {}
    pair = layer.kernel, layer.feedback_weights["feedback_kernel"]
    return {"angle": float(ta.metrics.weight_angle(*pair))}


def variant(method: str) -> ta.studies.Variant:
    """Return the row of a method in the study."""
    feedback = {"backprop": None, "wm": "fa"}.get(method, method)
    phases = [mirror] if method == "wm" else []
    return ta.studies.Variant(
        method, feedback, feedback_initializer=None, phases=phases, every="step"
    )


def to_page(run: common.Numbers) -> common.Numbers:
    """Convert a run of the study to the form of the JSON file."""
    curves = {"accuracy": run["curves"]["val_accuracy"], "loss": run["curves"]["loss"]}
    curves |= {name: run["curves"][name] for name in ("angle",) if name in run["curves"]}
    return {name: run[name] for name in ("variant", "seed", "seconds")} | {"curves": curves}


def tables(runs: list[common.Numbers], dataset: str = "mnist") -> Iterable[str]:
    """Yield two Markdown tables, of accuracies and of angles, after the epochs in `EPOCHS`.

    Args:
        runs: Runs of `to_page`.
        dataset: Name of the dataset; for `"mnist"`, a row per method has the published numbers.
    """
    for name, digits, scale in (("accuracy", 1, 100), ("angle", 1, 1)):
        rows = []
        for method, own in common.grouped(runs, "variant").items():
            curves = [run["curves"][name] for run in own if name in run["curves"]]
            if not curves:
                continue
            known = [epoch for epoch in EPOCHS if epoch <= len(curves[0])]
            cells = [
                common.mean_of([c[e - 1] for c in curves]).text(digits, scale=scale) for e in known
            ]
            rows.append((f"`{method}`", str(len(curves)), *cells))
            if dataset == "mnist":
                theirs = PUBLISHED[name][method][: len(known)]
                rows.append(("published", "1", *(f"{scale * x:.{digits}f}" for x in theirs)))
        yield common.markdown(("method", "n", *(f"epoch {epoch}" for epoch in known)), rows)


def draw(runs: list[common.Numbers], dataset: str = "mnist") -> Any:
    """Draw accuracies and angles over the epochs.

    Args:
        runs: Runs of `to_page`.
        dataset: Name of the dataset; for `"mnist"`, circles are the published numbers.
    """
    curves = by_variant(runs)
    labels = {"accuracy": "test accuracy", "angle": "angle of W and B, output (°)"}
    figure = ta.plots.learning_curves(curves, labels=labels)
    if dataset == "mnist":
        looks = ta.plots.styles(list(curves))
        for panel, name in zip(figure.axes, labels, strict=True):
            for method, theirs in PUBLISHED[name].items():
                if method in curves:
                    colour = looks[method].colour
                    panel.plot(EPOCHS, theirs, "o", markersize=4, color=colour, fillstyle="none")
        figure.axes[0].set_ylim(0.75, 1.0)
        common.caption(figure, f"{figure.get_supxlabel()}; circles: published, one run")
    return figure


def main() -> None:
    """Train the network with all methods, print the tables, and write numbers and figure."""
    parser = command_line.new_parser(
        __doc__,
        "classics",
        methods=RATES,
        seeds=3,
        epochs="15; --quick: 2, digits",
        jobs=True,
    )
    given = parser.parse_args()
    dataset = "digits" if given.quick else "mnist"
    found = ta.data.load(dataset, given.data_dir)  # missing data fail here
    inputs = found.train.x[0].size
    results = common.study(
        given,
        "akrout",
        functools.partial(network, inputs, 50 if given.quick else 500),
        data,
        [variant(method) for method in given.methods],
        compile={"optimizer": optimizer, "loss": cross_entropy},
        epochs=given.epochs or (2 if given.quick else EPOCHS[-1]),
        batch_size=BATCH,
        settings={"dataset": dataset},
        measure=[measure],
        prepare=[warm_up],
        probe=0,
    )
    runs = [to_page(run) for run in common.ended(results)]
    print("", *tables(runs, dataset), sep="\n\n")
    content = {"dataset": dataset, "published": PUBLISHED, "runs": runs}
    common.write(given.output / "akrout", content, draw(runs, dataset))


if __name__ == "__main__":
    command_line.run(main)

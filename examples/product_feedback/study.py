"""Helpers of this folder's scripts: the recipe of training, the study of a network, its files."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.common import Numbers
from examples.decay import FORGETTING, DecaySGD
from examples.product_feedback import figures
from examples.product_feedback.figures import METHODS

__all__ = ["Recipe", "carry_out", "data", "load", "parser", "runs_of", "variant", "with_epochs"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Recipe of training, in the terms of the paper's appendix 1.1.

    Attributes:
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step; examples that fill no batch are dropped.
        rate: Learning rate of SGD with momentum 0.9.
        milestones: Epochs at which the learning rate is multiplied by `factor`.
        factor: Factor on the learning rate at each milestone.
        first_decay: Weight decay in the first epochs, for methods in `FORGETTING`.
        decay: Weight decay in later epochs, and for other methods in all epochs.
        coupled: Whether decay is added to the gradient and passes through momentum, as in PyTorch
            (and as a Keras L2 regularizer of half the value does). Otherwise decay acts beside the
            gradient step, as Keras' `weight_decay`.
        first_epochs: Number of epochs with `first_decay`.
    """

    epochs: int
    batch_size: int
    rate: float
    milestones: tuple[int, ...]
    factor: float
    first_decay: float
    decay: float
    coupled: bool = True
    first_epochs: int = 1

    def optimizer(self, method: str, steps: int) -> keras.optimizers.Optimizer:
        """Return the optimizer for a method.

        Args:
            method: Id of the method.
            steps: Number of steps per epoch.
        """
        rate: Any = self.rate
        if self.milestones:
            values = [self.rate * self.factor**i for i in range(len(self.milestones) + 1)]
            boundaries = [steps * epoch - 1 for epoch in self.milestones]
            rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
        first = self.first_decay if method in FORGETTING else self.decay
        sgd = DecaySGD(rate, first, self.decay, steps * self.first_epochs, self.coupled)
        # `sa` has feedback weights that learn by alignment, which need an optimizer of their own.
        return ta.optimizers.split(sgd) if method == "sa" else sgd


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return a recipe with another number of epochs, and milestones moved in proportion.

    Args:
        recipe: Recipe.
        epochs: Number of epochs; None for the recipe as it is.
    """
    if epochs is None:
        return recipe
    milestones = tuple(round(m * epochs / recipe.epochs) for m in recipe.milestones)
    return dataclasses.replace(
        recipe, epochs=epochs, milestones=tuple(m for m in dict.fromkeys(milestones) if m > 0)
    )


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer of a study's run, by the recipe in the settings of the run."""
    recipe = Recipe(**{**run.settings["recipe"], "rate": run.settings["rate"]})
    return recipe.optimizer(run.settings["method"], run.steps_per_epoch)


def load(settings: Mapping[str, Any], data_dir: str | None) -> ta.data.Arrays:
    """Return a dataset with normalised inputs.

    Args:
        settings: Dict with the name of the `dataset`, and optionally `flat`, whether inputs become
            vectors; `mean` and `deviation` of the inputs, by default those of the training split;
            and `examples`, the number of training examples.
        data_dir: Directory of the TensorFlow Datasets.
    """
    data = ta.data.load(settings["dataset"], data_dir)
    data = common.shortened(data, settings.get("examples"))
    return common.normalised(
        data, settings.get("mean"), settings.get("deviation"), settings.get("flat", False)
    )


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run."""
    return load(run.settings["data"], run.data_dir)


def settled_angles(run: Any) -> Numbers:
    """Return the path angle of each layer if product feedback had forgotten its start completely.

    Then `R = W Bᵀ`, and the path is `W BᵀB`. The theory gives the mean of the angle between W and
    this path over random `B`, for weights without a preferred direction; in a layer with few units
    the angle can differ from this mean.

    Returns:
        `{"settled_angle": {name of the layer: degrees}}`, without layers if there is no product
        feedback.
    """
    found = {}
    for layer in run.model.layers:
        if isinstance(getattr(layer, "feedback", None), ta.feedback.ProductFeedback):
            weights = {n: tf.convert_to_tensor(w) for n, w in layer.feedback_weights.items()}
            gram = weights.get("product_gram")
            if gram is None:
                gram = tf.matmul(weights["product_fixed"], weights["product_fixed"], True)
            kernel = tf.convert_to_tensor(layer.kernel)
            path = tf.tensordot(kernel, gram, 1)
            found[layer.name] = round(float(ta.metrics.path_angle(kernel, path)), 6)
    return {"settled_angle": found}


def variant(
    method: str,
    recipe: Recipe,
    *,
    name: str | None = None,
    feedback: Any = None,
    expansion: float = 10.0,
    input_layer: bool = False,
    rate: float | None = None,
) -> ta.studies.Variant:
    """Return a row of a study.

    Args:
        method: Id in `METHODS`, which also determines the weight decay.
        recipe: Recipe of training.
        name: Name of the row; by default the id of the method.
        feedback: Feedback rule for `ta.convert`; by default that of the method.
        expansion: Expansion ratio of product feedback.
        input_layer: Whether the lowest layer, below which nothing learns, has feedback weights too.
            They cost time and only add measurements.
        rate: Learning rate; by default that of the recipe.
    """
    if feedback is None:
        # Under SGD the path in one matrix learns the same as R and B, with a tenth of the weights.
        feedback = (
            ta.feedback.ProductFeedback(expansion, orthogonal=method == "pfa_o", collapsed=True)
            if method in ("pfa", "pfa_o")
            else method
        )
    return ta.studies.Variant(
        name or method,
        feedback,
        # By default the lowest layer is left out; a pattern that matches all layers includes it.
        include=".*" if input_layer and method not in ("backprop", "dfa") else None,
        feedback_initializer=None,
        settings={
            "method": method,
            "rate": recipe.rate if rate is None else rate,
            "expansion": expansion,
            "input_layer": input_layer,
        },
    )


def runs_of(
    name: str,
    network: Callable[[], keras.Model],
    source: Any,
    recipe: Recipe,
    variants: Sequence[ta.studies.Variant],
    arguments: argparse.Namespace,
    *,
    settings: Mapping[str, Any],
    compiled: bool = True,
    probe: int = 500,
    finish: Sequence[Any] = (),
) -> list[Numbers]:
    """Make the runs of a study that are missing, and return all its runs.

    Args:
        name: Name of the study and of its folder.
        network: Function that returns the stock network.
        source: Function of the run that returns the data to train and test on.
        recipe: Recipe of training.
        variants: Rows of the study, see `variant`.
        arguments: Parsed command line with the flags of `command_line.new_parser`.
        settings: Settings of the data, which `source` reads.
        compiled: Whether XLA compiles the training step.
        probe: Number of test examples on which gradients are compared.
        finish: Further functions of the run that measure a trained model.

    Returns:
        Runs with settings and curves, in the form of the files in docs/results.
    """
    results = common.study(
        arguments,
        name,
        network,
        source,
        variants,
        compile={"optimizer": optimizer, "jit_compile": compiled},
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        settings={"recipe": dataclasses.asdict(recipe), "data": dict(settings)},
        finish=[settled_angles, *finish],
        probe=probe,
        on_divergence="warn",
    )
    weights = network().count_params()
    chosen = {row.name: row.settings for row in variants}
    return [
        to_page(run, name, recipe, chosen[run["variant"]], weights) for run in common.ended(results)
    ]


def to_page(
    run: Numbers, name: str, recipe: Recipe, settings: Mapping[str, Any], weights: int
) -> Numbers:
    """Convert a run of a study to the form of the files in docs/results.

    Args:
        run: Run as the study has stored it.
        name: Name of the study.
        recipe: Recipe of training.
        settings: Settings of the run's variant.
        weights: Number of parameters of the stock network.
    """
    return {
        "study": name if run["variant"] == settings["method"] else run["variant"],
        "method": settings["method"],
        "seed": run["seed"],
        "recipe": {**dataclasses.asdict(recipe), "rate": settings["rate"]},
        "expansion": settings["expansion"],
        "input_layer": settings["input_layer"],
        "weights": weights,
        "seconds": run["seconds"],
        **run["finish"],
        "curves": curves_of(run["curves"]),
    }


def curves_of(history: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the curves of a run under shorter names.

    Args:
        history: Curves as the study has stored them.

    Returns:
        `accuracy`, `train_accuracy`, `loss`, and for each layer `<layer>/angle` (of weights or of
        the path), `<layer>/gradient_angle` and `<layer>/norm_ratio`.
    """
    names = {"val_accuracy": "accuracy", "accuracy": "train_accuracy", "loss": "loss"}
    measures = {
        "weight_angle": "angle",
        "path_angle": "angle",
        "gradient_angle": "gradient_angle",
        "norm_ratio": "norm_ratio",
    }
    for name in history:
        *path, measure = name.split("/")
        if measure in measures and path not in ([], ["mean"], ["hidden"]):
            names[name] = f"{path[-1]}/{measures[measure]}"
    return {new: list(history[old]) for old, new in names.items()}


def parser(
    text: str, epochs: str, width: int, seeds: int = 5, **methods: Any
) -> command_line.Parser:
    """Return a parser with the flags of scripts that train one network with several methods.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
        epochs: Description of the default of `--epochs`.
        width: Default of `--width` without `--quick`, for its help text.
        seeds: Default of `--seeds` without `--quick`.
        **methods: Defaults of `--methods`, see `command_line.new_parser`.
    """
    new = command_line.new_parser(
        text,
        "product_feedback",
        methods=METHODS,
        epochs=epochs,
        seeds=seeds,
        jobs=True,
        **methods,
    )
    new.number("--width", f"of the layers ({width})")
    return new


def carry_out(
    arguments: argparse.Namespace,
    name: str,
    network: Callable[[], keras.Model],
    source: Any,
    recipe: Recipe,
    *,
    rates: Mapping[str, float] | None = None,
    input_layer: bool = False,
    **options: Any,
) -> None:
    """Train a network with all methods, print the table, and write figure and numbers.

    Args:
        arguments: Parsed command line of `parser`.
        name: Name of the study and of its files.
        network: Function that returns the stock network.
        source: Function of the run that returns the data to train and test on.
        recipe: Recipe of training.
        rates: Learning rates of methods that do not have that of the recipe, by id.
        input_layer: Whether the lowest layer has feedback weights too.
        **options: Further arguments of `runs_of`.
    """
    print(f"{name}: {recipe}", flush=True)
    rates = rates or {}
    variants = [
        variant(method, recipe, input_layer=input_layer, rate=rates.get(method))
        for method in dict.fromkeys(arguments.methods)
    ]
    runs = runs_of(name, network, source, recipe, variants, arguments, **options)
    print("", figures.table(runs), sep="\n")
    formula = {
        "angle": float(ta.analysis.product_path_angle(10.0)),
        "norm_ratio": float(ta.analysis.product_norm_ratio(10.0)),
    }
    figure = figures.draw(runs, 10.0)
    common.write(arguments.output / name, {"formula": formula, "runs": runs}, figure)

"""What the scripts of this folder share: the recipe, the study of a network, and its files."""

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
    """How a network is trained: the values of the paper's appendix 1.1.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Examples a step; what is left at the end of an epoch is dropped.
        rate: Learning rate of SGD with momentum 0.9.
        milestones: Epochs at which the rate is multiplied by `factor`.
        factor: See `milestones`.
        first_decay: Weight decay in the first epochs for methods that forget by decay.
        decay: Weight decay after it, and throughout for the others.
        coupled: Whether decay joins the gradient and passes through momentum, as in PyTorch (and as
            a Keras L2 regularizer of half the value does), or acts next to it (Keras'
            `weight_decay`).
        first_epochs: How many epochs have `first_decay`.
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
        """The optimizer for a method, with so many steps an epoch."""
        rate: Any = self.rate
        if self.milestones:
            values = [self.rate * self.factor**i for i in range(len(self.milestones) + 1)]
            boundaries = [steps * epoch - 1 for epoch in self.milestones]
            rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
        first = self.first_decay if method in FORGETTING else self.decay
        sgd = DecaySGD(rate, first, self.decay, steps * self.first_epochs, self.coupled)
        # `sa` learns by alignment and gets an optimizer of its own; the rest is one optimizer's.
        return ta.optimizers.split(sgd) if method == "sa" else sgd


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe squeezed or stretched to so many epochs, milestones in proportion."""
    if epochs is None:
        return recipe
    milestones = tuple(round(m * epochs / recipe.epochs) for m in recipe.milestones)
    return dataclasses.replace(
        recipe, epochs=epochs, milestones=tuple(m for m in dict.fromkeys(milestones) if m > 0)
    )


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """The optimizer of a run, by the recipe in its settings."""
    recipe = Recipe(**{**run.settings["recipe"], "rate": run.settings["rate"]})
    return recipe.optimizer(run.settings["method"], run.steps_per_epoch)


def load(settings: Mapping[str, Any], data_dir: str | None) -> ta.data.Arrays:
    """A dataset, normalised.

    Args:
        settings: `dataset` by name; `flat` for vectors; `mean` and `deviation`, by default those of
            the training split; `examples`, how many to train on.
        data_dir: Where the TensorFlow Datasets are.
    """
    data = ta.data.load(settings["dataset"], data_dir)
    data = common.shortened(data, settings.get("examples"))
    return common.normalised(
        data, settings.get("mean"), settings.get("deviation"), settings.get("flat", False)
    )


def data(run: Any) -> ta.data.Arrays:
    """`load` for a run."""
    return load(run.settings["data"], run.data_dir)


def settled_angles(run: Any) -> Numbers:
    """Path angles of product feedback if nothing were left of the start, by layer, in degrees.

    Then `R = W Bᵀ`, and the path is `W BᵀB`. The theory's angle is the mean of this over random `B`
    for weights without a preferred direction; a layer with few units has its own.

    Returns:
        `{"settled_angle": {layer name: degrees}}`, empty without product feedback.
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
    """A row of a study.

    Args:
        method: Out of `METHODS`; that under which it is trained.
        recipe: How.
        name: Of the row; by default the method's.
        feedback: What `ta.convert` gets; by default the method.
        expansion: Expansion ratio of product feedback.
        input_layer: Whether the lowest layer, below which nothing learns, has feedback weights too.
            They cost time and change nothing but what is measured.
        rate: Learning rate, if not the recipe's.
    """
    if feedback is None:
        # Under SGD the path by itself learns what R and B would make: for a tenth of the weights.
        feedback = (
            ta.feedback.ProductFeedback(expansion, orthogonal=method == "pfa_o", collapsed=True)
            if method in ("pfa", "pfa_o")
            else method
        )
    return ta.studies.Variant(
        name or method,
        feedback,
        # A pattern that every layer matches takes the lowest one too.
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
    """Train what is missing.

    Args:
        name: Of the study's files.
        network: Builds the stock network.
        source: What to train and test on: a function of the run.
        recipe: How to train.
        variants: Rows, see `variant`.
        arguments: Of `parser`.
        settings: For `source`.
        compiled: Whether XLA compiles the step.
        probe: Examples of the test split on which gradients are compared.
        finish: Further functions of the run that measure a trained model.

    Returns:
        All runs, settings and curves, as in the files of docs/results.
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
    """A run as the files of docs/results have it."""
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
    """What a run's history holds, under shorter names.

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
    """The command line of the scripts that train one network with several methods."""
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
    """Train with all methods, print the table, write figure and numbers."""
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

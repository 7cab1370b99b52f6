"""What the scripts of this folder share: training with resumption, and the command line.

A run is one method from one seed. A finished run is a JSON file in the output directory and is
not done again; a killed one goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples.common import (
    Numbers,
    Progress,
    add_data_dir,
    devices,
    finished,
    new_parser,
    normalised,
    positive,
    versions,
    write_json,
)
from examples.product_feedback import figures
from examples.product_feedback.recipe import METHODS, Recipe

__all__ = ["InMemory", "Numbers", "Recipe", "Source", "Study", "normalised"]


class Batches(Protocol):
    """The training data of one run, as `ta.data.EpochShuffled` is.

    Attributes:
        epoch: Which epoch the next pass is; the order of the examples depends on it.
        dataset: Batches of one epoch.
    """

    epoch: int
    dataset: tf.data.Dataset

    def __len__(self) -> int:
        """Number of batches an epoch."""


class Source(Protocol):
    """Where a study has its data from.

    Attributes:
        validation: Batches of the test data.
    """

    validation: tf.data.Dataset

    def batches(self, seed: int, size: int) -> Batches:
        """The training data in the order of a seed; called in the scope of the strategy."""

    def probe(self, examples: int) -> tuple[Any, Any]:
        """So many inputs and labels of the test data."""


class InMemory:
    """Arrays as a `Source`.

    Args:
        data: Normalised.
    """

    def __init__(self, data: ta.data.Arrays) -> None:
        self.data = data
        self.validation = tf.data.Dataset.from_tensor_slices(tuple(data.test)).batch(500)

    def batches(self, seed: int, size: int) -> ta.data.EpochShuffled:
        """The training split in the order of a seed; what is left of an epoch is dropped."""
        return ta.data.EpochShuffled(*self.data.train, size, seed=seed, drop_remainder=True)

    def probe(self, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """The first examples of the test split."""
        return self.data.test.x[:examples], self.data.test.y[:examples]


@dataclasses.dataclass(frozen=True)
class Study:
    """A network on a dataset, to be trained with several methods from several seeds.

    Attributes:
        name: Prefix of the files.
        network: Builds the stock network.
        data: What to train and test on.
        recipe: How to train.
        output: Directory for all files.
        expansion: Expansion ratio of product feedback.
        input_layer: Whether the lowest layer, below which nothing learns, has feedback weights too.
            They cost time and change nothing but what is measured.
        compiled: Whether XLA compiles the step.
        probe: Examples of the test split on which gradients are compared.
        strategy: Name of what trains, see `ta.distribute.strategy`.
    """

    name: str
    network: Callable[[], keras.Model]
    data: Source
    recipe: Recipe
    output: Path
    expansion: float = 10.0
    input_layer: bool = False
    compiled: bool = True
    probe: int = 500
    strategy: str = "default"

    @property
    def writes(self) -> bool:
        """Whether this process writes files: of several workers the first one does."""
        return ta.distribute.worker(devices(self.strategy))[0] == 0

    def feedback(self, method: str) -> Any:
        """The method's object, or id where it has no settings."""
        if method not in ("pfa", "pfa_o"):
            return method
        # Under SGD the path by itself learns what R and B would make: for a tenth of the weights.
        return ta.feedback.ProductFeedback(
            self.expansion, orthogonal=method == "pfa_o", collapsed=True
        )

    def model(self, method: str, seed: int) -> keras.Model:
        """The network of a seed, converted: the forward weights are the same for all methods."""
        keras.utils.set_random_seed(seed)
        # A pattern that every layer matches takes the lowest one too.
        include = ".*" if self.input_layer and method not in ("backprop", "dfa") else None
        return ta.convert(
            self.network(), self.feedback(method), include=include, feedback_initializer=None
        )

    def run(self, method: str, seed: int, text: str = "", rate: float | None = None) -> Numbers:
        """Train one method from one seed, or read what came of it before.

        Args:
            method: Its id.
            seed: Of the weights and of the order of the examples.
            text: What the lines of progress begin with.
            rate: Learning rate, if not the recipe's.

        Returns:
            Settings and curves, as in the JSON file.

        Raises:
            ValueError: If the output directory holds that run with other settings.
        """
        recipe = self.recipe if rate is None else dataclasses.replace(self.recipe, rate=rate)
        settings = {
            "study": self.name,
            "method": method,
            "seed": seed,
            "recipe": dataclasses.asdict(recipe),
            "expansion": self.expansion,
            "input_layer": self.input_layer,
            "weights": self.network().count_params(),
        }
        stem = f"{self.name}-{method}-{seed}"
        file = self.output / "runs" / f"{stem}.json"
        done = finished(file, settings)
        if done is not None:
            print(f"{text or stem}  was finished before: {file}", flush=True)
            return done
        start = time.perf_counter()
        keras.utils.clear_session()  # else the models of earlier runs stay in memory
        model, curves = self._train(method, seed, recipe, text or stem, stem)
        result = {
            **settings,
            "seconds": round(time.perf_counter() - start, 1),
            "settled_angle": settled_angles(model),
            **self.measure(model),
            "curves": curves,
        }
        if self.writes:
            write_json(file, result)
        return result

    def measure(self, model: keras.Model) -> Numbers:
        """What a study measures in a trained model besides; for subclasses."""
        return {}

    def _train(
        self, method: str, seed: int, recipe: Recipe, text: str, stem: str
    ) -> tuple[keras.Model, dict[str, list[float]]]:
        """Train; return model, and curves over the epochs, by quantity or layer and quantity."""
        with devices(self.strategy).scope():
            train = self.data.batches(seed, recipe.batch_size)
            model = self.model(method, seed)
            model.compile(
                recipe.optimizer(method, len(train)),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                # The loop of `fit` costs as much as a small step: leave it once for so many.
                steps_per_execution=min(50, len(train)),
                jit_compile=self.compiled,
            )
        history = model.fit(
            train.dataset,
            epochs=recipe.epochs,
            shuffle=False,
            validation_data=self.data.validation,
            callbacks=[
                ta.callbacks.AlignmentMonitor(
                    probe_data=self.data.probe(self.probe), on_divergence="warn"
                ),
                Progress(text),
                ta.callbacks.Resume(self.output / "unfinished" / stem, data=train),
            ],
            verbose=0,
        ).history
        return model, curves_of(history)

    def run_all(
        self, methods: Sequence[str], seeds: int, rates: Mapping[str, float]
    ) -> list[Numbers]:
        """Train every method from every seed, one seed after the other.

        Args:
            methods: Ids.
            seeds: Number of seeds.
            rates: Learning rates of methods that differ from the recipe's.

        Returns:
            All runs.
        """
        runs: list[Numbers] = []
        for seed in range(seeds):
            for method in methods:
                text = f"[{len(runs) + 1}/{seeds * len(methods)}] {method} seed {seed}"
                runs.append(self.run(method, seed, text, rates.get(method)))
        return runs


def settled_angles(model: keras.Model) -> dict[str, float]:
    """Path angles of product feedback if nothing were left of the start, by layer, in degrees.

    Then `R = W Bᵀ`, and the path is `W BᵀB`. The theory's angle is the mean of this over random `B`
    for weights without a preferred direction; a layer with few units has its own.

    Args:
        model: Converted, with or without product feedback.

    Returns:
        `{layer name: degrees}`, empty without product feedback.
    """
    found = {}
    for layer in model.layers:
        if isinstance(getattr(layer, "feedback", None), ta.feedback.ProductFeedback):
            weights = {n: tf.convert_to_tensor(w) for n, w in layer.feedback_weights.items()}
            gram = weights.get("product_gram")
            if gram is None:
                gram = tf.matmul(weights["product_fixed"], weights["product_fixed"], True)
            kernel = tf.convert_to_tensor(layer.kernel)
            path = tf.tensordot(kernel, gram, 1)
            found[layer.name] = round(float(ta.metrics.path_angle(kernel, path)), 6)
    return found


def curves_of(history: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """What a run's history holds, under shorter names and rounded.

    Args:
        history: `{name: values over the epochs}` of a model with an `AlignmentMonitor`.

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
        if measure in measures and path != ["mean"]:
            names[name] = f"{path[-1]}/{measures[measure]}"
    return {new: [round(float(v), 6) for v in history[old]] for old, new in names.items()}


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe squeezed or stretched to so many epochs, milestones in proportion."""
    if epochs is None:
        return recipe
    milestones = tuple(round(m * epochs / recipe.epochs) for m in recipe.milestones)
    return dataclasses.replace(
        recipe, epochs=epochs, milestones=tuple(m for m in dict.fromkeys(milestones) if m > 0)
    )


def parser(
    text: str, epochs: str, width: int | str, methods: Sequence[str] = METHODS, seeds: int = 5
) -> argparse.ArgumentParser:
    """The command line that all training scripts share.

    Args:
        text: The script's docstring.
        epochs: Says the default number of epochs.
        width: Says the default width.
        methods: The default methods.
        seeds: The default number of seeds.

    Returns:
        A parser, to be extended.
    """
    new = new_parser(text, "product_feedback")
    new.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        metavar="ID",
        help=f"out of {', '.join(METHODS)} (default: {', '.join(methods)})",
    )
    new.add_argument("--epochs", type=positive, help=f"default: {epochs}")
    new.add_argument("--width", type=positive, help=f"default: {width}")
    new.add_argument("--seeds", type=positive, default=seeds, help=f"runs a method ({seeds})")
    add_data_dir(new)
    return new


def carry_out(
    arguments: argparse.Namespace,
    study: Study,
    methods: Sequence[str] = METHODS,
    rates: Mapping[str, float] | None = None,
) -> None:
    """Train all, print the table, write figure and numbers.

    Args:
        arguments: Of `parser`.
        study: What to train.
        methods: With which methods, if the command line names none.
        rates: Learning rates of methods that differ from the recipe's.
    """
    seeds = 1 if arguments.quick else arguments.seeds
    print(f"{study.name}: {study.recipe}", flush=True)
    runs = study.run_all(arguments.methods or methods, seeds, rates or {})
    print("", figures.table(runs), sep="\n")
    if not study.writes:
        return
    report = {
        "versions": versions(),
        "formula": {
            "angle": float(ta.analysis.product_path_angle(study.expansion)),
            "norm_ratio": float(ta.analysis.product_norm_ratio(study.expansion)),
        },
        "runs": runs,
    }
    write_json(study.output / f"{study.name}.json", report)
    figures.draw(runs, study.output / f"{study.name}.png", study.expansion)
    print(f"\nFigure and numbers: {study.output / study.name}.png and .json", flush=True)

"""Where does each alignment rule train? A map over the learning rates of W and of B.

    python -m examples.two_routes.where_rules_train --quick
    python -m examples.two_routes.where_rules_train --network convolutional
    python -m examples.two_routes.where_rules_train --network perceptron --data-dir ~/tfds
    python -m examples.two_routes.where_rules_train --network resnet20

Every cell of a map is a pair of learning rates. The horizontal axis is the rate of the forward
weights W, which learn by SGD with momentum 0.9. The vertical axis is the rate of the feedback
weights B, which learn by plain SGD or Adam and a rule whose coefficients are 1. A cell shows how
many percentage points of test accuracy the rule is behind backpropagation at the same forward rate.
Each rule is tried with sums over positions, as printed in the paper, and with the options of this
library that divide by the scale of the layer. Rules whose name ends in "Adam" have an adaptive
optimizer for B, as published for activation alignment. Rules whose name ends in "alternating" are
trained as published for local rules: steps of alignment alternate with steps of the task, in twice
as many epochs, so that W has as many steps as with the other rules.

Finished runs are stored in the output directory and not repeated.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import textwrap
from typing import Any

import keras
import numpy as np
from matplotlib import colormaps

import tf_alignment as ta
from examples import command_line, common, networks
from examples.two_routes.alternation import in_turns
from tf_alignment.studies.models import named_model

FORWARD = (0.003, 0.01, 0.03, 0.1)
FEEDBACK = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
CLOSE = 2.0  # points behind backpropagation that still count as trained
ALTERNATING = "alternating"

_ACTIVITY = {"noise": None, "normalize": None, "response_bias": True}
_GAUSSIAN = {"noise": "gaussian", "normalize": None}
RULES: dict[str, ta.feedback.Alignment] = {
    "SA": ta.feedback.SymmetricAlignment(1.0, 1.0),
    "AA, on activity, sums": ta.feedback.ActivationAlignment(1.0, 1.0, **_ACTIVITY),
    "AA, on activity, per input power": ta.feedback.ActivationAlignment(
        1.0, 1.0, **{**_ACTIVITY, "normalize": "input"}
    ),
    "AA, on noise, per input power": ta.feedback.ActivationAlignment(
        1.0, 1.0, noise="rademacher", normalize="input"
    ),
    "WM, on noise, sums": ta.feedback.WeightMirror(1.0, 1.0, normalize=None),
    # since the noise has power 1, this equals the mean over positions
    "WM, on noise, per input power": ta.feedback.WeightMirror(1.0, 1.0, normalize="variance"),
    "WM, on activity, sums": ta.feedback.WeightMirror(1.0, 1.0, **_ACTIVITY),
    "IA, on activity, sums": ta.feedback.InformationAlignment(1.0, 1.0, 0.1, **_ACTIVITY),
    "IA, on noise, per input power": ta.feedback.InformationAlignment(
        1.0, 1.0, 0.1, normalize="variance"
    ),
    # Published ingredients, which `optimizer` and `measure` find in the name: Adam for B, and steps
    # of alignment between those of the task.
    "AA, on activity, Adam": ta.feedback.ActivationAlignment(1.0, 1.0, **_ACTIVITY),
    "WM, on noise, Adam": ta.feedback.WeightMirror(1.0, 1.0, normalize=None),
    "IA, on activity, Adam": ta.feedback.InformationAlignment(1.0, 1.0, 0.1, **_ACTIVITY),
    "WM, on Gaussian noise, Adam": ta.feedback.WeightMirror(1.0, 1.0, **_GAUSSIAN),
    "IA, on Gaussian noise, Adam": ta.feedback.InformationAlignment(1.0, 1.0, 0.1, **_GAUSSIAN),
    "WM, on Gaussian noise, Adam, alternating": ta.feedback.WeightMirror(1.0, 1.0, **_GAUSSIAN),
    "IA, on Gaussian noise, Adam, alternating": ta.feedback.InformationAlignment(
        1.0, 1.0, 0.1, **_GAUSSIAN
    ),
    "WM, on activity, Adam, alternating": ta.feedback.WeightMirror(1.0, 1.0, **_ACTIVITY),
    "IA, on activity, Adam, alternating": ta.feedback.InformationAlignment(
        1.0, 1.0, 0.1, **_ACTIVITY
    ),
}

# name: (network, dataset, epochs, batch size)
NETWORKS: dict[str, tuple[Any, str, int, int]] = {
    "convolutional": (functools.partial(named_model, "small", (8, 8, 1), 10), "digits", 10, 32),
    "perceptron": (
        functools.partial(networks.perceptron, (28, 28, 1), (256, 256, 10)),
        "mnist",
        1,
        64,
    ),
    "resnet20": (functools.partial(networks.residual, 8, 8, 1), "digits", 8, 32),
}


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """Return the optimizers of a run, with constant rates: one for W, one for B.

    W has SGD with momentum. B has Adam if the name of the variant has "Adam" in it, else plain SGD.
    """
    rates, between = run.settings, int(ALTERNATING in run.variant)
    forward = in_turns("sgd", between, aligns=False)
    feedback = in_turns("adam" if "Adam" in run.variant else "sgd", between, aligns=True)
    return ta.optimizers.split(
        forward(rates["forward"], momentum=0.9), feedback(rates["feedback"], name="feedback")
    )


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Make the runs that the file of results lacks, and return all results of the file.

    The study has one case per forward rate, and one variant per pair of rule and feedback rate.

    Args:
        given: Parsed command line.

    Returns:
        `{key of a run: test accuracy in percent}`, 10 (chance) for a run that diverged.
    """
    file = given.output / f"{given.network}.json"
    found: dict[str, float] = json.loads(file.read_text())["runs"] if file.exists() else {}
    build, dataset, epochs, batch_size = NETWORKS[given.network]
    pairs = [(name, rule, rate) for name, rule in given.rules.items() for rate in given.feedback]
    cells = {
        f"{name}, {rate:g}".replace("/", " "): (name, rule, rate)
        for name, rule, rate in [("backprop", None, 0.0), *pairs]
        if any(
            key(name, forward, rate, seed) not in found
            for forward in given.forward
            for seed in range(given.seeds)
        )
    }
    if not cells:
        return found
    results = common.study(
        given,
        given.network,
        [
            ta.studies.Case(f"W {rate:g}", build, settings={"forward": rate})
            for rate in given.forward
        ],
        dataset,
        [
            ta.studies.Variant(
                cell,
                rule,
                feedback_initializer=None,
                epochs=2 * epochs if ALTERNATING in name else epochs,
                settings={"feedback": rate},
            )
            for cell, (name, rule, rate) in cells.items()
        ],
        compile={"optimizer": optimizer, "steps_per_execution": 10},
        epochs=epochs,
        batch_size=batch_size,
        probe=0,
        on_divergence=None,
        title=f"Where rules train: {given.network}",
    )
    forward = {f"W {rate:g}": rate for rate in given.forward}
    for run in common.ended(results):
        name, _, feedback = cells[run["variant"]]
        accuracy = (run["curves"].get("val_accuracy") or [None])[-1]
        found[key(name, forward[run["case"]], feedback, run["seed"])] = (
            10.0 if run["status"] == "diverged" or accuracy is None else 100.0 * accuracy
        )
    common.write_json(file, {"versions": common.versions(), "runs": found})
    return found


def key(name: str, forward: float, feedback: float, seed: int) -> str:
    """Return the key under which the accuracy of a run is stored.

    Args:
        name: Name of the rule, or `"backprop"`.
        forward: Learning rate of W.
        feedback: Learning rate of B.
        seed: Seed of the run.
    """
    return f"{name} | W {forward:g} | B {feedback:g} | seed {seed}"


def behind(found: dict[str, float], name: str, arguments: argparse.Namespace) -> np.ndarray:
    """Return how far a rule is behind backpropagation, in percentage points of test accuracy.

    Args:
        found: Accuracies of `measure`.
        name: Name of the rule.
        arguments: Parsed command line.

    Returns:
        Map of means over the seeds, `(feedback rates, forward rates)`.
    """

    def accuracy(name: str, forward: float, feedback: float) -> float:
        runs = [found[key(name, forward, feedback, s)] for s in range(arguments.seeds)]
        return float(np.mean(runs))

    return np.array(
        [
            [accuracy("backprop", w, 0.0) - accuracy(name, w, b) for w in arguments.forward]
            for b in arguments.feedback
        ]
    )


def draw(maps: dict[str, np.ndarray], arguments: argparse.Namespace) -> Any:
    """Draw one map per rule; the lighter a cell, the closer the rule is to backpropagation.

    Args:
        maps: `{name of the rule: map of behind}`.
        arguments: Parsed command line.
    """
    columns = 2 if len(maps) == 4 else min(3, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure, axes = common.new_figure(rows, columns)
    for panel in axes.flat[len(maps) :]:
        panel.remove()
    for panel, (name, values) in zip(axes.flat, maps.items(), strict=False):
        panel.grid(visible=False)
        panel.imshow(values, origin="lower", cmap=colormaps["viridis_r"], vmin=0, vmax=10)
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value < 4 else "white"
            text = f"{value + 0.0:.1f}".replace("-0.0", "0.0")
            panel.text(column, row, text, ha="center", va="center", size=8, color=colour)
        panel.set_title(textwrap.fill(name, 34), size=8)
        panel.set_xticks(range(len(arguments.forward)), [f"{r:g}" for r in arguments.forward])
        panel.set_yticks(range(len(arguments.feedback)), [f"{r:g}" for r in arguments.feedback])
        panel.set_xlabel("rate of W", size=8)
        panel.set_ylabel("rate of B", size=8)
        panel.tick_params(labelsize=7)
    figure.suptitle("points of test accuracy behind backpropagation", size=10)
    common.caption(figure, common.of_seeds({arguments.seeds}))
    return figure


def parse() -> argparse.Namespace:
    """Read the command line, and check that the dataset is there."""
    parser = command_line.new_parser(__doc__, "two_routes", seeds=1, jobs=True)
    parser.add_argument("--network", choices=list(NETWORKS), default="convolutional")
    parser.add_argument("--forward", type=float, nargs="+", metavar="RATE")
    parser.add_argument("--feedback", type=float, nargs="+", metavar="RATE")
    parser.add_argument(
        "--rules",
        nargs="+",
        choices=list(RULES),
        metavar="RULE",
        help=f"out of {', '.join(RULES)} (default: all; --quick: the first)",
    )
    names = list(RULES)
    parser.usual |= {
        "forward": (FORWARD, (0.003, 0.01)),
        "feedback": (FEEDBACK, (0.03, 0.3)),
        "rules": (names, names[:1]),
    }
    arguments = parser.parse_args()
    ta.data.load(NETWORKS[arguments.network][1], arguments.data_dir)  # missing data fail here
    arguments.rules = {name: RULES[name] for name in arguments.rules}
    return arguments


def main() -> None:
    """Make the runs that are missing, print how often each rule trains, and draw the maps."""
    arguments = parse()
    found = measure(arguments)
    maps = {name: behind(found, name, arguments) for name in arguments.rules}
    rows = [(n, f"{int(np.sum(values <= CLOSE))} of {values.size}") for n, values in maps.items()]
    head = ("rule", f"cells within {CLOSE:g} points of backpropagation")
    print("", common.markdown(head, rows), sep="\n")
    path = arguments.output / f"{arguments.network}.png"
    common.save(draw(maps, arguments), path)
    print(f"\nFigure: {path}")


if __name__ == "__main__":
    command_line.run(main)

"""Where does each alignment rule train? A map over the two rates: of W and of B.

    python -m examples.two_routes.where_rules_train --quick
    python -m examples.two_routes.where_rules_train --network convolutional
    python -m examples.two_routes.where_rules_train --network perceptron --data-dir ~/tfds
    python -m examples.two_routes.where_rules_train --network resnet20

Every cell of a map is a training run: across, the learning rate of the forward weights, under SGD
with momentum 0.9; upwards, that of the feedback weights, under plain SGD or Adam, for a rule whose
coefficients are 1. Shown is by how many points of test accuracy the run stays behind
backpropagation at the same forward rate. Each rule is there with sums over positions, as printed,
and with the options of this library that take the layer's scale out of it. The published procedure
has an adaptive optimizer for B (activation alignment), or steps that alternate (local rules), which
is in `search` and `depth_sweep`.

Finished runs are kept in the output directory and not repeated.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from typing import Any

import keras
import numpy as np
from matplotlib import colormaps

import tf_alignment as ta
from examples import command_line, common, networks
from tf_alignment.studies.models import named_model

FORWARD = (0.003, 0.01, 0.03, 0.1)
FEEDBACK = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
CLOSE = 2.0  # points behind backpropagation that still count as trained

_ACTIVITY = {"noise": None, "normalize": None, "response_bias": True}
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
    # the same as the mean over positions: the noise has power 1
    "WM, on noise, per input power": ta.feedback.WeightMirror(1.0, 1.0, normalize="variance"),
    "WM, on activity, sums": ta.feedback.WeightMirror(1.0, 1.0, **_ACTIVITY),
    "IA, on activity, sums": ta.feedback.InformationAlignment(1.0, 1.0, 0.1, **_ACTIVITY),
    "IA, on noise, per input power": ta.feedback.InformationAlignment(
        1.0, 1.0, 0.1, normalize="variance"
    ),
    # with "Adam" in the name it is the optimizer of B, as in the paper
    "AA, on activity, Adam": ta.feedback.ActivationAlignment(1.0, 1.0, **_ACTIVITY),
    "WM, on noise, Adam": ta.feedback.WeightMirror(1.0, 1.0, normalize=None),
    "IA, on activity, Adam": ta.feedback.InformationAlignment(1.0, 1.0, 0.1, **_ACTIVITY),
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
    """Constant rates: that of W, and that of feedback weights that learn."""
    rates = run.settings
    learns = keras.optimizers.Adam if "Adam" in run.variant else keras.optimizers.SGD
    return ta.optimizers.split(
        keras.optimizers.SGD(rates["forward"], momentum=0.9),
        learns(rates["feedback"], name="feedback"),
    )


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Fill in all cells that are not there yet: a case a forward rate, a variant a rule and rate.

    Returns:
        Test accuracies in percent, 10 (chance) for a run that blew up, by `key`.
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
            ta.studies.Variant(cell, rule, feedback_initializer=None, settings={"feedback": rate})
            for cell, (_, rule, rate) in cells.items()
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
    """Under which a run is kept."""
    return f"{name} | W {forward:g} | B {feedback:g} | seed {seed}"


def behind(found: dict[str, float], name: str, arguments: argparse.Namespace) -> np.ndarray:
    """Points behind backpropagation, mean over seeds, `(feedback rates, forward rates)`."""

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
    """One panel a rule; the lighter, the closer to backpropagation."""
    columns = min(3, len(maps))
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
        panel.set_title(name, size=8)
        panel.set_xticks(range(len(arguments.forward)), [f"{r:g}" for r in arguments.forward])
        panel.set_yticks(range(len(arguments.feedback)), [f"{r:g}" for r in arguments.feedback])
        panel.set_xlabel("rate of W", size=8)
        panel.set_ylabel("rate of B", size=8)
        panel.tick_params(labelsize=7)
    figure.suptitle("points of test accuracy behind backpropagation", size=10)
    common.caption(figure, common.of_seeds({arguments.seeds}))
    return figure


def parse() -> argparse.Namespace:
    """The command line."""
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
    ta.data.load(NETWORKS[arguments.network][1], arguments.data_dir)  # what is missing is said here
    arguments.rules = {name: RULES[name] for name in arguments.rules}
    return arguments


def main() -> None:
    """Train, draw, print."""
    arguments = parse()
    found = measure(arguments)
    maps = {name: behind(found, name, arguments) for name in arguments.rules}
    print(f"\n{'rule':<36}cells within {CLOSE:g} points of backpropagation")
    for name, values in maps.items():
        print(f"{name:<36}{int(np.sum(values <= CLOSE))} of {values.size}")
    path = arguments.output / f"{arguments.network}.png"
    common.save(draw(maps, arguments), path)
    print(f"\nFigure: {path}")


if __name__ == "__main__":
    command_line.run(main)

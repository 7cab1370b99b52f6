"""Draw the pictures of docs/results again from the numbers in their folders, without training.

    python tools/redraw.py                                 # all
    python tools/redraw.py node_perturbation/perceptron    # these

Pictures that need more than these numbers are not drawn: trained weights (`two_routes/stability`,
`two_routes/stability-noise`, `rdd/cifar10-figure3b`, `rdd/cifar10-figureS1`), images
(`node_perturbation/autoencoder-latent`), or a simulation or a folder of files, from which their
scripts draw in seconds (`rdd/figure2`, `sequences/text-transformer`, `sequences/text-lstm`,
`sequences/text-hub_transformer`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402

import tf_alignment as ta  # noqa: E402
from examples import common, quickstart  # noqa: E402
from examples.classics import akrout, lillicrap, nokland  # noqa: E402
from examples.imperfect_feedback import study as imperfect  # noqa: E402
from examples.node_perturbation import (  # noqa: E402
    autoencoder,
    cifar,
    fixed_weights,
    perceptron,
)
from examples.own_activity import conditioning  # noqa: E402
from examples.product_feedback import brain, expansion  # noqa: E402
from examples.product_feedback import figures as product  # noqa: E402
from examples.rdd import figures as discontinuity  # noqa: E402
from examples.sal import bias, boltzmann, deep, microcircuit, scatter  # noqa: E402
from examples.two_routes import (  # noqa: E402
    depth_sweep,
    neural_predictivity,
    noise_robustness,
    search,
    where_rules_train,
)

__all__ = ["PICTURES", "RESULTS", "redraw"]

RESULTS = ROOT / "docs" / "results"


def of_mixtures(found: Any) -> Any:
    """Draw the picture of `examples.product_feedback.brain`."""
    groups = common.grouped(found["runs"], "study")
    names = {f"brain-digits-{100 * a:.0f}-{100 * b:.0f}": (a, b) for a, b in brain.MIXTURES}
    return brain.draw({names[name]: own for name, own in groups.items()}, found["model"])


def of_expansions(found: Any) -> Any:
    """Draw the picture of `examples.product_feedback.expansion`, with recomputed spectra."""
    draws = len(found["simulated"][0]["angle"])
    spectra = {e: expansion.spectrum(e, draws) for e in expansion.SPECTRA}
    return expansion.draw(found["simulated"], spectra, found["runs"])


def of_methods(found: Any) -> Any:
    """Draw the picture of `examples.quickstart`."""
    return ta.plots.learning_curves(found["methods"], labels=quickstart.LABELS)


def of_rates(found: Any) -> Any:
    """Draw the picture of `examples.two_routes.where_rules_train`."""
    keys = [key.split(" | ") for key in found["runs"]]
    rates = [
        sorted({float(key[place].split()[1]) for key in keys if key[0] != "backprop"})
        for place in (1, 2)
    ]
    given = argparse.Namespace(forward=rates[0], feedback=rates[1])
    given.seeds = len({key[3] for key in keys})
    names = [name for name in where_rules_train.RULES if any(key[0] == name for key in keys)]
    maps = {name: where_rules_train.behind(found["runs"], name, given) for name in names}
    return where_rules_train.draw(maps, given)


def of_curves(found: Any) -> Any:
    """Draw the upper part of the picture of `examples.node_perturbation.autoencoder`."""
    return autoencoder.figure(found["runs"], np.empty(0), np.empty(0))


def of_runs(draw: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of a file's content that draws its runs.

    Args:
        draw: Function of the runs that returns the figure.
    """
    return lambda found: draw(found["runs"])


def of_full_width(found: Any) -> Any:
    """Draw the picture of `examples.two_routes.depth_sweep` at full width, with its control."""
    runs = []
    for run in found["runs"]:
        settings = run["settings"]
        if settings["method"] == "backprop" and settings["forgetting"]:
            settings = {**settings, "method": "backprop, forgetting"}
        runs.append({**run, "settings": settings})
    return depth_sweep.draw(runs)


def of_product(found: Any) -> Any:
    """Draw the picture of `examples.product_feedback.mnist` or `cifar10`."""
    return product.draw(found["runs"], 10.0)


PICTURES: dict[str, Callable[[Any], Any]] = {
    "biotorch/peers": peers.draw,
    "classics/akrout": of_runs(akrout.draw),
    "classics/lillicrap": of_runs(lillicrap.draw),
    "classics/nokland": of_runs(nokland.draw),
    "node_perturbation/autoencoder": of_curves,
    "node_perturbation/autoencoder-50": of_curves,
    "node_perturbation/cifar10": of_runs(cifar.figure),
    "node_perturbation/cifar10-quarter": of_runs(cifar.figure),
    "node_perturbation/fixed-weights": of_runs(fixed_weights.draw),
    "node_perturbation/perceptron": of_runs(perceptron.figure),
    "own_activity/conditioning": lambda found: conditioning.draw(found["layers"]),
    "product_feedback/brain-digits": of_mixtures,
    "product_feedback/cifar10": of_product,
    "product_feedback/expansion": of_expansions,
    "product_feedback/mnist-forgotten": of_product,
    "product_feedback/mnist-published": of_product,
    "quickstart/mnist": of_methods,
    "sal/bias": lambda found: bias.figure(found["B"], found["biases"]),
    "sal/boltzmann": boltzmann.draw,
    "sal/deep-conv-cifar10": of_runs(deep.draw),
    "sal/deep-conv-cifar10-decay": of_runs(deep.draw),
    "sal/deep-conv-cifar10-narrow": of_runs(deep.draw),
    "sal/deep-perceptron-mnist": of_runs(deep.draw),
    "sal/microcircuit": microcircuit.draw,
    "sal/scatter": scatter.draw,
    "two_routes/depth-cifar10-v1": of_runs(depth_sweep.draw),
    "two_routes/depth-cifar10-v2": of_runs(depth_sweep.draw),
    "two_routes/depth-digits-v1": of_runs(depth_sweep.draw),
    "two_routes/depth-digits-v2": of_runs(depth_sweep.draw),
    "two_routes/depth-full-width": of_full_width,
    "two_routes/ia-published-tuned": lambda found: search.draw(found["trials"]),
    "two_routes/neural-predictivity": lambda found: neural_predictivity.draw(found["networks"]),
    "two_routes/noise-cifar10-v1": of_runs(noise_robustness.draw),
    "two_routes/noise-digits-240": of_runs(noise_robustness.draw),
    "two_routes/tuned-digits-v1": of_runs(depth_sweep.draw),
    "two_routes/tuned-digits-v2": of_runs(depth_sweep.draw),
    "two_routes/wm-published-tuned": lambda found: search.draw(found["trials"]),
    "where_rules_train/convolutional": of_rates,
    "where_rules_train/convolutional-adam": of_rates,
    "where_rules_train/convolutional-alternating": of_rates,
    "where_rules_train/perceptron": of_rates,
    "where_rules_train/perceptron-adam": of_rates,
    "where_rules_train/perceptron-alternating": of_rates,
    "where_rules_train/resnet20": of_rates,
    "where_rules_train/resnet20-adam": of_rates,
    "where_rules_train/resnet20-alternating": of_rates,
}
"""Functions that return a figure, by the name of the JSON file whose content they take."""


def discontinuities(found: Any, stem: Path) -> None:
    """Draw the curves of `examples.rdd` that the page docs/results/rdd.md shows.

    Args:
        found: Content of the JSON file.
        stem: Path of the JSON file in the output directory, without its ending.
    """
    page = RESULTS.joinpath("rdd.md").read_text("utf-8")
    for file in discontinuity.draw(found["runs"], stem):
        if f"(rdd/{file.name})" not in page:
            file.unlink()


def imperfections(found: Any, stem: Path) -> None:
    """Draw both pictures of `examples.imperfect_feedback`.

    Args:
        found: Content of the JSON file.
        stem: Path of the JSON file in the output directory, without its ending.
    """
    for kind, ending in zip(imperfect.KINDS, ("", "-angle"), strict=True):
        imperfect.figure(found, stem.with_name(f"{stem.name}{ending}.png"), kind)


def steps(found: Any, stem: Path) -> None:
    """Draw the picture of `make bench`.

    Args:
        found: Content of the JSON file.
        stem: Path of the JSON file in the output directory, without its ending.
    """
    report.draw(found["rows"], found["rounds"], stem.with_suffix(".png"))


SEVERAL: dict[str, Callable[[Any, Path], None]] = {
    **{f"imperfect_feedback/{name}": imperfections for name in imperfect.VALUES},
    "rdd/cifar10": discontinuities,
    "rdd/cifar10-narrow": discontinuities,
    "rdd/fashion_mnist": discontinuities,
    "rdd/mnist": discontinuities,
    "step_time/step_time": steps,
}
"""Functions that draw and write one or more figures, by the name of the JSON file."""


def redraw(name: str, target: Path = RESULTS) -> None:
    """Draw the pictures of a file with numbers.

    Args:
        name: Name of the JSON file in docs/results, a key of `PICTURES` or `SEVERAL`.
        target: Directory in which the pictures are written to the folder in their name.
    """
    found = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    stem = target / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    if name in PICTURES:
        common.save(PICTURES[name](found), f"{stem}.png")
    else:
        SEVERAL[name](found, stem)


def main() -> None:
    """Draw the pictures that the command line names, or all."""
    known = [*PICTURES, *SEVERAL]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(known)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: docs/results")
    given = parser.parse_args()
    if unknown := set(given.names) - set(known):
        parser.error(f"NAME must be out of {', '.join(known)}. Received: {', '.join(unknown)}")
    for name in given.names or known:
        redraw(name, given.output)
        print(name, flush=True)


if __name__ == "__main__":
    main()

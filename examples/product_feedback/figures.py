"""Tables and figures of the studies of product feedback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import tf_alignment as ta
from examples.common import Numbers, caption, grouped, markdown
from examples.curves import last, stacked, with_deviation

__all__ = ["METHODS", "draw", "table"]

METHODS = ("backprop", "fa", "dfa", "usf", "sa", "kp", "pfa", "pfa_o")
MEASURES = {
    "angle": "feedback angle (°)",
    "gradient_angle": "gradient angle (°)",
    "norm_ratio": "‖B‖ / ‖W‖",
}


def shown(runs: Iterable[Numbers]) -> dict[str, str]:
    """Choose the curves to show, with at most four layers per measure.

    The gradient angle of the highest layer is 0 for all methods and is not shown.

    Args:
        runs: Runs of all methods.

    Returns:
        `{name of the curve: label}`.
    """
    longest = sorted(runs, key=lambda run: -len(run["curves"]))
    found = dict.fromkeys(name for run in longest for name in run["curves"])
    # gradient angles are listed for all layers, also for those without feedback weights
    layers = [name.rpartition("/")[0] for name in found if name.endswith("/gradient_angle")]
    chosen = np.linspace(0, len(layers) - 1, min(4, len(layers))).round().astype(int)
    return {
        f"{layers[i]}/{measure}": f"{label}\n{layers[i]}"
        for measure, label in MEASURES.items()
        for i in chosen
        if any(np.any(run["curves"].get(f"{layers[i]}/{measure}", 0.0)) for run in longest)
    }


def table(runs: Sequence[Numbers]) -> str:
    """Return a Markdown table of the last epoch, with a row per method.

    A row has mean and standard deviation over the seeds.
    """
    curves = shown(runs)
    rows = [
        [
            f"`{method}`",
            with_deviation(last(own, "accuracy", 100.0)),
            *(with_deviation(last(own, curve)) for curve in curves),
        ]
        for method, own in grouped(runs, "method").items()
    ]
    heads = (label.replace("\n", ", ") for label in curves.values())
    return markdown(("method", "test accuracy %", *heads), rows)


def draw(runs: Sequence[Numbers], expansion: float) -> Any:
    """Draw figure 2: accuracy, and a panel per measure and layer.

    Dashed lines are the theory of `pfa`.

    Args:
        runs: Runs of all methods.
        expansion: Expansion ratio of product feedback.
    """
    labels = {"accuracy": "test accuracy", **shown(runs)}
    methods = {
        method: {curve: stacked(own, curve) for curve in labels}
        for method, own in grouped(runs, "method").items()
    }
    figure = ta.plots.learning_curves(methods, labels=labels)
    theory = {
        MEASURES["angle"]: ta.analysis.product_path_angle(expansion),
        MEASURES["norm_ratio"]: ta.analysis.product_norm_ratio(expansion),
    }
    every = np.concatenate([curves["accuracy"].ravel() for curves in methods.values()])
    for panel in figure.axes:
        measure = panel.get_ylabel().partition("\n")[0]
        if measure in theory:
            panel.axhline(float(theory[measure]), color="black", linestyle="--", linewidth=0.8)
        if measure == labels["accuracy"]:
            panel.set_ylim(np.nanquantile(every, 0.05) - 0.005, np.nanmax(every) + 0.005)
        else:
            panel.set_ylim(bottom=0)
    caption(figure, "; ".join(filter(None, (figure.get_supxlabel(), "dashed: theory of pfa"))))
    return figure

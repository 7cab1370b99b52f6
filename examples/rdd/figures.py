"""Figures 3A, 3B, 4, 5 and S1 of the paper, drawn from the numbers of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tf_alignment as ta
from examples.common import grouped, new_figure, save
from examples.rdd.network import DENSE

__all__ = ["draw"]

NAMES = {"bp": "backprop"}  # older files have the id "bp", which the library does not have


def draw(runs: Sequence[dict[str, Any]], stem: Path) -> list[Path]:
    """Draw all figures for which there are runs.

    Args:
        runs: Runs in the form of the files in docs/results.
        stem: Path of the figures, to whose name the number of the figure is appended.

    Returns:
        Files of the figures.
    """
    runs = [{**run, "method": NAMES.get(run["method"], run["method"])} for run in runs]
    groups = grouped(runs, "method")
    curves = {method: [run["curves"] for run in own] for method, own in groups.items()}
    errors = {f"{split}_error": f"{split} error (%)" for split in ("train", "test")}
    figures = {"figure5": ta.plots.learning_curves(curves, labels=errors)}
    aligned = [method for method in groups if method != "backprop"]
    whole = all("weights" in run for run in runs)  # files in docs/results lack single weights
    if aligned:
        # measures of the layers begin before the first epoch, at 0
        epochs = range(1 + max(len(run["curves"]["test_error"]) for run in runs))
        for name, measure, label in (
            ("figure3a", "sign_agreement", "sign agreement"),
            ("figure4", "R_self", "$R_{self}$"),
        ):
            labels = {f"{layer}/{measure}": f"{label}\n{layer}" for layer in DENSE}
            figures[name] = ta.plots.learning_curves(curves, labels=labels, positions=epochs)
    if aligned and whole:
        weights = {  # backpropagation has none, but keeps its place in the order of colours
            method: {layer: np.array(pairs).T for layer, pairs in own[0]["weights"].items()}
            for method, own in groups.items()
        }
        figures["figure3b"] = ta.plots.weight_scatter(weights)
    if whole:
        figures["figureS1"] = _rates(runs[0]["rates"])
    files = {stem.with_name(f"{stem.name}-{name}.png"): figures[name] for name in sorted(figures)}
    for file, figure in files.items():
        save(figure, file)
    return list(files)


def _rates(pairs: dict[str, Any]) -> Any:
    """Draw spike rates against activities of one run, with a panel per dense layer.

    Args:
        pairs: `{name of the layer: {"pairs": [[activity, rate], ...], "correlation": r}}`.
    """
    figure, [panels] = new_figure(1, len(pairs))
    for panel, (layer, found) in zip(panels, pairs.items(), strict=True):
        activity, rate = np.array(found["pairs"]).T
        panel.plot(activity, rate, "k.", markersize=2, alpha=0.4)
        panel.set(xlabel="activity", ylabel="spike rate (Hz)")
        panel.set_title(f"{layer}, r = {found['correlation']:.2f}", fontsize=10)
    return figure

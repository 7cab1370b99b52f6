"""Figures 3A, 3B, 4, 5 and S1 of the paper, from the numbers of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.common import new_figure
from examples.rdd.network import DENSE

__all__ = ["draw"]

Runs = Sequence[dict[str, Any]]
NAMES = {"bp": "backprop"}  # in files that were written before it was called as in the library
# The paper's colours, and two that differ from them for every kind of colour vision.
COLOURS = {"backprop": "#000000", "fa": "#D55E00", "mirror": "#CC79A7", "rdd": "#0072B2"}


def draw(runs: Runs, stem: Path) -> list[Path]:
    """Draw all figures for which there are runs.

    Args:
        runs: Of `train.py`.
        stem: Path of the files, without `-figure3a.png`.

    Returns:
        What was written.
    """
    runs = [{**run, "method": NAMES.get(run["method"], run["method"])} for run in runs]
    aligned = [run for run in runs if run["method"] != "backprop"]
    whole = all("weights" in run for run in runs)  # files of docs/results have no single entries
    files = {"figure5": _errors(runs)}
    if aligned:
        files["figure3a"] = _curves(aligned, "sign_agreement", "sign agreement (%)", 100.0)
        if whole:
            files["figure3b"] = _scatter(aligned)
        files["figure4"] = _curves(aligned, "R_self", "$R_{self}$", 1.0)
    if whole:
        files["figureS1"] = _rates(runs)
    written = []
    for name, figure in files.items():
        written.append(stem.with_name(f"{stem.name}-{name}.png"))
        figure.savefig(written[-1], dpi=110)
    return written


def _methods(runs: Runs) -> list[str]:
    return [m for m in COLOURS if any(run["method"] == m for run in runs)]


def _mean(runs: Runs, method: str, curve: str) -> np.ndarray:
    """Mean over seeds, `(epochs,)`."""
    return np.mean([run["curves"][curve] for run in runs if run["method"] == method], 0)


def _line(panel: Any, values: np.ndarray, method: str, first: int) -> None:
    epochs = np.arange(first, first + len(values))
    panel.plot(epochs, values, color=COLOURS[method], label=method, marker=".", markersize=3)


def _curves(runs: Runs, measure: str, label: str, scale: float) -> Any:
    """A measure of each dense layer over the epochs, from before the first."""
    figure, axes = new_figure(1, len(DENSE))
    for panel, layer in zip(axes[0], DENSE, strict=True):
        for method in _methods(runs):
            _line(panel, scale * _mean(runs, method, f"{layer}/{measure}"), method, 0)
        panel.set(title=layer, xlabel="epoch", ylabel=label)
    axes[0, 0].legend(frameon=False)
    return figure


def _scatter(runs: Runs) -> Any:
    """Feedback against forward weights at the end of the first seed's training."""
    methods = _methods(runs)
    figure, axes = new_figure(len(methods), len(DENSE))
    for row, method in zip(axes, methods, strict=True):
        run = next(run for run in runs if run["method"] == method)
        for panel, layer in zip(row, DENSE, strict=True):
            forward, feedback = np.array(run["weights"][layer]).T
            panel.plot(forward, feedback, ".", color=COLOURS[method], markersize=2, alpha=0.5)
            panel.set(title=f"{method}, {layer}", xlabel="forward", ylabel="feedback")
    return figure


def _errors(runs: Runs) -> Any:
    """Errors on the training and on the test split over the epochs."""
    figure, axes = new_figure(1, 2)
    for panel, split in zip(axes[0], ("train", "test"), strict=True):
        for method in _methods(runs):
            _line(panel, _mean(runs, method, f"{split}_error"), method, 1)
        panel.set(xlabel="epoch", ylabel=f"{split} error (%)")
    axes[0, 0].legend(frameon=False)
    return figure


def _rates(runs: Runs) -> Any:
    """Spike rates against activities, of the first run."""
    pairs = runs[0]["rates"]
    figure, axes = new_figure(1, len(pairs))
    for panel, (layer, found) in zip(axes[0], pairs.items(), strict=True):
        activity, rate = np.array(found["pairs"]).T
        panel.plot(activity, rate, "k.", markersize=2, alpha=0.4)
        title = f"{layer}, r = {found['correlation']:.2f}"
        panel.set(title=title, xlabel="activity", ylabel="spike rate (Hz)")
    return figure

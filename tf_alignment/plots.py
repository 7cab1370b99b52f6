"""Figures: how runs of several methods, over several seeds, go on over the epochs.

matplotlib is imported when a figure is drawn. The figures belong to no window and no global state,
so they are drawn in the same way with and without a display.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_alignment._support.optional import require

__all__ = ["learning_curves"]

# Okabe and Ito's colours, which differ for every kind of colour vision, without the yellow, which
# is too light for a line on white. Beyond seven lines the dashes change.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))


def learning_curves(
    results: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Any:
    """Draw one panel a quantity and in it one line a method, over the epochs.

    A line is the mean over seeds, the band around it one standard deviation to either side. Colours
    and dashes belong to the method, the same in every panel.

    Args:
        results: `{method: {quantity: values}}` with values of shape `(seeds, epochs)` or
            `(epochs,)`; the number of epochs may differ between methods. A method that lacks a
            quantity, or whose values are all NaN, has no line in that panel.
        path: File to write; its ending chooses the format. `None` writes none.
        labels: `{quantity: label of its axis}`. Given, it chooses and orders the panels; by default
            every quantity has one, labelled with its name.
        title: Title above the panels.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is nothing to draw, or values have another shape.
        ImportError: If matplotlib is not installed.

    Example:
        >>> runs = {"fa": {"accuracy": [[0.5, 0.8], [0.6, 0.9]]}, "kp": {"accuracy": [0.7, 0.95]}}
        >>> figure = learning_curves(runs, labels={"accuracy": "test accuracy"})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['test accuracy']
    """
    curves = {
        method: {name: _curves(method, name, values) for name, values in quantities.items()}
        for method, quantities in results.items()
    }
    if labels is None:
        labels = {name: name for quantities in curves.values() for name in quantities}
    if not any(name in quantities for quantities in curves.values() for name in labels):
        raise ValueError(
            "`results` must hold at least one method with one quantity to draw. "
            f"Received: results={dict(results)!r}, labels={dict(labels)!r}"
        )
    figure = require("matplotlib.figure", "Drawing a figure").Figure(
        figsize=(1.6 + 4.4 * len(labels), 3.9), layout="constrained"
    )
    panels = figure.subplots(1, len(labels), squeeze=False)[0]
    handles = {}
    for panel, (name, label) in zip(panels, labels.items(), strict=True):
        for index, (method, quantities) in enumerate(curves.items()):
            if name in quantities and not np.all(np.isnan(quantities[name])):
                handles[method] = _line(panel, quantities[name], index)
        _dress(panel, label)
    ordered = [method for method in curves if method in handles]
    figure.legend([handles[method] for method in ordered], ordered, loc="outside right upper")
    if title is not None:
        figure.suptitle(title)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _curves(method: str, name: str, values: Any) -> np.ndarray:
    array = np.atleast_2d(np.asarray(values, dtype=float))
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            "`results` must hold arrays of shape (seeds, epochs) or (epochs,), at least one epoch. "
            f"Received: results[{method!r}][{name!r}] of shape {np.shape(values)}"
        )
    return array


def _line(panel: Any, runs: np.ndarray, index: int) -> Any:
    """Draw mean and band of the runs; seeds that are NaN at an epoch are left out there."""
    valid = np.isfinite(runs)
    count = np.maximum(valid.sum(axis=0), 1)
    mean = np.where(valid, runs, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(valid, (runs - mean) ** 2, 0.0).sum(axis=0) / count)
    mean = np.where(valid.any(axis=0), mean, np.nan)
    colour = _COLOURS[index % len(_COLOURS)]
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    epochs = np.arange(1, runs.shape[1] + 1)
    (line,) = panel.plot(
        epochs,
        mean,
        color=colour,
        linestyle=dashes,
        linewidth=1.6,
        # One epoch is a point: a line through it would not show.
        marker="o" if len(epochs) == 1 else None,
    )
    panel.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    return line


def _dress(panel: Any, label: str) -> None:
    ticker = require("matplotlib.ticker", "Drawing a figure")
    panel.set_xlabel("epoch")
    panel.set_ylabel(label)
    panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)

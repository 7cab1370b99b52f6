"""Curves over the epochs, for several methods and seeds, or for the layers of a network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_alignment._support.optional import require
from tf_alignment._support.statistics import deviation, padded
from tf_alignment.plots.style import (
    MOST,
    Style,
    blank,
    caption,
    dress,
    new_figure,
    of_seeds,
    save,
    styles,
)

__all__ = ["layer_curves", "learning_curves", "line", "over_epochs"]

_COLUMNS = 3
_MEANS = ("mean", "hidden")


def learning_curves(
    results: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    positions: Sequence[float] | np.ndarray | None = None,
    unit: str = "epoch",
) -> Any:
    """Draw one panel per quantity with one line per method, over the epochs.

    A line is the mean over seeds; the band around it is one standard deviation (with n - 1) to
    either side; a line below the panels says so, and of how many seeds. A method has the same
    colour and dashes in every figure. More than seven methods are divided among several rows of
    panels, and the first method is drawn in every row. The legend is above its rows.

    Args:
        results: Curves of the methods, `{method: {quantity: values}}`, with values of shape
            `(seeds, epochs)` or `(epochs,)`. A Keras `History`, or a list with one `History` per
            seed, may replace the inner dictionary. The number of epochs may differ between methods.
            A method that lacks a quantity, or whose values are all NaN, has no line in that panel.
        path: File to write, whose ending chooses the format, or `None` to write no file.
        labels: Labels of the axes, `{quantity: label}`, which also choose and order the panels. By
            default every quantity has a panel with its name as label, except quantities of single
            layers.
        title: Title above the panels.
        positions: Positions of the values on the horizontal axis, at least as many as the longest
            curve has values. None for 1, 2, 3 ...
        unit: Label of the horizontal axis.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is nothing to draw, no method has a quantity of `labels`, values have
            another shape, or there are too few positions.
        ImportError: If matplotlib is not installed.

    Example:
        >>> runs = {"fa": {"accuracy": [[0.5, 0.8], [0.6, 0.9]]}, "kp": {"accuracy": [0.7, 0.95]}}
        >>> figure = learning_curves(runs, labels={"accuracy": "test accuracy"})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['test accuracy']
    """
    curves = {method: _quantities(method, found) for method, found in results.items()}
    known = list(dict.fromkeys(name for quantities in curves.values() for name in quantities))
    labels = _default_labels(known) if labels is None else labels
    unknown = [name for name in labels if name not in known]
    if not labels or unknown:
        raise ValueError(
            "`results` must hold at least one method with each quantity to draw. "
            f"Received: quantities {known} and labels={dict(labels)!r}"
        )
    looks = styles(curves)
    groups = _groups(list(curves))
    columns = 2 if len(labels) == 4 else min(_COLUMNS, len(labels))
    rows = math.ceil(len(labels) / columns)
    figure = blank(0.2 + len(groups) * (0.4 + 2.6 * rows))
    parts = [figure] if len(groups) == 1 else figure.subfigures(len(groups), 1)
    counts: set[int] = set()
    for part, group in zip(parts, groups, strict=True):
        handles = {}
        panels = list(part.subplots(rows, columns, squeeze=False).flat)
        for panel, (name, label) in zip(panels, labels.items(), strict=False):
            for method in group:
                values = curves[method].get(name)
                if values is not None and not np.all(np.isnan(values)):
                    handles[method] = line(panel, values, looks[method], positions)
                    counts.add(len(values))
            over_epochs(panel, label, unit)
        for panel in panels[len(labels) :]:
            panel.remove()
        names = [method for method in group if method in handles]
        part.legend(
            [handles[method] for method in names],
            names,
            fontsize=8,
            loc="outside upper center",
            ncols=_beside(names),
            handlelength=2.4,
        )
    if title is not None:
        figure.suptitle(title)
    caption(figure, of_seeds(counts, ", band: ± 1 standard deviation (n - 1)"))
    return save(figure, path)


def layer_curves(
    histories: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    measure: str = "gradient_angle",
    label: str | None = None,
    title: str | None = None,
) -> Any:
    """Draw one panel per method with one line per layer, over the epochs.

    Colours go from the lowest layer (dark) to the highest layer (light), in the order of the
    history. A line below the panels says of how many seeds a mean is.

    Args:
        histories: Curves from `AlignmentMonitor`: `{method: History}`, or
            `{method: {"<layer>/<measure>": values}}` with values of shape `(epochs,)` or
            `(seeds, epochs)`, of which the mean over seeds is drawn.
        path: File to write, or None.
        measure: Name of a measure of the monitor.
        label: Label of the axis; by default the usual label of the measure.
        title: Title above the panels.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If no method has this measure for a layer.

    Example:
        >>> import tf_alignment as ta
        >>> history = {"a/gradient_angle": [90, 60], "b/gradient_angle": [80, 50]}
        >>> len(ta.plots.layer_curves({"fa": history}).axes[0].lines)
        2
    """
    found = {}
    for method, history in histories.items():
        layers = {
            name.removesuffix(f"/{measure}"): values
            for name, values in _quantities(method, history).items()
            if name.endswith(f"/{measure}") and name.partition("/")[0] not in _MEANS
        }
        if layers:
            found[method] = layers
    if not found:
        raise ValueError(
            f"`histories` must hold '<layer>/{measure}', as AlignmentMonitor writes. "
            f"Received: histories of {list(histories)}"
        )
    columns = min(_COLUMNS, len(found))
    figure, axes = new_figure(math.ceil(len(found) / columns), columns)
    colours = require("matplotlib", "Drawing a figure").colormaps["viridis"]
    names = list(dict.fromkeys(layer for layers in found.values() for layer in layers))
    places = {name: 0.9 * i / max(1, len(names) - 1) for i, name in enumerate(names)}
    common = os.path.commonpath([name.rpartition("/")[0] for name in names])
    common = f"{common}/" if common else ""
    handles: dict[str, Any] = {}
    counts = {len(values) for layers in found.values() for values in layers.values()}
    for panel, (method, layers) in zip(axes.flat, found.items(), strict=False):
        for name, values in layers.items():
            mean = _mean(values)
            marker = "o" if len(mean) == 1 else None
            epochs = np.arange(1, len(mean) + 1)
            (handles[name],) = panel.plot(
                epochs, mean, color=colours(places[name]), linewidth=1.4, marker=marker
            )
        over_epochs(panel, label or _named(measure))
        panel.set_title(method, fontsize=10)
    for panel in list(axes.flat)[len(found) :]:
        panel.remove()
    shown = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, 10).astype(int))]
    figure.legend(
        [handles[name] for name in shown],
        [name.removeprefix(common) for name in shown],
        loc="outside right upper",
        fontsize=8,
    )
    if title is not None:
        figure.suptitle(title)
    caption(figure, of_seeds(counts))
    return save(figure, path)


def _quantities(method: str, found: Any) -> dict[str, np.ndarray]:
    """Convert a dictionary, a `History` or a list of these to `{quantity: (seeds, epochs)}`."""
    if isinstance(found, Sequence) and not isinstance(found, str) and found:
        seeds = [getattr(history, "history", history) for history in found]
        maps = [history for history in seeds if isinstance(history, Mapping)]
        if len(maps) == len(seeds):
            names = dict.fromkeys(name for history in maps for name in history)
            return {
                name: padded([_curves(method, name, h[name])[0] for h in maps if name in h])
                for name in names
            }
    found = getattr(found, "history", found)
    if not isinstance(found, Mapping):
        raise ValueError(
            "`results` must hold a dictionary, a Keras `History` or a list of these. "
            f"Received: results[{method!r}] of type {type(found).__name__}"
        )
    return {name: _curves(method, name, values) for name, values in found.items()}


def _curves(method: str, name: str, values: Any) -> np.ndarray:
    array = np.atleast_2d(np.asarray(values, dtype=float))
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            "`results` must hold arrays of shape (seeds, epochs) or (epochs,), at least one epoch. "
            f"Received: results[{method!r}][{name!r}] of shape {np.shape(values)}"
        )
    return array


def _default_labels(names: Iterable[str]) -> dict[str, str]:
    """Labels of all quantities except quantities of single layers, which may be hundreds."""
    names = list(names)
    whole = [n for n in names if "/" not in n or n.partition("/")[0] in _MEANS]
    return {name: name for name in whole or names}


def _groups(methods: list[str]) -> list[list[str]]:
    """Groups of at most seven methods; every group begins with the first method."""
    if len(methods) <= MOST:
        return [methods]
    first, rest = methods[0], methods[1:]
    count = math.ceil(len(rest) / (MOST - 1))
    return [[first, *map(str, part)] for part in np.array_split(rest, count)]


def _mean(runs: np.ndarray) -> np.ndarray:
    """Mean over seeds, at each epoch over the seeds that are not NaN."""
    valid = np.isfinite(runs)
    count = np.maximum(valid.sum(axis=0), 1)
    mean = np.where(valid, runs, 0.0).sum(axis=0) / count
    return np.where(valid.any(axis=0), mean, np.nan)


def line(panel: Any, runs: np.ndarray, style: Style, positions: Any = None) -> Any:
    """Draw the mean of the runs `(seeds, epochs)` and the band around it into a panel."""
    mean, spread, length = _mean(runs), deviation(runs), runs.shape[1]
    epochs = np.arange(1, length + 1) if positions is None else np.asarray(positions)[:length]
    if len(epochs) < length:
        raise ValueError(
            f"Argument `positions` must have at least {length} values, as the longest curve has. "
            f"Received: {len(epochs)} positions"
        )
    (drawn,) = panel.plot(
        epochs,
        mean,
        color=style.colour,
        linestyle=style.dashes,
        linewidth=1.6,
        # One epoch is a point: a line through it would not show.
        marker="o" if len(epochs) == 1 else None,
    )
    if len(runs) > 1:
        panel.fill_between(
            epochs, mean - spread, mean + spread, color=style.colour, alpha=0.15, linewidth=0
        )
    return drawn


def over_epochs(panel: Any, label: str, unit: str = "epoch") -> None:
    """Label the axes of a panel with curves over the epochs."""
    ticker = require("matplotlib.ticker", "Drawing a figure")
    panel.set_xlabel(unit)
    panel.set_ylabel(label)
    panel.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True, min_n_ticks=1))
    dress(panel)


def _named(measure: str) -> str:
    text = measure.replace("_", " ")
    return f"{text} (degrees)" if measure.endswith("angle") else text


def _beside(names: Sequence[str]) -> int:
    """How many entries of a legend there is room for in a line of a figure."""
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), 110 // (longest + 7)))  # of letters, and of lines and gaps

"""Figures of feedback weights against forward weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_alignment.plots.style import new_figure, save, styles

__all__ = ["weight_scatter"]

_COLUMNS = 4


def weight_scatter(
    weights: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
) -> Any:
    """Draw entries of W against entries of B: one row per method, one panel per layer.

    If there are more than four layers, four are shown, from the lowest to the highest. Points with
    B = W lie on the line.

    Args:
        weights: Kernels of the methods, `{method: {layer: (W, B)}}`: two arrays of one shape, or a
            sample of their entries.
        path: File to write, or None.
        title: Title above the panels.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is nothing to draw.

    Example:
        >>> import numpy as np, tf_alignment as ta
        >>> figure = ta.plots.weight_scatter({"fa": {"dense": (np.ones(3), np.zeros(3))}})
        >>> figure.axes[0].get_title()
        'fa, dense'
    """
    found = {method: layers for method, layers in weights.items() if layers}
    if not found:
        raise ValueError(
            "Argument `weights` must hold at least one method with feedback weights. "
            f"Received: weights of {list(weights)}"
        )
    columns = min(_COLUMNS, max(map(len, found.values())))
    figure, axes = new_figure(len(found), columns, height=1.9)
    looks = styles(weights)
    for row, (method, layers) in zip(axes, found.items(), strict=True):
        places = np.unique(np.linspace(0, len(layers) - 1, columns).round().astype(int))
        names = [list(layers)[place] for place in places]
        for panel, name in zip(row, names, strict=False):
            forward, feedback = (np.ravel(np.asarray(part, float)) for part in layers[name])
            panel.plot(forward, feedback, ".", color=looks[method].colour, markersize=2, alpha=0.6)
            panel.axline((0, 0), slope=1, color="#888888", linewidth=0.7, zorder=0)
            panel.set_title(f"{method}, {name.rpartition('/')[2]}", fontsize=9)
            panel.tick_params(labelsize=7)
        for panel in row[len(names) :]:
            panel.remove()
        row[0].set_ylabel("B", fontsize=9)
    for panel in axes[-1][: len(names)]:
        panel.set_xlabel("W", fontsize=9)
    if title is not None:
        figure.suptitle(title)
    return save(figure, path)

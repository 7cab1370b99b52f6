"""Figures of the values at the end of training: with intervals, against cost, over a setting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_alignment._support.statistics import mean_of
from tf_alignment.plots.style import caption, new_figure, save, styles

__all__ = ["cost_against", "final_values", "sweep", "sweep_lines"]

Path = str | os.PathLike[str] | None


def final_values(
    values: Mapping[str, Sequence[float | None]],
    path: Path = None,
    label: str = "test accuracy",
    title: str | None = None,
) -> Any:
    """Draw one row per method: one point per seed, the mean, and the 95 % interval of the mean.

    Args:
        values: Values of the methods, `{method: [one value per seed]}`; None and NaN are left out.
        path: File to write, or None.
        label: Label of the axis.
        title: Title above the figure.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is nothing to draw.

    Example:
        >>> import tf_alignment as ta
        >>> figure = ta.plots.final_values({"fa": [0.8, 0.9], "kp": [0.9, 0.95]})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['fa', 'kp']
    """
    _not_empty("values", values)
    figure, [[panel]] = new_figure(1, 1, height=0.6 + 0.3 * len(values))
    looks = styles(values)
    for row, (method, runs) in enumerate(values.items()):
        colour, found = looks[method].colour, mean_of(runs)
        points = [v for v in runs if v is not None and np.isfinite(v)]
        panel.plot(points, [row] * len(points), "o", color=colour, alpha=0.4, markersize=4)
        if found.n:
            width = found.interval if np.isfinite(found.interval) else 0.0
            panel.errorbar(
                found.mean, row, xerr=width, color=colour, marker="D", markersize=6, capsize=3
            )
    panel.set_yticks(range(len(values)), list(values))
    panel.set_ylim(len(values) - 0.4, -0.6)
    panel.set_xlabel(label)
    if title is not None:
        figure.suptitle(title)
    caption(figure, "points: seeds; diamonds: means with their 95 % intervals (Student)")
    return save(figure, path)


def cost_against(
    costs: Mapping[str, float],
    values: Mapping[str, Sequence[float | None]],
    path: Path = None,
    cost_label: str = "time of a training step over that of stock Keras",
    label: str = "test accuracy",
    title: str | None = None,
) -> Any:
    """Draw the values that methods reach against their costs, with the name beside each point.

    Args:
        costs: Costs of the methods, `{method: cost}`.
        values: Values of the methods, `{method: [one value per seed]}`.
        path: File to write, or None.
        cost_label: Label of the horizontal axis.
        label: Label of the vertical axis.
        title: Title above the figure.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If no method has both a cost and a value.

    Example:
        >>> import tf_alignment as ta
        >>> figure = ta.plots.cost_against({"fa": 1.2}, {"fa": [0.8, 0.9]})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['fa']
    """
    both = {name: mean_of(values[name]) for name in costs if name in values}
    both = {name: found for name, found in both.items() if found.n}
    _not_empty("values", both)
    figure, [[panel]] = new_figure(1, 1, height=3.2)
    looks = styles(both)
    for method, found in both.items():
        spread = found.deviation if np.isfinite(found.deviation) else 0.0
        colour = looks[method].colour
        panel.errorbar(costs[method], found.mean, yerr=spread, color=colour, marker="o", capsize=3)
        panel.annotate(
            method, (costs[method], found.mean), (6, 4), textcoords="offset points", color=colour
        )
    panel.margins(x=0.15, y=0.15)
    panel.set(xlabel=cost_label, ylabel=label)
    if title is not None:
        figure.suptitle(title)
    caption(figure, "means over seeds; bars: ± 1 standard deviation (n - 1)")
    return save(figure, path)


def sweep(
    values: Mapping[str, Mapping[float, Sequence[float | None]]],
    path: Path = None,
    setting: str = "layers",
    label: str = "test accuracy",
    title: str | None = None,
    log: bool = False,
) -> Any:
    """Draw one line per method over the values of a setting, such as a depth or a noise variance.

    Args:
        values: Values of the methods, `{method: {setting: [one value per seed]}}`.
        path: File to write, or None.
        setting: Label of the horizontal axis.
        label: Label of the vertical axis.
        title: Title above the figure.
        log: Whether to draw the settings at equal distances, as on a logarithmic axis; a setting of
            0 is then possible.

    Returns:
        Figure, a `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is nothing to draw.

    Example:
        >>> import tf_alignment as ta
        >>> figure = ta.plots.sweep({"sa": {8: [0.8], 20: [0.85]}})
        >>> len(figure.axes[0].lines)
        1
    """
    _not_empty("values", values)
    figure, [[panel]] = new_figure(1, 1, height=3.2)
    sweep_lines(panel, values, log)
    panel.set(xlabel=setting, ylabel=label)
    panel.legend(fontsize=8)
    if title is not None:
        figure.suptitle(title)
    caption(figure, "means over seeds; bars: ± 1 standard deviation (n - 1)")
    return save(figure, path)


def sweep_lines(panel: Any, values: Mapping[str, Mapping[float, Sequence[Any]]], log: bool) -> None:
    """Draw the lines of `sweep` into a panel, with ticks at the settings.

    Args:
        panel: Axes of matplotlib.
        values: Values by method and setting, as in `sweep`.
        log: Whether the settings are equally far apart.
    """
    settings = sorted({setting for found in values.values() for setting in found})
    places = {s: float(i) if log else float(s) for i, s in enumerate(settings)}
    looks = styles(values)
    for method, found in values.items():
        means = {s: mean_of(found[s]) for s in settings if s in found}
        means = {s: mean for s, mean in means.items() if mean.n}
        spreads = np.nan_to_num([mean.deviation for mean in means.values()])
        panel.errorbar(
            [places[s] for s in means],
            [mean.mean for mean in means.values()],
            spreads if spreads.any() else None,
            color=looks[method].colour,
            linestyle=looks[method].dashes,
            marker="o",
            markersize=4,
            capsize=2,
            label=method,
        )
    panel.set_xticks([places[s] for s in settings], [f"{s:g}" for s in settings])


def _not_empty(name: str, values: Mapping[str, Any]) -> None:
    if not values:
        raise ValueError(
            f"Argument `{name}` must hold at least one method. Received: {name}={values!r}"
        )

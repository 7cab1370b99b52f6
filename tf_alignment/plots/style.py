"""Colours of methods, and the common layout of all figures."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np

from tf_alignment._support.optional import require

__all__ = [
    "MOST",
    "WIDTH",
    "Style",
    "blank",
    "caption",
    "dress",
    "new_figure",
    "of_seeds",
    "save",
    "styles",
]

WIDTH = 7.5
"""Of every figure, inches."""

MOST = 7
"""How many lines one panel has at most: as many as there are colours."""

# Okabe and Ito's colours, which differ for every kind of colour vision, without the yellow, which
# is too light for a line on white. Beyond seven lines the dashes change.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
_DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))

# A colour a family, and in it dashes: what carries the error back, and how it learns.
_FAMILIES = (
    ("backprop",),
    ("fa", "dfa"),
    ("usf", "brsf", "frsf"),
    ("kp",),
    ("sa", "aa"),
    ("pfa", "pfa_o"),
    ("wm", "ia"),
)


class Style(NamedTuple):
    """Colour and dashes of a method, the same in every figure.

    Attributes:
        colour: Hexadecimal colour.
        dashes: Dashes of the line, as matplotlib's `linestyle`.
    """

    colour: str
    dashes: Any


_METHODS = {
    name: Style(colour, dashes)
    for family, colour in zip(_FAMILIES, _COLOURS, strict=True)
    for name, dashes in zip(family, _DASHES, strict=False)
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Colour and dashes of each of several methods or variants.

    Methods of the library have fixed colours, one per family, so that seven colours are enough for
    thirteen methods. Other names get, in their order, the colours that are not used by a method of
    the library, and after that the same colours with other dashes.

    Args:
        names: Names of all methods and variants that are drawn together.

    Returns:
        Dict `{name: Style}`, in which all styles differ.

    Example:
    >>> import tf_alignment as ta
    >>> found = ta.plots.styles(["backprop", "fa", "mine"])
    >>> found["backprop"].colour, found["mine"].colour
    ('#000000', '#56B4E9')
    """
    names = list(dict.fromkeys(names))
    found = {name: _METHODS[name] for name in names if name in _METHODS}
    taken = {style.colour for style in found.values()}
    free = [Style(c, _DASHES[0]) for c in _COLOURS if c not in taken]
    free += [Style(c, d) for d in _DASHES for c in _COLOURS if Style(c, d) not in free]
    left = iter([style for style in free if style not in found.values()])
    for name in names:
        if name not in found:
            found[name] = next(left, Style(_COLOURS[len(found) % MOST], _DASHES[-1]))
    return {name: found[name] for name in names}


def of_seeds(counts: Collection[int], spread: str = "") -> str:
    """Say what lines are means of, where they may have different numbers of seeds.

    Args:
        counts: Numbers of seeds.
        spread: What bars or bands are, after a comma; left out for one seed.
    """
    low, high = min(counts, default=1), max(counts, default=1)
    if high == 1:
        return "one seed"
    return f"mean of {high if low == high else f'{low} to {high}'} seeds{spread}"


def blank(height: float) -> Any:
    """Make a figure without panels, of a height in inches."""
    return require("matplotlib.figure", "Drawing a figure").Figure(
        figsize=(WIDTH, height), layout="constrained"
    )


def new_figure(rows: int, columns: int, height: float = 2.6) -> tuple[Any, np.ndarray]:
    """Make a figure without a window, and its axes `(rows, columns)`.

    Args:
        rows: Number of rows of panels.
        columns: Number of columns of panels.
        height: Height of a panel in inches.
    """
    figure = blank(0.5 + height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        dress(panel)
    return figure, axes


def dress(panel: Any) -> None:
    """Give a panel a light grid and no box."""
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def caption(figure: Any, text: str) -> None:
    """Explain the bands and points of a figure in a line below it."""
    figure.supxlabel(text, fontsize=8, color="#444444")


def save(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """Write a figure to a file, if there is one, and return the figure."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure

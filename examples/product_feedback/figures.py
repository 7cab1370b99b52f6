"""Tables and figures of the studies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tf_alignment as ta
from examples.common import Numbers, markdown, new_figure
from examples.curves import band, stacked, with_deviation

__all__ = ["METHODS", "draw", "table"]

METHODS = ("backprop", "fa", "dfa", "usf", "sa", "kp", "pfa", "pfa_o")


def of(runs: Iterable[Numbers], method: str) -> list[Numbers]:
    """The runs of a method, one a seed."""
    return [run for run in runs if run["method"] == method]


def layers_of(runs: Iterable[Numbers], measure: str) -> list[str]:
    """The layers for which some method has a measure, from the lowest to the highest."""
    found: dict[str, None] = {}
    longest = sorted(runs, key=lambda run: -len(run["curves"]))
    for run in longest:
        for curve in run["curves"]:
            layer, _, name = curve.rpartition("/")
            if layer and name == measure:
                found.setdefault(layer)
    return list(found)


def table(runs: Sequence[Numbers]) -> str:
    """The last epoch of every method, mean and standard deviation over seeds, as Markdown."""
    heads = ["method", "test accuracy %"]
    columns = [("accuracy", 100.0)]
    for measure, head in MEASURES.items():
        for layer in some(layers_of(runs, "gradient_angle")):
            if not any(f"{layer}/{measure}" in run["curves"] for run in runs):
                continue
            columns.append((f"{layer}/{measure}", 1.0))
            heads.append(f"{head.split(' (')[0]}, {layer}")
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        own = of(runs, method)
        last = (scale * stacked(own, curve)[:, -1] for curve, scale in columns)
        rows.append([f"`{method}`", *map(with_deviation, last)])
    return markdown(heads, rows)


MEASURES = {
    "angle": "feedback angle (degrees)",
    "gradient_angle": "gradient angle (degrees)",
    "norm_ratio": "feedback norm / forward norm",
}
# Okabe and Ito's colours, which differ for every kind of colour vision, and a grey.
COLOURS = dict(
    zip(
        METHODS,
        ("#000000", "#E69F00", "#56B4E9", "#009E73", "#999999", "#0072B2", "#D55E00", "#CC79A7"),
        strict=True,
    )
)


def some(layers: Sequence[str], most: int = 4) -> list[str]:
    """At most so many layers, evenly from the lowest to the highest."""
    chosen = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    return [layers[i] for i in chosen]


def draw(runs: Sequence[Numbers], file: Path, expansion: float) -> None:
    """Figure 2: accuracy, and one row a measure with one panel a layer; theory dashed.

    Args:
        runs: All runs.
        file: Where to write.
        expansion: Of product feedback.
    """
    layers = some(layers_of(runs, "gradient_angle"))  # which even stock layers have
    figure, axes = new_figure(len(MEASURES), 1 + len(layers))
    methods = list(dict.fromkeys(run["method"] for run in runs))
    theory = {
        "angle": ta.analysis.product_path_angle(expansion),
        "norm_ratio": ta.analysis.product_norm_ratio(expansion),
    }
    accuracy = axes[0, 0]
    values = [line(accuracy, runs, method, "accuracy", 100.0) for method in methods]
    every = np.concatenate([v.ravel() for v in values if v is not None])
    accuracy.set_ylim(np.quantile(every, 0.05) - 0.5, every.max() + 0.5)
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    for row, (measure, label) in enumerate(MEASURES.items()):
        for panel, layer in zip(axes[row, 1:], layers, strict=True):
            drawn = [line(panel, runs, method, f"{layer}/{measure}") for method in methods]
            if not any(values is not None and values.any() for values in drawn):
                panel.remove()  # The highest layer's gradient is everyone's the same.
                continue
            if measure in theory:
                panel.axhline(float(theory[measure]), color="black", linestyle="--", linewidth=0.8)
            panel.set_title(layer, fontsize=9)
            panel.set(xlabel="epoch", ylabel=label)
            panel.set_ylim(bottom=0)
    for panel in axes[1:, 0]:
        panel.set_axis_off()
    handles = {entry.get_label(): entry for entry in accuracy.lines}
    handles["theory, pfa"] = accuracy.plot([], [], "k--", linewidth=0.8)[0]
    axes[1, 0].legend(handles.values(), handles.keys(), loc="upper left", frameon=False)
    figure.savefig(file, dpi=110)


def line(
    panel: Any, runs: Sequence[Numbers], method: str, curve: str, scale: float = 1.0
) -> np.ndarray | None:
    """Draw a method's mean over seeds with a band of one standard deviation.

    Returns:
        What is drawn, `(seeds, epochs)`, or None if the method has no such curve.
    """
    values = scale * stacked(of(runs, method), curve)
    if np.isnan(values).all():
        return None
    epochs = np.arange(1, values.shape[1] + 1)
    marker = "o" if len(epochs) == 1 else None
    band(panel, epochs, values, values.std(0), marker, color=COLOURS.get(method), label=method)
    return values

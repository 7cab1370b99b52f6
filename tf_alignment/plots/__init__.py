"""Figures of studies, and of one's own runs: one colour per method, everywhere.

    ta.plots.learning_curves({"fa": history, "kp": other_history}, "curves.png")

matplotlib is imported when a figure is drawn. The figures belong to no window and no global state,
so they are drawn in the same way with and without a display. All are 7.5 inches wide, so that their
letters can be read where a page shows them 750 pixels wide.
"""

from tf_alignment.plots.curves import layer_curves, learning_curves
from tf_alignment.plots.style import styles
from tf_alignment.plots.values import cost_against, final_values, sweep
from tf_alignment.plots.weights import weight_scatter

__all__ = [
    "cost_against",
    "final_values",
    "layer_curves",
    "learning_curves",
    "styles",
    "sweep",
    "weight_scatter",
]

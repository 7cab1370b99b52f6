"""Figures of studies, and of your own runs, with the same colour per method in all figures.

    ta.plots.learning_curves({"fa": history, "kp": other_history}, "curves.png")

matplotlib is imported when a figure is drawn. The figures use neither windows nor global state, so
the result is the same with and without a display. All figures are 7.5 inches wide, so that their
text can be read on a page that shows them 750 pixels wide.
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

"""Colours, values with intervals, cost, sweeps, scatter plots."""

import numpy as np
import pytest

import tf_alignment as ta
from tf_alignment import plots
from tf_alignment._support.statistics import mean_of


def test_every_method_has_a_look_of_its_own_that_does_not_depend_on_the_others():
    every = plots.styles(ta.feedback.METHODS)
    assert len(set(map(str, every.values()))) == len(ta.feedback.METHODS)
    assert plots.styles(["mine", "kp"])["kp"] == every["kp"]
    seven = plots.styles(["backprop", "fa", "kp", "sa", "mine", "yours", "theirs"])
    assert len({style.colour for style in seven.values()}) == 7


def test_the_interval_is_drawn_around_the_mean():
    values = [0.80, 0.90, 0.85]
    figure = plots.final_values({"fa": values, "kp": [0.9, None], "wm": []})
    (panel,) = figure.axes
    (bar,) = panel.containers[0].lines[2]
    (start, end) = bar.get_segments()[0][:, 0]
    found = mean_of(values)
    np.testing.assert_allclose(
        [start, end], [found.mean - found.interval, found.mean + found.interval]
    )
    np.testing.assert_allclose(panel.lines[0].get_xdata(), values)


def test_cost_against_accuracy_names_its_points():
    figure = plots.cost_against({"fa": 1.1, "kp": 1.3, "wm": 2.0}, {"fa": [0.8], "kp": [0.9, 0.92]})
    assert [text.get_text() for text in figure.axes[0].texts] == ["fa", "kp"]


def test_a_sweep_with_a_zero_has_equal_distances():
    values = {"sa": {0.0: [0.9, 0.92], 1e-4: [0.8], 1e-2: [0.5, 0.6]}}
    panel = plots.sweep(values, log=True).axes[0]
    np.testing.assert_allclose(np.asarray(panel.lines[0].get_xdata(), float), [0, 1, 2])
    np.testing.assert_allclose(np.asarray(panel.lines[0].get_ydata(), float), [0.91, 0.8, 0.55])
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "0.0001", "0.01"]


def test_four_of_many_layers_are_shown():
    layers = {f"net/layer{i}": (np.arange(3), np.arange(3) * i) for i in range(9)}
    figure = plots.weight_scatter({"fa": layers, "backprop": {}})
    assert [p.get_title() for p in figure.axes] == [f"fa, layer{i}" for i in (0, 3, 5, 8)]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0, 3, 6])


@pytest.mark.parametrize("draw", [plots.final_values, plots.sweep, plots.weight_scatter])
def test_nothing_to_draw(draw):
    with pytest.raises(ValueError, match="at least one method"):
        draw({})

"""Figures."""

import io

import numpy as np
import pytest

from tf_alignment import plots

RUNS = {
    "backprop": {"accuracy": [[0.5, 0.9, 0.95], [0.6, 0.8, 0.97]]},
    "fa": {"accuracy": [[0.4, 0.7, 0.9], [0.3, 0.7, 0.8]], "angle": [[90, 80, 75], [90, 82, 71]]},
    "kp": {"accuracy": [0.4, 0.8, 0.9], "angle": [90, 30, 8]},
}


def test_one_panel_a_quantity_and_one_line_a_method():
    figure = plots.learning_curves(RUNS)
    accuracy, angle = figure.axes
    assert (accuracy.get_ylabel(), angle.get_ylabel()) == ("accuracy", "angle")
    assert (len(accuracy.lines), len(angle.lines)) == (3, 2)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["backprop", "fa", "kp"]
    np.testing.assert_allclose(accuracy.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.55, 0.85, 0.96])


def test_values_have_positions_on_the_axis():
    figure = plots.learning_curves(RUNS, positions=[0, 10, 20, 30], unit="iteration")
    panel = figure.axes[0]
    assert panel.get_xlabel() == "iteration"
    np.testing.assert_allclose(panel.lines[0].get_xdata(), [0, 10, 20])
    with pytest.raises(ValueError, match="must have at least 3 values"):
        plots.learning_curves(RUNS, positions=[0, 10])


def test_the_band_is_one_standard_deviation():
    figure = plots.learning_curves({"fa": {"angle": [[90.0, 80.0], [90.0, 60.0]]}})
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices
    # of a sample of two, 20 apart: √200
    assert heights[heights[:, 0] == 2, 1].min() == pytest.approx(70 - 200**0.5)
    assert heights[heights[:, 0] == 2, 1].max() == pytest.approx(70 + 200**0.5)


def test_a_method_looks_the_same_in_every_panel_and_no_two_look_alike():
    methods = [f"method {i}" for i in range(13)]
    runs = {name: {"accuracy": [0.1, 0.2], "angle": [90, 80]} for name in methods}
    first, second, *others = plots.learning_curves(runs).axes
    assert [len(panel.lines) for panel in (first, second, *others)] == [7] * 4

    def looks(*panels):
        lines = [line for panel in panels for line in panel.lines]
        return {str((line.get_color(), line._unscaled_dash_pattern)) for line in lines}

    assert looks(first) == looks(second) and len(looks(first)) == 7
    # the first method is in both groups
    assert len(looks(first, others[0])) == 13


def boxes(figure):
    """Of all panels and legends, in pixels of the drawn figure."""
    figure.savefig(io.BytesIO())  # which lays it out
    parts = [figure, *figure.subfigs]
    legends = [legend for part in parts for legend in part.legends]
    return [
        [one.get_tightbbox() if one in legends else one.get_window_extent() for one in these]
        for these in (figure.axes, legends)
    ]


@pytest.mark.parametrize("count", [2, 7, 13])
def test_no_legend_covers_a_panel_or_leaves_the_figure(count):
    runs = {
        f"a method with a long name {i}": {"accuracy": [0.1, 0.2], "b": [1, 2]}
        for i in range(count)
    }
    figure = plots.learning_curves(runs)
    panels, legends = boxes(figure)
    assert len(legends) == (1 if count < 8 else 2)
    for legend in legends:
        assert not any(legend.overlaps(panel) for panel in panels)
        assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
        assert 0 <= legend.y0 < legend.y1 <= figure.bbox.height
    assert not legends[0].overlaps(legends[-1]) or count < 8


def test_a_figure_says_of_how_many_seeds_it_is():
    one, two = {"angle": [90, 80]}, {"angle": [[90, 80], [85, 70]]}
    captions = [
        plots.learning_curves(runs).get_supxlabel()
        for runs in ({"fa": one}, {"fa": two}, {"fa": one, "kp": two})
    ]
    band = "seeds, band: ± 1 standard deviation (n - 1)"
    assert captions == ["one seed", f"mean of 2 {band}", f"mean of 1 to 2 {band}"]
    layers = {"fa": {"a/gradient_angle": [[90, 60], [80, 70], [1, 2]]}}
    assert plots.layer_curves(layers).get_supxlabel() == "mean of 3 seeds"


def test_labels_choose_and_order_the_panels():
    figure = plots.learning_curves(RUNS, labels={"angle": "angle (degrees)"}, title="digits")
    (panel,) = figure.axes
    assert panel.get_ylabel() == "angle (degrees)"
    assert figure.get_suptitle() == "digits"


def test_seeds_that_diverged_are_left_out_where_they_are_nan():
    runs = {"wm": {"accuracy": [[0.5, np.nan], [0.7, 0.9]], "angle": [[np.nan, np.nan]]}}
    accuracy, angle = plots.learning_curves(runs).axes
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.6, 0.9])
    assert not angle.lines


def test_the_file_is_written(tmp_path):
    path = tmp_path / "curves.png"
    plots.learning_curves(RUNS, path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("runs", [{}, {"fa": {}}])
def test_nothing_to_draw(runs):
    with pytest.raises(ValueError, match="at least one method"):
        plots.learning_curves(runs)


def test_a_quantity_that_nobody_has():
    with pytest.raises(ValueError, match="at least one method"):
        plots.learning_curves(RUNS, labels={"accuracy": "accuracy", "loss": "loss"})


def test_values_of_another_shape():
    with pytest.raises(ValueError, match=r"results\['fa'\]\['angle'\] of shape \(1, 2, 3\)"):
        plots.learning_curves({"fa": {"angle": np.zeros((1, 2, 3))}})


class History:
    """As Keras has it."""

    def __init__(self, **history):
        self.history = history


def test_histories_are_drawn_without_their_layers():
    monitored = {f"layer{i}/gradient_angle": [80.0, 70.0] for i in range(40)}
    history = History(loss=[2.0, 1.0], **monitored, **{"mean/gradient_angle": [80.0, 70.0]})
    figure = plots.learning_curves({"fa": history, "kp": [history, history]})
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "mean/gradient_angle"]
    assert figure.get_figwidth() == 7.5
    assert "2 seeds" in figure.get_supxlabel()


def test_what_is_no_history():
    with pytest.raises(ValueError, match=r"results\['fa'\] of type float"):
        plots.learning_curves({"fa": 0.5})


def test_layers_go_from_dark_to_light():
    history = History(
        **{"net/a/gradient_angle": [90, 60], "net/b/gradient_angle": [80, 50], "loss": [1, 2]},
        **{"mean/gradient_angle": [85, 55]},
    )
    figure = plots.layer_curves({"fa": history})
    (panel,) = figure.axes
    dark, light = (sum(line.get_color()[:3]) for line in panel.lines)
    assert dark < light
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match="must hold '<layer>/error_angle'"):
        plots.layer_curves({"fa": history}, measure="error_angle")

"""The quickstart trains, prints its table and writes what it says; what all examples share."""

import json

import keras
import numpy as np
import pytest
import scripts

import tf_alignment as ta
from examples import common, curves, networks
from tf_alignment.studies.models import named_model

# ---- what all examples share -----------------------------------------------------------------


def test_curves_of_runs_of_several_lengths_are_stacked():
    runs = [{"curves": {"loss": [3.0, 2.0]}}, {"curves": {"loss": [1.0]}}, {"curves": {}}]
    nan = np.nan
    expected = [[3, 2], [1, nan], [nan, nan]]
    np.testing.assert_array_equal(curves.stacked(runs, "loss"), expected)


def test_a_cell_says_what_stands_behind_the_mean():
    values = np.array([1.0, 2.0, 3.0])
    assert curves.with_deviation(values) == "2.00 ± 1.00"  # with n − 1
    assert curves.with_error(values, 3) == "2.000 ± 0.577"  # 1/√3
    assert curves.with_error(values[:1]) == "1.00"
    assert curves.with_deviation(values[:1], 1) == "1.0 ± 0.0"
    for cell in (curves.with_deviation, curves.with_error):
        assert cell(values[:0]) == "-" and cell(np.array([2.0, np.nan])) == "-"


def test_a_band_is_around_the_mean():
    _, [[panel]] = common.new_figure(1, 1)
    values = np.array([[1.0, 2.0], [3.0, 6.0]])
    error = curves.standard_error(values)
    np.testing.assert_allclose(error, [1.0, 2.0])
    np.testing.assert_array_equal(curves.standard_error(values[:1]), [0.0, 0.0])
    curves.band(panel, [1, 2], values, error, color="C1", label="some")
    [line], [area] = panel.lines, panel.collections
    np.testing.assert_allclose(line.get_ydata(), [2.0, 4.0])
    assert line.get_label() == "some"
    low, high = area.get_datalim(panel.transData).get_points()[:, 1]
    assert (low, high) == pytest.approx((1.0, 6.0))


def test_inputs_are_normalised_by_the_training_split():
    digits = ta.data.load("digits")
    found = common.normalised(digits, flat=True)
    assert found.train.x.shape == (1437, 64) and found.test.x.dtype == np.float32
    assert found.train.x.mean() == pytest.approx(0, abs=1e-5)
    assert found.train.x.std() == pytest.approx(1, rel=1e-5)
    expected = (digits.test.x - digits.train.x.mean()) / digits.train.x.std()
    np.testing.assert_allclose(found.test.x, expected.reshape(360, 64), rtol=1e-4, atol=1e-5)
    given = common.normalised(digits, 0.5, 2.0)
    np.testing.assert_allclose(given.test.x, (digits.test.x - 0.5) / 2, rtol=1e-6)


def test_networks_of_several_folders():
    small, large = (named_model("small", (side, side, 1), 10) for side in (8, 28))
    assert small.layers[0].output.shape[1:] == (8, 8, 16)
    assert large.layers[0].output.shape[1:] == (14, 14, 16)
    names = ("low", "high")
    keras.utils.set_random_seed(1)
    model = networks.perceptron((4, 4, 1), (5, 3), names)
    keras.utils.set_random_seed(1)
    flat = ta.models.perceptron((16, 5, 3))
    assert [layer.name for layer in model.layers[1:]] == list(names)
    x = np.random.default_rng(0).random((2, 4, 4, 1), "float32")
    np.testing.assert_allclose(model(x), flat(x.reshape(2, 16)), rtol=1e-6)
    assert networks.residual(4, 8, 1).output_shape == (None, 10)


# ---- the quickstart --------------------------------------------------------------------------


@pytest.mark.slow
def test_two_methods_on_digits(tmp_path):
    done = scripts.attempt(
        "quickstart", "--methods", "kp", "dfa", "--epochs", 2, "--seeds", 2, "--output", tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("kp", "dfa")] == ["kp", "dfa"]
    assert "[4/4]" in done.stdout
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    methods = json.loads((tmp_path / "digits.json").read_text())["methods"]
    assert list(methods) == ["kp", "dfa"]
    for found in methods.values():
        assert np.shape(found["accuracy"]) == (2, 2)
        assert np.shape(found["gradient_angle"]) == (2, 2)
    assert methods["kp"]["angle"][0][0] > 45
    assert methods["dfa"]["angle"] == [[None, None], [None, None]]


@pytest.mark.slow
def test_processes_do_not_change_the_result(tmp_path):
    for jobs in (1, 2):
        arguments = ("--methods", "fa", "brsf", "--epochs", 1, "--seeds", 1, "--jobs", jobs)
        scripts.run("quickstart", *arguments, "--output", tmp_path / str(jobs))
    one, two = (json.loads((tmp_path / j / "digits.json").read_text())["methods"] for j in "12")
    for method in ("fa", "brsf"):
        assert one[method]["accuracy"] == two[method]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "nonsense"), "--methods: must be out of"),
        (("--seeds", 0), "--seeds: must be an integer of at least 1. Received: 0"),
        (("--dataset", "mnist", "--data-dir", "/nowhere"), "`data_dir` must hold"),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    line = scripts.refused("quickstart", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert message in line

"""The scripts on regression discontinuity: their parts, and that they write what they say."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_alignment as ta

FOLDER = Path(__file__).parents[2] / "examples" / "rdd"
sys.path.insert(0, str(FOLDER))  # as Python does for a script

import rdd_data  # noqa: E402
import rdd_network  # noqa: E402
import rdd_train  # noqa: E402

sys.path.remove(str(FOLDER))


@pytest.mark.parametrize(
    ("size", "channels", "classes", "flat"),
    [(32, 3, 10, 1600), (28, 1, 10, 1024), (32, 3, 21, 1600)],
)
def test_the_networks_of_table_1(size, channels, classes, flat):
    model = rdd_network.convolutional(size, channels, classes)
    kernels = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    expected = [(5, 5, channels, 64), (5, 5, 64, 64), (flat, 384), (384, 192), (192, classes)]
    assert [tuple(shape) for shape in kernels] == expected
    assert [
        layer.use_bias for layer in model.layers if "conv2d" in type(layer).__name__.lower()
    ] == [
        False,
        False,
    ]
    assert not isinstance(model.layers[-1], keras.layers.BatchNormalization)


def test_images_move_by_whole_pixels_in_training_alone():
    model = rdd_network.convolutional(24, 1, 10, filters=2, units=(6, 5))
    x = np.random.default_rng(0).uniform(-1, 1, (40, 24, 24, 1)).astype("float32")
    first = keras.Sequential(model.layers[:2])
    np.testing.assert_array_equal(first(x, training=False), x)
    moved = first(x, training=True).numpy()
    assert np.isin(moved, [*x.ravel(), -1.0]).all()
    border = (moved == -1.0).mean((1, 2, 3))
    assert border.min() < border.max() < 0.35  # 4 of 24 pixels on two sides are 31 %


def test_phases_align_the_dense_layers_alone():
    data = rdd_data.load("digits")
    settings = rdd_train.Settings("digits", filters=2, units=(12, 8))
    model = rdd_train.build("rdd", 0, settings, data)
    paths = ta.phases.RDD().connections(model)
    assert [path.split("/")[-1] for path in paths] == list(rdd_network.DENSE)
    assert model.get_layer("conv2").feedback is not None
    same = rdd_train.build("bp", 0, settings, data)
    np.testing.assert_array_equal(model.get_layer("dense1").kernel, same.get_layer("dense1").kernel)


def test_spike_rates_follow_activities():
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((10, 30)), 0.0).astype("float32")
    kernel = rng.standard_normal((30, 12)).astype("float32")
    [rates] = rdd_network.spike_rates([kernel], features)
    assert rates.shape == (10, 12)
    assert np.corrcoef(np.maximum(features @ kernel, 0).ravel(), rates.ravel())[0, 1] > 0.7


@pytest.mark.slow
def test_it_runs_and_writes_figures_and_numbers(tmp_path):
    command = [sys.executable, str(FOLDER / "rdd_train.py"), "--quick", "--epochs", "1"]
    command += ["--methods", "fa", "rdd", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = {r["method"]: r for r in json.loads((tmp_path / "digits.json").read_text())["runs"]}
    for layer in rdd_network.DENSE:
        signs = {method: r["curves"][f"{layer}/sign_agreement"] for method, r in runs.items()}
        costs = {method: r["curves"][f"{layer}/R_self"] for method, r in runs.items()}
        assert len(signs["fa"]) == 2 and signs["fa"][0] == signs["rdd"][0]
        assert signs["rdd"][-1] > signs["fa"][-1] and costs["rdd"][-1] < costs["fa"][-1]
        assert np.shape(runs["rdd"]["weights"][layer])[1] == 2
    for figure in ("figure3a", "figure3b", "figure4", "figure5", "figureS1"):
        assert (tmp_path / f"digits-{figure}.png").stat().st_size > 5000
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.count("finished before") == 2

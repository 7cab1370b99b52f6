"""The scripts on regression discontinuity: their parts, and that they write what they say."""

import json
import types

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.rdd import figures, network, traces, train


@pytest.mark.parametrize(
    ("size", "channels", "classes", "flat"),
    [(32, 3, 10, 1600), (28, 1, 10, 1024), (32, 3, 21, 1600)],
)
def test_the_networks_of_table_1(size, channels, classes, flat):
    model = network.convolutional(size, channels, classes)
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
    model = network.convolutional(24, 1, 10, filters=2, units=(6, 5))
    x = np.random.default_rng(0).uniform(-1, 1, (40, 24, 24, 1)).astype("float32")
    first = keras.Sequential(model.layers[:2])
    np.testing.assert_array_equal(first(x, training=False), x)
    moved = first(x, training=True).numpy()
    assert np.isin(moved, [*x.ravel(), -1.0]).all()
    border = (moved == -1.0).mean((1, 2, 3))
    assert border.min() < border.max() < 0.35  # 4 of 24 pixels on two sides are 31 %


def test_phases_align_the_dense_layers_alone():
    variant = train.variant("rdd", "pooled")
    model = network.convolutional(24, 1, 10, filters=2, units=(12, 8))
    model = ta.convert(model, variant.feedback, feedback_initializer=variant.feedback_initializer)
    run = types.SimpleNamespace(model=model, seed=3, settings={"duration": 2.0})
    [phase] = [function(run) for function in variant.phases]
    paths = phase.connections(model)
    assert [path.split("/")[-1] for path in paths] == list(network.DENSE)
    assert model.get_layer("conv2").feedback is not None
    assert train.variant("backprop", "pooled").feedback is None
    assert not train.variant("fa", "pooled").phases
    found = train.measure(run)
    w, b = train.feedback_kernels(model)["dense1"]
    signs = np.mean(np.sign(np.asarray(w)) == np.sign(np.asarray(b)))
    assert found["dense1/sign_agreement"] == pytest.approx(signs)
    train.start(run)
    assert run.settings["start"] == found


@pytest.mark.slow
def test_controls_differ_in_the_feedback_of_one_kind_of_layers():
    """`copied` has the transposed weights in dense layers alone, `rdd+wm` learns in `conv2` too."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 24, 24, 1)).astype("float32"), rng.integers(0, 10, 64)
    for method, exact in (("copied", network.DENSE), ("rdd+wm", ("conv2",))):
        variant = train.variant(method, "pooled")
        model = network.convolutional(24, 1, 10, filters=2, units=(12, 8))
        model = ta.convert(model, variant.feedback, feedback_initializer=None)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(variant.optimizer(None), loss)
        model.fit(x, y, batch_size=8, epochs=30, verbose=0)
        angles = {
            layer.name: float(
                ta.metrics.weight_angle(layer.kernel, *layer.feedback_weights.values())
            )
            for name in ("conv2", *network.DENSE)
            if (layer := model.get_layer(name))
        }
        learned = {name for name, angle in angles.items() if angle < 15}
        assert learned == set(exact), angles
    model = ta.convert(network.convolutional(24, 1, 10, 2, (12, 8)), variant.feedback)
    run = types.SimpleNamespace(model=model, seed=3, settings={"duration": 2.0})
    [phase] = [function(run) for function in variant.phases]
    paths = phase.connections(model)
    assert [path.split("/")[-1] for path in paths] == list(network.DENSE)


def test_the_pages_figures_are_drawn_from_kept_files(tmp_path):
    runs = json.loads((scripts.ROOT / "docs/results/rdd/cifar10.json").read_text())["runs"]
    written = figures.draw(runs, tmp_path / "cifar10")
    assert "cifar10-figure3a.png" in [file.name for file in written]
    assert "| `bp` | 1 | 23.0 | 21.9 | - |" in train.table(runs)


def test_spike_rates_follow_activities():
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((10, 30)), 0.0).astype("float32")
    kernel = rng.standard_normal((30, 12)).astype("float32")
    [rates] = network.spike_rates([kernel], features)
    assert rates.shape == (10, 12)
    assert np.corrcoef(np.maximum(features @ kernel, 0).ravel(), rates.ravel())[0, 1] > 0.7


@pytest.mark.slow
def test_how_well_weights_are_found(tmp_path):
    scripts.run("rdd.weights", "--quick", "--seeds", "1", "--output", tmp_path)
    found = json.loads((tmp_path / "weights-quick.json").read_text())["signs and correlations"]
    assert {len(rows["0"]) for rows in found.values()} == {2}
    assert found["pooled"] != found["pooled, free drive"]


@pytest.mark.slow
def test_it_runs_and_writes_figures_and_numbers(tmp_path):
    command = ["rdd.train", "--quick", "--epochs", "1"]
    command += ["--methods", "fa", "rdd", "--output", str(tmp_path)]
    scripts.run(*command)
    runs = {r["method"]: r for r in json.loads((tmp_path / "digits.json").read_text())["runs"]}
    for layer in network.DENSE:
        signs = {method: r["curves"][f"{layer}/sign_agreement"] for method, r in runs.items()}
        costs = {method: r["curves"][f"{layer}/R_self"] for method, r in runs.items()}
        assert len(signs["fa"]) == 2 and signs["fa"][0] == signs["rdd"][0]
        assert signs["rdd"][-1] > signs["fa"][-1] and costs["rdd"][-1] < costs["fa"][-1]
        assert np.shape(runs["rdd"]["weights"][layer])[1] == 2
    for figure in ("figure3a", "figure3b", "figure4", "figure5", "figureS1"):
        assert (tmp_path / f"digits-{figure}.png").stat().st_size > 5000
    assert "2 of 2 runs were made before" in scripts.run(*command)


# ---- figure 2 --------------------------------------------------------------------------------


def test_traces_are_those_of_the_simulation():
    paradigm = ta.spiking.lif.Paradigm()
    sets, bits = paradigm.draw(20, 1, tf.constant([1, 2]))
    spikes, peak, *_ = paradigm.driven(bits)
    members = sets[0, 1].numpy()
    kernel = np.random.default_rng(0).normal(0, 60, (20, 3)).astype("float32")
    found = traces.record(paradigm, kernel[members], bits[:, 1])
    np.testing.assert_array_equal(found.spikes.astype(bool), spikes[1])
    closes = np.isfinite(found.peak)
    expected = np.isfinite(peak[:, 1])  # a block holds at most one window of a unit
    assert closes.sum() == expected.sum() > 2
    np.testing.assert_allclose(
        np.sort(found.peak[closes]), np.sort(peak[:, 1].numpy()[expected]), rtol=1e-5
    )
    # in a window u is the voltage without reset, outside it is the voltage
    outside = ~found.open & ~np.pad(found.open, ((1, 0), (0, 0)))[:-1]
    np.testing.assert_array_equal(found.u[outside], found.v[outside])
    assert (found.u >= found.v - 1e-6)[found.open].mean() > 0.8
    # the feedback gained in a window, as the phase has it
    events = paradigm.run(kernel[:], sets, bits)
    first = traces.record(paradigm, kernel[sets[0, 0].numpy()], bits[:, 0])
    unit = int(np.argmax(np.isfinite(first.peak).any(0)))
    _, gained = traces.windows(events, int(sets[0, 0, unit]), 2)
    [close, *_] = np.flatnonzero(np.isfinite(first.peak[:, unit]))
    q = first.q[:, 2]
    assert gained[0] == pytest.approx(q[close - 29 : close + 1].mean() - q[close - 30], abs=1e-2)


def test_a_jump_at_the_threshold_is_found():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.9, 1.5, 4000)
    y = np.where(x < 1, 5 + 40 * (x - 1), 12 - 20 * (x - 1)) + rng.normal(0, 3, 4000)
    found = traces.fit(x, y, 1.0)
    assert found.windows == ((x < 1).sum(), (x >= 1).sum())
    beta, error = found.jump
    assert abs(beta - 7) < 3 * error and 0.2 < error < 0.6
    assert found.left[1] == pytest.approx(40, abs=12) and found.right[1] == pytest.approx(
        -20, abs=2
    )
    means = traces.binned(x, y)
    assert [len(column) for column in means] == [traces.BINS] * 3


@pytest.mark.slow
def test_figure_2(tmp_path):
    printed = scripts.run("rdd.traces", "--quick", "--output", tmp_path)
    found = json.loads((tmp_path / "figure2.json").read_text())["synapses"]
    largest, smallest = found["largest weight"], found["smallest weight"]
    assert largest["W"] > 0 > smallest["W"] and "| largest weight |" in printed
    assert min(largest["windows below and above"]) > 10
    assert (tmp_path / "figure2.png").stat().st_size > 10_000

"""The scripts of figures 2 and 6 of "Two Routes": what they measure, and that they run."""

import argparse
import json
import sys
import types

import keras
import numpy as np
import pytest
import scripts

import tf_alignment as ta
from examples.two_routes import neural_predictivity as predictivity
from examples.two_routes import recordings, stability

# ---- figure 2 --------------------------------------------------------------------------------


def mirrored(rule=None):
    """Two convolutions and a dense layer, B twice W in the last."""
    rule = rule or ta.feedback.WeightMirror(0.1, 0.4, noise=None, normalize=None)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            ta.layers.Conv2D(3, 3, strides=2, padding="same", feedback=rule, name="first"),
            ta.layers.Conv2D(4, 3, feedback=rule, name="second"),
            keras.layers.Flatten(),
            ta.layers.Dense(5, feedback=rule, name="last"),
        ]
    )
    last = model.get_layer("last")
    last.feedback_weights["feedback_kernel"].assign(2 * last.kernel)
    return model


def test_rows_are_those_of_the_layers():
    model = mirrored()
    images = np.random.default_rng(0).standard_normal((50, 8, 8, 2)).astype("float32")
    rows = stability.measure(model, images)
    assert [row.layer for row in rows] == ["first", "second", "last"]
    assert [row.decay for row in rows] == pytest.approx([4, 4, 4])
    assert (rows[2].ratio, rows[2].slope, rows[2].angle) == pytest.approx((2, 2, 0), abs=0.05)
    w, b = np.asarray(model.layers[0].kernel), model.layers[0].effective_feedback_kernel().numpy()
    line = np.polynomial.Polynomial.fit(w.ravel(), b.ravel(), [1], domain=[-1, 1]).coef[1]
    assert rows[0].slope == pytest.approx(line, rel=1e-4)
    below, hidden = images, []
    for layer in model.layers:
        hidden.append(below)
        below = layer(below).numpy()
    after = [(hidden[0] ** 2).mean() * 16, (hidden[1] ** 2).mean() * 4, (hidden[3] ** 2).mean()]
    assert [row.after for row in rows] == pytest.approx(after, rel=1e-4)
    assert rows[0].before == pytest.approx(rows[0].after)  # the images themselves
    w, x = np.asarray(model.get_layer("last").kernel), hidden[3]
    along = np.linalg.norm(x.T @ x @ w) / np.linalg.norm(w) / 50
    assert rows[2].along == pytest.approx(along, rel=1e-4)
    assert rows[1].before != pytest.approx(rows[1].after)  # other first weights


def test_white_input_is_where_the_mirror_ends_as_predicted():
    """B of a dense layer rests at x²/λ times W: the norm ratio is the predicted one."""
    rule = ta.feedback.WeightMirror(0.1, 0.4, noise=None, normalize=None)
    layer = ta.layers.Dense(5, feedback=rule)
    rng = np.random.default_rng(0)
    images, _ = np.linalg.qr(rng.standard_normal((60, 20)))
    images = (3 * 60**0.5 * images).astype("float32")  # xᵀx / N = 9
    model = keras.Sequential([keras.Input((20,)), layer])
    model.compile(
        ta.optimizers.split(keras.optimizers.SGD(0.0), keras.optimizers.SGD(1.0)),
        "mse",
        jit_compile=False,
    )
    model.fit(images, np.zeros((60, 5)), batch_size=60, epochs=40, verbose=0)
    ratio = float(ta.metrics.norm_ratio(layer.kernel, layer.effective_feedback_kernel()))
    power, along = stability.powers(model, images)[layer.name]
    assert ratio == pytest.approx(power / 4, rel=1e-3)
    assert power == pytest.approx(9, rel=1e-4) and along == pytest.approx(9, rel=1e-4)


def test_on_noise_the_prediction_is_its_variance_times_the_positions():
    noise = ta.Noise("gaussian", 0.5)
    model = mirrored(ta.feedback.WeightMirror(0.1, 0.4, noise=noise, normalize=None))
    images = np.random.default_rng(0).standard_normal((50, 8, 8, 2)).astype("float32")
    rows = stability.measure(model, images)
    assert [(r.before, r.after, r.along) for r in rows] == [(4,) * 3, (1,) * 3, (0.25,) * 3]


def test_what_has_nothing_to_measure_says_so():
    images = np.zeros((2, 8, 8, 2), "float32")
    with pytest.raises(ValueError, match="must have three layers with a weight mirror"):
        stability.measure(mirrored("wm"), images)  # divides by the power of its noise
    model = mirrored()
    model.get_layer("second").kernel.assign(np.full((3, 3, 3, 4), np.nan))
    with pytest.raises(ValueError, match="blown up"):
        stability.measure(model, images)


def test_the_table_counts_what_was_predicted():
    def row(ratio, before, after):
        return stability.Row("a", ratio, ratio, 10.0, 2.0, before, after, along=2.0)

    rows = [row(50.0, 2.0, 200.0), row(1.2, 3.0, 3.0), row(0.01, 0.1, 7.0)]
    lines = stability.table(rows, factor=3.0).splitlines()
    assert lines[2:5] == [
        "| `a` | 2 | 1 stable | 100 diverging | 1 stable | 50 diverging | 10.0° |",
        "| `a` | 2 | 1.5 stable | 1.5 stable | 1 stable | 1.2 stable | 10.0° |",
        "| `a` | 2 | 0.05 collapsing | 3.5 diverging | 1 stable | 0.01 collapsing | 10.0° |",
    ]
    assert lines[-1] == "2, 2 and 1 of 3 layers as predicted"


def test_settings_are_those_beside_the_network(tmp_path):
    arguments = argparse.Namespace(model=tmp_path / "models" / "a-0.1-0.keras", quick=True)
    assert stability.settings_beside(arguments).dataset == "digits"
    (tmp_path / "models").mkdir()
    settings = {"settings": {"method": "wm-published", "depth": 14, "dataset": "mnist"}}
    (tmp_path / "models" / "a-0.1-0.json").write_text(json.dumps(settings))
    found = stability.settings_beside(arguments)
    assert (found.dataset, found.depth) == ("mnist", 14)


# ---- figure 6 --------------------------------------------------------------------------------

ARGUMENTS = argparse.Namespace(
    components=5, splits=3, inner_splits=2, seed=0, layers=None, features=100
)


def test_the_layer_is_chosen_that_predicts():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 8))
    responses = x @ rng.standard_normal((8, 6))
    responses[:, 1] = 2.0
    features = {"other": rng.standard_normal((200, 8)), "right": x}
    r, chosen = predictivity.best_layers(features, responses, None, ARGUMENTS)
    assert chosen == ["right"] * 3
    assert np.isnan(r[1]) and np.nanmin(r) > 0.9


def test_the_choice_has_not_seen_the_test_images():
    """Of noise, the best of many layers would look predictive if it were chosen on the test."""
    rng = np.random.default_rng(1)
    features = {str(i): rng.standard_normal((60, 3)) for i in range(20)}
    responses = rng.standard_normal((60, 1))
    arguments = argparse.Namespace(**{**vars(ARGUMENTS), "splits": 10})
    r, chosen = predictivity.best_layers(features, responses, None, arguments)
    cheating = [
        max(
            ta.analysis.neural_predictivity(f, responses, splits=[split], components=5).r[0]
            for f in features.values()
        )
        for split in predictivity.ShuffleSplit(10, test_size=0.25, random_state=0).split(responses)
    ]
    assert len(set(chosen)) > 1
    assert r[0] < 0.2 < 0.35 < np.mean(cheating)


def test_the_floor_is_the_same_network_with_fresh_weights(tmp_path):
    model = ta.models.resnet(8, input_shape=(8, 8, 1), classes=10, width=2, feedback="sa")
    model.save(tmp_path / "one.keras")
    (name, read), (floor, fresh) = predictivity.networks([tmp_path / "one.keras"], seed=0)
    assert (name, floor) == ("one", "random")
    kernels = [m.get_layer("conv2_block1_1_conv").kernel.numpy() for m in (model, read, fresh)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[2] - kernels[0]).min() > 0
    ends = predictivity.ends_of_blocks(fresh)
    assert ends == ["conv2_block1_out", "conv3_block1_out", "conv4_block1_out", "avg_pool"]
    small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
    assert predictivity.ends_of_blocks(small) == ["dense"]


def test_networks_are_judged_on_files_of_arrays(tmp_path, monkeypatch, capsys):
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(6, name="dense")]
    )
    model.save(tmp_path / "small.keras")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((120, 4, 4, 1)).astype("float32")
    responses = model.predict_on_batch(images) @ rng.standard_normal((6, 4))
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "responses.npy", responses)
    np.save(tmp_path / "ceiling.npy", np.full(4, 0.8))
    files = {
        f"--{name}": str(tmp_path / f"{file}.npy")
        for name, file in (("stimuli", "images"), ("responses",) * 2, ("ceiling",) * 2)
    }
    options = [word for pair in files.items() for word in pair]
    options += ["--models", str(tmp_path / "small.keras"), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["neural_predictivity.py", *options, "--layers", "dense"])
    predictivity.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("| small | 1.250 | 0.000 | 4 | - | `dense` | 5 of 5 splits")
    numbers = json.loads((tmp_path / "neural-predictivity.json").read_text())
    assert numbers["networks"]["random"]["median"] < 1.1
    assert (tmp_path / "neural-predictivity.png").stat().st_size > 5_000
    monkeypatch.setattr(sys, "argv", ["neural_predictivity.py"])
    with pytest.raises(SystemExit):
        predictivity.main()
    assert "--stimuli and --responses are needed" in capsys.readouterr().err


def test_the_noise_ceiling_is_what_a_perfect_model_reaches():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((4000, 3, 1))
    repeats = signal + np.array([[[0.5], [1.0], [3.0]]]) * rng.standard_normal((4000, 3, 8))
    repeats[:2000, :, 6:] = np.nan  # six repeats in half of the images, eight in the others
    found = recordings.noise_ceiling(repeats, splits=20)
    perfect = [np.corrcoef(signal[:, i, 0], np.nanmean(repeats[:, i], -1))[0, 1] for i in range(3)]
    np.testing.assert_allclose(found, perfect, atol=0.02)
    noise = recordings.noise_ceiling(rng.standard_normal((4000, 1, 8)), splits=20)
    assert noise[0] < 0.25


def test_neurons_without_repeats_have_no_part_in_the_share_of_the_ceiling():
    r = np.array([0.3, 0.4, np.nan, 0.6])
    found = predictivity.of_ceiling(r, np.array([np.nan, 0.8, 0.9, 0.6]))
    assert (found["median"], found["neurons"], found["ceiling"]) == (0.75, 2, 0.8)
    assert found["standard_error"] == pytest.approx(0.25)
    row = {"median": 0.4, "standard_error": 0.1, "neurons": 3, "layer": "a", "chosen": "1 of 1"}
    assert "| 3 | 0.750 ± 0.250 | `a` |" in predictivity.table(
        {"one": {**row, "of_ceiling": found}}
    )


@pytest.mark.parametrize("ceiling", [None, np.full(2, 0.5)])
def test_sessions_without_repeats_have_no_share_of_a_ceiling(ceiling):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")])
    images = np.random.default_rng(0).standard_normal((60, 3)).astype("float32")
    responses = model.predict_on_batch(images)[:, :2]
    chosen = types.SimpleNamespace(
        sessions=["a"],
        layers=["dense"],
        features=None,
        components=2,
        seed=0,
        splits=2,
        inner_splits=2,
    )
    found = predictivity.judge(model, [(images, responses, ceiling)], chosen)
    assert ("of_ceiling" in found) == (ceiling is not None)


def test_recordings_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match="'v4_cowley/190923'"):
        recordings.read("190923", str(tmp_path), 8)


# ---- both, whole -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "name", "row"),
    [
        ("stability", "stability-digits-v1-8-wm-published-0.01-0.2-0", "| `predictions` |"),
        ("neural_predictivity", "neural-predictivity", "| random |"),
    ],
)
def test_quick(script, name, row, tmp_path):
    command = [f"two_routes.{script}", "--quick", "--output", str(tmp_path)]
    printed = scripts.run(*command)
    assert row in printed
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert json.loads((tmp_path / f"{name}.json").read_text())["versions"]
    if script == "stability":
        [model] = (tmp_path / "models").glob("*.keras")
        again = scripts.run(*command, "--model", str(model))
        assert again.split("\n\n")[0] in printed

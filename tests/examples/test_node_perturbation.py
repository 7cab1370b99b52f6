"""The scripts on node perturbation: their parts, and that they run and write what they say."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.node_perturbation import autoencoder, cifar, experiment, perceptron


def settings(row, method, **changes):
    return {
        "row": row,
        "method": method,
        "noise": 0.01,
        "seed": 0,
        "dataset": "digits",
        "data_dir": None,
        "rate": 0.5,
        "warmup": 20,
        **changes,
    }


def task(build=perceptron.build, passes=3, **changes):
    own = settings("np 0.01", "np", **changes)
    return experiment.Task("small", own, build, perceptron.batches, passes)


# ---- the engine ------------------------------------------------------------------------------


def test_a_run_is_made_once_and_its_settings_are_checked(tmp_path):
    result = experiment.train(task(warmup=500), tmp_path)
    curves = result["curves"]
    assert set(map(len, curves.values())) == {3}
    assert result["steps_a_pass"] == 1437 // 32
    assert curves["third/angle_per_example"][0] < 75.0  # of 93, before the warm-up
    assert experiment.train(task(warmup=500), tmp_path) == json.loads(
        (tmp_path / "runs" / "small.json").read_text()
    )
    with pytest.raises(ValueError, match="other settings"):
        experiment.train(task(seed=1), tmp_path)


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    def build(own, stop):
        run = perceptron.build(own)
        measure, calls = run.measure, []

        def count():
            calls.append(0)
            if len(calls) == 2 and stop:
                raise KeyboardInterrupt
            return measure()

        return dataclasses.replace(run, measure=count)

    whole = experiment.train(task(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        experiment.train(task(functools.partial(build, stop=True)), tmp_path / "part")
    part = experiment.train(task(), tmp_path / "part")
    assert part["curves"] == whole["curves"]


def test_a_diverging_run_stops(tmp_path, capsys):
    def build(own):
        return dataclasses.replace(perceptron.build(own), measure=lambda: {"loss": float("nan")})

    result = experiment.train(task(build), tmp_path)
    assert len(result["curves"]["loss"]) == 1
    assert "diverged" in capsys.readouterr().out


def test_runs_of_all_rows_from_every_seed():
    rows = {"np 0.01": {"noise": 0.01}, "fa": {}}
    made = experiment.tasks("small", rows, 2, perceptron.build, perceptron.batches, 3, rate=0.5)
    assert [one.name for one in made] == [
        "small-np-0.01-0",
        "small-fa-0",
        "small-np-0.01-1",
        "small-fa-1",
    ]
    assert made[2].settings == {"row": "np 0.01", "noise": 0.01, "seed": 1, "rate": 0.5}
    assert made[3].settings == {"row": "fa", "seed": 1, "rate": 0.5} and made[3].passes == 3


# ---- the networks ----------------------------------------------------------------------------


def test_compare_measures_the_layers_with_feedback():
    run = perceptron.build(settings("fa", "fa"))
    x, y = perceptron.vectors("digits", None, "test")
    probe = ta.metrics.GradientProbe(run.model)
    found = perceptron.compare(run.model, probe(x, y))
    for name in ("second", "third"):
        layer = run.model.get_layer(name)
        w, b = layer.kernel.numpy(), layer.feedback_weights["feedback_kernel"].numpy()
        relative = np.linalg.norm(b - w) / np.linalg.norm(w)
        assert found[f"{name}/relative_error"] == pytest.approx(relative, rel=1e-4)
        assert found[f"{name}/sign_agreement"] == pytest.approx(np.mean(np.sign(b) == np.sign(w)))
    with tf.GradientTape(persistent=True) as tape:
        h1 = run.model.get_layer("first")(x)
        tape.watch(h1)
        h2 = run.model.get_layer("second")(h1)
        z = keras.ops.matmul(h2, w) + run.model.get_layer("third").bias
        loss = tf.reduce_sum(perceptron.half_squared_error(y, tf.sigmoid(z)))
    delta = tape.gradient(loss, z)
    true, sent = (delta @ k.T for k in (w, b))
    cosine = np.sum(true * sent, -1) / np.linalg.norm(true, axis=1) / np.linalg.norm(sent, axis=1)
    angle = np.degrees(np.arccos(cosine)).mean()
    assert found["third/angle_per_example"] == pytest.approx(angle, abs=0.1)


def test_the_autoencoder_is_the_papers():
    model = autoencoder.network(784, 200, 0.0, 0.0)
    shapes = [tuple(layer.kernel.shape) for layer in model.layers]
    assert shapes == [(784, 200), (200, 2), (2, 200), (200, 784)]
    names = [layer.activation.__name__ for layer in model.layers]
    assert names == ["tanh", "linear", "tanh", "relu"]
    noisy = autoencoder.network(784, 200, 0.3, 0.02)
    assert [layer.stddev for layer in noisy.layers if hasattr(layer, "stddev")] == [0.3] + 3 * [
        0.02
    ]


def test_digits_in_separate_places_are_told_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 40)
    centres = np.stack([np.cos(labels), np.sin(labels)], 1)
    near = centres + 0.01 * rng.standard_normal(centres.shape)
    assert autoencoder.separation(near, labels) == 100.0
    assert autoencoder.separation(rng.standard_normal(centres.shape), labels) < 25.0


def test_a_mosaic_shows_each_image_above_its_reconstruction():
    images = np.arange(10.0)[:, None] * np.ones((1, 4))
    picture = autoencoder.mosaic(images, -images)
    assert picture.shape == (8, 10)
    np.testing.assert_array_equal(picture[0, ::2], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(picture[2, ::2], [-0.0, -1, -2, -3, -4])
    np.testing.assert_array_equal(picture[4, ::2], [5, 6, 7, 8, 9])


def test_the_convolutional_network_is_the_papers():
    model = cifar.network((32, 32, 3), 10, 1.0, 0.0)
    kernels = [tuple(w.shape) for w in model.weights if len(w.shape) > 1]
    convolutions = [(5, 5, 3, 96), (5, 5, 96, 128), (5, 5, 128, 256)]
    assert kernels == [*convolutions, (4096, 2048), (2048, 2048), (2048, 10)]


def test_images_are_standardised_one_by_one():
    found = cifar.images("digits", None)
    assert found.classes == 10
    for split in (found.train, found.test):
        np.testing.assert_allclose(split.x.mean((1, 2, 3)), 0.0, atol=1e-5)
        np.testing.assert_allclose(split.x.std((1, 2, 3)), 1.0, rtol=1e-4)


# ---- the scripts -----------------------------------------------------------------------------


def test_unknown_rows_are_refused():
    done = scripts.attempt("node_perturbation.perceptron", "--quick", "--methods", "magic")
    assert done.returncode == 2
    assert "--methods must be out of" in done.stderr and "magic" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "name", "methods"),
    [
        ("perceptron", "perceptron-quick", ["backprop", "fa", "np 0.01"]),
        ("fixed_weights", "fixed-weights-quick", ["published", "control variate", "antithetic"]),
        ("autoencoder", "autoencoder-quick", ["backprop", "np", "fa+noise"]),
        ("cifar", "cnn-quick", ["backprop", "np", "sg", "dfa+noise"]),
    ],
)
def test_quick(script, name, methods, tmp_path):
    printed = scripts.run(
        f"node_perturbation.{script}", "--quick", "--output", tmp_path, "--methods", *methods
    )
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    runs = json.loads((tmp_path / f"{name}.json").read_text())["runs"]
    assert len(runs) >= len(methods)
    for row in methods:
        assert row in printed

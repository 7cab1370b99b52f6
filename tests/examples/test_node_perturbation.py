"""The scripts on node perturbation: their parts, and that they run and write what they say."""

import json
import types

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.node_perturbation import autoencoder, cifar, experiment, perceptron


def a_run(row, seed=0, **settings):
    """A compiled network as a run of a study has it, with what learns its feedback."""
    variant = perceptron.variant(row)
    keras.utils.set_random_seed(seed)
    model = ta.convert(perceptron.network(64), variant.feedback, feedback_initializer=None)
    model.compile(keras.optimizers.SGD(0.5), perceptron.half_squared_error)
    made = types.SimpleNamespace(
        model=model, seed=seed, feedback=variant.feedback, resumed=False, data_dir=None, phases=[]
    )
    made.settings = {"dataset": "digits", "warmup": 500, **settings}
    made.source = types.SimpleNamespace(
        **dict(zip(("train", "test"), perceptron.data(made), strict=True))
    )
    made.phases = [function(made) for function in variant.phases]
    return made


# ---- what goes into a study and comes out of it ------------------------------------------------


def test_feedback_learns_before_training_begins_and_once():
    run, resumed = a_run("np 0.01"), a_run("np 0.01")
    resumed.resumed = True
    before = resumed.model.get_weights()
    [phase], steps = run.phases, run.phases[0].steps
    for each in (run, resumed):
        perceptron.warm_up(each)
    angles = [perceptron.measure(each)["third/angle_per_example"] for each in (run, resumed)]
    assert angles[0] < 75.0 < angles[1]
    for value, start in zip(resumed.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, start)
    assert phase.steps == steps


def test_rows_say_which_feedback_learns():
    assert not perceptron.variant("fa").phases and perceptron.variant("fa").feedback == "fa"
    assert perceptron.variant("backprop").feedback == "backprop"
    found = {row: len(perceptron.variant(row).phases) for row in perceptron.DEFAULT}
    assert found == {row: int(row not in ("backprop", "fa")) for row in perceptron.DEFAULT}
    sgd = autoencoder.variant("np-published", 64, 5, None)
    assert type(sgd.optimizer) is keras.optimizers.SGD
    assert float(sgd.optimizer.learning_rate) == pytest.approx(1e-4 * 32)
    noisy = autoencoder.variant("adam+noise", 64, 5, 0.5).build()
    assert sum(isinstance(layer, keras.layers.GaussianNoise) for layer in noisy.layers) == 3


def test_curves_become_what_the_pages_have():
    history = {"loss": [1.0], "val_loss": [2.0], "mean/weight_angle": [3.0], "test_error": [4.0]}
    history |= {"second/relative_error": [5.0], "perceptron/second/weight_angle": [6.0]}
    found = experiment.own_curves(history)
    assert list(found) == ["loss", "test_error", "second/relative_error"]
    assert autoencoder.curves(history) == {"loss": [1.0], "test_loss": [64.0]}
    history = {"loss": [1.0], "accuracy": [0.4], "val_accuracy": [0.5], "val_loss": [2.0]}
    history |= {"conv1/gradient_angle": [7.0], "cnn/dense1/gradient_angle": [8.0]}
    history |= {"mean/gradient_angle": [9.0], "cnn/dense1/weight_angle": [3.0]}
    found = cifar.curves(history)
    assert found["test_accuracy"] == [50.0] and found["conv1/gradient_angle"] == [7.0]
    page = json.loads((scripts.ROOT / "docs/results/node_perturbation/cifar10.json").read_text())[
        "runs"
    ][0]
    assert set(found) <= set(page["curves"])
    assert experiment.passes_of(200_000, 60_000, 32) == 107


# ---- the networks ----------------------------------------------------------------------------


def test_compare_measures_the_layers_with_feedback():
    run = a_run("fa")
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


def test_unknown_rows_are_refused(monkeypatch, capsys):
    arguments = ("node_perturbation.perceptron", "--quick", "--methods", "magic")
    line = scripts.refused(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert "--methods: must be out of" in line and "Received: magic" in line


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

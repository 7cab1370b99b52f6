"""Predictivity of synthetic neurons, whose best correlation is known."""

import keras
import numpy as np
import pytest
from scipy import stats
from sklearn import linear_model

from tf_alignment import analysis


def neurons(images=1200, features=12, count=6, seed=0):
    """Features, and responses that are linear in them, of unit variance."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, features))
    weights = rng.standard_normal((features, count))
    return x, x @ (weights / np.linalg.norm(weights, axis=0)), rng


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_linear_neurons_reach_the_ceiling_of_their_noise(noise):
    x, signal, rng = neurons()
    responses = signal + noise * rng.standard_normal(signal.shape)
    found = analysis.neural_predictivity(x, responses, splits=4)
    best = np.sqrt(1 / (1 + noise**2))
    np.testing.assert_allclose(found.r, best, atol=0.07)
    assert found.median == pytest.approx(best, abs=0.03)
    corrected = analysis.neural_predictivity(x, responses, splits=4, ceiling=np.full(6, best))
    np.testing.assert_allclose(corrected.r, found.r / best)


def test_independent_neurons_are_not_predicted():
    x, signal, rng = neurons(count=20)
    found = analysis.neural_predictivity(x, rng.permutation(signal), splits=4)
    # of 300 test images; r of fewer than all components, so of no more
    assert abs(found.median) < 0.05 and np.abs(found.r).max() < 3 / 300**0.5


def test_with_all_components_it_is_least_squares():
    x, signal, rng = neurons(images=100, features=5)
    y = signal + rng.standard_normal(signal.shape)
    train, test = np.arange(60), np.arange(60, 100)
    predicted = linear_model.LinearRegression().fit(x[train], y[train]).predict(x[test])
    expected = [stats.pearsonr(predicted[:, i], y[test, i]).statistic for i in range(6)]
    for scale in (False, True):
        found = analysis.neural_predictivity(
            x, y, components=25, splits=[(train, test)], scale=scale
        )
        np.testing.assert_allclose(found.r, expected)


def test_one_component_is_the_direction_of_largest_covariance():
    x, signal, rng = neurons(images=100, features=5, count=1)
    y = signal + rng.standard_normal(signal.shape)
    x = x * [1, 2, 3, 4, 5]
    train, test = np.arange(60), np.arange(60, 100)
    centred = x[train] - x[train].mean(0)
    direction = centred.T @ (y[train] - y[train].mean(0))
    scaled = (centred / centred.std(0)).T @ (y[train] - y[train].mean(0))
    for scale, axis in ((False, direction), (True, scaled / centred.std(0)[:, None])):
        expected = stats.pearsonr((x[test] @ axis)[:, 0], y[test, 0]).statistic
        found = analysis.neural_predictivity(
            x, y, components=1, splits=[(train, test)], scale=scale
        )
        assert found.r[0] == pytest.approx(expected)


def test_directions_in_which_features_do_not_vary_do_no_harm():
    x, signal, rng = neurons()
    y = signal + rng.standard_normal(signal.shape)
    expected = analysis.neural_predictivity(x, y, splits=2)
    wide = np.hstack([(x @ rng.standard_normal((12, 40))).astype("float32"), np.zeros((1200, 9))])
    found = analysis.neural_predictivity(wide, y, splits=2)
    np.testing.assert_allclose(found.r, expected.r, atol=1e-4)


def test_constant_neurons_are_left_out():
    x, signal, _ = neurons(images=100)
    y = signal.copy()
    y[:, 2] = 3.0
    y[1:, 4] = 0.0  # varies in one image, so in no split in both parts
    found = analysis.neural_predictivity(x, y, splits=3)
    rest = np.delete(np.arange(6), [2, 4])
    alone = analysis.neural_predictivity(x, signal[:, rest], splits=3)
    np.testing.assert_array_equal(np.isnan(found.r), [0, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(found.r[rest], alone.r)
    assert found.neurons == 4 and found.median == pytest.approx(np.median(alone.r))
    assert found.standard_error == pytest.approx(stats.sem(alone.r))
    assert np.isnan(analysis.Predictivity(np.array([0.5])).standard_error)


def test_splits_are_drawn_by_seed():
    x, signal, rng = neurons(images=100)
    y = signal + rng.standard_normal(signal.shape)
    first, again, other = (analysis.neural_predictivity(x, y, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.r, again.r)
    assert np.abs(first.r - other.r).max() > 0.01


X, Y = np.random.default_rng(0).standard_normal((2, 40, 3))


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X[:30], Y, {}, r"same images. Received: features.shape=\(30, 3\)"),
        (X[:, :, None], Y, {}, "`features` must be of two dimensions"),
        (X, Y[:, 0], {}, "`responses` must be of two dimensions"),
        (X, Y * [1, np.nan, 1], {}, "`responses` must be finite"),
        (X, np.ones((40, 2)), {}, "no neuron has a correlation"),
        (np.ones((40, 2)), Y, {}, "no neuron has a correlation"),
        (X, Y, {"components": 0}, "`components` must be an integer"),
        (X, Y, {"splits": 0}, "`splits` must be an integer"),
        (X, Y, {"splits": [([0, 1, 2], [3, 4])]}, "more training images than `components`"),
        (X, Y, {"test_fraction": 1.0}, "`test_fraction` must be a finite number"),
        (X, Y, {"ceiling": [0.5]}, r"`ceiling` must be of shape \(3,\)"),
        (X, Y, {"ceiling": [0.5, 0.0, 1.0]}, "`ceiling` must be above 0"),
    ],
)
def test_arguments_that_do_not_fit(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        analysis.neural_predictivity(x, y, **options)


def network():
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.Conv2D(3, 3, activation="relu", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, name="dense"),
        ]
    )


def test_activations_are_those_of_the_layers():
    model = network()
    images = np.random.default_rng(0).standard_normal((7, 4, 4, 2)).astype("float32")
    found = analysis.layer_activations(model, images, ["conv", "dense"], batch_size=3)
    assert list(found) == ["conv", "dense"]
    expected = model.layers[0](images).numpy().reshape(7, 12)
    np.testing.assert_allclose(found["conv"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["dense"], model(images, training=False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("projection", ["sparse", "gaussian"])
def test_a_projection_keeps_distances_and_is_the_same_at_every_call(projection):
    model = keras.Sequential([keras.Input((20, 20, 5)), keras.layers.Flatten(name="flat")])
    images = np.random.default_rng(0).standard_normal((12, 20, 20, 5)).astype("float32")
    options = {"width": 500, "projection": projection}
    found = analysis.layer_activations(model, images, ["flat"], batch_size=5, **options)["flat"]
    assert found.shape == (12, 500)
    flat = images.reshape(12, -1)
    distances = np.linalg.norm(found[1:] - found[:-1], axis=1)
    expected = np.linalg.norm(flat[1:] - flat[:-1], axis=1)
    np.testing.assert_allclose(distances, expected, rtol=0.2)
    again = analysis.layer_activations(model, images, ["flat"], batch_size=12, **options)["flat"]
    np.testing.assert_allclose(found, again, rtol=1e-4, atol=1e-4)
    other = analysis.layer_activations(model, images, ["flat"], seed=1, **options)["flat"]
    assert np.abs(other - found).max() > 0.1


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (["nothing"], {}, "No such layer: nothing"),
        (["conv"], {"batch_size": 0}, "`batch_size` must be an integer"),
        (["conv"], {"width": 0}, "`width` must be an integer"),
        (["conv"], {"projection": "pca"}, "`projection` must be one of"),
    ],
)
def test_layers_that_are_not_there(layers, options, message):
    images = np.zeros((2, 4, 4, 2), "float32")
    with pytest.raises(ValueError, match=message):
        analysis.layer_activations(network(), images, layers, **options)
    with pytest.raises(ValueError, match="must not be empty"):
        analysis.layer_activations(network(), images[:0], ["conv"])

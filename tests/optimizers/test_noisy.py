"""`ta.optimizers.NoisyUpdates`: the optimizer it wraps, plus noise of the stated kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import training

import tf_alignment as ta
from tf_alignment.optimizers import NoisyUpdates

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: keras.optimizers.Adam(0.01, clipnorm=1.0),
    "adamw": lambda: keras.optimizers.AdamW(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), use_ema=True, ema_momentum=0.5
    ),
    "accumulating": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
}


def step(optimizer, gradients, start=1.0):
    """Apply gradients one after the other to one weight of their shape."""
    weight = keras.Variable(np.full(np.shape(gradients[0]), start, "float32"))
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, tf.float32)], [weight])
    return weight.numpy()


def fitted(model, optimizer, epochs=2):
    x, y = training.toy()
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return [w.numpy() for w in model.weights]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("on", ["updates", "gradients"])
def test_without_noise_it_is_the_optimizer(name, on):
    gradients = np.random.default_rng(0).standard_normal((5, 4, 3))
    plain = step(OPTIMIZERS[name](), gradients)
    noisy = NoisyUpdates(OPTIMIZERS[name](), None, on)
    np.testing.assert_allclose(step(noisy, gradients), plain, rtol=1e-6)
    restored = NoisyUpdates.from_config(noisy.get_config())
    np.testing.assert_allclose(step(restored, gradients), plain, rtol=1e-6)


def test_noise_of_the_stated_size_follows_the_step():
    noisy = NoisyUpdates(keras.optimizers.SGD(0.5, momentum=0.9), 2.0, seed=1)
    change = step(noisy, np.zeros((3, 200, 200)), start=0.0)
    # three independent draws of rate · N(0, 4); momentum never sees them
    assert np.std(change) == pytest.approx(0.5 * 2.0 * 3**0.5, rel=0.02)
    assert abs(np.mean(change)) < 4 * 0.5 * 2.0 * 3**0.5 / 200


def test_noise_on_gradients_passes_through_the_optimizer():
    noisy = NoisyUpdates(keras.optimizers.SGD(0.5, momentum=0.9), 2.0, "gradients", seed=1)
    change = step(noisy, np.zeros((2, 200, 200)), start=0.0)
    # momentum: the first draw counts 1 + 0.9 times
    assert np.std(change) == pytest.approx(0.5 * 2.0 * (1.9**2 + 1) ** 0.5, rel=0.02)


def test_noise_differs_by_weight_step_and_seed_and_repeats():
    def run(seed):
        weights = [keras.Variable(np.zeros((50,), "float32")) for _ in range(2)]
        optimizer = NoisyUpdates("sgd", 1.0, seed=seed)
        seen = [np.zeros((2, 50))]
        for _ in range(2):
            optimizer.apply([tf.zeros(50), tf.zeros(50)], weights)
            seen.append(np.array([w.numpy() for w in weights]))
        return np.diff(seen, axis=0).reshape(4, 50)

    a, again, other = run(1), run(1), run(2)
    np.testing.assert_array_equal(a, again)
    assert np.abs(np.corrcoef([*a, *other]) - np.eye(8)).max() < 0.6


def test_noise_comes_once_an_accumulated_step():
    def optimizer():
        return NoisyUpdates(keras.optimizers.SGD(1.0, gradient_accumulation_steps=3), 1.0, seed=4)

    zeros = np.zeros((6, 300))
    assert np.std(step(optimizer(), zeros, 0.0)) == pytest.approx(2**0.5, rel=0.15)
    assert not step(optimizer(), zeros[:2], 0.0).any()


def test_on_feedback_weights_only(tmp_path):
    def model():
        return ta.convert(training.perceptron(), "sa")

    def optimizer(noise):
        noisy = NoisyUpdates(keras.optimizers.SGD(0.5), noise, seed=2)
        return ta.optimizers.split(keras.optimizers.SGD(0.0), noisy)

    start = [w.numpy() for w in model().weights]
    quiet, noisy = (fitted(model(), optimizer(noise)) for noise in (None, 0.1))
    paths = [w.path for w in model().weights]
    for path, before, a, b in zip(paths, start, quiet, noisy, strict=True):
        if path.endswith("_aligned"):
            assert 0.0 < np.std(a - b) < 0.5
        else:
            np.testing.assert_array_equal(before, a)
            np.testing.assert_array_equal(before, b)


def test_a_saved_model_continues_with_the_same_noise(tmp_path):
    def optimizer():
        noisy = NoisyUpdates(keras.optimizers.Adam(0.01), 0.03, seed=2)
        return ta.optimizers.split(NoisyUpdates("sgd", 0.03, "gradients", seed=3), noisy)

    whole = fitted(ta.convert(training.perceptron(), "sa"), optimizer(), epochs=4)
    model = ta.convert(training.perceptron(), "sa")
    fitted(model, optimizer(), epochs=2)
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x, y = training.toy()
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(whole, model.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on", ["updates", "gradients"])
def test_two_replicas_draw_the_same_noise(on, two_replicas):
    one = fitted(training.perceptron(), NoisyUpdates("sgd", 0.1, on, seed=5))
    with two_replicas.scope():
        model, optimizer = training.perceptron(), NoisyUpdates("sgd", 0.1, on, seed=5)
    two = fitted(model, optimizer)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for weight in model.trainable_variables:
        copies = [v.numpy() for v in two_replicas.experimental_local_results(weight.value)]
        np.testing.assert_array_equal(*copies)


def optimizers_of_keras():
    found = [c for c in vars(keras.optimizers).values() if isinstance(c, type)]
    wrappers = keras.optimizers.LossScaleOptimizer, ta._support.compat.MultiOptimizer
    return [c for c in found if issubclass(c, keras.Optimizer) and not issubclass(c, wrappers)]


def test_every_optimizer_of_keras_steps_as_it_does_alone_or_is_refused():
    gradients = np.random.default_rng(0).standard_normal((3, 4))
    refused = set()
    for made in optimizers_of_keras():
        if made is keras.Optimizer:
            continue
        try:
            noisy = NoisyUpdates(made(0.01, weight_decay=0.3))
        except ValueError:
            refused.add(made.__name__)
        else:
            plain = step(made(0.01, weight_decay=0.3), gradients)
            np.testing.assert_allclose(step(noisy, gradients), plain, rtol=1e-6)
    assert refused <= {"Muon", "Nadam"} and "Nadam" in refused


def test_an_optimizer_with_an_apply_of_its_own_is_refused():
    class Halving(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            super().apply([g / 2 for g in grads], trainable_variables)

    with pytest.raises(ValueError, match=r"Received: optimizer=.*Halving.* overrides `apply`"):
        NoisyUpdates(Halving(0.1), 0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"optimizer": 3}, TypeError, "optimizer=3"),
        ({"optimizer": keras.optimizers.SGD}, TypeError, "optimizer="),
        ({"noise": "much"}, ValueError, "noise='much'"),
        ({"noise": -1.0}, ValueError, "noise=-1.0"),
        ({"variance": -1.0}, ValueError, "variance=-1.0"),
        ({"on": "weights"}, ValueError, "on='weights'"),
        ({"optimizer": ta.optimizers.split("sgd")}, ValueError, "not one that wraps others"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        NoisyUpdates(**{"optimizer": "sgd", "noise": 0.1, **arguments})


def test_the_former_spelling_is_understood_for_one_version():
    with pytest.warns(DeprecationWarning, match=r"`variance=0.25` .* Use `noise=0.5`"):
        old = NoisyUpdates("sgd", variance=0.25, seed=1)
    assert old.noise == ta.Noise("gaussian", 0.5)
    config = {k: v for k, v in old.get_config().items() if k != "noise"}
    assert NoisyUpdates.from_config({**config, "variance": 0.25}).noise == old.noise
    assert NoisyUpdates.from_config({**config, "variance": 0.0}).noise is None

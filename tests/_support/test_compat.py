"""What stands in for an older Keras does what a newer Keras does."""

import keras
import numpy as np
import pytest

import tf_alignment as ta
from tf_alignment._support import compat
from tf_alignment.conversion import sites

newer = pytest.mark.skipif(compat.KERAS < (3, 15), reason="compares with Keras 3.15")


def network(optimizer):
    keras.utils.set_random_seed(3)
    layers = [ta.layers.Dense(n, feedback="sa", name=f"dense{n}") for n in (5, 2)]
    model = keras.Sequential([keras.Input((4,)), *layers], name="net")
    model.compile(optimizer, "mse")
    return model


def train(model, times=3):
    rng = np.random.default_rng(0)
    for _ in range(times):
        model.train_on_batch(rng.normal(size=(8, 4)), rng.normal(size=(8, 2)))
    return model.get_weights()


def split(several=compat._MultiOptimizer, of=compat._OptimizerMap, **options):
    forward = keras.optimizers.SGD(0.05, momentum=0.9)
    feedback = keras.optimizers.RMSprop(0.01)
    return several(of(forward, {ta.optimizers.ALIGNED: feedback}), **options)


@newer
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("factor", [None, 8.0])
def test_several_optimizers_as_one(policy, factor):
    keras.config.set_dtype_policy(policy)
    ours = train(network(split(loss_scale_factor=factor)))
    theirs = train(
        network(split(compat.MultiOptimizer, compat.OptimizerMap, loss_scale_factor=factor))
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(compat.KERAS >= (3, 15), reason="Keras 3.15 sets the rates of all")
def test_a_callback_sets_the_rate_of_the_default_alone():
    model = network(split())
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0, callbacks=[halve])
    rates = [float(o.learning_rate) for o in model.optimizer.optimizers]
    assert rates == pytest.approx([0.01, 0.025])


def test_training_goes_on_from_a_file(tmp_path, monkeypatch):
    """A file that holds the stand-in is loaded by either version, with the state of both."""
    model = network(split())
    train(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, compat.MultiOptimizer)
    for a, b in zip(train(model), train(again), strict=True):
        np.testing.assert_array_equal(a, b)


@newer
def test_fans_follow_the_axes():
    axes = {"input_axes": [2], "output_axes": [0, 1]}
    drawn = compat.glorot_uniform(0, axes)((8, 8, 400))
    assert np.abs(drawn).max() == pytest.approx((6 / 464) ** 0.5, rel=0.01)


def test_older_versions_leave_the_axes_out(monkeypatch):
    monkeypatch.setattr(compat, "KERAS", (3, 12))
    drawn = compat.glorot_uniform(0, {"input_axes": [2], "output_axes": [0, 1]})((8, 8, 400))
    assert np.abs(drawn).max() == pytest.approx((6 / (8 * 8 + 8 * 400)) ** 0.5, rel=0.01)


def test_without_reversible_embeddings_kernels_are_found_as_before(monkeypatch):
    """Keras before 3.12 has no such class."""
    layers = [ta.layers.Dense(3), keras.layers.Embedding(5, 2)]
    for layer, x in zip(layers, (np.ones((1, 4)), np.ones((1, 4), "int32")), strict=True):
        layer(x)
    found = [[w.path for w in sites.matrices(layer)] for layer in layers]
    monkeypatch.setattr(sites, "ReversibleEmbedding", ())
    assert [[w.path for w in sites.matrices(layer)] for layer in layers] == found
    assert [len(paths) for paths in found] == [1, 0]


def test_fused_batch_normalisation_of_a_keras_without_renormalisation():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype("float32")
    layer, stock = ta.layers.BatchNormalization(), keras.layers.BatchNormalization()
    expected = stock(x, training=True)
    layer.build(x.shape)
    vars(layer).pop("renorm", None)  # came with Keras 3.15
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-4, atol=1e-5)

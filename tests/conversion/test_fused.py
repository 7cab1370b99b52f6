"""Exchanging the batch normalisation of a model, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

STOCK, FUSED = keras.layers.BatchNormalization, ta.layers.BatchNormalization


@keras.saving.register_keras_serializable(package="test_fused")
class Own(keras.layers.BatchNormalization):
    """A subclass may compute something else."""


def network():
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inner = keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(3, 3), STOCK(name="inner")])
    time = layers.TimeDistributed(STOCK(name="in_time"))
    x = keras.Input((4, 4, 3))
    y = layers.Flatten()(time(inner(STOCK(name="outer")(x))))
    return keras.Model(x, layers.Dense(2)(Own(name="own")(y)))


def kinds(model):
    found = model._flatten_layers()
    return {x.name: type(x) for x in found if isinstance(x, keras.layers.BatchNormalization)}


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 4, 4, 3)).astype("float32"), rng.normal(size=(16, 2))


def test_all_but_subclasses_are_exchanged_and_back():
    model = network()
    weights = [id(w) for w in model.weights]
    assert ta.fuse_batch_normalization(model) is model
    fused = {"outer": FUSED, "inner": FUSED, "in_time": FUSED, "own": Own}
    assert kinds(model) == fused
    assert [id(w) for w in model.weights] == weights
    assert ta.unfuse_batch_normalization(model) is model
    assert kinds(model) == {name: Own if kind is Own else STOCK for name, kind in fused.items()}


def test_a_model_in_training_goes_on_with_its_optimizer():
    x, y = data()
    weights = []
    for fused in (False, True):
        model = network()
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
        model.fit(x, y, epochs=2, verbose=0)
        if fused:
            before = model.train_function
            ta.fuse_batch_normalization(model)
            assert model.train_function is not before
        model.fit(x, y, epochs=2, verbose=0)
        assert int(model.optimizer.iterations) == 4
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_compiled_step_is_the_fused_one():
    """And not the one that was compiled before."""
    x, y = data()
    model = network()
    model.compile("sgd", "mse")
    names = []
    for exchange in (lambda m: m, ta.fuse_batch_normalization, ta.unfuse_batch_normalization):
        exchange(model).train_on_batch(x, y)
        function = tf.function(lambda m=model: m(x, training=True)).get_concrete_function()
        names.append({op.type for op in function.graph.get_operations()})
    assert ["FusedBatchNormV3" in found for found in names] == [False, True, False]


@pytest.mark.parametrize("method", ["fa", "dfa"])
def test_models_with_feedback(method, tmp_path):
    x, _ = data()
    model = ta.fuse_batch_normalization(ta.convert(network(), method))
    assert FUSED in kinds(model).values()
    before = model(x)
    stock = ta.unfuse_batch_normalization(ta.strip(model))
    assert FUSED not in kinds(stock).values()
    np.testing.assert_allclose(stock(x), before, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert kinds(loaded) == kinds(model)
    np.testing.assert_array_equal(loaded(x), before)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="Argument `model` must be a Keras model or layer"):
        ta.fuse_batch_normalization("model")


@pytest.mark.parametrize("version", [1, 2])
def test_resnet(version):
    models = {
        kind: ta.models.resnet(8, version, width=4, batch_normalization=kind)
        for kind in ("keras", "fused")
    }
    counts = {kind: list(kinds(model).values()) for kind, model in models.items()}
    assert set(counts["keras"]) == {STOCK} and set(counts["fused"]) == {FUSED}
    assert len(counts["keras"]) == len(counts["fused"])
    copied = ta.models.resnet(
        8, version, width=4, batch_normalization="fused", weights=models["keras"]
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(copied(x), models["keras"](x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="`batch_normalization` must be one of"):
        ta.models.resnet(8, batch_normalization="fast")

"""Saving and loading models whose layers got their feedback in place."""

import copy
import warnings

import keras
import numpy as np
import pytest
from stock_models import Block, Named, Narrow, Subclassed, data, same, sequential, subclassed

import tf_alignment as ta

K = keras.layers
OWN = {cls.__name__: cls for cls in (Block, Narrow, Named, Subclassed)}


def compiled(model, method):
    ta.convert(model, method, inplace=True)
    loss = keras.losses.SparseCategoricalCrossentropy(True)
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.05, momentum=0.9)), loss)
    return model


@pytest.mark.parametrize("method", ["sa", "brsf", "backprop"])
def test_the_next_step_is_the_same(method, tmp_path):
    x, y = data("subclassed", 16)
    model = compiled(subclassed(), method)
    model.fit(x, y, verbose=0, shuffle=False)
    with pytest.warns(UserWarning, match="Load the file with `tf_alignment.load_model`.*5|more"):
        model.save(tmp_path / "m.keras")
    loaded = ta.load_model(tmp_path / "m.keras", custom_objects=OWN)
    assert type(loaded) is Subclassed and loaded.compiled
    assert [v.feedback for v in ta.layers.feedback_layers(loaded)] == [
        v.feedback for v in ta.layers.feedback_layers(model)
    ]
    assert len(ta.layers.feedback_layers(loaded)) == 5
    same(loaded.get_weights(), model.get_weights())
    if method != "brsf":  # whose stream begins anew
        for one in (model, loaded):
            one.fit(x, y, verbose=0, shuffle=False)
        for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # and once more: the record is there again
    with pytest.warns(UserWarning, match="plain Keras would load stock layers"):
        loaded.save(tmp_path / "again.keras")
    again = ta.load_model(tmp_path / "again.keras", custom_objects=OWN, compile=False)
    assert len(ta.layers.feedback_layers(again)) == 5 and not again.compiled


def test_plain_keras_loads_a_stock_model_with_the_same_outputs(tmp_path):
    model = ta.convert(subclassed(), "fa")
    x, _ = data("subclassed")
    with pytest.warns(UserWarning, match="plain Keras"):
        model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects=OWN)
    assert not ta.layers.feedback_layers(loaded)
    same(loaded(x), model(x))


def over_any_time(x):
    """An axis whose length is unknown: `TimeDistributed` is exchanged."""
    folded = K.Reshape((-1, 6))(x)
    return K.Reshape((4, 6))(K.TimeDistributed(K.Dense(6), name="time")(folded))


def test_a_file_that_plain_keras_loads_rightly_says_nothing(tmp_path):
    x = inputs = keras.Input((4, 6))
    x = K.TimeDistributed(K.Dense(6))(K.Dense(6)(x))
    x = over_any_time(x)
    x = K.MultiHeadAttention(2, 3)(x, x)
    model = ta.convert(keras.Model(inputs, K.Dense(2)(x)), "kp", inplace=True)
    for one in (model, ta.convert(sequential(), "kp")):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*plain Keras")
            one.save(tmp_path / "m.keras")
        for load in (keras.models.load_model, ta.load_model):
            loaded = load(tmp_path / "m.keras")
            same(loaded.get_weights(), one.get_weights())
            assert len(ta.layers.feedback_layers(loaded)) == len(ta.layers.feedback_layers(one))


def test_attention_inside_a_custom_layer(tmp_path):
    class Attends(K.Layer):
        def build(self, shape):
            self.attention = K.MultiHeadAttention(2, 3)
            self.attention.build(shape, shape)

        def call(self, x):
            return self.attention(x, x)

    x = inputs = keras.Input((4, 6))
    model = ta.convert(keras.Model(inputs, K.Dense(2)(Attends()(K.Dense(6)(x)))), "fa")
    assert len(ta.layers.feedback_layers(model)) == 5
    with pytest.warns(UserWarning, match="plain Keras"):
        model.save(tmp_path / "m.keras")
    for load, count in ((ta.load_model, 5), (keras.models.load_model, 1)):
        loaded = load(tmp_path / "m.keras", custom_objects={"Attends": Attends})
        assert len(ta.layers.feedback_layers(loaded)) == count
        rows = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
        same(loaded(rows), model(rows))


def test_a_dynamic_time_axis_inside_a_custom_layer(tmp_path):
    class Times(K.Layer):
        def build(self, shape):
            self.inner = K.TimeDistributed(K.Dense(6))
            self.inner.build((None, None, 6))

        def call(self, x):
            return self.inner(x)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((None, 6))
    model = ta.convert(keras.Model(inputs, K.Dense(2)(Times(name="t")(K.Dense(6)(inputs)))), "fa")
    with pytest.warns(UserWarning, match="plain Keras"):
        model.save(tmp_path / "m.keras")
    loaded = ta.load_model(tmp_path / "m.keras", custom_objects={"Times": Times})
    assert type(loaded.get_layer("t").inner) is ta.layers.TimeDistributed
    rows = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
    same(loaded(rows), model(rows))


def test_weights_go_from_file_to_file(tmp_path):
    model = ta.convert(subclassed(), "fa")
    model.save_weights(tmp_path / "m.weights.h5")
    other = ta.convert(subclassed(), "fa")
    other.load_weights(tmp_path / "m.weights.h5")
    same(other.get_weights(), model.get_weights())
    stock = subclassed()
    stock.load_weights(tmp_path / "m.weights.h5")
    x, _ = data("subclassed")
    same(stock(x), model(x))


def test_a_stock_file_loads_as_in_keras(tmp_path):
    model = sequential()
    model.save(tmp_path / "m.keras")
    loaded = ta.load_model(tmp_path / "m.keras")
    same(loaded.get_weights(), model.get_weights())
    assert not hasattr(keras.layers.Layer, "load_assets")  # left as it was


@pytest.mark.parametrize("compiles", [True, False])
def test_a_file_of_another_kind_is_refused(compiles, tmp_path):
    model = compiled(sequential(), "fa")
    model.save(tmp_path / "m.h5")  # without optimizer and records, as far as anyone reads it
    with pytest.raises(ValueError, match=r"`filepath` .*`\.keras` file.* Received: .*m\.h5'"):
        ta.load_model(tmp_path / "m.h5", compile=compiles)


def test_a_copy_in_memory_is_stock_where_a_file_is():
    with keras.saving.custom_object_scope(OWN), pytest.warns(UserWarning, match="plain Keras"):
        assert not ta.layers.feedback_layers(copy.deepcopy(ta.convert(subclassed(), "fa")))

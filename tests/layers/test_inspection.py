"""Nested models whose layers have the same names, and so the same paths: nothing mixes them up."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.layers.inspection import direct_connections, kernels, unique_paths
from tf_alignment.phases import RDD, SAL, Alignment, NodePerturbation, SyntheticGradient

LAYERS = ["a/hid", "a/top", "b/hid", "b/top"]


def tower(name, method, inputs):
    x = keras.Input((inputs,))
    hidden = ta.layers.Dense(5, "tanh", feedback=method, name="hid")(x)
    return keras.Model(x, ta.layers.Dense(4, feedback=method, name="top")(hidden), name=name)


def side_by_side(*parts):
    x = keras.Input(parts[0].input_shape[1:])
    model = keras.Model(x, keras.layers.Concatenate()([part(x) for part in parts]))
    model.compile("sgd", "mse")
    return model


def towers(method="fa", inputs=6, second=None):
    """Two functional models side by side, of which `second` may have a method of its own."""
    keras.utils.set_random_seed(0)
    return side_by_side(tower("a", method, inputs), tower("b", second or method, inputs))


def data(inputs=6, examples=64):
    rng = np.random.default_rng(0)
    shapes = (examples, inputs), (examples, 8)
    return tuple(rng.normal(size=shape).astype("float32") for shape in shapes)


def layers(model):
    return {
        f"{part}/{name}": model.get_layer(part).get_layer(name)
        for part in ("a", "b")
        for name in ("hid", "top")
    }


def angle(layer):
    kernel = layer.feedback_weights["feedback_kernel"]
    return float(ta.metrics.weight_angle(layer.kernel, kernel))


def squared(y, y_pred):
    return tf.reduce_sum((y_pred - y) ** 2, -1)


def test_alignment_gives_every_layer_its_own_weights():
    model = towers()
    assert len({layer.path for layer in layers(model).values()}) == 2
    found = Alignment("sa", steps=50, seed=1).run(model)
    assert list(found) == LAYERS
    for path, layer in layers(model).items():
        assert found[path]["weight_angle"] == pytest.approx(angle(layer), abs=1e-3)
        assert angle(layer) < 1


def test_conversion_keeps_equal_names_and_alignment_tells_them_apart():
    model = ta.convert(ta.strip(towers()), "fa")  # nothing below the lowest layers learns
    found = Alignment("sa", steps=50, seed=1).run(model)
    assert list(found) == ["a/top", "b/top"]
    assert max(angle(layers(model)[path]) for path in found) < 1


@pytest.mark.parametrize("phase", [NodePerturbation, SyntheticGradient])
@pytest.mark.parametrize("solver", ["nlms", "ridge"])
def test_regression_gives_every_layer_its_own_weights(phase, solver):
    model = towers()
    before = {path: angle(layer) for path, layer in layers(model).items()}
    found = phase(squared, dataset=data(), solver=solver, steps=200, seed=1).run(model)
    assert list(found) == LAYERS
    for path, layer in layers(model).items():
        assert found[path]["weight_angle"] == pytest.approx(angle(layer), abs=1e-3)
        if path.endswith("top"):  # nothing is learned for the model's own input
            assert angle(layer) < 0.5 * before[path]


def test_direct_feedback_of_every_tower_learns():
    parts = [ta.convert(ta.strip(tower(name, "fa", 6)), "dfa") for name in ("a", "b")]
    model = side_by_side(*parts)
    assert len(direct_connections(model)) == len(set(direct_connections(model))) == 2
    found = NodePerturbation(squared, dataset=data(), form="dfa", steps=3, seed=1).run(model)
    assert [path.split("/")[0] for path in found] == ["a", "b"]


@pytest.mark.parametrize("make", [RDD, SAL])
def test_spiking_phases_report_every_layer(make):
    model = towers(inputs=20)
    how = {"duration": 5.0} if make is RDD else {"steps": 100, "chains": 4}
    phase = make(seed=1, jit_compile=False, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rates, in networks as small as these
        found = phase.run(model)
    assert list(found) == LAYERS
    for path, layer in layers(model).items():
        assert found[path]["weight_angle"] == pytest.approx(angle(layer), abs=1e-3)


def test_gradient_angles_of_every_layer():
    model = towers("backprop", second="fa")
    found = ta.metrics.gradient_angle(model, *data())
    assert list(found) == LAYERS
    assert found["a/hid"]["kernel"] == pytest.approx(0.0, abs=0.1)
    assert found["b/hid"]["kernel"] > 10
    assert found["b/top"]["error"] > 10


def test_the_monitor_measures_every_layer():
    model = towers("sa", second="fa")
    monitor = ta.callbacks.AlignmentMonitor(probe_data=data())
    model.fit(*data(), verbose=0, callbacks=[monitor])
    [record] = monitor.records
    names = [name for name in record if name.endswith("/weight_angle") and "mean" not in name]
    assert names == [f"{path}/weight_angle" for path in LAYERS]
    for path, layer in layers(model).items():
        assert record[f"{path}/weight_angle"] == pytest.approx(angle(layer), abs=1e-3)


def test_the_watch_tells_of_every_layer():
    model = towers()
    watch = ta.divergence.NormWatch(model)
    for layer in layers(model).values():
        layer.feedback_weights["feedback_kernel"].assign(np.full(layer.kernel.shape, np.nan))
    problems = watch.problems()
    assert sorted(problems) == [f"{path}/feedback_kernel" for path in LAYERS]
    for path in LAYERS:
        assert f"'{path}'" in problems[f"{path}/feedback_kernel"][0]


def test_layers_are_named_one_by_one_or_together():
    model = towers()
    assert list(Alignment("sa", layers=["b/hid"]).connections(model)) == ["b/hid"]
    assert list(Alignment("sa", layers=["hid"]).connections(model)) == ["a/hid", "b/hid"]
    with pytest.raises(ValueError, match=r"out of \['a/hid', .*Received: layers=\['c/hid'\]"):
        Alignment("sa", layers=["c/hid"]).connections(model)


def test_the_summary_names_every_layer():
    assert [row.path for row in ta.summary(towers(), print_fn=None)][:4] == LAYERS


def test_stock_layers_of_towers_have_names_of_their_own():
    model = towers()
    assert [kernel.path for kernel in kernels(ta.strip(model))] == LAYERS


def test_other_models_keep_the_names_that_they_have():
    layer = ta.layers.Dense(3, feedback="fa", name="hid")
    inner = keras.Sequential([keras.Input((4,)), layer], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner], name="net")
    assert [kernel.path for kernel in kernels(model)] == [layer.path]


def test_names_that_even_the_scope_does_not_tell_apart_are_counted():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__(name="twins")
            self.parts = [keras.layers.Dense(3, name="same") for _ in range(3)]

        def call(self, x):
            return sum(part(x) for part in self.parts)

    model = Twins()
    model(np.ones((1, 4), "float32"))
    weights = [part.kernel for part in model.parts]
    paths = ["same", "same", "other"]
    assert unique_paths(model, paths, weights) == ["same", "same_1", "other"]
    three = unique_paths(model, ["same", "same", "same_1"], weights)
    assert three == ["same", "same_1", "same_1_1"]


def test_the_end_of_the_scope_is_not_said_twice():
    def deep(name):
        x = keras.Input((6,))
        layer = ta.layers.Dense(5, feedback="fa", name="hid")
        inner = keras.Sequential([keras.Input((6,)), layer], name="seq")
        return keras.Model(x, inner(x), name=name)

    model = side_by_side(deep("a"), deep("b"))
    assert {layer.path for layer in ta.layers.feedback_layers(model)} == {"seq/hid"}
    assert [kernel.path for kernel in kernels(model)] == ["a/seq/hid", "b/seq/hid"]


@pytest.mark.parametrize("second", ["sa", "wm"])
def test_an_optimizer_for_one_rule_is_refused_for_the_other(second):
    model = towers("sa", second=second)
    optimizer = ta.optimizers.split(keras.optimizers.SGD(), ta.optimizers.ReplicatedSGD())
    model.compile(optimizer, "mse")
    if second == "sa":
        assert not ta.optimizers.check(model)
        return
    with pytest.raises(ValueError, match="`ReplicatedSGD` is for feedback weights"):
        ta.optimizers.check(model)

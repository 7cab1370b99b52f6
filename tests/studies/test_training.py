"""What a run measures besides its curves."""

import keras
import numpy as np
import pytest

import tf_alignment as ta
from tf_alignment.studies.cost import measure_cost
from tf_alignment.studies.training import hidden_means, samples, top_kernels


def test_the_kernels_at_the_top_have_no_other_above_them():
    x = keras.Input((4,))
    a = keras.layers.Dense(5, "relu", name="a")(x)
    b = keras.layers.Dense(5, "relu", name="b")(a)
    left, right = keras.layers.Dense(2, name="left")(b), keras.layers.Dense(3, name="right")(a)
    model = ta.convert(keras.Model(x, [left, right]), "fa")
    assert sorted(path.rpartition("/")[2] for path in top_kernels(model)) == ["left", "right"]


def test_a_chain_has_one_kernel_at_its_top(network):
    (top,) = top_kernels(ta.convert(network(), "kp"))
    assert top.endswith("dense_2")


def test_the_mean_angle_leaves_the_top_out():
    curves = {"n/a/gradient_angle": [80.0, 60.0], "n/b/gradient_angle": [40.0, 20.0]}
    curves |= {"n/c/gradient_angle": [0.0, 0.0], "mean/gradient_angle": [40.0, 80 / 3]}
    assert hidden_means(curves, ["n/c"]) == {"hidden/gradient_angle": [60.0, 40.0]}
    assert hidden_means({"n/c/gradient_angle": [0.0]}, ["n/c"]) == {}
    curves = {"a/gradient_angle": [np.nan, np.nan], "b/gradient_angle": [30.0, np.nan]}
    [means] = hidden_means(curves, []).values()
    np.testing.assert_array_equal(means, [30.0, np.nan])


def test_samples_are_pairs_of_the_same_entries(network):
    found = samples(ta.convert(network(), "usf"))
    for forward, feedback in found.values():
        np.testing.assert_array_equal(np.sign(forward), np.sign(feedback))
    assert samples(network()) == {}


def test_costs_are_ratios(network, data):
    def compile_model(model):
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    keras.utils.set_random_seed(0)
    stock, model = network(), ta.convert(network(), "kp")
    compile_model(model)
    batches = ta.data.EpochShuffled(*data[0], 16, drop_remainder=True)
    model.fit(batches.dataset, shuffle=False, verbose=0)
    cost = measure_cost(model, stock, compile_model, batches)
    assert cost["operations"] == 1.0  # kp learns B from the product that W learns from
    kernels = (6 * 8, 8 * 8, 8 * 3)
    stock_size = sum(kernels) + 8 + 8 + 3
    feedback = kernels[1] + kernels[2]  # below the first layer nothing learns
    # the optimizer counts steps (8 bytes) and has a rate (4 bytes), which is two more numbers
    assert cost["memory"] == pytest.approx((stock_size + feedback) / stock_size, abs=0.02)
    assert 0.1 < cost["step_time"] < 20

"""The input gradient of a convolution as a convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_alignment import layers
from tf_alignment.maps import LinearMap
from tf_alignment.maps import convolution as convolutions

REVERSED = {
    "1": (2, 1, "same", 1, {}),
    "3": (2, 3, "same", 1, {}),
    "5": (2, 5, "same", 1, {}),
    "3x1": (2, (3, 1), "same", 1, {}),
    "dilated": (2, 3, "same", 2, {}),
    "dilated unevenly": (2, (3, 5), "same", (3, 2), {}),
    "channels first": (2, 3, "same", 1, {"data_format": "channels_first"}),
    "1d": (1, 3, "same", 1, {}),
    "1d dilated": (1, 5, "same", 3, {}),
    "3d": (3, 3, "same", 1, {}),
}


NOT_REVERSED = {
    "even": (2, 2, "same", 1, {}),
    "even and odd": (2, (3, 2), "same", 1, {}),
    "valid": (2, 3, "valid", 1, {}),
    "causal": (1, 3, "causal", 1, {}),
    "strided": (2, 3, "same", 1, {"strides": 2}),
    "grouped": (2, 3, "same", 1, {"groups": 2}),
    "few channels": (2, 3, "same", 1, {"inputs": 6, "filters": 6}),
    "more channels out than in": (2, 3, "same", 1, {"inputs": 8, "filters": 16}),
}


@pytest.fixture
def own_cpu_kernels(monkeypatch):
    monkeypatch.setattr(convolutions, "_own_cpu_kernels", lambda: True)


def convolution(rank, size, padding, dilation, more):
    arguments = {"filters": 8, "data_format": "channels_last"} | more
    channels = arguments.pop("inputs", 10)
    first = arguments["data_format"] == "channels_first"
    shape = (2, channels, 9, 8, 7)[: rank + 2] if first else (2, *(9, 8, 7)[:rank], channels)
    kind = [None, "Conv1D", "Conv2D", "Conv3D"][rank]
    layer = getattr(layers, kind)(
        kernel_size=size, padding=padding, dilation_rate=dilation, feedback="fa", **arguments
    )
    x = tf.random.normal(shape)
    layer(x)
    return layer.connections[0].map, x, tf.convert_to_tensor(layer.kernel)


def input_gradients(linear_map, x, kernel):
    """By the map, and by the stock gradient."""
    dz = tf.random.normal(tf.shape(linear_map.apply(x, kernel)), dtype=x.dtype)
    stock = LinearMap.transpose(linear_map, dz, kernel, x)
    return linear_map.transpose(dz, kernel, x), stock


@pytest.mark.parametrize("row", REVERSED)
def test_a_reversed_forward_convolution_is_the_input_gradient(row, own_cpu_kernels):
    linear_map, x, kernel = convolution(*REVERSED[row])
    assert linear_map._reverses(kernel)
    found, stock = input_gradients(linear_map, x, kernel)
    np.testing.assert_allclose(found, stock, rtol=1e-4, atol=1e-5)
    if linear_map.data_format == "channels_first":
        return  # the stock CPU kernels lack it in half precision
    found, stock = input_gradients(linear_map, *(tf.cast(a, tf.float16) for a in (x, kernel)))
    assert found.dtype == tf.float16
    np.testing.assert_allclose(found, stock, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("row", NOT_REVERSED)
def test_other_convolutions_keep_the_stock_gradient(row, own_cpu_kernels):
    linear_map, x, kernel = convolution(*NOT_REVERSED[row])
    assert not linear_map._reverses(kernel)
    found, stock = input_gradients(linear_map, x, kernel)
    np.testing.assert_array_equal(found, stock)


def test_accelerators_and_other_kernels_keep_the_stock_gradient(monkeypatch):
    linear_map, _, kernel = convolution(*REVERSED["3"])
    monkeypatch.setattr(convolutions, "_own_cpu_kernels", lambda: False)
    assert not linear_map._reverses(kernel)


@pytest.mark.parametrize("jit", [False, True])
def test_training_is_the_same_either_way(jit, monkeypatch):
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 8)).astype("float32")

    def trained(reverse):
        monkeypatch.setattr(convolutions, "_own_cpu_kernels", lambda: reverse)
        keras.utils.set_random_seed(1)
        hidden = [layers.Conv2D(8, 3, padding="same", feedback="fa") for _ in range(2)]
        model = keras.Sequential([keras.Input((None, None, 8)), *hidden])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        model.fit(x, x, batch_size=2, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    for a, b in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

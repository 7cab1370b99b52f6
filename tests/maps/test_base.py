"""The three products of every map belong together, and product feedback composes."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_alignment import layers
from tf_alignment.maps import LinearMap
from tf_alignment.maps import convolution as convolutions
from tf_alignment.maps.wide import widen
from tf_alignment.phases.regression.rows import rows_of


def connection(name, feedback="fa"):
    layer = cases.ours(name, feedback)
    x = cases.inputs(name)
    layer(x)
    return layer.connections[0], tf.constant(x)


def dot(a, b):
    return float(tf.reduce_sum(tf.cast(a, tf.float64) * tf.cast(b, tf.float64)))


@pytest.mark.parametrize("name", cases.AT_ONCE)
def test_the_three_products_are_one_bilinear_form_and_what_autodiff_gives(name):
    c, x = connection(name)
    kernel = tf.convert_to_tensor(c.kernel)
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        z = c.map.apply(x, kernel)
        dz = tf.random.normal(tf.shape(z))
        loss = tf.reduce_sum(z * dz)
    expected = tape.gradient(loss, [x, kernel])
    dx, dkernel = c.map.transpose(dz, kernel, x), c.map.outer(x, dz, kernel)
    form = dot(z, dz)
    assert dot(x, dx) == pytest.approx(form, rel=1e-4, abs=1e-3)
    assert dot(kernel, dkernel) == pytest.approx(form, rel=1e-4, abs=1e-3)
    np.testing.assert_allclose(dx, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dkernel, expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", cases.AT_ONCE)
def test_two_steps_through_the_population_equal_the_path_kernel(name):
    c, x = connection(name)
    kernel = tf.convert_to_tensor(c.kernel)
    dz = tf.random.normal(tf.shape(c.map.apply(x, kernel)))
    for expansion in (1, 2.5, 4):
        wide = widen(c.map, tuple(kernel.shape), expansion)
        plastic = tf.random.normal(wide.plastic_shape)
        fixed = tf.random.normal(wide.fixed_shape)
        mixed = wide.mix(dz, fixed)
        two_steps = wide.map.transpose(mixed, plastic, x)
        one_step = c.map.transpose(dz, wide.compose(plastic, fixed), x)
        np.testing.assert_allclose(two_steps, one_step, rtol=2e-3, atol=2e-3)
        # the population is `expansion` times as large as the output
        assert wide.map.apply(x, plastic).shape == mixed.shape


@pytest.mark.parametrize("name", cases.AT_ONCE)
def test_sending_an_error_down_as_a_regression_on_the_kernel(name):
    c, x = connection(name)
    kernel = tf.convert_to_tensor(c.kernel)
    regression = rows_of(c.map)
    if regression is None:
        pytest.skip("no such regression: ridge least squares refuses the layer")
    count = regression.count(kernel.shape)
    dz = tf.random.normal(tf.shape(c.map.apply(x, kernel)))
    coefficients = regression.coefficients(kernel)
    assert coefficients.shape[0] == count
    rows = regression.error_rows(dz, tuple(kernel.shape), x)
    expected = regression.input_rows(c.map.transpose(dz, kernel, x))
    np.testing.assert_allclose(tf.matmul(rows, coefficients), expected, 1e-4, 1e-5)
    np.testing.assert_array_equal(regression.kernel(coefficients, kernel.shape), kernel)


def test_identity_as_fixed_kernel_makes_the_path_the_plastic_kernel():
    c, _ = connection("conv2d")
    wide = widen(c.map, tuple(c.kernel.shape), 1)
    plastic = tf.random.normal(wide.plastic_shape)
    np.testing.assert_array_equal(wide.compose(plastic, tf.eye(wide.fixed_shape[0])), plastic)


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


@pytest.mark.parametrize("name", cases.AT_ONCE)
def test_examples_times_positions_and_inputs_of_a_unit(name):
    layer = cases.ours(name, "fa")
    x = cases.inputs(name)
    layer(x)
    for c in layer.connections:
        kernel = tf.ones(c.kernel.shape)
        ones = tf.ones(x.shape)
        reached = c.map.apply(ones, kernel)  # by so many inputs each
        z = tf.ones_like(reached)
        pairs = float(c.map.pairs(ones, z, kernel.shape))
        assert pairs == float(LinearMap.pairs(c.map, ones, z, kernel.shape))
        assert pairs == np.max(c.map.outer(ones, z, kernel))
        inputs = pairs * tf.size(kernel).numpy() / tf.size(z).numpy()
        if "transpose" in name:  # strides reach some of the outputs by fewer entries of the window
            assert np.mean(reached) <= inputs <= np.max(reached)
        else:
            assert inputs == pytest.approx(np.max(reached))
        x = reached


@pytest.mark.parametrize(
    ("layer", "shape", "pairs", "inputs"),
    [
        (layers.EinsumDense("abc,cde->abde", (None, 4, 6), feedback="fa"), (2, 10, 16), 20, 16),
        (layers.EinsumDense("abcd,cde->abe", (None, 3), feedback="fa"), (2, 10, 4, 8), 20, 32),
        (layers.EinsumDense("abc,cd->ad", (3,), feedback="fa"), (2, 10, 4), 20, 40),
        (layers.DepthwiseConv2D(3, padding="same", feedback="fa"), (2, 8, 8, 16), 128, 9),
        (layers.Conv2D(16, 3, padding="same", groups=4, feedback="fa"), (2, 8, 8, 16), 128, 36),
        (layers.Conv2D(4, 3, feedback="fa"), (2, 8, 8, 6), 72, 54),
        (layers.Conv2DTranspose(4, 4, 2, "same", feedback="fa"), (2, 8, 8, 6), 128, 24),
    ],
    ids=["heads", "heads to one", "summed", "depthwise", "grouped", "valid", "transposed"],
)
def test_examples_times_positions_counted_by_hand(layer, shape, pairs, inputs):
    z = layer(tf.ones(shape))
    [c] = layer.connections
    found = float(c.map.pairs(tf.ones(shape), z, tuple(c.kernel.shape)))
    assert found == pairs
    assert found * np.size(c.kernel) / np.size(z) == inputs

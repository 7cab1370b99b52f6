"""Every linear map: three products of one bilinear form."""

import cases
import numpy as np
import pytest
import tensorflow as tf
from connected import connection

from tf_alignment import layers
from tf_alignment.maps import LinearMap
from tf_alignment.maps.wide import widen


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


def test_identity_as_fixed_kernel_makes_the_path_the_plastic_kernel():
    c, _ = connection("conv2d")
    wide = widen(c.map, tuple(c.kernel.shape), 1)
    plastic = tf.random.normal(wide.plastic_shape)
    np.testing.assert_array_equal(wide.compose(plastic, tf.eye(wide.fixed_shape[0])), plastic)


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

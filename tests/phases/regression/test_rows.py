"""Sending an error down as a regression on the feedback kernel."""

import cases
import numpy as np
import pytest
import tensorflow as tf
from connected import connection

from tf_alignment.phases.regression.rows import rows_of


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
    expected = regression.input_rows(c.map.transpose(dz, kernel, x), kernel.shape)
    np.testing.assert_allclose(tf.matmul(rows, coefficients), expected, 1e-4, 1e-5)
    np.testing.assert_array_equal(regression.kernel(coefficients, kernel.shape), kernel)


def test_direct_feedback_to_a_feature_map_has_a_row_of_coefficients_per_example():
    from tf_alignment.layers.direct import DirectConnection

    regression, units, outputs = rows_of(DirectConnection.map), 4 * 4 * 3, 5
    kernel, error = tf.random.normal((units, outputs)), tf.random.normal((2, outputs))
    target = tf.random.normal((2, 4, 4, 3))
    rows = regression.error_rows(error, kernel.shape, target)
    sent = tf.matmul(rows, regression.coefficients(kernel))
    assert regression.input_rows(target, kernel.shape).shape == sent.shape
    np.testing.assert_allclose(sent, error @ tf.transpose(kernel), 1e-5, 1e-5)

"""Measures of kernels, against numpy."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_alignment import metrics

FUNCTIONS = [
    metrics.weight_angle,
    metrics.path_angle,
    metrics.sign_agreement,
    metrics.norm_ratio,
    metrics.relative_error,
    metrics.correlation,
]


def reference(name, w, b):
    w, b = (np.asarray(a, "float64").ravel() for a in (w, b))
    if name in ("weight_angle", "path_angle"):
        cosine = w @ b / (np.linalg.norm(w) * np.linalg.norm(b))
        return np.degrees(np.arccos(cosine))
    return {
        "sign_agreement": lambda: np.mean(np.sign(w) == np.sign(b)),
        "norm_ratio": lambda: np.linalg.norm(b) / np.linalg.norm(w),
        "relative_error": lambda: np.linalg.norm(b - w) / np.linalg.norm(w),
        "correlation": lambda: np.corrcoef(w, b)[0, 1],
    }[name]()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_equals_numpy_for_any_shape_and_precision(function, dtype):
    rng = np.random.default_rng(0)
    w, b = (tf.cast(rng.normal(size=(3, 3, 8, 5)), dtype) for _ in range(2))
    expected = reference(function.__name__, *(tf.cast(a, "float64").numpy() for a in (w, b)))
    found = function(w, b)
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_same_in_graphs_and_xla(function, jit_compile):
    rng = np.random.default_rng(1)
    w, b = (tf.constant(rng.normal(size=(20, 30)), "float32") for _ in range(2))
    compiled = tf.function(function, jit_compile=jit_compile)
    np.testing.assert_allclose(compiled(w, b), function(w, b), rtol=1e-5)


@given(exponent=st.floats(-4.5, 0.0), seed=st.integers(0, 100), opposite=st.booleans())
@settings(max_examples=30, deadline=None)
def test_angles_are_accurate_next_to_0_and_180_degrees(exponent, seed, opposite):
    rng = np.random.default_rng(seed)
    w, across = rng.normal(size=(2, 1000))
    across -= w * (w @ across) / (w @ w)
    across *= np.linalg.norm(w) / np.linalg.norm(across)
    expected = 10.0**exponent
    b = 3.0 * (w * np.cos(np.radians(expected)) + across * np.sin(np.radians(expected)))
    found = metrics.weight_angle(w.astype("float32"), (-b if opposite else b).astype("float32"))
    if opposite:
        assert abs(found - (180.0 - expected)) < 3e-5
    else:
        assert abs(found - expected) < 1e-5 + 1e-4 * expected


def test_an_angle_of_equal_kernels_is_exactly_zero():
    w = np.random.default_rng(0).normal(size=(30, 40)).astype("float32")
    assert metrics.weight_angle(w, w) == 0.0
    assert metrics.weight_angle(w, 4.0 * w) == 0.0
    assert metrics.weight_angle(w, -w) == 180.0


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e30])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_neither_overflow_nor_underflow(function, scale):
    rng = np.random.default_rng(2)
    w, b = rng.normal(size=(2, 50)).astype("float32")
    w, b = w * np.float32(scale), b * np.float32(scale)
    np.testing.assert_allclose(function(w, b), reference(function.__name__, w, b), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "only_w_zero", "only_b_zero", "both_zero"),
    [
        ("weight_angle", 90.0, 90.0, 0.0),
        ("path_angle", 90.0, 90.0, 0.0),
        ("sign_agreement", 0.0, 0.0, 1.0),
        ("norm_ratio", math.inf, 0.0, 1.0),
        ("relative_error", math.inf, 1.0, 0.0),
        ("correlation", 0.0, 0.0, 0.0),
    ],
)
def test_zero_kernels_give_what_is_documented(name, only_w_zero, only_b_zero, both_zero):
    function, zero, one = getattr(metrics, name), np.zeros(4, "float32"), np.arange(1.0, 5.0)
    assert function(zero, one) == only_w_zero
    assert function(one, zero) == only_b_zero
    assert function(zero, zero) == both_zero


def test_a_constant_kernel_has_no_correlation_whatever_rounding_does():
    constant = np.full(1000, 0.1, "float32")
    other = np.random.default_rng(0).normal(size=1000) + 5.0
    assert metrics.correlation(constant, other) == 0.0
    assert metrics.correlation(other, constant) == 0.0


@pytest.mark.parametrize("function", [*FUNCTIONS, metrics.alignment_cost])
def test_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"same shape. Received: kernel.shape=\(2, 3\)"):
        function(np.ones((2, 3)), np.ones((3, 2)))


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f is not metrics.sign_agreement])
def test_nan_is_not_hidden(function):
    w = np.array([1.0, np.nan, 2.0])
    assert np.isnan(function(w, np.ones(3))) or np.isnan(function(np.arange(3.0), w))


def test_alignment_cost():
    w, b = np.random.default_rng(3).normal(size=(2, 4, 5))
    cost = metrics.alignment_cost(w, b)
    np.testing.assert_allclose(cost["R_decay"], (w**2).sum() + (b**2).sum())
    np.testing.assert_allclose(cost["R_self"], -2 * (w * b).sum())
    np.testing.assert_allclose(cost["R_SA"], ((w - b) ** 2).sum())
    np.testing.assert_allclose(cost["R_SA"], cost["R_decay"] + cost["R_self"])

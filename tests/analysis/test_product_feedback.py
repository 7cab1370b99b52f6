"""Formulas against integrals and random matrices."""

import numpy as np
import pytest
from scipy import integrate

import tf_alignment as ta
from tf_alignment import analysis


def eigenvalues(expansion, units=400, seed=0):
    """Of BᵀB for a random B, `(units,)`."""
    population = round(expansion * units)
    fixed = np.random.default_rng(seed).standard_normal((population, units)) / population**0.5
    return np.linalg.eigvalsh(fixed.T @ fixed)


@pytest.mark.parametrize("expansion", [1.5, 4.0, 10.0, 100.0])
def test_the_density_has_the_moments_of_the_law(expansion):
    low, high = analysis.marchenko_pastur_support(expansion)

    def moment(power):
        def integrand(v):
            return v**power * analysis.marchenko_pastur_density(v, expansion)

        return integrate.quad(integrand, low, high)[0]

    assert moment(0) == pytest.approx(1, abs=1e-5)
    assert moment(1) == pytest.approx(1, abs=1e-5)
    assert moment(2) == pytest.approx(1 + 1 / expansion, abs=1e-5)


@pytest.mark.parametrize("expansion", [2.0, 10.0])
def test_the_density_is_that_of_random_matrices(expansion):
    found = eigenvalues(expansion)
    low, high = analysis.marchenko_pastur_support(expansion)
    assert found.min() == pytest.approx(low, abs=0.03)
    assert found.max() == pytest.approx(high, abs=0.06)
    share, edges = np.histogram(found, bins=8, range=(low, high))
    for count, left, right in zip(share, edges[:-1], edges[1:], strict=True):
        expected, _ = integrate.quad(analysis.marchenko_pastur_density, left, right, (expansion,))
        assert count / len(found) == pytest.approx(expected, abs=0.01)


def test_the_density_is_zero_outside_and_infinite_at_zero_without_expansion():
    low, high = analysis.marchenko_pastur_support(4.0)
    outside = analysis.marchenko_pastur_density([-1.0, 0.0, low / 2, high + 0.1], 4.0)
    np.testing.assert_array_equal(outside, 0.0)
    assert analysis.marchenko_pastur_density(0.0, 1.0) == np.inf
    assert analysis.marchenko_pastur_density(np.ones((2, 3)), 4.0).shape == (2, 3)


@pytest.mark.parametrize("expansion", [0.5, 1.0, 3.0, 10.0])
def test_angle_and_norm_ratio_are_those_of_random_weights(expansion):
    rng = np.random.default_rng(1)
    angles, ratios = [], []
    for _ in range(20):
        population = round(expansion * 100)
        forward = rng.standard_normal((256, 100))
        fixed = rng.standard_normal((population, 100)) / population**0.5
        path = forward @ fixed.T @ fixed
        angles.append(float(ta.metrics.path_angle(forward, path)))
        ratios.append(float(ta.metrics.norm_ratio(forward, path)))
    assert analysis.product_path_angle(expansion) == pytest.approx(np.mean(angles), abs=0.3)
    assert analysis.product_norm_ratio(expansion) == pytest.approx(np.mean(ratios), rel=0.01)


def test_the_angle_is_the_arc_cosine_of_the_paper():
    expansion = np.array([1.0, 2.0, 5.0, 10.0, 20.0])
    expected = np.degrees(np.arccos(1 / np.sqrt(1 + 1 / expansion)))
    np.testing.assert_allclose(analysis.product_path_angle(expansion), expected)
    np.testing.assert_allclose(expected, [45.0, 35.3, 24.1, 17.55, 12.6], atol=0.05)


@pytest.mark.parametrize(("fraction", "correlation"), [(0.31, 0.36), (1.0, 0.7), (0.1, -0.9)])
def test_reciprocal_correlation_is_that_of_drawn_pairs(fraction, correlation):
    rng = np.random.default_rng(2)
    forward, other = rng.standard_normal((2, 400_000))
    backward = correlation * forward + (1 - correlation**2) ** 0.5 * other
    backward[rng.random(len(backward)) >= fraction] = 0.0
    found = np.corrcoef(forward, backward)[0, 1]
    assert analysis.reciprocal_correlation(fraction, correlation) == pytest.approx(found, abs=0.006)


def test_reciprocal_correlation_broadcasts():
    found = analysis.reciprocal_correlation([[0.0], [0.25]], [0.5, 1.0])
    np.testing.assert_allclose(found, [[0.0, 0.0], [0.25, 0.5]])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (analysis.product_path_angle, (0.0,), "`expansion` must be finite and above 0"),
        (analysis.product_norm_ratio, (np.inf,), "`expansion` must be finite and above 0"),
        (analysis.marchenko_pastur_support, (0.5,), "`expansion` must be at least 1"),
        (analysis.marchenko_pastur_support, (np.nan,), "`expansion` must be finite and above 0"),
        (analysis.marchenko_pastur_density, (1.0, [2.0]), "`expansion` must be one number"),
        (analysis.reciprocal_correlation, (1.1, 0.5), "`fraction` must be from 0 to 1"),
        (analysis.reciprocal_correlation, (0.5, -2.0), "`correlation` must be from -1 to 1"),
    ],
)
def test_arguments_out_of_range(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)

"""Means, intervals, differences by pairs."""

import math

import numpy as np
import pytest

from tf_alignment._support.statistics import mean_of, paired


def test_deviation_and_interval():
    values = [1.0, 2.0, 4.0, math.nan, None]
    found = mean_of(values)
    assert found.n == 3
    assert found.mean == pytest.approx(7 / 3)
    assert found.deviation == pytest.approx(np.std([1, 2, 4], ddof=1))
    # Student's quantile for two degrees of freedom has a closed form: 0.95 √(2 / (1 - 0.95²))
    quantile = 0.95 * math.sqrt(2 / (1 - 0.95**2))
    assert found.interval == pytest.approx(quantile * found.deviation / math.sqrt(3), rel=1e-3)


@pytest.mark.parametrize("n", [2, 7, 31, 32, 50, 200])
def test_student_is_scipys(n):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=n)
    expected = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    assert mean_of(list(values)).interval == pytest.approx(expected, rel=2e-3)


def test_text():
    assert mean_of([]).text() == "-"
    assert mean_of([0.5]).text(1, scale=100) == "50.0"
    assert mean_of([0.4, 0.6]).text(1, scale=100) == "50.0 ± 14.1"


def test_differences_are_taken_by_seed():
    fa = {0: 0.5, 1: 0.7, 2: None, 4: 0.1}
    backprop = {0: 0.9, 1: 0.9, 2: 0.9, 3: 0.9}
    found = paired(fa, backprop)
    assert (found.n, found.mean) == (2, pytest.approx(-0.3))
    assert found.deviation == pytest.approx(np.std([-0.4, -0.2], ddof=1))

"""Estimators of causal effects, against their formulas."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from plain_rounds import Seen, drawn, dyadic_kernel, simulated, windows

from tf_alignment.spiking.lif import Paradigm, estimators


@functools.cache
def some_events(units=15, above=4, rounds=6, seed=1):
    """Events of random weights, and the same as a list in the order in which they came."""
    paradigm = Paradigm()
    sets, bits = drawn(paradigm, units, rounds, seed)
    events = simulated(paradigm, dyadic_kernel(units, above, seed), sets, bits)
    members = events.sets.numpy()
    found = [
        Seen(members[s, i], t, drive, response.astype("float64"))
        for (s, i, t), (drive, response) in sorted(
            windows(events).items(), key=lambda item: (item[0][0], item[0][2])
        )
    ]
    return events, found


def estimated(estimator, *events, units=15, above=4):
    sums = {name: tf.zeros(shape) for name, shape in estimator.shapes(units, above).items()}
    for some in events:
        sums = estimator.add(sums, some)
    return tuple(x.numpy() for x in estimator.effect(sums, 1.0))


def of(found, unit=None, right=True):
    """Drives relative to the threshold and responses of one side, of a unit or of all."""
    chosen = [w for w in found if (w.drive >= 1.0) == right and unit in (None, w.unit)]
    return np.array([w.drive - 1.0 for w in chosen]), np.array([w.response for w in chosen])


def test_pooled_is_its_formula():
    events, found = some_events()
    beta, seen = estimated(estimators.Pooled(offset=0.3), events)
    left = of(found, right=False)[1].mean(0)
    assert seen.mean() > 0.9
    for i in range(15):
        x, responses = of(found, i)
        expected = ((x + 0.3) @ responses) / (x + 0.3).sum() - left
        np.testing.assert_allclose(beta[i][seen[i]], expected[seen[i]], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ridge", [0.0, 1.0])
@pytest.mark.parametrize("shared_left", [False, True])
def test_line_is_least_squares(ridge, shared_left):
    events, found = some_events(rounds=20)
    beta, seen = estimated(estimators.Line(ridge, shared_left), events)

    def intercept(x, y):
        design = np.stack([np.ones_like(x), x], 1)
        penalty = np.diag([0.0, ridge * len(x)])
        return np.linalg.solve(design.T @ design + penalty, design.T @ y)[0]

    assert seen.mean() > 0.9
    for i in range(15):
        right = intercept(*of(found, i))
        left = intercept(*of(found, None if shared_left else i, right=False))
        np.testing.assert_allclose(beta[i][seen[i]], (right - left)[seen[i]], rtol=0.02, atol=1e-4)


def test_sgd_is_gradient_descent_window_after_window():
    rate = 0.05
    (first, one), (second, two) = some_events(seed=1), some_events(seed=2)
    beta, seen = estimated(estimators.SGD(rate), first, second)
    lines = np.zeros((2, 15, 2, 4))  # right or left, unit, slope and intercept, unit above
    for w in one + two:
        line = lines[int(w.drive < 1.0), w.unit]
        error = w.drive * line[0] + line[1] - w.response
        line[0] -= rate * error * w.drive
        line[1] -= rate * error
    expected = (lines[0] - lines[1]).sum(1)  # at a drive of 1
    assert seen.mean() > 0.9
    np.testing.assert_allclose(beta[seen], expected[seen], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("centred", [False, True])
def test_mirror_is_its_rule(centred):
    events, _ = some_events()
    found, _ = estimated(estimators.Mirror(decay=0.1, centred=centred), events)
    expected, above = np.zeros((15, 4)), events.rate_above.numpy()
    if centred:
        above = above - above.mean(0)
    for members, rate, rate_above in zip(
        events.sets.numpy(), events.rate.numpy(), above, strict=True
    ):
        expected *= 0.9
        expected[members] += np.outer(rate, rate_above)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", estimators.ESTIMATORS)
def test_a_unit_that_was_not_driven_has_no_estimate(name):
    events, _ = some_events(units=17, rounds=1)  # five sets of three
    driven = np.isin(np.arange(17), events.sets.numpy())
    beta, seen = estimated(estimators.get(name), events, units=17)
    assert np.sum(~driven) == 2
    assert not seen[~driven].any() and not beta[~driven].any()
    assert seen[driven].any() and np.all(np.isfinite(beta))


@pytest.mark.parametrize("name", estimators.ESTIMATORS)
def test_sparse_products_give_the_same_sums(name):
    """Also where units are left over by the partition, and rest."""
    events, _ = some_events(units=17, rounds=5)
    estimator = estimators.get(name)
    found = []
    for sparse in (False, True):
        sums = {name: tf.zeros(shape) for name, shape in estimator.shapes(17, 4).items()}
        for _ in range(2):
            sums = estimator.add(sums, dataclasses.replace(events, sparse=sparse))
        found.append(sums)
    for name, value in found[0].items():
        scale = float(tf.reduce_max(tf.abs(value)))
        np.testing.assert_allclose(found[1][name], value, atol=1e-6 * scale)
        assert scale > 0


def test_a_silent_unit_above_has_no_estimate():
    kernel = np.abs(dyadic_kernel(15, 4)).astype("float32")
    kernel[:, 1] *= -1.0
    sets, bits = drawn(Paradigm(), 15, rounds=4)
    events = simulated(Paradigm(), kernel, sets, bits)
    assert not events.rate_above.numpy()[:, 1].any()
    for name in estimators.ESTIMATORS:
        beta, seen = estimated(estimators.get(name), events)
        assert not seen[:, 1].any() and not beta[:, 1].any()


def test_forgetting():
    estimator = estimators.Pooled(forgetting=0.25)
    sums = {name: tf.ones(shape) for name, shape in estimator.shapes(3, 2).items()}
    assert all(np.all(v == 0.25) for v in estimator.forget(sums).values())

"""The scalar flow of alignment rules against autodiff and against integration in time."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import ExponentialDecay
from scipy import integrate

import tf_alignment as ta
from tf_alignment import analysis

MIX = {"decay": 0.3, "amp": 0.7, "null": 0.2, "sparse": 0.4, "self": 0.5}
IA = {"amp": 1.0, "decay": 0.5, "null": 0.8}


def loss(rule, w, b, x):
    """Table 1 for one synapse with y = w x; what keeps b small keeps w small too."""
    y = w * x
    value = {
        "decay": 0.5 * (w**2 + b**2),
        "amp": -x * b * y,
        "null": 0.5 * (b * y) ** 2,
        "sparse": 0.5 * ((x * b) ** 2 + (x * w) ** 2),
        "self": -b * w,
    }
    return sum(coefficient * value[name] for name, coefficient in rule.items())


@pytest.mark.parametrize("rule", [*({name: 0.7} for name in MIX), MIX], ids=lambda r: "+".join(r))
def test_the_flow_descends_the_loss(rule):
    rng = np.random.default_rng(0)
    w, b, x = (tf.Variable(rng.standard_normal((4, 5)), dtype=tf.float64) for _ in range(3))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(rule, w, b, x))
    expected = tape.gradient(total, [w, b], unconnected_gradients="zero")
    found = analysis.flow_field(rule, w.numpy(), b.numpy(), x.numpy())
    np.testing.assert_allclose(found, np.negative(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("x", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("rule", ["wm", "ia", "sa", "aa"])
def test_named_rules_have_the_flow_of_their_losses(rule, x):
    coefficients = {
        "wm": {"amp": 0.6, "decay": 0.9},
        "ia": {"amp": 0.6, "decay": 0.9, "null": 0.3},
        "sa": {"self": 0.6, "decay": 0.9},
        "aa": {"amp": 0.6, "sparse": 0.9},
    }[rule]
    kind = type(ta.feedback.get(rule))
    given = kind(*coefficients.values(), normalize=None)
    w, b = tf.Variable(0.7, dtype=tf.float64), tf.Variable(-0.4, dtype=tf.float64)
    with tf.GradientTape() as tape:
        total = loss(coefficients, w, b, x)
    expected = np.negative(tape.gradient(total, [w, b]))
    np.testing.assert_allclose(analysis.flow_field(given, 0.7, -0.4, x), expected, rtol=1e-12)


@pytest.mark.parametrize("x", [0.5, 3.0])
@pytest.mark.parametrize("damping", [1e-3, 0.5])
def test_a_least_squares_step_is_the_flow_of_b(x, damping):
    rule = ta.feedback.ActivationAlignment(2.0, 1.5, damping=damping)
    layer = ta.layers.Dense(1, feedback=rule)
    layer.build((None, 1))
    activity = ta.testing.activity(layer, np.full((4, 1), x, "float32"))
    w, b = layer.kernel.numpy().item(), layer.feedback_weights["feedback_kernel"].numpy()
    found = rule.align(activity, {"feedback_kernel": tf.constant(b)})["feedback_kernel"]
    expected = analysis.flow_field(rule, w, b.item(), x)[1]
    np.testing.assert_allclose(-found.numpy().item(), expected, rtol=1e-5)


@pytest.mark.parametrize("rule", [MIX, {"amp": 1.0, "decay": 0.5}, {"self": 2.0, "sparse": 1.0}])
def test_eigenvalues_are_those_of_the_matrix(rule):
    matrix = analysis.flow_matrix(rule, 1.3)
    found = analysis.flow_eigenvalues(rule, 1.3)
    np.testing.assert_allclose(matrix @ [1, 1], found.symmetric * np.array([1, 1]))
    np.testing.assert_allclose(matrix @ [1, -1], found.skew * np.array([1, -1]))
    linear = {name: c for name, c in rule.items() if name != "null"}
    w, b = 0.3, -1.1
    np.testing.assert_allclose(analysis.flow_field(linear, w, b, 1.3), -matrix @ [w, b])


@pytest.mark.parametrize("x", [0.3, 1.0, 3.0])
def test_the_cases_of_the_paper(x):
    for ratio, verdict in ((0.5, "diverging"), (1.0, "stable"), (2.0, "collapsing")):
        rule = ta.feedback.WeightMirror(0.1, 0.1 * ratio * x**2, normalize=None)
        found = analysis.flow_eigenvalues(rule, x)
        assert found.symmetric == pytest.approx(0.1 * (ratio - 1) * x**2) and found.skew > 0
        assert analysis.flow_verdict(rule, x) == verdict
    symmetric = ta.feedback.SymmetricAlignment(0.1, 0.1)
    activation = ta.feedback.ActivationAlignment(0.1, 0.1, normalize=None)
    for rule in (symmetric, activation):
        found = analysis.flow_eigenvalues(rule, x)
        assert found.symmetric == 0 and found.skew > 0
        assert analysis.flow_verdict(rule, x) == "stable"


def test_a_mirror_divided_by_its_input_is_stable_for_all_inputs():
    found = analysis.flow_eigenvalues(ta.feedback.WeightMirror(0.2, 0.2), [0.1, 1.0, 10.0])
    np.testing.assert_allclose(found.symmetric, 0.0, atol=1e-15)
    np.testing.assert_allclose(found.skew, 0.4)
    np.testing.assert_array_equal(analysis.flow_eigenvalues("sa", [1.0, 2.0]).skew, 4.0)


def follow(rule, start, x, duration):
    """Weights after some time, by integration of the loss's gradient, with differences for it."""

    def flow(_, state, step=1e-6):
        ends = [loss(rule, *(state + sign * step * axis), x) for axis, sign in CORNERS]
        return [-(ends[0] - ends[1]) / (2 * step), -(ends[2] - ends[3]) / (2 * step)]

    return integrate.solve_ivp(flow, (0.0, duration), start, rtol=1e-8, atol=1e-9).y[:, -1]


CORNERS = list(itertools.product(np.eye(2), (1.0, -1.0)))


@pytest.mark.parametrize("decay", [0.5, 1.44, 2.0])
def test_both_components_follow_their_eigenvalues(decay):
    rule, x, start, time = {"amp": 1.0, "decay": decay}, 1.2, np.array([0.9, -0.2]), 1.5
    w, b = follow(rule, start, x, time)
    symmetric, skew = analysis.flow_eigenvalues(rule, x)
    assert w + b == pytest.approx(0.7 * np.exp(-symmetric * time), rel=1e-5)
    assert w - b == pytest.approx(1.1 * np.exp(-skew * time), rel=1e-5)


@pytest.mark.parametrize("start", [(2.0, -1.9), (0.1, 0.0), (5.0, 0.1), (-0.3, -3.0)])
def test_information_alignment_ends_at_its_fixed_points(start):
    x = 1.5
    low, zero, high = analysis.flow_fixed_points(IA, x)
    assert zero == 0 and high == -low
    assert high == pytest.approx(np.sqrt((x**2 - 0.5) / (0.8 * x**2)))
    np.testing.assert_allclose(analysis.flow_field(IA, high, high, x), 0.0, atol=1e-15)
    np.testing.assert_allclose(follow(IA, start, x, 30.0), np.sign(sum(start)) * high, rtol=1e-4)
    assert analysis.flow_verdict(IA, x) == "stable"


def test_rates_of_return_at_the_fixed_points():
    x = 1.5
    point = analysis.flow_fixed_points(IA, x)[2]
    w, b = (tf.Variable(point, dtype=tf.float64) for _ in range(2))
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            total = loss(IA, w, b, x)
        dw, db = inner.gradient(total, [w, b])
    hessian = np.array([outer.gradient(d, [w, b]) for d in (dw, db)])
    np.testing.assert_allclose(hessian @ [1, 1], 2 * (x**2 - 0.5) * np.ones(2))
    np.testing.assert_allclose(hessian @ [1, -1], 2 * 0.5 * np.array([1, -1]))


def test_information_alignment_collapses_under_too_much_decay():
    for x in (0.5, np.sqrt(0.5)):
        np.testing.assert_array_equal(analysis.flow_fixed_points(IA, x), [0.0])
        assert analysis.flow_verdict(IA, x) == "collapsing"
    assert np.abs(follow(IA, (1.0, 0.5), 0.5, 40.0)).max() < 1e-3


@pytest.mark.parametrize(
    ("rule", "x", "error", "message"),
    [
        ("fa", 1.0, TypeError, "`rule` must learn by alignment"),
        ({"amp": -1.0}, 1.0, ValueError, "must be numbers of at least 0. Received: amp=-1.0"),
        ({"amp": ExponentialDecay(0.1, 10, 0.9)}, 1.0, ValueError, "numbers of at least 0"),
        ({"gain": 1.0}, 1.0, ValueError, "unknown names"),
        ({"amp": 1.0}, [1.0, 2.0], ValueError, "`x` must be one number"),
        (ta.feedback.WeightMirror(normalize="response"), 1.0, ValueError, "divide by its response"),
    ],
)
def test_what_is_no_rule_of_the_theory(rule, x, error, message):
    with pytest.raises(error, match=message):
        analysis.flow_verdict(rule, x)


def test_primitives_of_ones_own_are_refused():
    class Lasso(ta.primitives.Primitive):
        pass

    with pytest.raises(ValueError, match="must be of the primitives"):
        analysis.flow_field(ta.feedback.Alignment([(Lasso(), 1.0)]), 1.0, 1.0)

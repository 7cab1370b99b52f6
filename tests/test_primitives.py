"""Closed forms against autodiff: every primitive, every option, every kind of layer."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.feedback import Activity, Alignment
from tf_alignment.feedback.alignment import BUILT_IN

OPTIONS = {
    "plain": {},
    "output": {"response": "output"},
    "no bias": {"response_bias": False},
    "gaussian": {"noise": ta.Noise("gaussian", 0.5)},
    "uniform": {"noise": "uniform"},
    "rademacher": {"noise": 0.5, "normalize": "noise"},
    "batch_center": {"batch_center": True},
    "feature_center": {"feature_center": True},
    "feature_normalize": {"feature_center": True, "feature_normalize": True},
    "activation": {"feedback_activation": "tanh"},
    "bias": {"feedback_bias": True},
    "bias and activation": {"feedback_bias": True, "feedback_activation": "softplus"},
    "everything": {
        "response": "output",
        "noise": "gaussian",
        "batch_center": True,
        "feature_center": True,
        "feature_normalize": True,
        "feedback_activation": "sigmoid",
        "feedback_bias": True,
        "normalize": "variance",
    },
    "normalize input": {"normalize": "input"},
    "normalize response": {"normalize": "response"},
    "mean": {"positions": "mean"},
}
RULES = [
    {"decay": 0.7},
    {"amp": 0.7},
    {"null": 0.7},
    {"sparse": 0.7},
    {"self": 0.7},
    {"amp": 1.0, "decay": 0.5},
    {"amp": 1.0, "decay": 0.5, "null": 0.3},
    {"amp": 1.0, "sparse": 0.5},
    {"amp": 1.0, "decay": -0.3, "null": 0.5, "sparse": 0.2, "self": 0.1},
]


@pytest.mark.parametrize("option", OPTIONS)
def test_closed_form_equals_autodiff(option):
    for terms in RULES if option == "plain" else RULES[-3:]:
        ta.testing.check_rule(
            Alignment(terms, **OPTIONS[option]),
            checks=["closed_form"],
            layers=["dense", "einsum-heads", "conv2d", "conv2d-first", "transpose1d"],
        )


def test_a_gradient_of_zero_may_be_rounding_of_the_loss():
    # `feature_normalize` fixes the length of the response, so that "null" is about four, and
    # its gradient zero but for the rounding of such numbers.
    ta.testing.check_rule(
        Alignment({"amp": 1.0, "null": 0.3}, **OPTIONS["everything"]),
        checks=["closed_form"],
        layers=["dense", "conv2d"],
    )


@pytest.mark.parametrize("primitive", BUILT_IN)
def test_primitives_against_numpy(primitive):
    rng = np.random.default_rng(1)
    x, w, b = (rng.standard_normal(s) for s in ((6, 4), (4, 3), (4, 3)))
    z = x @ w
    value, gradient = {
        "decay": (0.5 * np.sum(b**2), b),
        "amp": (-np.mean([x[n] @ b @ z[n] for n in range(6)]), -x.T @ z / 6),
        "null": (np.sum((z @ b.T) ** 2) / 12, (z @ b.T).T @ z / 6),
        "sparse": (np.sum((x @ b) ** 2) / 12, x.T @ (x @ b) / 6),
        "self": (-np.trace(b.T @ w), -w),
    }[primitive]
    rule = Alignment({primitive: 1.0})
    layer = ta.layers.Dense(3, use_bias=False, feedback=rule)
    layer(x.astype("float32"))
    layer.kernel.assign(w)
    activity = ta.testing.activity(layer, x.astype("float32"))
    weights = {"feedback_kernel": tf.constant(b, tf.float32)}
    assert float(rule.loss(activity, weights)) == pytest.approx(value, rel=1e-4)
    found = rule.align(activity, weights)["feedback_kernel"]
    np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-5)


def products(rule, jit=False):
    """Matrix products that the gradient of a rule costs in a graph."""
    layer = ta.layers.Dense(5, use_bias=False, feedback=rule)
    layer.build((None, 4))
    weights = {n: tf.convert_to_tensor(w) for n, w in layer.feedback_weights.items()}

    @tf.function
    def gradient(x):
        kernel = tf.convert_to_tensor(layer.kernel)
        c = layer.connections[0]
        z = tf.ones((8, 5)) * x[0, 0]  # the forward product is not the rule's
        activity = Activity(c.map, x, z, kernel, lambda a: a, lambda a: a, tf.constant([1, 2]))
        return rule.align(activity, weights)

    graph = gradient.get_concrete_function(tf.TensorSpec((8, 4))).graph
    return sum(node.type == "MatMul" for node in graph.get_operations())


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (ta.feedback.SymmetricAlignment(), 0),
        (ta.feedback.WeightMirror(noise=None), 1),
        (ta.feedback.InformationAlignment(noise=None), 2),
        (ta.feedback.ActivationAlignment(normalize="input"), 2),
        (ta.feedback.WeightMirror(), 2),
        (ta.feedback.InformationAlignment(), 3),
        (ta.feedback.ActivationAlignment(noise="rademacher"), 3),
        (Alignment({"amp": 1.0, "null": 1.0, "sparse": 1.0}), 4),
    ],
)
def test_a_rule_costs_no_product_more_than_its_arithmetic(rule, count):
    assert products(rule) == count


def test_noise_has_the_standard_deviation_asked_for():
    for noise in ("gaussian", "uniform"):
        rule = ta.feedback.WeightMirror(noise=ta.Noise(noise, 0.3))
        layer = ta.layers.Dense(3, feedback=rule)
        layer(np.ones((2000, 50), "float32"))
        local = rule.local(
            ta.testing.activity(layer, np.ones((2000, 50), "float32")),
            {"feedback_kernel": tf.zeros((50, 3))},
        )
        assert float(tf.math.reduce_std(local.x)) == pytest.approx(0.3, rel=0.01)
        assert abs(float(tf.reduce_mean(local.x))) < 0.005


def rest(rule, batch, rate, steps, skip):
    """W and the mean of B after it has settled, of a dense layer that sees nothing but noise."""
    layer = ta.layers.Dense(6, feedback=rule)
    x = np.zeros((batch, 10), "float32")
    layer.build(x.shape)
    [b] = layer.feedback_weights.values()
    total = 0.0
    for step in range(steps):
        with tf.GradientTape() as tape:
            layer(x, training=True)
            loss = sum(layer.losses)
        b.assign_sub(rate * tape.gradient(loss, b))
        total = total + b.numpy() if step >= skip else 0.0
    return layer.kernel.numpy(), total / (steps - skip)


def test_weight_mirror_under_white_noise_ends_at_a_multiple_of_w():
    # B ends at (α/β) P σ² W with P positions; here P = 1
    rule = ta.feedback.WeightMirror(
        0.5, 1.0, noise=ta.Noise("gaussian", 0.7), normalize=None, response_bias=False
    )
    w, b = rest(rule, batch=512, rate=0.1, steps=150, skip=50)
    expected = 0.5 * 0.7**2 * w
    assert np.linalg.norm(b - expected) < 0.05 * np.linalg.norm(expected)


def on_noise(rule, connection, shape, b, seed, examples):
    """The gradient for B of a rule that learns from noise, in a connection of a layer."""
    x, kernel = tf.zeros((examples, *shape[1:])), tf.convert_to_tensor(connection.kernel)
    z = connection.map.apply(x, kernel)
    activity = Activity(
        connection.map, x, z, kernel, tf.identity, tf.identity, tf.constant([seed, 1])
    )
    return rule.align(activity, {"feedback_kernel": b})["feedback_kernel"]


@pytest.mark.parametrize("name", cases.AT_ONCE)
def test_on_noise_the_rules_do_the_same_in_every_layer(name):
    case = ta.testing.LAYERS[name]
    layer, shape = case.layer("fa"), case.input_shape
    layer(np.zeros(shape))
    for c in layer.connections:
        w = tf.convert_to_tensor(c.kernel)
        ones = tf.ones(shape)
        response = tf.ones_like(c.map.apply(ones, w))
        # what reaches beyond a padded border sees less of the noise
        seen = c.map.outer(ones, response, w)
        goal = w * seen / tf.reduce_max(seen)
        # WM descends its way to (α/β) W: from B = 0 the gradient is W, times its step
        mirror = ta.feedback.WeightMirror(1.0, 1.0, normalize="variance")
        end = -on_noise(mirror, c, shape, tf.zeros_like(w), seed=7, examples=2048)
        assert float(ta.metrics.weight_angle(goal, end)) < 5.0
        assert float(ta.metrics.norm_ratio(goal, end)) == pytest.approx(1.0, abs=0.05)
        # AA takes the fastest step
        rule = ta.feedback.ActivationAlignment(1.0, 1.0, noise="rademacher")
        b = tf.random.normal(w.shape)
        for seed in range(6):
            b -= on_noise(rule, c, shape, b, seed, examples=256)
        assert float(ta.metrics.weight_angle(w, b)) < 3.0
        shape = tuple(response.shape)  # of the second connection


@pytest.mark.parametrize(
    ("kind", "arguments", "shape"),
    [
        ("Dense", (12,), (5, 16)),
        ("EinsumDense", ("abc,cde->abde", (None, 4, 6)), (5, 16)),
        ("EinsumDense", ("abcd,cde->abe", (None, 6)), (5, 4, 6)),
        ("Conv2DTranspose", (4, 4, 2), (5, 4, 6)),
        ("MultiHeadAttention", (4, 8), (5, 16)),
    ],
)
def test_a_weight_mirror_on_noise_ends_at_w(kind, arguments, shape):
    layer, entry = getattr(ta.layers, kind)(*arguments, feedback="fa"), keras.Input(shape)
    attention = isinstance(layer, ta.layers.MultiHeadAttention)
    model = keras.Model(entry, layer(entry, entry) if attention else layer(entry))
    found = ta.phases.Alignment("wm", steps=200, seed=1, batch_size=64).run(model)
    for path, quantities in found.items():
        assert quantities["norm_ratio"] == pytest.approx(1.0, abs=0.05), path


@pytest.mark.parametrize(
    ("layer", "shape", "inputs", "count"),
    [
        (ta.layers.Dense, (64, 40), 40, 64),
        (ta.layers.Dense, (16, 96), 96, 16),
        (ta.layers.Conv2D, (4, 9, 9, 3), 27, 4 * 7 * 7),
    ],
)
def test_steps_normalized_for_noise_are_the_fastest_on_average(layer, shape, inputs, count):
    # E‖I − μ xᵀx/(nσ²)‖² = 1 − 2μ + μ²(1 + (d − 1)/n) for ±σ, least at μ ≈ 1/(1 + d/n)
    rule = ta.feedback.ActivationAlignment(1.0, 1.0, noise=0.3, normalize="noise")
    options = {"kernel_size": 3} if layer is ta.layers.Conv2D else {}
    made = layer(8, feedback=rule, **options)
    x = np.zeros(shape, "float32")
    made.build(x.shape)
    [b] = made.feedback_weights.values()
    start = b.numpy() - made.kernel.numpy()
    left = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            made(x, training=True)
            loss = sum(made.losses)
        after = start - tape.gradient(loss, b).numpy()
        left.append(np.sum(after**2) / np.sum(start**2))
    assert np.mean(left) == pytest.approx(1 - 1 / (1 + inputs / count), rel=0.08)


def test_a_mirror_normalized_for_noise_ends_at_a_multiple_of_w():
    rule = ta.feedback.WeightMirror(0.4, 0.2, normalize="noise")
    w, b = rest(rule, batch=64, rate=0.5, steps=300, skip=60)
    assert np.linalg.norm(b - 2.0 * w) < 0.05 * np.linalg.norm(2.0 * w)


def test_a_coefficient_can_be_a_schedule_of_the_training_step():
    ramp = keras.optimizers.schedules.PolynomialDecay(1.0, 4, end_learning_rate=0.0)
    layer = ta.layers.Dense(3, feedback=ta.feedback.SymmetricAlignment(ramp, ramp))
    x = np.ones((2, 4), "float32")
    layer(x)
    [b] = layer.feedback_weights.values()

    def gradient(training):
        with tf.GradientTape() as tape:
            layer(x, training=training)
            loss = sum(layer.losses)
        return tape.gradient(loss, b).numpy()

    difference = b.numpy() - layer.kernel.numpy()
    gradient(False)  # does not count
    for factor in (1.0, 0.75, 0.5, 0.25, 0.0, 0.0):
        np.testing.assert_allclose(gradient(True), factor * difference, atol=1e-6)


def test_schedules_round_trip():
    between = ta.schedules.Between(
        ta.schedules.Triangular(keras.optimizers.schedules.ExponentialDecay(1.0, 5, 0.5), 10), 3, 9
    )
    rule = ta.feedback.WeightMirror(alpha=between, beta=0.1)
    again = ta.feedback.get(keras.saving.serialize_keras_object(rule))
    assert again == rule
    for step in range(12):
        assert float(again.coefficients["alpha"](step)) == float(between(step))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda s: s.Triangular(0.5, 4), TypeError),
        (lambda s: s.Triangular(s.Between(1.0), 1), ValueError),
        (lambda s: s.Between(1.0, start=-1), ValueError),
        (lambda s: s.Between(1.0, start=5, stop=5), ValueError),
    ],
)
def test_schedules_refuse_wrong_arguments(make, error):
    with pytest.raises(error, match="Received"):
        make(ta.schedules)


@keras.saving.register_keras_serializable(package="tests")
class Lasso(ta.primitives.Primitive):
    def value(self, local):
        return tf.reduce_sum(tf.abs(local.feedback))

    def gradient(self, local):
        return ta.primitives.Gradient(direct=tf.sign(local.feedback))


def test_a_primitive_of_ones_own(tmp_path):
    rule = Alignment([(ta.primitives.self_, 1.0), (Lasso(), 0.5)])
    layer = ta.layers.Dense(3, feedback=rule)
    x = np.ones((2, 4), "float32")
    model = keras.Sequential([keras.Input((4,)), layer])
    [b] = layer.feedback_weights.values()
    with tf.GradientTape() as tape:
        layer(x)
        loss = sum(layer.losses)
    expected = -layer.kernel.numpy() + 0.5 * np.sign(b.numpy())
    np.testing.assert_allclose(tape.gradient(loss, b), expected, rtol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [type(p).__name__ for p, _ in loaded.layers[0].feedback.terms] == ["Self", "Lasso"]

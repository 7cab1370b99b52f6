"""Each method against numpy written from the paper, and in all that holds for any method."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

N, IN, OUT = 7, 5, 4


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, IN)).astype("float32")
    delta = rng.standard_normal((N, OUT)).astype("float32")
    return x, delta


def backward(layer, x, delta, training=True):
    """`dx` and `{name: gradient}` of a linear layer that receives the error `delta`."""
    x = tf.constant(x)
    weights = layer.feedback_weights
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=training) * delta) + sum(layer.losses or [0.0])
    dx, dw, *rest = tape.gradient(loss, [x, layer.kernel, *weights.values()])
    return np.asarray(dx), np.asarray(dw), dict(zip(weights, rest, strict=True))


def linear(method, **extra):
    layer = ta.layers.Dense(OUT, feedback=method, **extra)
    layer.build((None, IN))
    layer.bias.assign(np.linspace(-1, 1, OUT))
    return layer, layer.kernel.numpy(), {k: v.numpy() for k, v in layer.feedback_weights.items()}


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_feedback_alignment(problem):
    x, delta = problem
    layer, _, stored = linear("fa")
    dx, dw, grads = backward(layer, x, delta)
    close(dx, delta @ stored["feedback_kernel"].T)
    close(dw, x.T @ delta)
    assert grads["feedback_kernel"] is None


def test_uniform_sign_symmetry(problem):
    x, delta = problem
    layer, w, stored = linear("usf")
    assert stored["feedback_scale"] == pytest.approx(w.std(), rel=1e-5)
    dx, _, _ = backward(layer, x, delta)
    close(dx, w.std() * delta @ np.sign(w).T)
    layer.kernel.assign(3 * w)  # the scale is kept
    close(backward(layer, x, delta)[0], w.std() * delta @ np.sign(w).T)


@pytest.mark.parametrize("value", [0.0, 0.1])  # the mean of many 0.1 is not quite 0.1
def test_uniform_sign_symmetry_of_a_constant_kernel_has_glorots_scale(value):
    constant = keras.initializers.Constant(value)
    layer = ta.layers.Dense(200, feedback="usf", kernel_initializer=constant)
    layer.build((None, 300))
    scale = float(layer.feedback_weights["feedback_scale"])
    assert scale == pytest.approx(np.sqrt(2 / 500), rel=0.02)


def test_fixed_random_sign_symmetry(problem):
    x, delta = problem
    layer, w, stored = linear("frsf")
    dx, _, grads = backward(layer, x, delta)
    close(dx, delta @ (np.abs(stored["feedback_kernel"]) * np.sign(w)).T)
    assert grads["feedback_kernel"] is None


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_batch_random_sign_symmetry(distribution):
    method = ta.feedback.BatchRandomSignSymmetry(distribution)
    layer = ta.layers.Dense(OUT, feedback=method, feedback_initializer="glorot_uniform")
    layer.build((None, IN))
    w = layer.kernel.numpy()
    scale = float(layer.feedback_weights["feedback_scale"])
    x = tf.zeros((OUT, IN))

    @tf.function
    def error():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        # δ = one unit at a time reads the kernel that carried the error
        return tape.gradient(y, x, output_gradients=tf.eye(OUT))

    draws = np.stack([error().numpy().T for _ in range(400)])
    assert np.all(np.sign(draws) == np.sign(w))
    assert len({d.tobytes() for d in draws}) == 400  # a new one at every step
    # |R| of a distribution with standard deviation s has mean square s²
    assert np.mean(draws**2) == pytest.approx(scale**2, rel=0.05)
    assert (np.abs(draws).max() <= 3**0.5 * scale * 1.0001) == (distribution == "uniform")
    limit = np.sqrt(6 / (IN + OUT))
    assert scale == pytest.approx(limit / np.sqrt(3), rel=0.35)  # s.d. of one draw of 20 numbers


def test_batch_random_sign_symmetry_holds_its_draw_outside_training(problem):
    x, delta = problem
    layer, _, _ = linear("brsf")
    close(backward(layer, x, delta, False)[0], backward(layer, x, delta, False)[0])


def test_batch_random_sign_symmetry_redraws_where_a_loop_leaves_training_unset(problem):
    x, delta = problem
    layer, _, _ = linear("brsf")
    first, second = (backward(layer, x, delta, None)[0] for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    state = layer.seed_generator.state.numpy()
    layer(x)  # nobody records
    np.testing.assert_array_equal(layer.seed_generator.state.numpy(), state)


def test_kolen_pollack(problem):
    x, delta = problem
    layer, _, stored = linear("kp")
    dx, dw, grads = backward(layer, x, delta)
    close(dx, delta @ stored["feedback_kernel"].T)
    close(dw, x.T @ delta)
    np.testing.assert_array_equal(grads["feedback_kernel"], dw)


@pytest.mark.parametrize("method", ["pfa", "pfa_o"])
def test_product_feedback(method, problem):
    x, delta = problem
    layer, _, stored = linear(method)
    fixed, plastic = stored["product_fixed"], stored["product_plastic"]
    assert fixed.shape == (10 * OUT, OUT) and plastic.shape == (IN, 10 * OUT)
    dx, dw, grads = backward(layer, x, delta)
    mixed = delta @ fixed.T
    close(dx, mixed @ plastic.T)
    close(dw, x.T @ delta)
    close(grads["product_plastic"], x.T @ mixed)
    assert grads["product_fixed"] is None
    close(layer.effective_feedback_kernel(), plastic @ fixed)
    if method == "pfa_o":
        close(fixed.T @ fixed, np.eye(OUT))


def test_product_feedback_starts_with_variance_one_over_population():
    layer = ta.layers.Dense(300, feedback=ta.feedback.ProductFeedback(expansion=4))
    layer.build((None, 20))
    fixed = layer.feedback_weights["product_fixed"].numpy()
    assert fixed.var() == pytest.approx(1 / 1200, rel=0.02)
    eigenvalues = np.linalg.eigvalsh(fixed.T @ fixed)  # Marchenko-Pastur: mean 1, s.d. √λ
    assert eigenvalues.mean() == pytest.approx(1, rel=0.02)
    assert eigenvalues.std() == pytest.approx(0.5, rel=0.05)


def test_product_feedback_with_the_identity_is_kolen_pollack(problem):
    x, delta = problem
    pfa = ta.feedback.ProductFeedback(expansion=1, fixed_initializer="identity")
    layer, _, stored = linear(pfa)
    dx, dw, grads = backward(layer, x, delta)
    close(dx, delta @ stored["product_plastic"].T)
    close(grads["product_plastic"], dw)


@pytest.mark.parametrize("name", ["conv2d-grouped", "depthwise2d"])
def test_product_feedback_with_groups_is_block_diagonal(name):
    layer = cases.ours(name, ta.feedback.ProductFeedback(expansion=3, orthogonal=True))
    layer(cases.inputs(name))
    fixed = layer.feedback_weights["product_fixed"].numpy()
    groups = 2 if name == "conv2d-grouped" else 3
    blocks = fixed.reshape(groups, -1, fixed.shape[1])
    for block in blocks:
        close(block.T @ block, np.eye(fixed.shape[1]))
    assert not np.allclose(blocks[0], blocks[1])


def numpy_gradient(rule, x, w, b, z):
    """∇B from table 1, mean over the batch; z = x W + bias."""
    amp, decay, own = -x.T @ z / N, b, -w
    null, sparse = (z @ b.T).T @ z / N, x.T @ (x @ b) / N
    return {
        "wm": 2.0 * amp + 0.5 * decay,
        "ia": 2.0 * amp + 0.5 * decay + 0.25 * null,
        "sa": 2.0 * own + 0.5 * decay,
        "aa": 2.0 * amp + 0.5 * sparse,
    }[rule]


@pytest.mark.parametrize("rule", ["wm", "ia", "sa", "aa"])
def test_alignment_rules(rule, problem):
    x, delta = problem
    cls = type(ta.feedback.get(rule))
    more = {"gamma": 0.25} if rule == "ia" else {}
    published = {"normalize": None, "noise": None, "response_bias": True}
    layer, w, stored = linear(cls(alpha=2.0, beta=0.5, **more, **published))
    b, z = stored["feedback_kernel"], x @ w + layer.bias.numpy()
    dx, dw, grads = backward(layer, x, delta)
    close(dx, delta @ b.T)
    close(dw, x.T @ delta)
    close(grads["feedback_kernel"], numpy_gradient(rule, x, w, b, z))


# One method of each kind is checked on every layer: weights that are fixed, that copy an update,
# that learn by a loss of their own, that carry the error in two steps.
ON_ALL = ("fa", "kp", "wm", "pfa")
REST = "conv2d", "separable2d"  # costlier checks are made on these as well
LAYERS_OF = {
    method: [
        n for n in cases.LAYERS if method in ON_ALL or (n in cases.a_third(turn) and n not in REST)
    ]
    for turn, method in enumerate(cases.WITH_WEIGHTS_IN_LAYER)
}


@pytest.mark.parametrize("method", cases.WITH_WEIGHTS_IN_LAYER)
def test_every_method_passes_the_checks(method, two_replicas):
    report = ta.testing.check_rule(method, layers=LAYERS_OF[method], strategy=two_replicas)
    rule = ta.feedback.get(method)
    conditioned = getattr(rule, "normalize", None) == "covariance"  # a least-squares step
    skipped = {"closed_form"} if rule.learns != "alignment" or conditioned else set()
    skipped |= set() if rule.has_kernel else {"effective_kernel"}
    assert {check.name for check in cases.skipped(report)} == skipped


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in cases.WITH_WEIGHTS_IN_LAYER if m not in ON_ALL])
def test_every_method_passes_the_checks_on_all_other_layers(method, two_replicas):
    layers = [name for name in cases.LAYERS if name not in LAYERS_OF[method]]
    assert ta.testing.check_rule(method, layers=layers, strategy=two_replicas).passed


@pytest.mark.parametrize("rule", ["wm", "ia", "aa"])
def test_rules_on_the_layers_input_pass_the_checks(rule, two_replicas):
    # those on noise draw other numbers under XLA and on each replica: these do not
    rule = type(ta.feedback.get(rule))(noise=None)
    checks = ["graph", "xla", "mixed_float16", "mixed_bfloat16", "replicas"]
    layers = ["dense", "conv2d-strided", "separable2d"]
    assert not ta.testing.check_rule(
        rule, checks=checks, layers=layers, strategy=two_replicas
    ).skipped


def test_get_accepts_ids_classes_objects_and_configs():
    get = ta.feedback.get
    assert get(None) is None
    for name in ta.feedback.METHODS:
        method = get(name)
        assert method.id == name
        assert get(method) is method
        assert get(type(method)).__class__ is type(method)
        again = get(keras.saving.serialize_keras_object(method))
        assert again == method and hash(again) == hash(method) and again.id == name
    assert get("sa") != get("aa")
    assert get("pfa") != get("pfa_o")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda f: f.get("x"), ValueError, r"\['backprop', 'fa'.*Received: feedback='x'"),
        (lambda f: f.get(1.5), TypeError, "Received: feedback=1.5"),
        (lambda f: f.BatchRandomSignSymmetry("cauchy"), ValueError, "Received: distribution="),
        (lambda f: f.ProductFeedback(0), ValueError, "`expansion`.*Received: expansion=0"),
        (lambda f: f.ProductFeedback("2"), ValueError, "`expansion`"),
        (lambda f: f.ProductFeedback(0.5, orthogonal=True), ValueError, "at least 1"),
        (lambda f: f.ProductFeedback(orthogonal=1), TypeError, "`orthogonal`"),
        (lambda f: f.ProductFeedback(2, True, "zeros"), ValueError, "exclude each other"),
        (lambda f: f.SymmetricAlignment(alpha="big"), ValueError, "`alpha`.*Received: alpha='big'"),
        (lambda f: f.SymmetricAlignment(alpha=float("nan")), ValueError, "`alpha`.*finite"),
        (lambda f: f.WeightMirror(beta=True), ValueError, "`beta`"),
        (lambda f: f.Alignment({}), ValueError, "at least one primitive"),
        (lambda f: f.Alignment({"amps": 1.0}), ValueError, r"Received unknown names: \['amps'\]"),
        (lambda f: f.Alignment(3), TypeError, "`terms`"),
        (
            lambda f: f.Alignment([(ta.primitives.amp, 1.0), (ta.primitives.amp, 2.0)]),
            ValueError,
            "each primitive once",
        ),
        (lambda f: f.ProductFeedback(float("nan")), ValueError, "finite"),
        (lambda f: f.ProductFeedback(fixed_initializer=7), ValueError, "`fixed_initializer`"),
        (lambda f: f.WeightMirror(noise=float("inf")), ValueError, "noise=inf"),
        (lambda f: f.WeightMirror(feedback_activation="zz"), ValueError, "`feedback_activation`"),
        (lambda f: f.Alignment([(3, 1.0)]), TypeError, "Primitive"),
        (lambda f: f.Alignment({"amp": 1.0}, response="z"), ValueError, "`response`"),
        (lambda f: f.Alignment({"amp": 1.0}, noise="pink"), ValueError, "`noise`"),
        (lambda f: f.Alignment({"amp": 1.0}, noise=0), ValueError, "noise=0"),
        (lambda f: f.Alignment({"amp": 1.0}, noise="1"), ValueError, "noise='1'"),
        (lambda f: f.Alignment({"amp": 1.0}, batch_center=1), TypeError, "`batch_center`"),
        (lambda f: f.Alignment({"amp": 1.0}, normalize="all"), ValueError, "`normalize`"),
        (lambda f: f.Alignment({"amp": 1.0}, normalize="noise"), ValueError, "own input"),
        (lambda f: f.Alignment({"amp": 1.0}, positions="all"), ValueError, "`positions`"),
        (lambda f: f.WeightMirror(positions="mean"), ValueError, "positions='mean'"),
        (lambda f: f.WeightMirror(damping=0.1), ValueError, "damping=0.1"),
        (lambda f: f.ActivationAlignment(noise=0.3, damping=0.1), ValueError, "damping=0.1"),
    ],
)
def test_wrong_arguments_name_themselves(make, error, match):
    with pytest.raises(error, match=match):
        make(ta.feedback)


def test_a_method_of_ones_own_needs_one_method():
    class HalfSign(ta.feedback.Feedback):
        def feedback_kernel(self, c):
            return 0.5 * tf.sign(c.kernel)

    layer = ta.layers.Conv2D(3, 3, feedback=HalfSign())
    x = tf.ones((1, 5, 5, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x))
    stock = keras.layers.Conv2D(3, 3)
    stock(x)
    stock.kernel.assign(0.5 * tf.sign(layer.kernel))
    with tf.GradientTape() as other:
        other.watch(x)
        expected = tf.reduce_sum(stock(x))
    close(tape.gradient(loss, x), other.gradient(expected, x))

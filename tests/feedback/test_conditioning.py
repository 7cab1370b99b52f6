"""`normalize="covariance"` against numpy: the matrix of the map, inverted in float64."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.feedback import conditioning
from tf_alignment.maps.patches import patches_of
from tf_alignment.testing import LAYERS

AA = ta.feedback.ActivationAlignment
WM = ta.feedback.WeightMirror
OWN = {"noise": None, "normalize": "covariance"}
SINGLE = cases.SINGLE
WITH_PATCHES = [n for n in SINGLE if n.startswith(("dense", "conv"))]


def built(name, rule):
    layer = LAYERS[name].layer(rule)
    layer(LAYERS[name].inputs())
    return layer, ta.testing.activity(layer, LAYERS[name].inputs())


def matrix(activity):
    """A with z = A k for flattened z and kernel k, one column per entry of the kernel."""
    shape = tuple(activity.kernel.shape)
    unit = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    columns = [np.ravel(activity.map.apply(activity.x, tf.constant(k))) for k in unit]
    return np.stack(columns, 1).astype("float64")


def step(layer, activity):
    weights = {"feedback_kernel": tf.convert_to_tensor(layer.feedback_weights["feedback_kernel"])}
    return layer.feedback.align(activity, weights)["feedback_kernel"].numpy()


@pytest.mark.parametrize("damping", [1e-3, 0.3])
@pytest.mark.parametrize("name", WITH_PATCHES)
def test_the_step_is_damped_least_squares(name, damping):
    layer, activity = built(name, AA(2.0, 1.5, damping=damping, **OWN))
    a, b = matrix(activity), np.ravel(layer.feedback_weights["feedback_kernel"])
    w = np.ravel(layer.kernel)
    groups = getattr(activity.map, "groups", 1)
    covariance = a.T @ a
    # of each group its own mean
    diagonal = np.reshape(np.diag(covariance), (-1, groups, layer.kernel.shape[-1] // groups))
    shift = damping * diagonal.mean((0, 2), keepdims=True) * np.ones_like(diagonal)
    expected = np.linalg.solve(covariance + np.diag(shift.ravel()), a.T @ (a @ (1.5 * b - 2.0 * w)))
    np.testing.assert_allclose(np.ravel(step(layer, activity)), expected, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("rows", [5, 40])
def test_both_forms_on_a_dense_layer(rows):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 12)).astype("float32") + 1.0
    layer = ta.layers.Dense(3, feedback=AA(1.0, 1.0, **OWN))
    layer.build((None, 12))
    activity = ta.testing.activity(layer, x)
    b, w = layer.feedback_weights["feedback_kernel"].numpy(), layer.kernel.numpy()
    shift = 1e-3 * np.sum(x.astype("float64") ** 2) / 12
    wide = np.linalg.solve(x.T @ x + shift * np.eye(12), x.T @ (x @ (b - w)))
    narrow = x.T @ np.linalg.solve(x @ x.T + shift * np.eye(rows), x @ (b - w))
    np.testing.assert_allclose(wide, narrow, atol=1e-4)
    np.testing.assert_allclose(step(layer, activity), wide, rtol=1e-3, atol=1e-4)
    if rows > 12:  # one step with rate · α = 1 goes all the way
        np.testing.assert_allclose(b - step(layer, activity), w, atol=0.1)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rows", [2, 32])
def test_wide_inputs_of_one_direction(rows, compiled):
    # float32 may have no factor of such a matrix, whose only eigenvalue is its trace
    inputs = 30_000
    sizes = np.random.default_rng(0).standard_normal(rows).astype("float32")
    x = np.outer(sizes, np.ones(inputs, "float32"))
    layer = ta.layers.Dense(2, feedback=AA(1.0, 1.0, **OWN))
    layer.build((None, inputs))
    take = tf.function(lambda: layer.feedback.align(activity, weights), jit_compile=compiled)
    activity = ta.testing.activity(layer, x)
    weights = {"feedback_kernel": tf.convert_to_tensor(layer.feedback_weights["feedback_kernel"])}
    found = take()["feedback_kernel"].numpy()
    wrong = (weights["feedback_kernel"] - layer.kernel).numpy().astype("float64")
    expected = np.broadcast_to(wrong.mean(0), wrong.shape)  # its part along the one direction
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("policy", ["float64", "bfloat16"])
@pytest.mark.parametrize("name", [n for n in SINGLE if "first" not in n])  # float32 only, on a CPU
def test_weights_that_are_not_float32(name, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer, activity = built(name, AA(1.0, 1.0, **OWN))
        found = layer.feedback.align(
            activity, {n: tf.convert_to_tensor(w) for n, w in layer.feedback_weights.items()}
        )["feedback_kernel"]
    finally:
        keras.config.set_dtype_policy(before)
    assert np.all(np.isfinite(tf.cast(found, tf.float32)))
    assert np.any(tf.cast(found, tf.float32))


def test_an_input_has_the_normalisation_of_its_own_unless_it_was_chosen():
    noise = ta.Noise("rademacher")
    assert AA().with_input(noise).normalize == "noise"
    assert AA(noise=noise).with_input(None).normalize == "covariance"
    assert WM(noise=None).with_input(noise).normalize == "noise"
    for rule in (
        AA(normalize="input"),
        ta.feedback.Alignment({"amp": 1.0, "sparse": 1.0}, normalize="input"),
        ta.feedback.SymmetricAlignment(normalize="input"),
    ):
        assert rule.with_input(noise).normalize == "input"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise": "rademacher"},
        {"noise": "gaussian", "normalize": None},
        {"noise": "rademacher", "normalize": "covariance"},
        {"damping": 0.1},
    ],
)
def test_what_is_printed_makes_the_same_rule(options):
    rule = AA(**options)
    again = eval(repr(rule), {"ActivationAlignment": AA})
    assert again.get_config() == rule.get_config()


@pytest.mark.parametrize("name", [n for n in SINGLE if n not in WITH_PATCHES])
def test_layers_without_patches_take_steps_of_conjugate_gradients(name):
    layer, activity = built(name, AA(1.0, 1.0, **OWN))
    assert patches_of(activity.map) is None
    a, b = matrix(activity), np.ravel(layer.feedback_weights["feedback_kernel"])
    covariance = a.T @ a
    covariance += 1e-3 * np.mean(np.diag(covariance)) * np.eye(len(covariance))
    left = direction = a.T @ (a @ (b - np.ravel(layer.kernel)))
    found = np.zeros_like(left)
    for _ in range(4):
        along = covariance @ direction
        far = left @ left / (direction @ along)
        found, rest = found + far * direction, left - far * along
        direction = rest + rest @ rest / (left @ left) * direction
        left = rest
    np.testing.assert_allclose(np.ravel(step(layer, activity)), found, rtol=5e-3, atol=5e-4)


def test_whitened_weight_mirror_on_activity_far_from_white():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((64, 6)).astype("float32") @ np.diag([9, 3, 1, 1, 0.5, 0.3]) + 5.0
    layer = ta.layers.Dense(3, feedback=WM(0.7, 0.5, damping=1e-6, **OWN))
    layer.build((None, 6))
    activity = ta.testing.activity(layer, x.astype("float32"))
    b, w = layer.feedback_weights["feedback_kernel"].numpy(), layer.kernel.numpy()
    np.testing.assert_allclose(step(layer, activity), 0.5 * b - 0.7 * w, atol=2e-2)


def test_only_the_first_rows_are_looked_at(monkeypatch):
    monkeypatch.setattr(conditioning, "ROWS", 8)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((32, 5)).astype("float32")
    layer = ta.layers.Dense(3, feedback=AA(**OWN))
    layer.build((None, 5))
    whole, part = (step(layer, ta.testing.activity(layer, a)) for a in (x, x[:8]))
    np.testing.assert_allclose(whole, part, rtol=1e-5)  # where the rows lie in memory rounds
    x = rng.standard_normal((8, 6, 6, 2)).astype("float32")
    layer = ta.layers.Conv2D(3, 3, padding="same", feedback=AA(**OWN))
    layer.build(x.shape)
    activity = ta.testing.activity(layer, x)
    first = conditioning.first_examples(activity)
    assert first.x.shape[0] == 4  # 36 positions each, of which one in 18
    rows = np.reshape(
        tf.image.extract_patches(first.x, [1, 3, 3, 1], [1] * 4, [1] * 4, "SAME"), (144, 18)
    )
    chosen = [18 * i + int(18 * (i * 0.6180339887 % 1)) for i in range(8)]
    p = rows[chosen].astype("float64")
    residual = p @ np.reshape(
        2 * (layer.feedback_weights["feedback_kernel"] - layer.kernel), (18, 3)
    )
    shift = 1e-3 * np.sum(p**2) / 18
    expected = p.T @ np.linalg.solve(p @ p.T + shift * np.eye(8), residual)
    np.testing.assert_allclose(np.reshape(step(layer, activity), (18, 3)), expected, atol=1e-3)


@pytest.mark.parametrize("batch", [4, None])
def test_rows_are_of_all_columns_of_an_image(batch, monkeypatch):
    monkeypatch.setattr(conditioning, "ROWS", 16)  # one row in 16, twice the width of the image
    x = tf.constant(np.random.default_rng(3).standard_normal((4, 8, 8, 1)), tf.float32)
    layer = ta.layers.Conv2D(2, 3, padding="same", feedback=AA(**OWN))
    layer.build(x.shape)
    b = layer.feedback_weights["feedback_kernel"]

    @tf.function(input_signature=[tf.TensorSpec((batch, 8, 8, 1))])
    def learn(x):
        activity = ta.testing.activity(layer, x)
        found = layer.feedback.align(activity, {"feedback_kernel": tf.convert_to_tensor(b)})
        b.assign_sub(0.5 * found["feedback_kernel"])

    for _ in range(60):
        learn(x)
    np.testing.assert_allclose(b, layer.kernel, atol=0.05)


@pytest.mark.slow  # `aa`, whose default this is, is checked on fewer layers in test_methods.py
@pytest.mark.parametrize("rule", [AA(**OWN), WM(**OWN)], ids=["aa", "wm"])
def test_check_rule(rule, two_replicas):
    report = ta.testing.check_rule(rule, strategy=two_replicas)
    assert {check.name for check in cases.skipped(report)} == {"closed_form"}


def test_it_trains_with_partial_batches_and_is_saved(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((150, 8)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    rule = ta.feedback.Alignment({"amp": 2.0, "sparse": 2.0}, normalize="covariance", damping=1e-2)
    model = ta.convert(ta.models.perceptron((8, 24, 2)), rule)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.1, momentum=0.9)), loss)
    history = model.fit(x, y, epochs=15, batch_size=64, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    for layer in ta.layers.feedback_layers(model):
        kernel = layer.feedback_weights["feedback_kernel"]
        assert float(ta.metrics.weight_angle(layer.kernel, kernel)) < 15.0
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert ta.layers.feedback_layers(loaded)[0].feedback == rule


@pytest.mark.parametrize(
    "make",
    [
        lambda: ta.feedback.InformationAlignment(**OWN),
        lambda: AA(batch_center=True, **OWN),
        lambda: AA(feedback_bias=True, **OWN),
        lambda: AA(damping=0.0, **OWN),
    ],
)
def test_what_it_does_not_condition_is_refused(make):
    with pytest.raises(ValueError, match=r"covariance|damping"):
        make()

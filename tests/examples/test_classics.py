"""The scripts on classics: what they compute, that they run, and that the page has the runs."""

import json
import types

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.classics import akrout, kolen_pollack, lillicrap, nokland

PAGE = scripts.ROOT / "docs" / "results" / "classics.md"


def kept(name):
    file = scripts.ROOT / "docs" / "results" / "classics" / f"{name}.json"
    return json.loads(file.read_text("utf-8"))


def run_of(model, x, y, **settings):
    source = types.SimpleNamespace(test=(x, y))
    return types.SimpleNamespace(model=model, source=source, seed=3, settings=settings)


# ---- the linear network -----------------------------------------------------------------------


def test_angles_of_rows():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(lillicrap.angles(first, second), [90, 45, 180])


def test_error_and_angle_of_the_linear_network():
    (x, y), (x_test, y_test) = lillicrap.data(types.SimpleNamespace(seed=3))
    assert x.shape == (lillicrap.EXAMPLES, 30) and y.shape == (lillicrap.EXAMPLES, 10)
    target = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(x_test @ target, y_test, atol=1e-3)  # one map, without noise
    assert np.abs(target).max() < 1 and target.std() == pytest.approx(3**-0.5, rel=0.1)
    keras.utils.set_random_seed(0)
    model = ta.convert(
        lillicrap.network(), "fa", feedback_initializer=lillicrap.FEEDBACK, inplace=False
    )
    found = lillicrap.measure(run_of(model, x_test, y_test))
    assert found["error"] == pytest.approx(1, abs=0.02) and found["angle"] == pytest.approx(
        90, abs=9
    )
    layer = model.get_layer("output")
    layer.kernel.assign(layer.feedback_weights["feedback_kernel"])
    assert lillicrap.measure(run_of(model, x_test, y_test))["angle"] == pytest.approx(0, abs=0.1)
    assert "angle" not in lillicrap.measure(run_of(lillicrap.network(), x_test, y_test))


def test_shallow_learning_is_that_of_the_upper_layer():
    build = lillicrap.variant("shallow").build
    assert [v.path.split("/")[-2] for v in build().trainable_weights] == ["output"]
    assert len(lillicrap.network().trainable_weights) == 2


def test_small_numbers_have_powers_of_ten():
    assert lillicrap.cell([0.5, 0.7], 1) == "0.6 ± 0.1"
    assert lillicrap.cell([1.0e-4, 3.0e-4], 1) == "(2.0 ± 1.4) · 10⁻⁴"


# ---- cross-entropies, the mirror ----------------------------------------------------------------


def test_cross_entropies_are_sums_over_the_outputs():
    logits = np.random.default_rng(0).normal(size=(5, 10)).astype("float32")
    labels = np.array([0, 3, 9, 3, 1])
    p, t = 1 / (1 + np.exp(-logits)), np.eye(10)[labels]
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1)
    np.testing.assert_allclose(nokland.cross_entropy(labels[:, None], logits), expected, rtol=1e-5)
    found = akrout.cross_entropy(tf.constant(labels), tf.constant(p))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_biases_learn_slowly():
    model = akrout.network(4, 3)
    before = [v.numpy() for v in model.trainable_variables]
    optimizer = akrout.SlowBias(0.2)
    ones = [tf.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(ones, model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        step = 0.2 / 128 if variable.name == "bias" else 0.2
        np.testing.assert_allclose(old - variable.numpy(), step, rtol=1e-4)


def test_the_mirror_of_akrout_adds_noise_times_what_units_answer():
    """Steps of B: 0.01 times the sum over 128 examples of x σ(x W + b), x uniform in ±0.05."""
    keras.utils.set_random_seed(0)
    model = ta.convert(akrout.network(20, 30), "fa", feedback_initializer="zeros")
    run = run_of(model, None, None)
    steps = 4000
    akrout.mirror(run, steps).run(model)
    layer = model.get_layer("output")
    b = layer.feedback_weights["feedback_kernel"].numpy()
    slope_of_sigmoid = 1 / (1 + np.exp(-layer.bias.numpy()))
    slope_of_sigmoid *= 1 - slope_of_sigmoid
    expected = steps * 0.01 * 128 * (0.1**2 / 12) * layer.kernel.numpy() * slope_of_sigmoid
    slope = (b * expected).sum() / (expected**2).sum()
    # Noise of B: the answer is about one half whatever x is. Its size is that of the rule, too.
    noise = np.sqrt(steps * 128) * 0.01 * 0.5 * (0.1 / 12**0.5)
    assert (b - expected).std() == pytest.approx(noise, rel=0.2)
    assert slope == pytest.approx(1, abs=4 * noise / np.linalg.norm(expected))


def test_only_the_mirror_has_a_phase():
    rows = {name: akrout.variant(name) for name in akrout.RATES}
    assert [name for name, row in rows.items() if row.phases] == ["wm"]
    assert rows["wm"].feedback == "fa" and rows["wm"].every == "step"
    assert rows["kp"].feedback == "kp" and rows["backprop"].feedback is None


# ---- the difference of W and B ----------------------------------------------------------------


def test_the_prediction_is_the_product_of_what_each_step_leaves():
    expected, steps = 1.0, 40
    for step in range(steps):
        rate = 0.02 * (1 + np.cos(np.pi * step / steps)) / 2
        expected *= 1 - rate * 0.3
    found = kolen_pollack.predicted("SGD, momentum 0.9", steps)
    assert len(found) == steps and found[-1] == pytest.approx(expected, rel=1e-6)
    assert np.all(kolen_pollack.predicted("SGD, no decay", steps) == 1)


@pytest.mark.parametrize("name", list(kolen_pollack.SETTINGS))
def test_the_difference_shrinks_as_predicted(name):
    keras.utils.set_random_seed(1)
    model = ta.convert(kolen_pollack.network(), "kp", feedback_initializer="glorot_uniform")
    run = types.SimpleNamespace(variant=name, steps=40, model=model, settings={})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kolen_pollack.optimizer(run), loss, steps_per_execution=20)
    kolen_pollack.start(run)
    x, y = kolen_pollack.data(run).train
    model.fit(x[:1280], y[:1280], batch_size=32, verbose=0)
    found = kolen_pollack.measure(run)
    expected = kolen_pollack.predicted(name, 40)[-1]
    assert found["measured"] == pytest.approx(expected, rel=1e-5) and found["turned"] < 0.05
    assert (expected < 0.97) == (name != "SGD, no decay")


# ---- the scripts and the page -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "row"),
    [
        ("akrout", "| `wm` | 1 |"),
        ("kolen_pollack", "| AdamW | 1 |"),
        ("lillicrap", "| `fa` | angle ° | 1 |"),
        ("nokland", "| `dfa` | 1 |"),
    ],
)
def test_quick(script, row, tmp_path):
    options = ("--quick", "--jobs", "1", "--output", tmp_path)
    assert row in scripts.run(f"classics.{script}", *options)
    numbers = (tmp_path / f"{script}.json").read_text()
    assert json.loads(numbers)["versions"] and "NaN" not in numbers
    if script != "kolen_pollack":
        assert (tmp_path / f"{script}.png").stat().st_size > 10_000


def test_the_page_has_the_tables_of_the_kept_runs():
    page = PAGE.read_text("utf-8")
    for module in (lillicrap, nokland, kolen_pollack):
        name = module.__name__.rpartition(".")[2]
        assert module.table(kept(name)["runs"]) in page, name
    for table in akrout.tables(kept("akrout")["runs"]):
        assert table in page


def test_figures_are_drawn_from_the_kept_runs():
    for module in (lillicrap, nokland, akrout):
        name = module.__name__.rpartition(".")[2]
        assert len(module.draw(kept(name)["runs"]).axes) == 2

"""The scripts on product feedback: their parts, and that they run and write what they say."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples import common, decay
from examples.product_feedback import brain, expansion, figures, imagenet, mnist, study


def run(script, *arguments):
    return scripts.run(f"product_feedback.{script}", *arguments)


def converted(method, **options):
    """A small network, converted as a run is."""
    recipe = study.Recipe(3, 16, 0.05, (2,), 0.5, 0.1, 1e-4)
    row = study.variant(method, recipe, **options)
    keras.utils.set_random_seed(0)
    return ta.convert(
        mnist.network(64, 8), row.feedback, row.include, feedback_initializer=None
    ), recipe


def one_kernel(optimizer, steps, regularizer=None):
    """A kernel and a bias after so many steps on a quadratic loss, in the compiled loop of fit."""
    x = tf.constant(np.random.default_rng(0).standard_normal((steps, 3)), tf.float32)
    layer = keras.layers.Dense(
        2, kernel_initializer="ones", bias_initializer="ones", kernel_regularizer=regularizer
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(optimizer, "mse", steps_per_execution=2)
    model.fit(x, tf.zeros((steps, 2)), batch_size=1, shuffle=False, verbose=0)
    return model.get_weights()


def test_coupled_decay_is_an_l2_regularizer_of_half_the_value():
    own = one_kernel(decay.DecaySGD(0.05, 0.2, 0.2, 3, coupled=True), 6)
    stock = one_kernel(keras.optimizers.SGD(0.05, 0.9), 6, keras.regularizers.L2(0.1))
    np.testing.assert_allclose(own[0], stock[0], rtol=1e-5)
    np.testing.assert_allclose(own[1], stock[1], rtol=1e-5)
    assert not np.allclose(own[0], one_kernel(keras.optimizers.SGD(0.05, 0.9), 6)[0])


def test_decoupled_decay_is_that_of_keras():
    own = one_kernel(decay.DecaySGD(0.05, 0.2, 0.2, 3, coupled=False), 6)
    stock = keras.optimizers.SGD(0.05, 0.9, weight_decay=0.2)
    stock.exclude_from_weight_decay(var_names=["bias"])
    for mine, theirs in zip(own, one_kernel(stock, 6), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_decay_changes_inside_the_compiled_step():
    def after(steps, first, later):
        return one_kernel(decay.DecaySGD(0.05, first, later, 4, coupled=True), steps)[0]

    np.testing.assert_array_equal(after(4, 0.3, 0.0), after(4, 0.3, 0.3))
    assert not np.allclose(after(6, 0.3, 0.0), after(6, 0.3, 0.3))
    assert not np.allclose(after(4, 0.3, 0.0), after(4, 0.0, 0.0))


@pytest.mark.parametrize(
    ("method", "decaying"),
    [("pfa", {"kernel", "product_path"}), ("kp", {"kernel", "feedback_kernel"})],
)
def test_forward_and_feedback_weights_decay_and_biases_do_not(method, decaying):
    model, recipe = converted(method)
    optimizer = recipe.optimizer(method, steps=4)
    optimizer.build(model.trainable_variables)
    found = zip(model.trainable_variables, optimizer.decays, strict=True)
    assert {v.name for v, decays in found if decays} == decaying
    assert optimizer.first == 0.1
    assert recipe.optimizer("fa", steps=4).first == 1e-4


def test_milestones_of_the_learning_rate():
    rate = study.Recipe(4, 1, 0.8, (1, 3), 0.5, 0.0, 0.0).optimizer("fa", 10)._learning_rate
    assert [float(rate(step)) for step in (0, 9, 10, 29, 30)] == pytest.approx(
        [0.8, 0.8, 0.4, 0.4, 0.2]
    )
    squeezed = study.with_epochs(mnist.SCHEDULES["published"], 4)
    assert (squeezed.epochs, squeezed.milestones) == (4, (2, 3))


def test_the_lowest_layer_has_feedback_where_it_is_asked_for():
    assert not hasattr(converted("pfa")[0].layers[0], "feedback")
    assert converted("pfa", input_layer=True)[0].layers[0].feedback.id == "pfa"
    stock = study.variant("backprop", converted("fa")[1], input_layer=True)
    assert stock.include is None and stock.settings["input_layer"]


def test_the_optimizer_of_a_run_has_its_method_and_rate():
    recipe = dataclasses.asdict(converted("fa")[1])

    def of(method, rate):
        settings = {"recipe": recipe, "method": method, "rate": rate}
        return study.optimizer(types.SimpleNamespace(settings=settings, steps_per_epoch=4))

    assert of("pfa", 0.05).first == 0.1 and of("fa", 0.05).first == 1e-4
    assert float(of("fa", 0.02).learning_rate) == pytest.approx(0.02)


def test_runs_become_what_the_pages_have():
    name = "product_feedback/mnist-forgotten.json"
    page = json.loads((scripts.ROOT / "docs/results" / name).read_text())["runs"][0]
    recipe = mnist.SCHEDULES["forgotten"]
    history = {
        "val_accuracy": [0.5],
        "accuracy": [0.4],
        "loss": [1.0],
        "layer1/gradient_angle": [3.0],
        "mean/gradient_angle": [2.0],
        "hidden/gradient_angle": [2.0],
    }
    run = {"variant": "backprop", "seed": 0, "seconds": 1.0, "curves": history}
    row = study.variant("backprop", recipe, input_layer=True)
    made = study.to_page(
        {**run, "finish": {"settled_angle": {}}}, "mnist-forgotten", recipe, row.settings, 669706
    )
    assert made.keys() == page.keys()
    for same in ("study", "method", "seed", "expansion", "input_layer", "weights"):
        assert made[same] == page[same]
    assert json.loads(json.dumps(made["recipe"])) == page["recipe"]
    assert list(made["curves"]) == ["accuracy", "train_accuracy", "loss", "layer1/gradient_angle"]
    assert figures.draw([page], 10.0).axes[0].get_ylabel() == "test accuracy"
    assert "| `backprop` |" in figures.table([page])


def test_layers_have_the_names_that_files_have():
    model = mnist.network(64, 8)
    assert [layer.name for layer in model.layers] == ["layer1", "layer2", "layer3"]
    assert [layer.units for layer in model.layers] == [8, 8, 10]
    for names in (("a", "b"), ("a", "b", "b"), ("a", "b", ""), "abcd"):
        with pytest.raises(ValueError, match="`names` must be 3 different names"):
            ta.models.perceptron((64, 8, 8, 10), names=names)


def test_settled_angle_is_that_of_the_drawn_kernel():
    def settled(model):
        return study.settled_angles(types.SimpleNamespace(model=model))["settled_angle"]

    model, _ = converted("pfa")
    layer = model.layers[1]
    forward = layer.kernel.numpy()
    path = forward @ layer.feedback_weights["product_gram"].numpy()
    cosine = (forward * path).sum() / np.linalg.norm(forward) / np.linalg.norm(path)
    found = settled(model)
    assert list(found) == ["layer2", "layer3"]
    assert found["layer2"] == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-3)
    orthogonal = settled(converted("pfa_o")[0])
    assert orthogonal["layer2"] == pytest.approx(0, abs=0.1)


def test_random_kernels_are_drawn_as_the_layers_draw_them():
    fixed = expansion.fixed_kernel(np.random.default_rng(0), 10.0, 100)
    layer = ta.layers.Dense(100, feedback="pfa")
    layer.build((None, 4))
    own = layer.feedback_weights["product_fixed"].numpy()
    assert fixed.shape == own.shape
    assert fixed.var() == pytest.approx(own.var(), rel=0.02)
    assert np.abs(fixed).max() == pytest.approx(np.abs(own).max(), rel=0.01)


@pytest.mark.parametrize(("kp", "fixed", "same_as"), [(1, 0, "kp"), (0, 1, "fa"), (0, 0, "pfa")])
def test_a_mixture_of_one_kind_is_that_method(kp, fixed, same_as):
    x = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)

    def gradients(feedback):
        layer = ta.layers.Dense(
            4, feedback=feedback, kernel_initializer=keras.initializers.GlorotUniform(seed=1)
        )
        layer.build((None, 5))
        z = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = tf.reduce_sum(layer(z) ** 2)
        named = layer.feedback_weights
        names = [name for name in ("feedback_kernel", "product_plastic") if name in named]
        names = [name for name in names if named[name].trainable]
        found = tape.gradient(loss, [z, *(named[name].value for name in names)])
        return found[0].numpy(), dict(zip(names, found[1:], strict=True))

    dx, own = gradients(brain.MixedFeedback(kp, fixed))
    expected_dx, expected = gradients(same_as)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-4)
    for name, gradient in expected.items():
        np.testing.assert_allclose(own[name], gradient, rtol=1e-4)


def test_mixed_synapses_have_their_fractions():
    layer = ta.layers.Dense(100, feedback=brain.MixedFeedback(0.2, 0.3))
    layer.build((None, 100))
    kinds = layer.feedback_weights["kinds"].numpy()
    assert [(kinds == kind).mean() for kind in range(3)] == pytest.approx([0.2, 0.3, 0.5], abs=0.02)
    direct = brain.direct_synapses(layer.feedback_weights).numpy()
    assert (direct[kinds == 2] == 0).all()
    found = brain.correlations(layer.kernel.numpy().ravel(), direct.ravel())
    assert found["fraction"] == pytest.approx(0.5, abs=0.02)
    assert abs(found["all"]) < 0.05
    with pytest.raises(ValueError, match="must be fractions"):
        brain.MixedFeedback(0.7, 0.4)


def test_the_model_of_the_cortex_gives_the_papers_numbers():
    found = brain.simulate(200_000)
    assert found["correlation"] == pytest.approx(0.2, abs=0.01)
    assert found["angle"] == pytest.approx(78, abs=1)
    assert found["correlation"] == pytest.approx(found["correlation_by_formula"], abs=0.01)


def test_small_images_have_what_a_study_needs():
    images = common.Crops(imagenet.small_images())
    assert images.probe(10)[0].shape == (10, 32, 32, 3)
    x, y = next(iter(images.batches(0, 64).dataset))
    assert x.shape == (64, 32, 32, 3) and y.shape == (64,)


@pytest.mark.slow
def test_mnist(tmp_path):
    printed = run("mnist", "--quick", "--methods", "backprop", "pfa", "pfa_o", "--output", tmp_path)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "digits.json").read_text())
    last = {r["method"]: {n: v[-1] for n, v in r["curves"].items()} for r in report["runs"]}
    assert list(last) == ["backprop", "pfa", "pfa_o"]
    assert all(curves["accuracy"] > 0.85 for curves in last.values())
    assert last["pfa"]["layer2/angle"] == pytest.approx(report["formula"]["angle"], abs=2)
    assert last["pfa_o"]["layer2/angle"] < 3
    assert last["pfa"]["layer2/norm_ratio"] == pytest.approx(
        report["formula"]["norm_ratio"], abs=0.1
    )
    assert "| `pfa_o` |" in printed


@pytest.mark.slow
def test_expansion(tmp_path):
    run("expansion", "--quick", "--output", tmp_path)
    assert (tmp_path / "expansion-quick.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "expansion-quick.json").read_text())
    assert len(report["simulated"]) == 11
    for one in report["simulated"]:
        formula = float(ta.analysis.product_path_angle(one["expansion"]))
        assert np.mean(one["angle"]) == pytest.approx(formula, abs=0.5)
    for trained in report["runs"]:
        formula = float(ta.analysis.product_path_angle(trained["expansion"]))
        # layers of ten units scatter by 1.5 degrees around the formula, which is for large ones
        assert trained["curves"]["layer2/angle"][-1] == pytest.approx(formula, abs=3)
        for layer, settled in trained["settled_angle"].items():
            assert trained["curves"][f"{layer}/angle"][-1] == pytest.approx(settled, abs=1)


@pytest.mark.slow
def test_brain(tmp_path):
    run("brain", "--quick", "--output", tmp_path)
    assert (tmp_path / "brain-quick.png").read_bytes().startswith(b"\x89PNG")
    product, mixed = json.loads((tmp_path / "brain-quick.json").read_text())["runs"]
    assert product["correlation"]["layer2"]["all"] == 0
    assert 0.05 < mixed["correlation"]["layer2"]["all"] < 0.4
    assert mixed["correlation"]["layer2"]["fraction"] == pytest.approx(0.31, abs=0.01)
    assert min(one["curves"]["accuracy"][-1] for one in (product, mixed)) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("script", "figure"), [("cifar10", "cifar10"), ("imagenet", "imagenet")])
def test_residual_networks_train(script, figure, tmp_path):
    run(script, "--quick", "--output", tmp_path)
    assert (tmp_path / f"{figure}-quick.png").read_bytes().startswith(b"\x89PNG")
    [trained] = json.loads((tmp_path / f"{figure}-quick.json").read_text())["runs"]
    assert np.isfinite(trained["curves"]["loss"]).all()
    assert trained["curves"]["conv3_block1_1_conv/angle"][-1] < 95
    assert trained["curves"]["predictions/norm_ratio"][-1] > 0.3


@pytest.mark.slow
def test_imagenet_on_a_strategy_by_name(tmp_path):
    run("imagenet", "--quick", "--strategy", "mirrored", "--output", tmp_path)
    [trained] = json.loads((tmp_path / "imagenet-quick.json").read_text())["runs"]
    assert np.isfinite(trained["curves"]["loss"]).all()


@pytest.mark.parametrize("script", ["mnist", "cifar10", "imagenet"])
def test_data_that_is_not_there(script, tmp_path, monkeypatch, capsys):
    arguments = (f"product_feedback.{script}", "--data-dir", "/nowhere", "--output", tmp_path)
    line = scripts.refused(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert "must hold the TensorFlow dataset" in line

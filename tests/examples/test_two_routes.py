"""The scripts on "Two Routes": the recipe, runs that are kept, sweeps that go on."""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.two_routes import (
    alternation,
    depth_sweep,
    noise_robustness,
    residual,
    search,
    sweep,
    where_rules_train,
)

SMALL = residual.Settings(
    "sa", depth=8, width=2, dataset="digits", epochs=1, batch_size=128, feedback_rate=0.4
)


def test_the_rate_warms_up_and_falls():
    rate = residual.WarmUpAndSteps(0.4, steps=900)
    found = [float(rate(step)) for step in (0, 24, 49, 50, 299, 300, 600, 800, 899)]
    expected = [0.008, 0.2, 0.4, 0.4, 0.4, 0.04, 0.004, 0.0004, 0.0004]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    cold = residual.WarmUpAndSteps(0.4, steps=900, warm_up=False)
    np.testing.assert_allclose([float(cold(step)) for step in (0, 299, 600)], [0.4, 0.4, 0.004])


def run_of(settings, steps=11):
    """What functions of a study get for these settings, with the compiled network."""
    case = residual.case("a", settings, None)
    variant = residual.variant(settings.method, settings.rule)
    run = types.SimpleNamespace(
        settings={**case.settings, **variant.settings},
        seed=settings.seed,
        epochs=settings.epochs,
        steps=steps,
        data_dir=None,
    )
    assert residual.of_run(run) == settings
    keras.utils.set_random_seed(settings.seed)
    run.model = case.build()
    if variant.feedback is not None:
        run.model = ta.convert(run.model, variant.feedback, feedback_initializer=None)
    run.model.compile(residual.optimizer_of(run), "mse", jit_compile=False)
    return run


def test_kernels_decay_and_feedback_that_learns_by_alignment_has_a_rate_of_its_own():
    x, _ = residual.probe(SMALL, None)
    assert x.shape == (128, 8, 8, 1)
    run = run_of(SMALL)
    model = run.model
    assert residual.data(run).train.x.shape == (1437, 8, 8, 1)
    feedback, forward = sorted(model.optimizer.optimizers, key=lambda o: o.momentum)
    assert float(feedback.learning_rate) == pytest.approx(0.4) and forward.nesterov
    assert forward.weight_decay == pytest.approx(1e-3)  # as L2 of 1e-4 acts at momentum .9
    forward.build(model.trainable_variables)
    own = [v for v in model.trainable_variables if not v.path.endswith("_aligned")]
    assert {v.name for v in own if forward._use_weight_decay(v)} == {"kernel"}
    assert residual.variant("backprop").feedback is None  # the stock network
    held = residual.arrays(dataclasses.replace(SMALL, held_out=37), None)
    assert (len(held.train.x), len(held.test.x)) == (1400, 37)


def test_feedback_that_forgets_by_decay_has_forgotten_after_an_epoch():
    def after(epochs, **changes):
        settings = dataclasses.replace(SMALL, epochs=2, **changes)
        both = residual.optimizer(settings, steps=2 * 50).optimizers
        forward = max(both, key=lambda o: o.momentum)
        kernel = keras.Variable([1.0], name="kernel")
        forward.build([kernel])
        for _ in range(50 * epochs):
            forward.apply([tf.zeros(1)])
        return float(kernel[0])

    # fifty steps of .06 each: (1 - .06)^50 is a tenth less than exp(-3)
    assert after(1, method="kp") == pytest.approx(np.exp(-3), rel=0.15)
    assert after(2, method="kp", decay=0.0) == after(1, method="kp", decay=0.0)
    assert after(1, method="backprop", forgetting=1.0) == pytest.approx(np.exp(-1), rel=0.1)
    assert after(1, method="backprop") == pytest.approx(1, rel=0.1)


def test_task_and_alignment_take_turns():
    settings = dataclasses.replace(
        SMALL, method="wm", alternation=2, feedback_optimizer="adam", feedback_rate=0.01, decay=0.0
    )
    forward, feedback = residual.optimizer(settings, steps=900).optimizers
    if type(forward) is not alternation.AlternatingSGD:
        forward, feedback = feedback, forward
    assert isinstance(feedback, alternation.AlternatingAdam) and feedback.aligns
    moved = {}
    for name, optimizer in {"forward": forward, "feedback": feedback}.items():
        optimizer.momentum = 0.0  # or momentum moves a weight in the steps of the other
        optimizer = type(optimizer).from_config(optimizer.get_config() | {"learning_rate": 1.0})
        weight = keras.Variable([0.0], name="kernel")
        optimizer.build([weight])
        values = [float(weight[0])]
        for _ in range(5):
            optimizer.apply([tf.ones(1)])
            values.append(float(weight[0]))
        moved[name] = np.diff(values)
    # steps 0 and 3 are for alignment; Adam's moments go on moving what they have seen
    np.testing.assert_allclose(moved["forward"], [0, -1, -1, 0, -1])
    assert moved["feedback"][0] == pytest.approx(-1, rel=1e-3)
    assert 0 > moved["feedback"][1] > moved["feedback"][0]


def test_a_gradient_of_the_other_steps_is_nothing_even_if_it_is_infinite():
    optimizer = alternation.in_turns("sgd", 1, aligns=False)(1.0)
    weight = keras.Variable([0.0], name="kernel")
    optimizer.build([weight])
    optimizer.apply([tf.constant([np.inf])])  # a step of alignment
    assert float(weight[0]) == 0.0


@pytest.mark.parametrize(
    ("name", "between", "said"),
    [("rmsprop", 1, "name='rmsprop'"), ("sgd", -1, "between=-1"), ("adam", 1.0, "between=1.0")],
)
def test_turns_that_cannot_be_taken_are_refused(name, between, said):
    with pytest.raises(ValueError, match=f"Received: {said}"):
        alternation.in_turns(name, between, aligns=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "kp", "alternation": 2}, r"forgetting=None, method='kp'$"),
        ({"method": "pfa", "alternation": 1, "forgetting": 1.0}, "alternation=1, forgetting=1.0"),
        ({"method": "sa", "alternation": 1, "forgetting": 3.0}, "alternation=1, forgetting=3.0"),
        ({"method": "fa", "noise": 0.1}, r"one of these. Received: noise=0.1, method='fa'$"),
        ({"dataset": "imagenet2012", "size": 16}, "Received: size=16, held_out=0$"),
        ({"dataset": "imagenet2012", "held_out": 9}, "Received: size=None, held_out=9$"),
    ],
)
def test_a_setting_without_an_effect_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        residual.Settings(**changes)


def test_settings_beside_which_others_have_an_effect_are_not_refused():
    settings = residual.Settings("kp", alternation=2, forgetting=0.0)
    kinds = {type(o) for o in residual.optimizer(settings, steps=90).optimizers}
    assert kinds == {alternation.AlternatingSGD}
    assert residual.Settings("wm-published", alternation=2, noise=0.1).aligns
    assert residual.Settings("wm-tuned", alternation=2, noise=0.1).aligns  # of a file
    assert not residual.Settings("backprop", noise=0.1).aligns


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--method", "kp", "--alternation", "2"], "forgetting=None, method='kp'"),
        (
            ["train", "--method", "fa", "--feedback-rate", "0.3"],
            "feedback_rate=0.3, methods=['fa']",
        ),
        (
            ["depth_sweep", "--methods", "fa", "usf", "--feedback-optimizer", "adam"],
            "feedback_optimizer='adam', methods=['fa', 'usf']",
        ),
        (["depth_sweep", "--methods", "sa", "kp", "--alternation", "1"], "method='kp'"),
        (["noise_robustness", "--methods", "sa", "pfa"], "noise=0.01, method='pfa'"),
        (["stability", "--model", "net.keras", "--alpha", "0.1", "--epochs", "2"], "--epochs"),
        (["neural_predictivity", "--models", "net.keras"], "--models"),
    ],
)
def test_arguments_without_an_effect_end_a_script_before_it_trains(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ta.studies.Study, "run", lambda *_, **__: pytest.fail("it trains"))
    script, *flags = arguments
    flags += ["--quick", "--output", tmp_path]
    line = scripts.refused(f"two_routes.{script}", *flags, monkeypatch=monkeypatch, capsys=capsys)
    assert line.endswith(said)
    assert "Received: " in line


def test_what_is_chosen_is_not_exchanged_for_what_is_quick(monkeypatch):
    flags = ["--quick", "--rules", "SA", "WM, on noise, Adam", "--forward", "0.1"]
    monkeypatch.setattr(sys, "argv", ["where_rules_train", *flags])
    given = where_rules_train.parse()
    assert list(given.rules) == flags[2:4]
    assert (given.forward, given.feedback) == ([0.1], (0.03, 0.3))
    parser = sweep.arguments("A sweep.", ["backprop", "sa", "kp"])
    assert list(sweep.chosen(parser.parse_args(["--quick", "--methods", "kp"]))) == ["kp"]
    assert list(sweep.chosen(parser.parse_args(["--quick"]))) == ["backprop", "sa"]
    assert list(sweep.chosen(parser.parse_args([]))) == ["backprop", "sa", "kp"]


def test_published_ingredients_of_a_map_follow_from_the_name_of_the_rule(monkeypatch, tmp_path):
    made = []

    def study(*arguments, epochs, **_):
        made.extend(arguments[4])
        assert epochs == 10
        raise KeyboardInterrupt

    monkeypatch.setattr(where_rules_train.common, "study", study)
    names = ["SA", "AA, on activity, Adam", "IA, on Gaussian noise, Adam, alternating"]
    flags = ["--rules", *names, "--forward", "0.01", "--feedback", "0.1"]
    monkeypatch.setattr(sys, "argv", ["where_rules_train", *flags, "--output", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        where_rules_train.measure(where_rules_train.parse())
    # W has as many steps of the task with alternation as without, hence twice the epochs
    assert [variant.epochs for variant in made] == [10, 10, 10, 20]
    kinds = {}
    for variant in made[1:]:
        run = types.SimpleNamespace(
            variant=variant.name, settings={"forward": 0.01, "feedback": 0.1}
        )
        kinds[variant.name] = [type(o) for o in where_rules_train.optimizer(run).optimizers]
    keras_sgd, adam = keras.optimizers.SGD, keras.optimizers.Adam
    turns = [alternation.AlternatingSGD, alternation.AlternatingAdam]
    assert list(map(set, kinds.values())) == [{keras_sgd}, {keras_sgd, adam}, set(turns)]


@pytest.mark.parametrize(("script", "name"), [(depth_sweep, "depth"), (noise_robustness, "noise")])
def test_a_caption_says_if_methods_have_different_numbers_of_seeds(script, name):
    curves = {"val_accuracy": [0.5, 0.6], "mean/gradient_angle": [1.0, 2.0]}
    runs = [
        {"settings": {"method": method, "seed": seed, name: value}, "curves": curves}
        for method, seeds in (("sa", 3), ("fa", 1))
        for seed in range(seeds)
        for value in (8, 20)
    ]
    said = "mean of 1 to 3 seeds, ± 1 standard deviation"
    assert script.draw(runs).get_supxlabel() == said


def test_images_become_means_over_squares_of_pixels():
    images = np.random.default_rng(0).random((3, 8, 8, 2))
    small = residual.averaged(images, 4)
    assert small.shape == (3, 4, 4, 2)
    np.testing.assert_allclose(small[1, 2, 3], images[1, 4:6, 6:8].mean((0, 1)))
    np.testing.assert_array_equal(residual.averaged(images, None), images)
    with pytest.raises(ValueError, match="must divide the images' side, 8"):
        residual.averaged(images, 3)


def test_noise_is_on_feedback_updates_and_on_gradients_of_backpropagation():
    noisy = dataclasses.replace(SMALL, noise=1e-4)
    feedback = residual.optimizer(noisy, 10).optimizers
    control = residual.optimizer(dataclasses.replace(noisy, method="backprop"), 10).optimizers
    found = [[getattr(o, "on", None) for o in pair] for pair in (feedback, control)]
    assert sorted(map(str, found[0])) == ["None", "updates"]
    assert sorted(map(str, found[1])) == ["None", "gradients"]


def test_a_rule_of_its_own_replaces_that_of_the_method():
    rule = keras.saving.serialize_keras_object(ta.feedback.WeightMirror(0.3, 0.2))
    settings = dataclasses.replace(SMALL, method="tuned", rule=json.loads(json.dumps(rule)))
    model = run_of(settings).model
    rules = {repr(layer.feedback) for layer in model.layers if getattr(layer, "feedback", None)}
    assert rules == {repr(ta.feedback.WeightMirror(0.3, 0.2))}


def test_runs_become_what_the_pages_have():
    file = scripts.ROOT / "docs/results/two_routes/depth-cifar10-v1.json"
    page = json.loads(file.read_text())["runs"][0]
    settings = {k: v for k, v in page["settings"].items() if k != "seed"}
    run = {"seed": page["settings"]["seed"], "status": "done", **page}
    found = residual.to_page(run, settings)
    # settings that were added later have their defaults in pages that are older
    assert {**found, "settings": {**found["settings"], **page["settings"]}} == page | {
        "settings": {**residual.Settings().kept, **page["settings"]}
    }
    assert found["settings"].items() >= page["settings"].items()


@pytest.mark.slow
def test_a_run_is_kept_and_not_done_again(tmp_path, capsys):
    arguments = ["--quick", "--width", "2", "--epochs", "1", "--batch-size", "128", "--depth", "8"]
    arguments += ["--output", str(tmp_path)]
    assert "digits-v1-8-sa-0: test accuracy" in scripts.run("two_routes.train", *arguments)
    saved = keras.saving.load_model(tmp_path / "models" / f"{SMALL.name}.keras", safe_mode=True)
    [run] = [json.loads(file.read_text()) for file in (tmp_path / "runs").iterdir()]
    assert saved.count_params() == run["parameters"]
    assert 0 < run["curves"]["mean/weight_angle"][0] < 90
    assert "1 of 1 runs were made before" in scripts.run("two_routes.train", *arguments)


def test_the_table_has_means_deviations_and_what_diverged():
    def made(method, depth, seed, accuracy, diverged=False):
        settings = {"method": method, "depth": depth, "seed": seed}
        return {"settings": settings, "diverged": diverged, "curves": {"val_accuracy": [accuracy]}}

    runs = [made("sa", 8, 0, 0.5), made("sa", 8, 1, 0.7), made("wm", 14, 0, 0.1, diverged=True)]
    lines = sweep.table(runs, "depth").splitlines()
    assert lines[0] == "| method | 8 | 14 |"
    assert lines[2:] == ["| `sa` | 60.0 ± 14.1 | - |", "| `wm` | - | 10.0 (1 of 1 diverged) |"]


@pytest.fixture
def studied(tmp_path, monkeypatch):
    """Searches whose accuracy is known: the closer α is to .01, the better."""
    tried = []

    def score(given, name, rule, number):
        tried.append(rule)
        accuracy = 1.0 / (1.0 + np.log10(rule.coefficients["alpha"] / 0.01) ** 2)
        return 0.0 if rule.coefficients["beta"] > 0.1 else float(accuracy)

    def search_for(trials, rule="wm-published", operations=False):
        line = ["search.py", "--quick", "--output", str(tmp_path), "--trials", str(trials)]
        line += ["--rule", rule, *(["--operations"] if operations else [])]
        monkeypatch.setattr(sys, "argv", line)
        tried.clear()
        search.main()
        return list(tried)

    monkeypatch.setattr(search, "score", score)
    return search_for


def test_a_search_goes_on_and_finds_what_is_best(studied, tmp_path):
    assert len(studied(4)) == 4 and len(studied(30)) == 26 and studied(30) == []
    found = json.loads((tmp_path / "wm-published-tuned.json").read_text())
    accuracies = [t["accuracy"] for t in found["trials"]]
    assert found["accuracy"] == max(accuracies) and 0.0 in accuracies
    assert np.mean(accuracies[-10:]) > np.mean(accuracies[:10])
    arguments = argparse.Namespace(
        methods=["sa"], quick=True, rules=[tmp_path / "wm-published-tuned.json"]
    )
    rules = sweep.chosen(arguments)
    assert list(rules) == ["sa", "wm-published-tuned"] and rules["sa"] is None
    best = keras.saving.deserialize_keras_object(rules["wm-published-tuned"])
    assert best.noise.kind == "gaussian" and best.normalize is None
    assert abs(np.log10(best.coefficients["alpha"]) + 2) < 0.3
    with pytest.raises(ValueError, match="other settings"):
        studied(31, operations=True)


@pytest.mark.parametrize(
    ("flags", "held_out"),
    [
        ([], 5000),
        (["--quick"], 300),
        (["--held-out", "99"], 99),
        (["--dataset", "imagenet2012"], None),  # whose test split is held out
    ],
)
def test_a_search_does_not_see_the_test_split(monkeypatch, flags, held_out):
    monkeypatch.setattr(sys, "argv", ["search.py", *flags])
    given = search.parse()
    assert given.held_out == held_out
    assert residual.settings_of(given).held_out == (held_out or 0)


def test_a_search_over_operations(studied):
    tried = studied(12, rule="ia-published", operations=True)
    assert {rule.noise and rule.noise.kind for rule in tried} == set(search.OPERATIONS["noise"])
    assert {getattr(rule.feedback_activation, "__name__", None) for rule in tried} == {None, "relu"}
    assert len({rule.coefficients["gamma"] for rule in tried}) == 12


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_does_what_is_missing(tmp_path):
    def sweep():
        return scripts.run("two_routes.depth_sweep", "--quick", "--output", tmp_path)

    assert "[4/4]" in sweep()
    assert (tmp_path / "depth-digits-v1.png").stat().st_size > 10_000
    next((tmp_path / "runs").glob("depth_14-sa-0-*")).unlink()
    again = sweep()
    assert "3 of 4 runs were made before" in again and "| `sa` |" in again
    arguments = ("--quick", "--output", tmp_path, "--seed", "3", "--tensorboard")
    assert "digits-v1-8-sa-3: test accuracy" in scripts.run("two_routes.train", *arguments)
    assert list((tmp_path / "tensorboard").rglob("events.out.*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_search_of_two_processes_goes_on(tmp_path):
    command = scripts.command("two_routes.search", "--quick", "--output", tmp_path)
    command += ["--trials", "4", "--jobs", "2"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert first.stdout.readline().startswith("trial")
    os.killpg(first.pid, signal.SIGKILL)
    first.stdout.close()
    first.wait()
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads((tmp_path / "wm-published-tuned.json").read_text())["trials"]
    assert len(found) >= 4 and again.count("trial ") < len(found)


@pytest.mark.slow
def test_a_map_of_rates_goes_on(tmp_path):
    def printed():
        return scripts.run("two_routes.where_rules_train", "--quick", "--output", tmp_path)

    assert "of 4" in printed()
    file = tmp_path / "convolutional.json"
    found = json.loads(file.read_text())
    assert len(found["runs"]) == 2 + 4 and found["versions"]
    assert all(5 < accuracy <= 100 for accuracy in found["runs"].values())
    lost = "SA | W 0.01 | B 0.3 | seed 0"
    kept = {name: value for name, value in found["runs"].items() if name != lost}
    file.write_text(json.dumps({**found, "runs": kept}))
    assert "2 of 2 runs were made before" in printed()  # both rates of W at this rate of B
    assert json.loads(file.read_text())["runs"].keys() == found["runs"].keys()
    assert (tmp_path / "convolutional.png").stat().st_size > 10_000


@pytest.mark.slow
def test_noise_levels_are_swept(tmp_path):
    printed = scripts.run("two_routes.noise_robustness", "--quick", "--output", tmp_path)
    assert "| method | 0 | 0.01 |" in printed
    assert (tmp_path / "noise-digits-v1.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "normalize"), [("aa", "input"), ("wm", "variance")])
def test_a_search_may_take_the_noise_away(name, normalize):
    base = ta.feedback.get(residual.METHODS[name])
    assert search.rule(base, {"noise": None}).normalize == normalize
    assert search.rule(base, {"feature_center": True, "noise": None}).feature_center


@pytest.mark.parametrize(("classes", "measured"), [(10, False), (20, True)])
def test_top_five_where_there_are_classes_enough(classes, measured, tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    splits = (ta.data.Split(x, np.zeros(2, "int32")),) * 2
    monkeypatch.setattr(ta.data, "load", lambda *_: ta.data.Arrays("animals", *splits, classes))
    asked = []

    def study(*arguments, **options):
        asked.extend(options["compile"]["metrics"])
        raise InterruptedError

    monkeypatch.setattr(residual.common, "study", study)
    given = sweep.arguments("Text", ["backprop"]).parse_args(["--dataset", "animals"])
    with pytest.raises(InterruptedError):
        sweep.runs(given, "depth", [18])
    assert asked[0] == "accuracy" and len(asked) == 1 + measured
    assert [(metric.name, metric.k) for metric in asked[1:]] == [("top_5", 5)] * measured

"""A study: runs that are made once, equal starts, failures as rows, tuning."""

import functools
import json

import keras
import numpy as np
import pytest

import tf_alignment as ta
from tf_alignment.studies.encoding import digest, load_reference
from tf_alignment.studies.plan import Plan
from tf_alignment.studies.store import Store

Glorot = keras.initializers.GlorotUniform
FAST = {"run_eagerly": True}  # compilation takes longer than all the training
SMALL = {"epochs": 2, "batch_size": 16, "seeds": 2, "probe": 0, "cost": False}
SMALL["compile"] = FAST


def plain(run, learning_rate=0.1):
    """An optimizer that knows how long training is."""
    return keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(learning_rate, run.steps), momentum=0.5
    )


def kernel_norm(run):
    return {"norm": np.linalg.norm(np.asarray(run.model.layers[0].kernel))}


def seeded_network():
    """A network whose initializers have seeds; dropout has none."""
    dense = [keras.layers.Dense(n, kernel_initializer=Glorot(seed=n)) for n in (8, 3)]
    return keras.Sequential([keras.Input((6,)), dense[0], keras.layers.Dropout(0.1), dense[1]])


def first_entry(run):
    return {"entry": float(np.ravel(run.model.layers[0].kernel)[0])}


def explode(run):
    raise ArithmeticError("this method cannot be prepared")


class OwnLoss(keras.losses.Loss):
    """A loss without a name."""

    def call(self, y, z):
        return keras.ops.mean(keras.ops.square(z), -1)


class Remembers(keras.callbacks.Callback):
    """Adds a number to the logs."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def on_epoch_end(self, epoch, logs=None):
        logs["remembered"] = self.number


def test_every_variant_of_every_seed_is_made_and_a_second_call_makes_none(
    tmp_path, data, network, pretend, capsys
):
    here = pretend()
    study = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL)
    results = study.run(tmp_path, here)
    assert len(here.made) == 4
    assert [(r["variant"], r["seed"]) for r in results.runs] == [
        ("backprop", 0),
        ("fa", 0),
        ("backprop", 1),
        ("fa", 1),
    ]
    assert "[4/4] fa, seed 1: val_accuracy" in capsys.readouterr().out
    again = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL).run(tmp_path, here)
    assert len(here.made) == 4
    assert again.table() == results.table()
    grown = ta.studies.Study(network, data, ["backprop", "fa", "sa"], **{**SMALL, "seeds": 3})
    grown.run(tmp_path, here)
    assert len(here.made) == 4 + 5


def test_variants_of_a_seed_start_from_the_same_forward_weights_and_see_the_same_batches(
    tmp_path, data, network, here
):
    # no step moves anything: what is there at the end is what was there at the start
    study = ta.studies.Study(
        network,
        data,
        ["backprop", "fa", ta.studies.Variant("no conversion", None)],
        finish=[first_entry],
        **{**SMALL, "compile": {**FAST, "optimizer": keras.optimizers.SGD(0.0)}},
    )
    results = study.run(tmp_path, here)
    entries = {(r["variant"], r["seed"]): r["finish"]["entry"] for r in results.runs}
    for seed in (0, 1):
        assert len({value for (_, s), value in entries.items() if s == seed}) == 1
    assert entries["fa", 0] != entries["fa", 1]
    losses = {(r["variant"], r["seed"]): r["curves"]["loss"] for r in results.runs}
    assert losses["backprop", 0] == pytest.approx(losses["fa", 0])
    assert results.values("fa") == results.values("no conversion")


def test_backprop_through_the_study_is_backprop_by_hand(tmp_path, data, network, here):
    sgd = {**FAST, "optimizer": keras.optimizers.SGD(0.1)}
    options = {**SMALL, "seeds": [1], "probe": 16, "compile": sgd}
    [run] = ta.studies.Study(network, data, ["backprop"], **options).run(tmp_path, here).runs
    curve = run["curves"]["val_accuracy"]
    assert run["curves"]["mean/gradient_angle"] == pytest.approx([0.0, 0.0], abs=1e-3)
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    (x, y), test = data
    for epoch in range(2):
        order = np.random.default_rng((1, epoch)).permutation(64)
        model.fit(x[order], y[order], batch_size=16, shuffle=False, verbose=0)
        assert model.evaluate(*test, verbose=0)[1] == pytest.approx(curve[epoch], abs=1e-6)


def test_what_a_result_depends_on_decides_its_name(tmp_path, data, network, rule_file):
    def names(variants=("fa",), network=network, data=data, **changes):
        study = ta.studies.Study(network, data, list(variants), **{**SMALL, **changes})
        plan = Plan(study, Store(tmp_path))
        plan.ready()
        return {task.name for task in plan.runs}

    first = names()
    assert names() == first
    assert names(seeds=3) > first
    (x, y), test = data
    assert not names(data=((x + 1, y), test)) & first
    assert not names(epochs=3) & first
    assert not names(compile={"optimizer": "adam"}) & first
    assert not names(strategy="mirrored") & first
    assert names(strategy="auto") == first  # here there is one device
    assert not names(variants=[ta.studies.Variant("fa", "fa", include=".*")]) & first
    deeper = functools.partial(ta.models.perceptron, (6, 8, 8, 8, 3))
    assert not names(network=deeper) & first
    rule = load_reference(f"{rule_file}:HalfSign")
    assert names([rule(1.0)]) == names([rule(1.0)])
    assert not names([rule(1.0)]) & names([rule(2.0)])


def test_finished_runs_keep_their_names(tmp_path, data, network):
    """The digest of runs of version 0.1, which knew no strategy and wrote "epoch" for 1."""
    variants = [ta.studies.Variant(f"every {n}", "fa", every=n) for n in (1, 2)]
    plan = Plan(ta.studies.Study(network, data, variants, **SMALL), Store(tmp_path))
    plan.ready()
    tasks = {task.name: task.content for task in plan.runs}
    for name, content in tasks.items():
        known = {key: content[key] for key in ("run", "start", "sources", "versions")}
        assert name.endswith(digest(known))
    assert {content["run"]["every"] for content in tasks.values()} == {"epoch", 2}


def test_the_strategy_is_a_setting_that_is_shown(tmp_path, data, network, pretend):
    study = ta.studies.Study(network, data, ["fa"], strategy="mirrored", **SMALL)
    results = study.run(tmp_path, pretend(), verbose=0)
    assert results.description["settings"]["strategy"] == "mirrored"


def test_what_was_made_before_decides_no_name(tmp_path, data, network):
    """Keras numbers optimizers and losses, of the classes of Keras and of others."""

    def names(*rates):
        variants = [
            ta.studies.Variant(
                f"rate {rate}",
                "fa",
                optimizer=ta.optimizers.split(
                    keras.optimizers.SGD(rate), keras.optimizers.SGD(1.0)
                ),
                compile={**FAST, "loss": OwnLoss()},
            )
            for rate in rates
        ]
        plan = Plan(ta.studies.Study(network, data, variants, **SMALL), Store(tmp_path))
        plan.ready()
        return {task.name for task in plan.runs}

    assert names(0.1, 0.2, 0.3) > names(0.3) > set()


def test_seeds_with_the_same_weights_are_named(tmp_path, data, network, pretend):
    cases = {"drawn": network, "seeded": seeded_network}
    study = ta.studies.Study(cases, data, ["backprop", "fa"], **SMALL)
    with pytest.warns(UserWarning, match="case 'seeded'.*same weights.*seeds 0, 1,") as caught:
        results = study.run(tmp_path, pretend(), verbose=0)
    [text] = {str(w.message) for w in caught if "same weights" in str(w.message)}
    assert results.description["warnings"] == [text]
    ta.studies.Study(cases, data, ["fa"], **{**SMALL, "seeds": 1}).run(tmp_path, pretend())


def test_a_run_that_fails_is_a_row_and_is_tried_again(tmp_path, data, network, pretend, capsys):
    study = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL)
    results = study.run(tmp_path, pretend(fails=["fa-1"]))
    assert results.status("fa") == "1 of 2 failed"
    printed = capsys.readouterr().out
    assert f"failed: RuntimeError: asked for (log: {tmp_path / 'logs' / 'model-fa-'}" in printed
    assert results.mean("fa").n == 1 and results.difference("fa").n == 1
    assert list(results.failures.values()) == ["RuntimeError: asked for"]
    executor = pretend()
    again = study.run(tmp_path, executor)
    assert len(executor.made) == 1
    assert again.status("fa") == "" and not again.failures


def test_a_run_that_diverges_is_a_row_and_counts_in_no_mean(tmp_path, data, network, here):
    wild = ta.studies.Variant("wild", "fa", optimizer=keras.optimizers.SGD(1e20))
    results = ta.studies.Study(network, data, ["backprop", wild], **SMALL).run(tmp_path, here)
    assert results.status("wild") == "2 of 2 diverged"
    assert results.mean("wild").n == 0
    assert any("diverged" in text for text in results.of("wild")[0]["warnings"])
    assert "2 of 2 diverged" in results.table()


def blown_up(run):
    """What makes the weights large in the second epoch."""
    grow = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (
            epoch == 1 and [w.assign(1e6 * w) for w in run.model.weights if "feedback" in w.path]
        )
    )
    grow.set_model(run.model)
    return grow


def fails_once(run):
    if not (run.directory / "failed once").exists():
        (run.directory / "failed once").touch()
        raise InterruptedError
    return {}


@pytest.mark.parametrize("action", ["stop", "warn"])
def test_a_run_that_dies_after_it_diverged_is_resumed_as_diverged(
    tmp_path, data, network, here, action
):
    study = ta.studies.Study(
        network,
        data,
        ["fa"],
        callbacks=[blown_up],
        finish=[fails_once],
        on_divergence=action,
        **{**SMALL, "seeds": 1, "epochs": 4},
    )
    assert study.run(tmp_path, here, verbose=0).failures
    [run] = study.run(tmp_path, here, verbose=0).runs
    assert run["status"] == "diverged" and "Training diverged" in run["warnings"][0]
    assert run["epochs"] == len(run["curves"]["val_loss"]) == (3 if action == "stop" else 4)


@pytest.mark.parametrize(
    ("metric", "maximize"),
    [
        *((name, True) for name in ("val_accuracy", "val_auc", "val_r2_score", "val_mean_io_u")),
        *((name, False) for name in ("val_loss", "val_mae", "val_rmse", "val_perplexity", "mse")),
        ("val_sparse_categorical_crossentropy", False),
        ("hidden/gradient_angle", False),
        ("validation_bits", False),
    ],
)
def test_small_losses_are_good(metric, maximize, data, network):
    assert ta.studies.Study(network, data, ["fa"], metric=metric, **SMALL).maximize is maximize


def test_angles_can_be_tuned_for(tmp_path, data, network, here):
    study = ta.studies.Study(
        network,
        data,
        ["fa"],
        metric="hidden/gradient_angle",
        tuning={"learning_rate": (0.01, 0.1)},
        **{**SMALL, "seeds": 1, "epochs": 1, "probe": 32},
    )
    results = study.run(tmp_path, here, verbose=0)
    scores = [trial["score"] for trial in results.description["tuning"]["trials"]]
    assert all(-180 < score < 0 for score in scores)
    [chosen] = results.description["tuning"]["chosen"]
    assert chosen["values"]["learning_rate"] == (0.01, 0.1)[int(np.argmax(scores))]


def test_functions_get_the_run_and_classes_are_constructed(tmp_path, data, network, here):
    variant = ta.studies.Variant(
        "all of it",
        "fa",
        optimizer=functools.partial(plain, learning_rate=0.05),
        epochs=3,
        callbacks=[functools.partial(Remembers, 7)],
    )
    study = ta.studies.Study(network, data, [variant], measure=[kernel_norm], **SMALL)
    curves = study.run(tmp_path, here).runs[0]["curves"]
    assert curves["remembered"] == [7, 7, 7]
    assert len(curves["norm"]) == 3 and curves["norm"][0] > 0


def mirrored(run, steps):
    """A phase with data of the run's own."""
    return ta.phases.NodePerturbation(run.source.train.x, ta_loss(), steps=steps, seed=run.seed)


def ta_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


@pytest.mark.parametrize(("every", "steps"), [(1, 2), ("step", 1)])
def test_phases_learn_the_feedback(tmp_path, data, network, here, every, steps):
    phase = functools.partial(mirrored, steps=steps)
    if every == "step":
        phase = functools.partial(ta.phases.NodePerturbation, None, ta_loss(), solver="ridge")
    variant = ta.studies.Variant("np", "fa", phases=[phase], every=every)
    changes = {**SMALL, "seeds": 1}
    results = ta.studies.Study(network, data, ["fa", variant], **changes).run(tmp_path, here)
    assert results.weight_angle("np").mean != results.weight_angle("fa").mean


def test_phases_run_in_every_epoch_by_default(tmp_path, data, network, here):
    variant = ta.studies.Variant("np", "fa", phases=[functools.partial(mirrored, steps=1)])
    options = {**SMALL, "seeds": 1, "epochs": 1}
    [run] = ta.studies.Study(network, data, [variant], **options).run(tmp_path, here).runs
    assert (variant.every, run["warnings"]) == (1, [])
    with pytest.warns(DeprecationWarning, match="Use `every=1`") as caught:
        assert ta.studies.Variant("np", "fa", every="epoch").every == 1
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="Received: every='batch'"):
        ta.studies.Variant("np", "fa", every="batch")


def sizes(run):
    return {"sizes": [len(run.source.train.x), len(run.source.test.x)]}


def test_trials_train_on_the_rest_and_are_scored_on_what_is_held_out(tmp_path, data, network, here):
    options = {**SMALL, "seeds": 1, "epochs": 1, "finish": [sizes]}
    tuning = {"learning_rate": (0.1, 0.2)}
    study = ta.studies.Study(network, data, ["backprop"], tuning=tuning, **options)
    [run] = study.run(tmp_path, here, verbose=0).runs
    trials = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*-trial-*")]
    assert [trial["finish"]["sizes"] for trial in trials] == [[58, 6]] * 2
    assert run["finish"]["sizes"] == [64, 32]


def methods_by_layer(run):
    methods = [getattr(layer, "feedback", None) for layer in run.model.layers[1:]]
    return {"methods": [repr(method) for method in methods], "ids": run.feedback}


def test_layers_may_have_different_methods(tmp_path, data, here):
    def build():
        dense = [keras.layers.Dense(n, name=name) for n, name in ((8, "a"), (8, "b"), (3, "c"))]
        return keras.Sequential([keras.Input((6,)), *dense])

    given = {"b": "fa", "c": ta.feedback.SymmetricAlignment(1.0, 1.0)}
    options = {**SMALL, "seeds": 1, "epochs": 1, "finish": [methods_by_layer]}
    tuning = {"feedback.alpha": (0.5, 2.0)}
    variants = [ta.studies.Variant("both", given), "backprop"]
    study = ta.studies.Study(build, data, variants, tuning=tuning, **options)
    run, _ = study.run(tmp_path, here, verbose=0).runs
    fa, sa = run["finish"]["methods"]
    assert fa == "FeedbackAlignment()" and run["finish"]["ids"] == "fa, sa"
    assert sa in [f"SymmetricAlignment(alpha={a}, beta=1.0)" for a in (0.5, 2.0)]
    with pytest.raises(ValueError, match=r"feedback='fb'"):
        ta.studies.Variant("both", {"b": "fb"})


def feedback_size(run):
    [kernel] = run.model.layers[1].feedback_weights.values()
    return {"size": float(np.abs(np.asarray(kernel)).mean())}


def test_feedback_begins_as_the_variant_says(tmp_path, data, here):
    def build():
        wide = keras.initializers.RandomUniform(-9, 9)
        dense = [keras.layers.Dense(8, kernel_initializer=wide, name=name) for name in "abc"]
        return keras.Sequential([keras.Input((6,)), *dense])

    given = {"as usual": {}, "as W": {"feedback_initializer": None}}
    given["zeros"] = {"feedback_initializer": "zeros"}
    variants = [ta.studies.Variant(name, "fa", **options) for name, options in given.items()]
    options = {**SMALL, "seeds": 1, "epochs": 1, "finish": [feedback_size]}
    runs = ta.studies.Study(build, data, variants, **options).run(tmp_path, here, verbose=0).runs
    sizes = {run["variant"]: run["finish"]["size"] for run in runs}
    assert sizes["as W"] > 3 and sizes["zeros"] == 0.0 and 0 < sizes["as usual"] < 1


def test_a_grid_is_searched_on_held_out_data_with_its_own_seeds(tmp_path, data, network, pretend):
    here = pretend()
    study = ta.studies.Study(
        network,
        data,
        ["backprop", "fa"],
        tuning={"learning_rate": (0.5, 0.1)},
        **{**SMALL, "compile": {"optimizer": plain}},
    )
    results = study.run(tmp_path, here)
    assert len(here.made) == 2 * 2 + 2 * 2
    chosen = results.description["tuning"]["chosen"]
    assert [entry["values"] for entry in chosen] == 2 * [{"learning_rate": 0.1}]
    trials = [json.loads(f.read_text()) for f in (tmp_path / "tasks").glob("*trial*")]
    assert {t["run"]["seed"] for t in trials} == {10_000}
    assert {t["run"]["held_out"] for t in trials} == {0.1}
    assert all(run["values"] == {"learning_rate": 0.1} for run in results.runs)


def rates(run):
    """Learning rates of all optimizers of the run's model."""
    optimizer = run.model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    each = getattr(optimizer, "optimizers", [optimizer])
    return {"rates": sorted(round(float(inner.learning_rate), 3) for inner in each)}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda sgd: ta.optimizers.split(sgd), [0.25, 0.5]),
        (lambda sgd: keras.optimizers.LossScaleOptimizer(ta.optimizers.split(sgd)), [0.25, 0.5]),
        (lambda sgd: ta.optimizers.NoisyUpdates(sgd, 0.01, seed=1), [0.25]),
    ],
)
def test_what_is_tuned_is_the_optimizer_of_the_forward_weights(
    tmp_path, data, network, here, make, expected
):
    options = {**SMALL, "seeds": 1, "epochs": 1, "finish": [rates], "tuning": {}}
    options["compile"] = {**FAST, "optimizer": make(keras.optimizers.SGD(0.1, momentum=0.9))}
    options["tuning"] = {"learning_rate": (0.25,)}
    [run] = ta.studies.Study(network, data, ["fa"], **options).run(tmp_path, here, verbose=0).runs
    assert run["finish"]["rates"] == expected


def by_settings(run):
    return keras.optimizers.SGD(learning_rate=run.settings.get("pace", 0.1))


def by_arguments(run):
    return plain_rate(**run.settings)


def plain_rate(pace=0.1, **others):
    return keras.optimizers.SGD(learning_rate=pace)


def fixed(run):
    """An optimizer that has no pace."""
    return keras.optimizers.SGD(learning_rate=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lr", {}),
        ("learning-rate", {}),
        ("optimizer.lr", {}),
        ("alpha", {}),
        ("feedback.alhpa", {}),
        ("learning_rate", {"compile": {"optimizer": fixed}}),
        ("pace", {"compile": {"optimizer": fixed}}),
        ("lr", {"compile": {"optimizer": ta.optimizers.split("sgd")}}),
        ("lr", {"compile": {"optimizer": by_settings}, "measure": [kernel_norm]}),
    ],
)
def test_what_is_tuned_must_change_something(data, network, name, options):
    message = rf"Argument `tuning` must .*Received: \['{name}'\]"
    with pytest.raises(ValueError, match=message):
        ta.studies.Study(network, data, ["fa", "sa"], tuning={name: (0.1, 0.2)}, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("feedback.alpha", {}),
        ("settings.lr", {}),
        ("lr", {"settings": {"lr": 0.3}}),
        ("pace", {"compile": {"optimizer": by_settings}}),
        ("pace", {"measure": [functools.partial(by_arguments)]}),
        ("pace", {"variants": ["sa", ta.studies.Variant("own", "fa", optimizer=by_settings)]}),
        ("pace", {"variants": ["sa", ta.studies.Variant("own", "fa", phases=[by_settings])]}),
    ],
)
def test_what_some_method_or_function_reads_may_be_tuned(data, network, name, options):
    options = {"variants": ["fa", "sa"], **options}
    study = ta.studies.Study(network, data, tuning={name: (0.1, 0.2)}, **options)
    assert study.tuning.budget() == 2


def settings_of(run):
    return {"settings": run.settings}


def test_settings_are_tuned_without_their_prefix(tmp_path, data, network, here):
    options = {**SMALL, "seeds": 1, "epochs": 1, "finish": [settings_of]}
    tuning = {"settings.width": (3,)}
    study = ta.studies.Study(network, data, ["fa"], tuning=tuning, **options)
    [run] = study.run(tmp_path, here, verbose=0).runs
    assert run["finish"]["settings"] == {"width": 3}


def test_every_variant_has_the_same_budget(data, network):
    greedy = ta.studies.Variant("greedy", "fa", tuning={"learning_rate": (0.1, 0.2, 0.3)})
    with pytest.raises(ValueError, match="as many trials"):
        ta.studies.Study(network, data, ["fa", greedy], tuning={"learning_rate": (0.1, 0.2)})


def test_values_tuned_on_one_model_hold_for_the_others(tmp_path, data, network, pretend):
    here = pretend()
    deeper = functools.partial(ta.models.perceptron, (6, 8, 8, 8, 3))
    study = ta.studies.Study(
        {"shallow": network, "deep": deeper},
        data,
        ["fa"],
        tuning=ta.studies.Tuning({"learning_rate": (0.01, 0.1)}, on="shallow"),
        **SMALL,
    )
    results = study.run(tmp_path, here)
    assert len(here.made) == 2 + 4
    assert len({r["values"]["learning_rate"] for r in results.runs}) == 1
    assert results.cases == ["shallow", "deep"]
    assert results.table().count("| deep") == 1


def test_tpe_goes_on_from_what_it_has(tmp_path, data, network, pretend):
    pytest.importorskip("optuna")
    here = pretend()
    space = {"learning_rate": {"low": 1e-3, "high": 0.5, "log": True}}
    tuning = ta.studies.Tuning(space, sampler="tpe", trials=3, epochs=1)
    study = ta.studies.Study(network, data, ["fa"], tuning=tuning, **SMALL)
    results = study.run(tmp_path / "whole", here)
    whole = [trial["values"] for trial in results.description["tuning"]["trials"]]
    assert len(whole) == 3 and len(here.made) == 3 + 2
    # a search that was killed after its first trial
    plan = Plan(study, Store(tmp_path / "cut"))
    here.make(plan.store, plan.ready()[0].name)
    resumed = study.run(tmp_path / "cut", pretend())
    assert [t["values"] for t in resumed.description["tuning"]["trials"]] == whole
    assert resumed.table() == results.table()


def test_shards_divide_the_runs(tmp_path, data, network, pretend):
    study = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL)
    made = []
    for part in (1, 2, 3):
        executor = pretend()
        results = study.run(tmp_path, executor, shard=(part, 3))
        made += executor.made
    assert len(made) == len(set(made)) == 4 and not results.missing


def test_a_run_that_another_process_is_at_is_left_to_it(tmp_path, data, network, pretend):
    study = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL)
    plan = Plan(study, Store(tmp_path))
    other, *_ = plan.ready()

    class Elsewhere(pretend):
        def submit(self, fn, command):
            future = super().submit(fn, command)
            if len(self.made) == 3:  # the other one ends
                self.make(plan.store, other.name)
                held.__exit__(None, None, None)
            return future

    executor = Elsewhere()
    held = plan.store.lock(other.name)
    assert held.__enter__()
    results = study.run(tmp_path, executor)
    assert other.name not in executor.made and len(executor.made) == 3
    assert len(results.runs) == 4 and not results.missing


def test_a_rule_from_a_file(tmp_path, data, network, pretend, rule_file):
    here = pretend()
    variants = ["backprop", f"{rule_file}:HalfSign"]
    study = ta.studies.Study(network, data, variants, tuning={"feedback.gain": (0.5, 2.0)}, **SMALL)
    results = study.run(tmp_path / "out", here)
    assert results.variants == ["backprop", "HalfSign"]
    run = results.of("HalfSign")[0]
    task = json.loads((tmp_path / "out" / "tasks" / f"{run['name']}.json").read_text())
    assert task["files"][rule_file.stem] == str(rule_file.resolve())
    assert task["run"]["feedback"]["<keras>"]["config"]["gain"] == run["values"]["feedback.gain"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": []}, "at least one"),
        ({"variants": ["fa", "fa"]}, "different names"),
        ({"variants": ["nothing"]}, "Received: feedback='nothing'"),
        ({"epochs": 0}, "Received: epochs=0"),
        ({"seeds": -1}, "Received: seeds=-1"),
        ({"tuning": {}}, "Received: space={}"),
        ({"data": "nothing"}, "Received: data='nothing'"),
        ({"measure": [lambda run: {}]}, "top of a module"),
        ({"build": 3}, "Received: build=3"),
    ],
)
def test_wrong_input_is_told(tmp_path, data, network, changes, message):
    arguments = {"build": network, "data": data, "variants": ["fa"], **SMALL, **changes}
    with pytest.raises((TypeError, ValueError), match=message):
        ta.studies.Study(**arguments).run(tmp_path, verbose=0)


def test_ctrl_c_prints_one_line(tmp_path, data, network, pretend, capsys):
    class Interrupted(pretend):
        def submit(self, fn, command):
            if self.made:
                raise KeyboardInterrupt
            return super().submit(fn, command)

    study = ta.studies.Study(network, data, ["backprop", "fa"], **SMALL)
    with pytest.raises(SystemExit) as caught:
        study.run(tmp_path, Interrupted())
    assert caught.value.code == 130
    assert capsys.readouterr().out.count("Interrupted; 1 of 4 runs are done") == 1


def test_a_failure_in_one_line_says_what_keras_expected(here, tmp_path, capsys):
    x, y = np.zeros((32, 8, 8), "float32"), np.zeros(32, "int32")
    build = functools.partial(ta.models.perceptron, (64, 10))
    study = ta.studies.Study(build, ((x, y), (x, y)), ["fa"], seeds=1, batch_size=8, cost=False)
    study.run(tmp_path, here)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert "failed: ValueError: Invalid input shape" in line and "Expected shape (None, 64)" in line
    assert "\x1b" not in line

"""Regression discontinuity as a phase."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from interrupted import assert_resumes_to_the_same_weights

import tf_alignment as ta
from tf_alignment.callbacks import DivergenceError, FeedbackCallback, Resume
from tf_alignment.spiking.lif import Drive, Paradigm, Window, estimators
from tf_alignment.spiking.lif.plan import Plan

K = keras.layers


# Layers of few inputs need a larger scale, and XLA takes longer to compile than they take to run.
RDD = functools.partial(ta.phases.RDD, drive=Drive(psi=2.0), jit_compile=False)


def gaussian(seed, **arguments):
    return {
        "feedback": "fa",
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.05, seed=seed),
        "feedback_initializer": keras.initializers.RandomNormal(stddev=0.02, seed=seed + 1),
        **arguments,
    }


def network(sizes=(30, 16, 8), seed=0, **arguments):
    """Dense layers a, b ... with Gaussian weights."""
    layers = [
        ta.layers.Dense(n, name="abc"[i], **gaussian(seed + 10 * i, **arguments))
        for i, n in enumerate(sizes[1:])
    ]
    return keras.Sequential([keras.Input((sizes[0],)), *layers], name="net")


def feedback(model):
    return {layer.name: layer.feedback_weights["feedback_kernel"].numpy() for layer in model.layers}


def quality(model):
    """Sign agreement and correlation of every layer."""
    pairs = [(layer.kernel, layer.feedback_weights["feedback_kernel"]) for layer in model.layers]
    return np.array(
        [(float(ta.metrics.sign_agreement(*p)), float(ta.metrics.correlation(*p))) for p in pairs]
    ).T


def test_the_paper_s_layers_align_as_in_the_authors_implementation():
    """After 30 s a layer it reaches 62.0, 72.1, 76.0 % and .37, .63, .75.

    The standard error over draws of W, drive and feedback is below .01 in all but the last layer,
    of 1920 weights, where it is .01; this simulation is better by .03 and more.
    """
    model = network((1600, 384, 192, 10))
    RDD(seed=0, drive=None).run(model)
    signs, correlations = quality(model)
    assert np.all(signs > [0.620, 0.721, 0.760])
    assert np.all(correlations > [0.37, 0.63, 0.75])


@pytest.mark.parametrize(
    ("estimator", "least"),
    [("pooled", 0.93), ("line", 0.9), ("sgd", 0.9), ("mirror", 0.6)],
)
def test_known_weights_are_found(estimator, least):
    model = network((50, 12))
    found = RDD(duration=120.0, estimator=estimator, seed=1).run(model)["net/a"]
    assert found["correlation"] > least
    assert found["correlation"] == pytest.approx(float(quality(model)[1, 0]), abs=1e-5)


@pytest.mark.slow
def test_the_paper_s_layers_align_further_in_300_s():
    """Means of three seeds: measured are 80.6, 89.6 and 92.8 %, standard errors below .4."""
    found = []
    for seed in range(3):
        model = network((1600, 384, 192, 10), seed)
        ta.phases.RDD(duration=300.0, seed=seed).run(model)
        found.append(quality(model))
    signs, correlations = np.mean(found, 0)
    assert np.all(signs >= [0.79, 0.88, 0.92])
    assert np.all(correlations > [0.80, 0.93, 0.95])


def test_two_lines_of_the_textbook_are_nearly_useless():
    found = []
    for estimator in (estimators.Line(ridge=0.0, shared_left=False), "pooled"):
        results = RDD(duration=15.0, estimator=estimator, seed=1).run(network((200, 40)))
        found.append(results["net/a"]["correlation"])
    assert found[0] < 0.3 < 0.5 < found[1]


def test_b_has_the_effects_at_the_scale_it_started_with():
    """`B = β γ / σ_β` with γ the standard deviation of the first B, in every later run too."""
    model = network((50, 12))
    gamma = feedback(model)["a"].std()
    phase = RDD(duration=5.0, seed=1)
    for _ in range(2):
        phase.run(model)
        sums = {name: v.value for name, v in phase._sums["net/a"].items()}
        beta, seen = phase.estimator.effect(sums, 1.0)
        b = feedback(model)["a"]
        assert bool(tf.reduce_all(seen))
        np.testing.assert_allclose(b, beta * (gamma / np.std(beta)), rtol=1e-3, atol=1e-6)
        assert b.std() == pytest.approx(gamma, rel=1e-4)
    RDD(duration=5.0, gamma=0.7, seed=1).run(model)
    assert feedback(model)["a"].std() == pytest.approx(0.7, rel=1e-4)


def test_entries_without_an_estimate_stay():
    model = network((50, 12))
    kernel = model.layers[0].kernel
    silent = np.abs(kernel.numpy())
    silent[:, 3:] = kernel.numpy()[:, 3:]
    silent[:, 2] *= -1.0  # the unit never spikes
    kernel.assign(silent)
    before = feedback(model)["a"]
    found = RDD(duration=5.0, seed=1).run(model)["net/a"]
    after = feedback(model)["a"]
    np.testing.assert_array_equal(after[:, 2], before[:, 2])
    assert not np.isin(after[:, 3:], before[:, 3:]).any()
    assert found["estimated"] == pytest.approx(11 / 12)


def test_estimates_get_better_from_run_to_run_unless_forgotten():
    def correlations(**options):
        model = network((200, 40))
        phase = RDD(duration=10.0, estimator=estimators.Pooled(**options), seed=1)
        return [phase.run(model)["net/a"]["correlation"] for _ in range(3)]

    kept, forgotten = correlations(forgetting=1.0), correlations(forgetting=0.0)
    assert kept[0] == forgotten[0]
    assert kept[2] > kept[1] > kept[0] and kept[2] > max(forgotten) + 0.1


def test_it_changes_feedback_kernels_of_dense_layers_alone():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((6, 6, 2)),
        K.Conv2D(4, 3, name="first"),
        K.Conv2D(4, 3, name="conv"),
        K.BatchNormalization(),
        K.Flatten(),
        K.Dense(20, activation="relu", name="a"),
        K.Dropout(0.5),
        K.Dense(10, name="b"),
    ]
    model = ta.convert(keras.Sequential(layers, name="net"), "fa")
    before = {v.path: v.numpy() for v in model.variables}
    results = RDD(duration=2.0, seed=1).run(model)
    assert list(results) == ["net/a", "net/b"]
    for variable in model.variables:
        changed = not np.array_equal(variable.numpy(), before[variable.path])
        dense = variable.path.startswith(("net/a/", "net/b/"))
        assert changed == (dense and "feedback_kernel" in variable.path), variable.path
    assert list(RDD(duration=2.0, layers=["b"]).run(model)) == ["net/b"]
    with pytest.raises(ValueError, match=r"dense layers.*net/conv.*Conv2D"):
        RDD(layers=["conv", "b"]).run(model)
    only = keras.Sequential([keras.Input((6, 6, 2)), ta.layers.Conv2D(4, 3, feedback="fa")])
    with pytest.raises(ValueError, match=r"dense layers.*Conv2D"):
        RDD().run(only)
    with pytest.raises(ValueError, match="feedback kernel"):
        RDD().run(keras.Sequential([keras.Input((4,)), K.Dense(3)]))


def test_the_same_seed_gives_the_same_result():
    def after(seed, runs=2):
        model, phase = network((30, 8)), RDD(duration=2.0, seed=seed)
        for _ in range(runs):
            phase.run(model)
        return feedback(model)["a"]

    first = after(1)
    np.testing.assert_array_equal(after(1), first)
    assert not np.allclose(after(2), first)
    assert not np.allclose(after(1, runs=1), first)


def test_xla_gives_the_same():
    """But for rounding, which may move a spike; the parts are as large in so small a network."""
    found = []
    for jit_compile in (False, True):
        model = network((50, 12))
        phase = RDD(duration=3.0, seed=1, jit_compile=jit_compile)
        phase.run(model)
        found.append(feedback(model)["a"])
        assert_nothing_is_traced_twice(model, phase)
    assert np.corrcoef(*(b.ravel() for b in found))[0, 1] > 0.999


@pytest.mark.parametrize("jit_compile", [False, True])
def test_wide_layers_go_in_parts_that_fit_into_memory(jit_compile):
    plan = Plan(Paradigm(), estimators.Pooled(), 2048, 2048, 30.0, 1, jit_compile)
    assert plan._rounds * plan._branches * 2048**2 * 4 < 2e8  # bytes of the weights fetched at once
    assert plan.parts > 1 and 30.0 <= plan.seconds < 35.0
    wider = Plan(Paradigm(), estimators.Pooled(), 8192, 8192, 1.0, 1, jit_compile)
    assert wider._rounds == wider._branches == 1


def test_the_shortest_run_is_one_round():
    paradigm = RDD().paradigm
    plan = Plan(paradigm, estimators.get("pooled"), 60, 5, 1e-9, 1, False)
    assert plan.parts == 1
    assert plan.seconds == paradigm.round_seconds(60)


def test_long_runs_go_in_parts():
    model = network((1600, 10))
    phase = RDD(duration=80.0, seed=1)
    phase.build(model)
    plan = phase._plans["net/a"]
    assert plan.parts > 1 and 80.0 <= plan.seconds < 88.0
    found = phase.run(model)["net/a"]
    assert found["simulated_seconds"] == plan.seconds
    # each unit is driven once in a round of .53 s; 1.33 windows close in that time
    windows = found["windows_with_spike"] + found["windows_without_spike"]
    assert windows / (plan.seconds / 0.53) == pytest.approx(1.33, abs=0.1)


def assert_nothing_is_traced_twice(model, phase):
    for verbose in (0, 1, 0):
        phase.run(model, verbose=verbose)
    for plan in phase._plans.values():
        functions = plan._driven, plan._weigh, plan._above, plan._add
        assert [f.experimental_get_tracing_count() for f in functions] == [1, 1, 1, 1]


def test_many_layers_warn_of_no_retracing(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    layers = [ta.layers.Dense(20, feedback="fa") for _ in range(7)]
    phase = RDD(duration=0.5, jit_compile=False, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phase.run(keras.Sequential([keras.Input((20,)), *layers]))
    assert "retracing" not in caplog.text


def test_a_second_model_gets_sums_of_its_own():
    phase = RDD(duration=1.0, seed=1)
    assert phase.variables == []
    phase.run(network())
    assert all(v.numpy().any() for v in phase.variables)
    phase.build(network())
    assert not any(v.numpy().any() for v in phase.variables)


def test_reset_forgets_the_estimates():
    phase, model = RDD(duration=1.0, seed=1), network()
    phase.run(model)
    phase.reset()
    left = [bool(v.numpy().any()) for v in phase.variables]
    assert left == [True] * 3 + [False] * (len(left) - 3)  # the count of runs, and γ


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert RDD(duration=30.0, seed=1).run(network((50, 12)))["net/a"]["correlation"] > 0.8


def test_under_two_replicas_it_runs_once(two_replicas, monkeypatch):
    found, advance, calls = [], Plan.advance, []

    def counted(self, *args):
        calls.append(args)
        return advance(self, *args)

    monkeypatch.setattr(Plan, "advance", counted)
    for scoped in (False, True):
        with two_replicas.scope() if scoped else tf.name_scope("one"):
            model = network((30, 8))
        calls.clear()
        phase = RDD(duration=2.0, seed=1)
        phase.run(model)
        assert len(calls) == phase._plans["net/a"].parts == int(phase.variables[0].numpy()) == 1
        variable = model.layers[0].feedback_weights["feedback_kernel"].value
        found += [v.numpy() for v in getattr(variable, "values", [variable])]
    assert len(found) == 3
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def fit(model, *callbacks, epochs=2, **options):
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((32, n)).astype("float32") for n in (30, 8))
    history = model.fit(
        x, y, epochs=epochs, batch_size=16, shuffle=False, callbacks=callbacks, **options
    )
    return history.history


def test_history_has_what_it_found(capsys):
    history = fit(network(), FeedbackCallback(RDD(duration=5.0, seed=1)), verbose=1)
    assert "2/2" in capsys.readouterr().out
    for name in (
        "spike_rate_below_hz",
        "spike_rate_above_hz",
        "windows_with_spike",
        "windows_without_spike",
    ):
        assert len(history[f"rdd/net/a/{name}"]) == 2
        assert min(history[f"rdd/net/a/{name}"]) > 0.0
    assert history["rdd/net/a/sign_agreement"][0] > history["rdd/net/a/sign_agreement_before"][0]
    assert history["rdd/net/a/weight_angle"][0] < history["rdd/net/a/weight_angle_before"][0]
    assert history["rdd/net/a/estimated"] == [1.0, 1.0]


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    def run(directory, *callbacks):
        model, phase = network((30, 8)), RDD(duration=1.0, seed=3)
        resume = Resume(directory, phases=[phase])
        fit(model, FeedbackCallback(phase), *callbacks, resume, epochs=4, verbose=0)
        return [w.numpy() for w in model.weights]

    assert_resumes_to_the_same_weights(run, tmp_path)


def test_a_failure_half_way_leaves_everything_as_it_was():
    model, phase = network(), RDD(duration=1.0, seed=1)
    phase.run(model)
    before = feedback(model), [v.numpy() for v in phase.variables]

    def fail(*args):
        raise KeyboardInterrupt

    phase._plans["net/b"].advance = fail
    with pytest.raises(KeyboardInterrupt):
        phase.run(model)
    np.testing.assert_equal((feedback(model), [v.numpy() for v in phase.variables]), before)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.nan, DivergenceError, "kernel of 'net/b' contains NaN"),
        (np.inf, DivergenceError, "kernel of 'net/b' contains NaN"),
        (0.0, ValueError, "'net/b' with equal"),
        (1e30, ValueError, "'net/b' with equal or huge"),
    ],
)
def test_kernels_that_cannot_be_simulated(value, error, message):
    model = network()
    before = feedback(model)
    sign = np.where(np.arange(16) < 8, 1.0, -1.0)[:, None]
    model.layers[1].kernel.assign(value * sign * np.ones(8))
    with pytest.raises(error, match=message):
        RDD(duration=1.0).run(model)
    np.testing.assert_equal(feedback(model), before)


def test_a_feedback_kernel_without_scale():
    model = network((30, 16), feedback_initializer="zeros")
    with pytest.raises(ValueError, match=r"'net/a'.*`gamma`"):
        RDD(duration=1.0).run(model)
    assert RDD(duration=5.0, gamma=0.1, seed=1).run(model)["net/a"]["correlation"] > 0.5


@pytest.mark.parametrize(
    ("drive", "window", "sign", "message"),
    [
        ({"weight": 2.7}, {}, 0, "the units that feed 'net/a' hardly spike; raise"),
        ({}, {}, -1, "100 % of the units of 'net/a' hardly spike; it has only 30 inputs: raise"),
        ({"weight": 400.0}, {}, 0, "units that feed 'net/a' are saturated; lower"),
        (
            {},
            {},
            1,
            r"\d\d % of the units of 'net/a' are saturated; lower the drive's `psi`",
        ),
        ({}, {"alpha": 1e-7}, 0, "no window holds a spike"),
    ],
)
@pytest.mark.filterwarnings("ignore:Phase 'rdd'")
def test_what_leaves_nothing_to_estimate_from_is_named(drive, window, sign, message):
    model = network((30, 16))
    if sign:
        model.layers[0].kernel.assign(sign * (1.0 + np.abs(model.layers[0].kernel.numpy())))
    with pytest.warns(UserWarning, match=message):
        RDD(duration=2.0, seed=1, drive=Drive(**drive), window=Window(**window)).run(model)
    assert np.all(np.isfinite(feedback(model)["a"]))


def test_without_an_effect_nothing_changes():
    model = network((30, 16))
    before = feedback(model)
    model.layers[0].kernel.assign(-1.0 - np.abs(model.layers[0].kernel.numpy()))
    with pytest.warns(UserWarning, match="Phase 'rdd'") as caught:
        found = RDD(duration=1.0, seed=1).run(model)["net/a"]
    assert len(caught) == 2 and "keeps its feedback kernel" in str(caught[1].message)
    assert {warning.filename for warning in caught} == {__file__}
    np.testing.assert_equal(feedback(model), before)
    assert found["estimated"] == found["spike_rate_above_hz"] == 0.0
    assert found["silent_above"] == 1.0


def test_half_a_layer_that_is_saturated_is_named():
    """Whose mean rate, the other half being silent, is that of any layer."""
    model = network((200, 40))
    sign = np.where(np.arange(40) < 20, 1.0, -1.0)
    model.layers[0].kernel.assign(sign * np.abs(model.layers[0].kernel.numpy()))
    with pytest.warns(UserWarning, match=r"4\d % of the units of 'net/a' are saturated"):
        found = RDD(duration=2.0, seed=1).run(model)["net/a"]
    assert 0.4 < found["saturated_above"] <= 0.5 <= found["silent_above"] < 0.6
    assert 140.0 < found["spike_rate_above_hz"] < 180.0


@pytest.mark.filterwarnings("ignore:Phase 'rdd'")
def test_few_inputs_are_named():
    with pytest.warns(UserWarning, match=r"'net/a' hardly spike; it has only 8 inputs: raise.*psi"):
        RDD(duration=5.0, seed=1, drive=None).run(network((8, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RDD(duration=5.0, seed=1, drive=Drive(psi=20.0)).run(network((8, 10)))


def test_a_network_without_a_spike_is_an_error():
    model, phase = network((30, 16)), RDD(duration=1.0, drive=Drive(weight=0.01), seed=1)
    before = feedback(model)
    with pytest.raises(ValueError, match=r"not one unit spiked.*net/a.*`weight`"):
        phase.run(model)
    np.testing.assert_equal(feedback(model), before)
    assert not any(v.numpy().any() for v in phase.variables)


def test_mirrors_need_no_windows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = RDD(duration=5.0, estimator="mirror", seed=1, window=Window(alpha=1e-7)).run(
            network((60, 16))
        )
    assert results["net/a"]["correlation"] > 0.2


@pytest.mark.parametrize("gamma", [None, 0.1])
def test_nan_in_b_is_named(gamma):
    model, phase = network(), RDD(duration=1.0, gamma=gamma, seed=1)
    variable = model.layers[1].feedback_weights["feedback_kernel"]
    whole = variable.numpy()
    for _ in range(2):
        before = model.layers[0].feedback_weights["feedback_kernel"].numpy()
        variable.assign(np.full((16, 8), np.nan))
        with pytest.raises(DivergenceError, match="the feedback kernel of 'net/b' contains NaN"):
            phase.run(model)
        after = model.layers[0].feedback_weights["feedback_kernel"].numpy()
        np.testing.assert_array_equal(before, after)
        variable.assign(whole)
        phase.run(model)


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "float64"])
def test_every_dtype_policy(policy):
    keras.config.set_dtype_policy(policy)
    assert RDD(duration=30.0, seed=1).run(network((50, 12)))["net/a"]["correlation"] > 0.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RDD(duration=0.0), "duration=0.0"),
        (lambda: RDD(gamma=-1.0), "gamma=-1.0"),
        (lambda: RDD(seed=1.7), "seed=1.7"),
        (lambda: RDD(estimator="magic"), "estimator='magic'"),
        (lambda: RDD(window=Window(length=150.0)), "window.length=150.0"),
        (lambda: Drive(fraction=1.5), "fraction=1.5"),
        (lambda: Drive(fraction="a"), "fraction='a'"),
        (lambda: Drive(rate=0.0), "rate=0.0"),
        (lambda: RDD(drive=Drive(rate=1e6)), "drive.rate=1000000.0, neuron.dt=1.0"),
        (lambda: Window(alpha=-0.1), "alpha=-0.1"),
        (lambda: estimators.Pooled(offset=0.0), "offset=0.0"),
        (lambda: estimators.Pooled(forgetting=1.5), "forgetting=1.5"),
        (lambda: estimators.Line(ridge=-1.0), "ridge=-1.0"),
        (lambda: estimators.Line(ridge="a"), "ridge='a'"),
        (lambda: estimators.Line(ridge=float("inf")), "ridge=inf"),
        (lambda: estimators.SGD(0.0), "learning_rate=0.0"),
        (lambda: estimators.Mirror(decay=1.0), "decay=1.0"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def effects_of_spikes(kernel, units, drives, rng):
    """What each spike changes above, found by taking it away: the mean for each pair of units.

    Sets of ten units are driven for 100 ms, as in the paper. Without one of their spikes, all else
    alike, the layer above is simulated again; the change of its response, averaged over the 30 ms
    after the spike, is the spike's causal effect.
    """
    lif, length = ta.spiking.lif, 30
    chosen = np.stack([rng.permutation(units)[:10] for _ in range(drives)])
    noise = rng.poisson(0.2, (100, drives, 10)).astype("float32")
    noise = np.pad(noise, ((0, length), (0, 0), (0, 0)))
    driven = lif.simulate(4.0 * lif.respond(noise)).numpy()
    spikes = np.zeros((len(noise), drives, units), "float32")
    for drive, members in enumerate(chosen):
        spikes[:, drive, members] = driven[:, drive]
    current = lif.respond(spikes).numpy() @ kernel
    response = lif.respond(lif.simulate(current)).numpy()
    evoked = lif.respond(np.eye(1, len(noise), dtype="float32")[0]).numpy()
    total, count = np.zeros(kernel.shape), np.zeros((units, 1))
    when, which, who = np.nonzero(spikes[:100])
    for part in np.array_split(np.arange(len(when)), 1 + len(when) // 4000):
        t, drive, i = when[part], which[part], who[part]
        elapsed = np.arange(len(noise))[:, None] - t
        own = np.where(elapsed >= 0, evoked[np.maximum(elapsed, 0)], 0.0)[..., None] * kernel[i]
        without = lif.respond(lif.simulate(current[:, drive] - own)).numpy()
        inside = (elapsed > 0) & (elapsed <= length)
        np.add.at(total, i, np.einsum("tpk,tp->pk", response[:, drive] - without, inside) / length)
        np.add.at(count, i, 1.0)
    return total / count


@pytest.mark.slow
def test_beta_is_in_proportion_to_what_a_spike_causes():
    """Measured: 3.0 times the effect of one spike, since a window holds several of them.

    The correlation is 0.93, where two halves of what is found by taking spikes away correlate by
    0.90 (`within`).
    """
    units, above = 50, 12
    model = network((units, above))
    kernel = ta.spiking.lif.scaled_kernel(model.layers[0].kernel, 2.0).numpy()
    rng = np.random.default_rng(0)
    halves = [effects_of_spikes(kernel, units, 150, rng).ravel() for _ in range(2)]
    phase = RDD(duration=300.0, seed=1)
    phase.run(model)
    sums = {name: v.value for name, v in phase._sums["net/a"].items()}
    beta = phase.estimator.effect(sums, 1.0)[0].numpy().ravel()
    within = np.corrcoef(*halves)[0, 1]
    across = np.mean([np.corrcoef(beta, half)[0, 1] for half in halves])
    assert within > 0.8
    assert across > 0.95 * np.sqrt(within)  # what is left when the scatter is accounted for
    slope = beta @ (halves[0] + halves[1]) / (2.0 * halves[0] @ halves[1])
    assert 2.0 < slope < 4.0

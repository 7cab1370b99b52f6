"""Phases change feedback kernels as their rule says, and nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import training

import tf_alignment as ta
from tf_alignment.callbacks import DivergenceError, FeedbackCallback, Resume
from tf_alignment.phases import Alignment, Phase

K = keras.layers
SGD = keras.optimizers.SGD


def convolutional(method="fa"):
    """Convolutions with batch normalisation and dropout, as a network with state would have."""
    keras.utils.set_random_seed(5)
    return ta.convert(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                K.Conv2D(8, 3, padding="same", name="first"),
                K.BatchNormalization(),
                K.ReLU(),
                K.SeparableConv2D(6, 3, strides=2, activation="relu", name="separable"),
                K.Flatten(),
                K.Dense(16, activation="relu", name="hidden"),
                K.Dropout(0.5),
                K.Dense(10, name="top"),
            ],
            name="net",
        ),
        method,
    )


def perceptron(method="fa", **options):
    return ta.convert(training.perceptron(**options), method)


def feedback_kernels(model):
    return {
        c.path: c.weights["feedback_kernel"].numpy()
        for layer in ta.layers.feedback_layers(model)
        for c in layer.connections
    }


# ---- what the phase computes -----------------------------------------------------------------


def test_weight_mirror_on_data_is_the_equation():
    model, (x, _) = perceptron(), training.toy(examples=32)
    rule = ta.feedback.WeightMirror(0.3, 0.2, noise=None, normalize=None, response_bias=False)
    expected, below = feedback_kernels(model), x
    for layer in model.layers:
        w = layer.kernel.numpy()
        if layer.path in expected:
            b = expected[layer.path]
            for _ in range(7):
                b = b - 0.1 * (0.2 * b - 0.3 * below.T @ (below @ w) / len(x))
            expected[layer.path] = b
        below = layer(below).numpy()
    data = tf.data.Dataset.from_tensors((x, np.zeros(len(x))))
    Alignment(rule, dataset=data, steps=7, optimizer=SGD(0.1)).run(model)
    for path, b in feedback_kernels(model).items():
        np.testing.assert_allclose(b, expected[path], rtol=1e-4, atol=1e-5)


def test_published_weight_mirror_on_noise_ends_at_its_fixed_point():
    """`B → (α/β) σ² W` under uniform noise of ±0.5, which has variance 1/12."""
    model = perceptron()
    rule = ta.feedback.WeightMirror(
        1.0, 0.5, normalize=None, noise=ta.Noise("uniform", 0.5 / 3**0.5)
    )
    phase = Alignment(rule, steps=600, optimizer=SGD(0.05), batch_size=256, seed=1)
    for measured in phase.run(model).values():
        # noise of B itself: σ² (out + ...) rate·α²/(2 β N), about 0.01 a norm of W
        assert measured["norm_ratio"] == pytest.approx(2.0 / 12.0, rel=0.05)
        assert measured["weight_angle"] < 10.0


@pytest.mark.parametrize("rule", ["wm", "ia", "sa", "aa", {"amp": 1.0, "sparse": 1.0}])
@pytest.mark.parametrize("source", ["noise", "arrays"])
def test_any_rule_aligns_every_kind_of_layer(rule, source):
    model, x = convolutional(), training.digits()[0].x
    before = [v.numpy() for v in model.variables]
    start = min(
        ta.metrics.weight_angle(c.kernel, c.weights["feedback_kernel"])
        for layer in ta.layers.feedback_layers(model)
        for c in layer.connections
    )
    arguments = {"dataset": x} if source == "arrays" else {}
    optimizer = SGD(0.02) if isinstance(rule, dict) else None
    results = Alignment(rule, **arguments, steps=300, optimizer=optimizer, seed=1).run(model)
    assert list(results) == [
        "net/separable/depthwise",
        "net/separable/pointwise",
        "net/hidden",
        "net/top",
    ]
    angles = [measured["weight_angle"] for measured in results.values()]
    # of real activity a rule sees little but its mean direction
    assert np.all(np.isfinite(angles))
    assert source == "arrays" or start > 20.0 > 15.0 > max(angles)
    for variable, value in zip(model.variables, before, strict=True):
        same = np.array_equal(variable.numpy(), value)
        assert same == (not variable.path.endswith("feedback_kernel")), variable.path


def test_one_by_one_is_the_same_for_rules_without_noise():
    both = [perceptron(), perceptron()]
    for model, one_by_one in zip(both, (False, True), strict=True):
        Alignment("sa", steps=3, optimizer=SGD(0.1), one_by_one=one_by_one).run(model)
    for a, b in zip(*(feedback_kernels(m).values() for m in both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def chain(count=3):
    """Layers of which each learns from noise as the others do."""
    keras.utils.set_random_seed(0)
    layers = [ta.layers.Dense(6, feedback="fa", name=f"layer{i}") for i in range(count)]
    return keras.Sequential([keras.Input((6,)), *layers], name="net")


@pytest.mark.parametrize("of", ["rule", "optimizer"])
@pytest.mark.parametrize("woven", [False, True])
def test_one_by_one_every_layer_has_the_schedule_from_its_start(of, woven):
    decay = keras.optimizers.schedules.PolynomialDecay(0.2, 8, end_learning_rate=0.0)

    def final(one_by_one):
        model = chain()
        rule = ta.feedback.Alignment({"self": decay, "decay": decay}) if of == "rule" else "sa"
        optimizer = SGD(1.0) if of == "rule" else SGD(decay, momentum=0.5)
        phase = Alignment(rule, steps=4, optimizer=optimizer, one_by_one=one_by_one, seed=1)
        model.compile(SGD(0.0), "mse")
        if woven:
            x = np.ones((8, 6), "float32")
            ta.phases.interleave(model, phase).fit(x, x, batch_size=2, verbose=0)
        else:
            phase.run(model)
        phase.run(model)  # the schedule goes on
        return feedback_kernels(model)

    together, in_turn = final(False), final(True)
    for path, b in together.items():
        np.testing.assert_allclose(in_turn[path], b, rtol=1e-5, err_msg=path)


def test_one_by_one_layers_draw_noise_of_their_own():
    def final(one_by_one):
        model = chain()
        Alignment("wm", steps=2, one_by_one=one_by_one, seed=1).run(model)
        return feedback_kernels(model)

    together, in_turn = final(False), final(True)
    assert np.array_equal(together["net/layer0"], in_turn["net/layer0"])
    assert not np.array_equal(together["net/layer1"], in_turn["net/layer1"])  # later steps


def test_one_by_one_warns_of_no_retracing(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    Alignment("sa", steps=1, one_by_one=True).run(chain(7))
    assert "retracing" not in caplog.text


def test_a_tuple_of_arrays_is_inputs_and_targets_as_in_a_dataset():
    x, y = training.toy()
    found = []
    for data in (x, (x,), (x, y), training.digits()[0]._replace(x=x, y=y)):
        model = perceptron()
        Alignment("aa", dataset=data, steps=2, seed=1).run(model)
        found.append(np.concatenate([b.ravel() for b in feedback_kernels(model).values()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("kind", [list, dict])
def test_several_inputs_are_a_list_or_a_dict(kind):
    inputs = [keras.Input((3,), name="left"), keras.Input((4,), name="right")]
    hidden = keras.layers.Concatenate()(inputs)
    names = {x.name: x for x in inputs}
    output = ta.layers.Dense(2, feedback="fa", name="top")(hidden)
    model = keras.Model(inputs if kind is list else names, output)
    left, right = np.ones((8, 3), "float32"), np.ones((8, 4), "float32")
    x = [left, right] if kind is list else {"left": left, "right": right}
    for data in (x, (x, right)):
        assert list(Alignment("aa", dataset=data, steps=1).run(model)) == ["top"]


def test_noise_of_a_numpy_number():
    assert Alignment("sa", noise=np.float32(0.5)).rule.noise == ta.Noise("rademacher", 0.5)


def test_noise_follows_from_the_seed_and_goes_on():
    def after(seed, runs=2, steps=5):
        model = perceptron()
        phase = Alignment("wm", steps=steps, seed=seed)
        for _ in range(runs):
            phase.run(model)
        return np.concatenate([b.ravel() for b in feedback_kernels(model).values()])

    np.testing.assert_array_equal(after(1), after(1))
    np.testing.assert_array_equal(after(1), after(1, runs=1, steps=10))
    assert not np.allclose(after(1), after(2))


def test_layers_can_be_chosen():
    model = convolutional()
    before = feedback_kernels(model)
    results = Alignment("sa", steps=2, layers=["top", "net/separable/pointwise"]).run(model)
    assert list(results) == ["net/separable/pointwise", "net/top"]
    for path, b in feedback_kernels(model).items():
        assert np.array_equal(b, before[path]) == (path not in results)


def test_a_schedule_counts_the_steps_of_the_phase():
    model = perceptron()
    before = feedback_kernels(model)
    late = ta.schedules.Between(1.0, start=4)
    phase = Alignment({"decay": late}, steps=4, optimizer=SGD(0.5))
    phase.run(model)
    np.testing.assert_equal(feedback_kernels(model), before)
    phase.run(model)
    for path, b in feedback_kernels(model).items():
        np.testing.assert_allclose(b, before[path] * 0.5**4, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    results = Alignment("wm", steps=200, seed=1).run(convolutional())
    assert max(m["weight_angle"] for m in results.values()) < 20.0


def test_nothing_is_traced_twice():
    traced = []

    class Counted(Alignment):
        def step(self, *given):
            traced.append(self)
            super().step(*given)

    model, phase = perceptron(), Counted("wm", steps=30)
    for verbose in (0, 1, 0):
        phase.run(model, verbose=verbose)
    assert len(traced) == 1


def test_a_second_model_gets_a_state_of_its_own():
    phase = Alignment("sa", steps=1, optimizer=SGD(0.1, momentum=0.9))
    phase.run(perceptron())
    momentum = [v.numpy() for v in phase.variables if "momentum" in v.path]
    assert any(m.any() for m in momentum)
    phase.build(perceptron())
    assert not any(v.numpy().any() for v in phase.variables if "momentum" in v.path)


# ---- under a strategy ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "dataset"])
def test_two_replicas_equal_one_device_for_rules_without_noise(kind, two_replicas):
    x, _ = training.toy(examples=32)
    rule = ta.feedback.ActivationAlignment(noise=None, normalize=None)

    def phase():
        if kind == "noise":
            return Alignment("sa", steps=3, optimizer=SGD(0.1))
        data = tf.data.Dataset.from_tensor_slices(x).batch(16, drop_remainder=True)
        return Alignment(rule, dataset=data, steps=3, optimizer=SGD(0.1))

    one = perceptron()
    phase().run(one)
    with two_replicas.scope():
        two = perceptron()
    phase().run(two)
    for a, b in zip(feedback_kernels(one).values(), feedback_kernels(two).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_replicas_draw_noise_of_their_own(two_replicas):
    """The mean of two independent draws has half the variance of one."""
    spread = []
    for scoped in (False, True):
        finals = []
        for seed in range(8):
            with two_replicas.scope() if scoped else tf.name_scope("one"):
                model = perceptron()
            Alignment({"amp": 1.0}, steps=1, optimizer=SGD(1.0), batch_size=4, seed=seed).run(model)
            finals.append(np.concatenate([b.ravel() for b in feedback_kernels(model).values()]))
        spread.append(np.var(finals, axis=0).mean())
    assert spread[1] / spread[0] == pytest.approx(0.5, rel=0.3)


# ---- when it runs ----------------------------------------------------------------------------


class Counting(Phase):
    name = "counting"

    def __init__(self):
        super().__init__()
        self.calls = []

    def update(self, model, connections, verbose=0):
        self.calls.append(int(model.optimizer.iterations))
        return {path: {"calls": float(len(self.calls))} for path in connections}


def fit(model, *callbacks, epochs=3, **options):
    x, y = training.toy()  # four batches of 16
    return model.fit(
        x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    ).history


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, [0, 4, 8]),
        ({"warmup": 2}, [0, 0, 0, 4, 8]),
        ({"every": None, "warmup": 3}, [0, 0, 0]),
        ({"every": 2}, [0, 8]),
        ({"every_batches": 3}, [0, 3, 4, 7, 8, 11]),
        ({"every_batches": 1, "warmup": 1}, [0, *range(12)]),
    ],
)
def test_it_runs_when_asked(options, calls):
    model, phase = perceptron(), Counting()
    model.compile("sgd", "mse")
    history = fit(model, FeedbackCallback(phase, **options))
    assert phase.calls == calls
    assert history["counting/mean/calls"][-1] == len(calls)
    path = model.layers[-1].path
    assert len(history[f"counting/{path}/weight_angle"]) == 3


def test_every_epoch_has_its_former_spelling_for_one_version():
    with pytest.warns(DeprecationWarning, match=r"`every='epoch'` .* Use `every=1`"):
        assert FeedbackCallback(Counting(), every="epoch").every == 1


def test_at_most_once_an_execution():
    model, phase = perceptron(), Counting()
    model.compile("sgd", "mse", steps_per_execution=2)
    fit(model, FeedbackCallback(phase, every_batches=1), epochs=1)
    assert phase.calls == [0, 2]


def test_a_numpy_number_of_batches():
    model, phase = perceptron(), Counting()
    model.compile("sgd", "mse")
    fit(model, FeedbackCallback(phase, every_batches=np.int64(2)), epochs=1)
    assert phase.calls == [0, 2]


def test_phases_of_one_fit_have_names_that_differ():
    model = perceptron()
    model.compile("sgd", "mse")
    first, second = Alignment("sa", steps=1), Alignment("wm", steps=1)
    both = FeedbackCallback(first), FeedbackCallback(second)
    with pytest.raises(ValueError, match="two callbacks with phases named 'alignment'"):
        fit(model, *both, epochs=1)
    for one in both:  # each alone, and after the failure
        fit(model, one, epochs=1)
    renamed = FeedbackCallback(Alignment("wm", steps=1, name="mirror"))
    history = fit(model, both[0], renamed, epochs=1)
    assert {"alignment/mean/weight_angle", "mirror/mean/weight_angle"} <= set(history)


@pytest.mark.parametrize("kind", ["NodePerturbation", "SyntheticGradient", "RDD", "SAL"])
def test_every_phase_takes_a_name(kind):
    given = () if kind in ("RDD", "SAL") else (lambda y, y_pred: y,)
    assert getattr(ta.phases, kind)(*given, name="mine").name == "mine"
    assert getattr(ta.phases, kind)(*given).name != "mine"


class Halve(ta.phases.CompiledPhase):
    """A phase of somebody else: with an optimizer, variables of its own, turns and data."""

    name = "halve"

    def create(self, model, connections):
        self.largest = keras.Variable(0.0, trainable=False, name="largest")
        return [self.largest, *super().create(model, connections)]

    def groups(self, paths):
        return [[path] for path in paths]

    def default_data(self, model):
        return tf.constant(0.5)

    def step(self, model, connections, data):
        for path, c in connections.items():
            b = c.weights["feedback_kernel"]
            self.largest.assign(tf.maximum(self.largest.value, tf.reduce_max(b.value)))
            self.optimizer_for(path).apply([data * b.value], [b])


def test_a_phase_of_ones_own():
    model = perceptron()
    before = feedback_kernels(model)
    phase = Halve(steps=2, optimizer=SGD(1.0), seed=1)
    phase.run(model)
    for path, b in feedback_kernels(model).items():
        np.testing.assert_allclose(b, before[path] / 4, rtol=1e-6)
    assert float(phase.largest) == max(b.max() for b in before.values())
    assert phase.largest in phase.variables
    assert [int(phase.steps_of(path)) for path in before] == [2] * len(before)


def test_a_mirror_phase_keeps_feedback_aligned_in_training():
    def final(*callbacks):
        model = ta.convert(training.network(seed=1), "fa")
        training.compile_for_digits(model, SGD(0.01, momentum=0.9))
        train, _ = training.digits()
        monitor = ta.callbacks.AlignmentMonitor(probe_data=(train.x[:64], train.y[:64]))
        history = model.fit(*train, epochs=3, verbose=0, callbacks=[*callbacks, monitor]).history
        return history["mean/weight_angle"][-1], history["mean/gradient_angle"][-1]

    mirror = FeedbackCallback(Alignment("wm", steps=150, seed=1), warmup=1)
    with_phase, without = final(mirror), final()
    assert with_phase[0] < 25.0 < 60.0 < without[0]
    assert with_phase[1] < 40.0 < without[1]


def test_a_progress_bar_is_shown(capsys):
    model = perceptron()
    model.compile("sgd", "mse")
    x, y = training.toy()
    model.fit(x, y, verbose=1, callbacks=[FeedbackCallback(Alignment("sa", steps=40))])
    assert "40/40" in capsys.readouterr().out
    fit(model, FeedbackCallback(Alignment("sa", steps=40)), epochs=1)
    assert "40/40" not in capsys.readouterr().out


class Stop(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise Stop


@pytest.mark.parametrize(
    ("dataset", "one_by_one"), [(None, False), ("arrays", False), (None, True)]
)
def test_a_resumed_run_ends_with_the_same_weights(dataset, one_by_one, tmp_path):
    x, _ = training.toy()

    def run(directory, *callbacks):
        model = perceptron()
        model.compile(SGD(0.1), "mse")
        phase = Alignment(
            "wm",
            dataset=x if dataset else None,
            steps=5,
            optimizer=keras.optimizers.Adam(0.01),
            one_by_one=one_by_one,
            seed=3,
        )
        resume = Resume(directory, phases=[phase])
        fit(model, FeedbackCallback(phase, warmup=1), *callbacks, resume, epochs=4)
        return [w.numpy() for w in model.weights]

    whole = run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "part", Interrupt())
    for a, b in zip(whole, run(tmp_path / "part"), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- errors ----------------------------------------------------------------------------------


def test_divergence_is_named():
    with pytest.raises(DivergenceError, match=r"'alignment' diverged: .*dense.* contains NaN"):
        Alignment("sa", steps=500, optimizer=SGD(3.0)).run(perceptron())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rule": "fa"}, TypeError, "rule='fa'"),
        ({"rule": {"gain": 1.0}}, ValueError, "gain"),
        ({"noise": "pink"}, ValueError, "noise='pink'"),
        ({"noise": -1.0}, ValueError, "noise=-1.0"),
        ({"noise": 1.0, "dataset": np.ones((4, 6))}, ValueError, "noise=1.0"),
        ({"steps": 0}, ValueError, "steps=0"),
        ({"batch_size": 1.5}, ValueError, "batch_size=1.5"),
        ({"layers": "top"}, TypeError, "layers='top'"),
        ({"layers": []}, ValueError, r"layers=\[\]"),
        ({"dataset": ()}, TypeError, "dataset of type tuple"),
        ({"noise": True}, TypeError, "noise=True"),
        ({"name": 3}, TypeError, "name=3"),
        ({"name": ""}, ValueError, "name=''"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Alignment(**{"rule": "wm", **arguments})


def test_what_a_model_must_have():
    with pytest.raises(ValueError, match="feedback kernel"):
        Alignment("wm").run(training.perceptron())
    with pytest.raises(ValueError, match=r"\['nowhere'\]"):
        Alignment("wm", layers=["nowhere"]).run(perceptron())
    rule = ta.feedback.ActivationAlignment(feedback_bias=True)
    with pytest.raises(ValueError, match="feedback_bias"):
        Alignment(rule).run(perceptron())
    long = keras.Sequential([keras.Input((None, 4)), ta.layers.Conv1D(3, 3, feedback="fa")])
    with pytest.raises(ValueError, match=r"shapes \[\(None, 4\)\]"):
        Alignment("wm").run(long)
    Alignment("wm", dataset=np.ones((8, 5, 4), "float32"), steps=1).run(long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"phase": Alignment}, TypeError, "phase="),
        ({"phase": "wm"}, TypeError, "phase='wm'"),
        ({"every": "batch"}, ValueError, "every='batch'"),
        ({"every": 0}, ValueError, "every=0"),
        ({"every": True}, ValueError, "every=True"),
        ({"every_batches": 0}, ValueError, "every_batches=0"),
        ({"warmup": -1}, ValueError, "warmup=-1"),
        ({"every": None}, ValueError, "warmup=0"),
    ],
)
def test_wrong_callback_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        FeedbackCallback(**{"phase": Counting(), **arguments})

"""The monitor measures, and names and stops what diverges."""

import csv
import math
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import LOSS, classifier

import tf_alignment as ta
from tf_alignment.callbacks import AlignmentMonitor, DivergenceError
from tf_alignment.divergence import NormWatch

# Keras 3.15 hands variables to numpy 2 in a way that numpy 2 announces to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SGD = keras.optimizers.SGD


@pytest.fixture(scope="module")
def digits():
    return training.flat_digits()


def fit(model, data, monitor, epochs=1, **options):
    x, y = data
    return model.fit(
        x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=[monitor], **options
    ).history


# ---- what the monitor measures ---------------------------------------------------------------


def test_names_and_values_in_history(digits):
    model = classifier("sa", depth=2)
    x, y = digits
    monitor = AlignmentMonitor(probe_data=(x[:32], y[:32]))
    history = fit(model, digits, monitor, epochs=2)
    of_layer = ["weight_angle", "sign_agreement", "norm_ratio", "gradient_angle", "error_angle"]
    expected = {f"net/{n}/{m}" for n in ("hidden_1", "top") for m in of_layer}
    expected |= {f"mean/{m}" for m in of_layer} | {"net/hidden_0/gradient_angle", "loss"}
    assert set(history) == expected
    layers = [name.split("/")[1] for name in history if name.startswith("net/")]
    assert list(dict.fromkeys(layers)) == ["hidden_0", "hidden_1", "top"]  # from the lowest up
    layer = model.get_layer("top")
    angle = ta.metrics.weight_angle(layer.kernel, layer.effective_feedback_kernel())
    assert history["net/top/weight_angle"][-1] == pytest.approx(float(angle))
    assert history["net/top/weight_angle"][-1] < 5.0
    angles = ta.metrics.gradient_angle(model, x[:32], y[:32])
    assert history["net/hidden_0/gradient_angle"][-1] == pytest.approx(
        angles["net/hidden_0"]["kernel"], abs=1e-3
    )
    assert history["net/hidden_1/error_angle"][-1] == pytest.approx(
        angles["net/hidden_1"]["error"], abs=1e-3
    )
    both = [history[f"net/{n}/norm_ratio"][-1] for n in ("hidden_1", "top")]
    assert history["mean/norm_ratio"][-1] == pytest.approx(np.mean(both))
    assert [r["epoch"] for r in monitor.records] == [0, 1]
    assert monitor.measure() == {n: v for n, v in monitor.records[-1].items() if n != "epoch"}


@pytest.mark.parametrize("feedback", ta.feedback.METHODS)
def test_every_method_has_what_it_has(feedback, digits):
    optimizer = ta.optimizers.split(SGD(0.01), SGD(1e-4))
    model = classifier(feedback, optimizer=optimizer, run_eagerly=True)
    x, y = (a[:128] for a in digits)
    history = fit(model, (x, y), AlignmentMonitor(probe_data=(x[:32], y[:32])))
    kind = "path_angle" if feedback in ("pfa", "pfa_o") else "weight_angle"
    has_kernel = ta.feedback.get(feedback).has_kernel
    assert ("mean/" + kind in history) == has_kernel
    assert ("mean/norm_ratio" in history) == has_kernel
    assert ("mean/error_angle" in history) == (feedback != "dfa")
    assert len([k for k in history if k.endswith("hidden_0/gradient_angle")]) == 1
    assert all(math.isfinite(v) for values in history.values() for v in values)


def test_what_it_compiled_is_kept_from_fit_to_fit(digits, monkeypatch):
    made = []
    probe = ta.metrics.GradientProbe
    monkeypatch.setattr(
        ta.callbacks.monitor, "GradientProbe", lambda model: made.append(model) or probe(model)
    )
    x, y = digits
    monitor = AlignmentMonitor(probe_data=(x[:32], y[:32]))
    model = classifier("sa", depth=2)
    for _ in range(3):
        fit(model, digits, monitor)
    assert made == [model]
    angles = ta.metrics.gradient_angle(model, x[:32], y[:32])  # of the weights as they are now
    found = monitor.records[-1]["net/hidden_0/gradient_angle"]
    assert found == pytest.approx(angles["net/hidden_0"]["kernel"], abs=1e-3)
    model.compile(ta.optimizers.split("sgd"), LOSS)  # the loss may be another
    fit(model, digits, monitor)
    other = classifier("fa", depth=2)
    fit(other, digits, monitor)
    assert made == [model, model, other]


def test_without_probe_data_only_kernels_are_measured(digits):
    history = fit(classifier(), digits, AlignmentMonitor())
    assert "mean/weight_angle" in history
    assert "mean/gradient_angle" not in history


def test_stock_models_are_controls(digits):
    x, y = digits
    model = classifier("sa")
    stock = ta.strip(model)
    stock.compile(SGD(0.1), LOSS)
    history = fit(stock, digits, AlignmentMonitor(probe_data=(x[:32], y[:32])))
    assert history["mean/gradient_angle"] == [0.0]
    assert "mean/weight_angle" not in history


def test_a_model_that_is_built_in_fit(digits):
    model = keras.Sequential([ta.layers.Dense(10, feedback="sa")])
    model.compile(ta.optimizers.split("sgd"), LOSS)
    assert "mean/weight_angle" in fit(model, digits, AlignmentMonitor())


def test_a_dead_network_has_no_gradient_angle(digits, tmp_path):
    x, y = (a[:64] for a in digits)
    model = classifier("backprop", depth=2, optimizer=SGD(0.0))
    top = model.get_layer("top")
    top.kernel.assign(np.zeros(top.kernel.shape))  # no error below
    monitor = AlignmentMonitor((x, y), log_dir=tmp_path / "logs", csv=tmp_path / "a.csv")
    history = fit(model, (x, y), monitor)
    assert np.isnan(history["net/hidden_1/gradient_angle"]).all()
    assert history["mean/gradient_angle"] == [pytest.approx(0.0, abs=1e-4)]  # the top's
    hidden = model.get_layer("hidden_1")
    hidden.bias.assign(np.full(hidden.bias.shape, -100.0))
    history = fit(model, (x, y), monitor)
    angles = [n for n in history if n.endswith(("gradient_angle", "error_angle"))]
    assert "mean/gradient_angle" in angles and "mean/error_angle" in angles
    assert np.isnan([history[n] for n in angles]).all()
    with open(tmp_path / "a.csv") as file:
        [row] = csv.DictReader(file)
    assert math.isnan(float(row["mean/gradient_angle"]))


def test_every_measures_first_and_last_epoch_and_fills_with_nan(digits):
    monitor = AlignmentMonitor(every=3)
    history = fit(classifier(), digits, monitor, epochs=6)
    found = [math.isfinite(v) for v in history["mean/weight_angle"]]
    assert found == [True, False, False, True, False, True]
    assert [r["epoch"] for r in monitor.records] == [0, 3, 5]


class StopAt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 3


@pytest.mark.parametrize("first", [True, False])
def test_the_last_epoch_is_measured_where_another_callback_ends_training(digits, first, tmp_path):
    monitor = AlignmentMonitor(every=5, csv=tmp_path / "angles.csv")
    callbacks = [StopAt(), monitor] if first else [monitor, StopAt()]
    options = {"epochs": 20, "batch_size": 64, "verbose": 0, "callbacks": callbacks}
    history = classifier().fit(*digits, **options).history
    assert [r["epoch"] for r in monitor.records] == [0, 3]
    assert len((tmp_path / "angles.csv").read_text().splitlines()) == 3
    assert math.isfinite(history["mean/weight_angle"][3]) == first
    assert all(math.isfinite(value) for value in monitor.records[-1].values())


@pytest.mark.parametrize("layers", [False, True])
def test_logs_have_the_mean_angles_and_history_has_all(digits, layers):
    seen = {}
    monitor = AlignmentMonitor(layers=layers)
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: seen.update(logs))
    x, y = digits
    callbacks = [monitor, look]
    history = classifier().fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
    assert set(seen) == (set(history) if layers else {"loss", "mean/weight_angle"})
    assert set(history) == {"loss", *monitor.records[0]} - {"epoch"}
    assert all(len(values) == 2 for values in history.values())
    for name in monitor.records[0].keys() - {"epoch"}:
        assert history[name] == [record[name] for record in monitor.records]
    if not layers:  # figures draw the layers from the lowest up
        measured = [name for name in monitor.records[0] if name in history]
        assert [name for name in history if name.startswith("net/")] == [
            name for name in measured if name.startswith("net/")
        ]


def test_a_name_that_keras_counted_is_left_out(digits):
    x, y = digits
    model = keras.Sequential([keras.Input((64,)), ta.layers.Dense(10, feedback="fa", name="top")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.name.startswith("sequential")
    history = fit(model, (x, y), AlignmentMonitor())
    assert "top/weight_angle" in history


def test_a_dataset_gives_its_first_batch(digits):
    x, y = digits
    batches = tf.data.Dataset.from_tensor_slices((x[:60], y[:60])).batch(40)
    model = classifier()
    model(x[:1])
    found = []
    for probe in (batches, (x[:40], y[:40])):
        monitor = AlignmentMonitor(probe_data=probe)
        monitor.set_model(model)
        monitor.on_train_begin()
        found.append(monitor.measure())
    assert found[0] == found[1]
    with pytest.raises(TypeError, match="dataset of such batches"):
        AlignmentMonitor(probe_data=batches.map(lambda x, y: x))


def read_events(directory):
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(e.step, tf.make_ndarray(e.tensor_proto).item()) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_own_tensorboard_and_csv_files(digits, tmp_path):
    monitor = AlignmentMonitor(log_dir=tmp_path / "logs", csv=tmp_path / "deep" / "angles.csv")
    history = fit(classifier(), digits, monitor, epochs=3)
    angles = history["net/top/weight_angle"]
    assert read_events(tmp_path / "logs")["net/top/weight_angle"] == [
        (i, pytest.approx(a)) for i, a in enumerate(angles)
    ]
    with (tmp_path / "deep" / "angles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    assert [float(row["net/top/weight_angle"]) for row in rows] == pytest.approx(angles)
    assert set(rows[0]) == {"epoch", *history} - {"loss"}


def test_the_csv_of_a_continued_run_goes_on(digits, tmp_path):
    file = tmp_path / "angles.csv"

    def epochs():
        with file.open(newline="") as f:
            return [int(row["epoch"]) for row in csv.DictReader(f)]

    model = classifier()
    fit(model, digits, AlignmentMonitor(csv=file), epochs=3)
    fit(model, digits, AlignmentMonitor(csv=file), epochs=4, initial_epoch=2)
    assert epochs() == [0, 1, 2, 3]
    fit(model, digits, AlignmentMonitor(csv=file), epochs=1)
    assert epochs() == [0]


def test_keras_loggers_listed_after_it_write_its_measures(digits, tmp_path):
    x, y = digits
    callbacks = [
        AlignmentMonitor(every=2, layers=True),
        keras.callbacks.CSVLogger(str(tmp_path / "all.csv")),
        keras.callbacks.TensorBoard(str(tmp_path / "logs")),
    ]
    classifier().fit(x, y, epochs=3, verbose=0, callbacks=callbacks)
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert float(rows[-1]["net/top/weight_angle"]) < 90.0
    tags = read_events(tmp_path / "logs" / "train")
    assert "epoch_net/top/weight_angle" in tags
    assert "epoch_learning_rate_feedback" in tags


@pytest.mark.parametrize(
    "options",
    [{"steps_per_execution": 5}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=lambda o: next(iter(o)),
)
def test_ways_of_running(options, digits):
    x, y = digits
    monitor = AlignmentMonitor(probe_data=(x[:32], y[:32]))
    history = fit(classifier(**options), (x[:320], y[:320]), monitor)
    assert 0.0 < history["mean/gradient_angle"][0] < 90.0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, digits):
    keras.config.set_dtype_policy(policy)
    x, y = digits
    history = fit(classifier(), digits, AlignmentMonitor(probe_data=(x[:32], y[:32])), epochs=2)
    assert history["mean/weight_angle"][-1] < 20.0


def test_two_replicas(digits, two_replicas):
    x, y = digits
    with two_replicas.scope():
        model = classifier(dropout=0.2)
    monitor = AlignmentMonitor(probe_data=(x[:32], y[:32]))
    history = fit(model, digits, monitor, epochs=2)
    assert history["mean/weight_angle"][-1] < 20.0
    outside = monitor.measure()
    with two_replicas.scope():
        assert monitor.measure() == pytest.approx(outside, abs=1e-3)


# ---- what the monitor watches ----------------------------------------------------------------


def test_momentum_is_warned_of_when_training_begins(digits):
    model = classifier("sa", optimizer=SGD(0.01, momentum=0.9))
    with pytest.warns(UserWarning, match=r"learn by alignment.*momentum.*split"):
        fit(model, digits, AlignmentMonitor())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(classifier("sa"), digits, AlignmentMonitor())


def weight_mirror(beta):
    """Nine layers, each a mirror of its own, with momentum on the forward weights."""
    published = {"noise": None, "normalize": None, "response_bias": True}
    rule = ta.feedback.WeightMirror(alpha=1.0, beta=beta, **published)
    return classifier(rule, ta.optimizers.split(SGD(0.1, momentum=0.9)), depth=8)


# B drives W and W drives B: near the end a norm may pass from normal to infinite in one step.
@pytest.mark.parametrize(
    ("beta", "what"),
    [
        pytest.param(1.0, "collapsed", marks=pytest.mark.slow),
        (1e-3, "(ran away|contains NaN or infinity)"),
    ],
)
def test_untuned_weight_mirror_is_stopped_and_named(beta, what, digits):
    with pytest.warns(UserWarning, match="Training diverged") as caught:
        history = fit(weight_mirror(beta), digits, AlignmentMonitor(check_every=1), epochs=20)
    assert len(history["loss"]) < 5
    message = str(caught[0].message)
    assert re.search(
        rf"'feedback_kernel' of layer 'net/\w+' \(feedback 'wm', W\w+\) {what}", message
    )
    assert "beta/alpha" in message
    assert message.endswith("Training stops here.")


def test_it_can_raise(digits):
    with pytest.raises(DivergenceError, match="WeightMirror"):
        fit(weight_mirror(1.0), digits, AlignmentMonitor(on_divergence="raise"), epochs=20)


def nan_in(model, name, value=np.nan):
    """A callback that spoils a weight of layer `name` at the end of the first epoch."""
    weight = next(w for w in model.weights if w.path.endswith(name))

    def spoil(epoch, logs):
        if epoch == 0:
            weight.assign(weight * value)

    return keras.callbacks.LambdaCallback(on_epoch_begin=spoil)


def spoiled_fit(name, on_divergence, digits, value=np.nan, epochs=3, **options):
    model = classifier("fa", depth=2)
    x, y = digits
    callbacks = [
        nan_in(model, name, value),
        AlignmentMonitor(on_divergence=on_divergence, **options),
    ]
    return model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=callbacks).history


@pytest.mark.parametrize("name", ["top/feedback/feedback_kernel", "hidden_1/kernel", "top/kernel"])
def test_nan_in_any_kernel_is_named(name, digits):
    layer = name.split("/")[0]
    with pytest.raises(DivergenceError, match=f"after batch 1: .*{layer}.*NaN or infinity"):
        spoiled_fit(name, "raise", digits)


def test_warn_says_it_once_and_goes_on(digits):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = spoiled_fit("top/feedback/feedback_kernel", "warn", digits)
    said = [str(w.message) for w in caught if "diverged" in str(w.message)]
    assert len(history["loss"]) == 3
    assert sum("'feedback_kernel' of layer 'net/top'" in text for text in said) == 1


def test_none_means_no_watch(digits):
    history = spoiled_fit("top/feedback/feedback_kernel", None, digits)
    assert len(history["loss"]) == 3


def test_a_loss_that_is_nan_with_sound_weights(digits):
    x, y = digits
    spoil = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(loss=np.nan))
    with pytest.raises(DivergenceError, match=r"end of epoch 1: the loss is nan, with .* finite"):
        classifier("fa").fit(
            x, y, verbose=0, callbacks=[spoil, AlignmentMonitor(on_divergence="raise")]
        )


def test_runaway_forward_weights_of_fixed_feedback_are_named(digits):
    with pytest.raises(DivergenceError, match=r"'kernel' of layer 'net/top' \(feedback 'fa'"):
        spoiled_fit("top/kernel", "raise", digits, value=1e4)


@pytest.mark.parametrize(
    ("factor", "what"), [(1e-3, "collapsed"), (150.0, "ran away"), (0.1, None), (10.0, None)]
)
def test_norm_ratio_of_learning_feedback(factor, what):
    model = classifier("sa")
    watch = NormWatch(model)
    weight = model.get_layer("top").feedback_weights["feedback_kernel"]
    weight.assign(weight * factor)
    problems = watch.problems()
    if what is None:
        assert not problems
    else:
        [(text, _)] = problems.values()
        assert what in text
        assert "times the forward kernel's" in text


def test_forward_weights_that_leave_the_feedback_behind():
    model = classifier("kp")
    watch = NormWatch(model, max_norm_ratio=10.0)
    kernel = model.get_layer("top").kernel
    kernel.assign(kernel * 20.0)
    [(text, advice)] = watch.problems().values()
    assert "was left behind by the forward kernel" in text
    assert "weight decay" in advice


def test_fixed_feedback_may_have_any_scale():
    model = classifier("fa")
    weight = model.get_layer("top").feedback_weights["feedback_kernel"]
    weight.assign(weight * 1e-6)
    watch = NormWatch(model)
    assert not watch.problems()
    kernel = model.get_layer("top").kernel
    kernel.assign(kernel * 20.0)
    assert not watch.problems()


def test_feedback_of_direct_feedback_alignment_is_watched():
    model = classifier("dfa", depth=2)
    watch = NormWatch(model)
    weight = next(w for w in model.weights if "feedback_kernel" in w.path)
    weight.assign(weight * np.nan)
    [(text, _)] = watch.problems().values()
    assert "(feedback 'dfa', DirectFeedback)" in text


def test_looks_are_frequent_at_first_then_rare(digits, monkeypatch):
    looks = []
    monitor = AlignmentMonitor(check_every=8)
    monkeypatch.setattr(monitor, "_check", lambda logs, when: looks.append(when))
    fit(classifier(), digits, monitor, epochs=2)
    batches = [int(w.split()[-1]) for w in looks if "batch" in w]
    assert batches == [1, 2, 4, 8, 16, 24, 32, 40]
    assert sum("epoch" in w for w in looks) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"probe_data": 3}, TypeError, r"`probe_data` must be \(x, y\).*Received: .*int"),
        ({"probe_data": (1,)}, TypeError, r"`probe_data` must be \(x, y\)"),
        ({"every": 0}, ValueError, "`every` must be an integer of at least 1. Received: every=0"),
        ({"check_every": 1.5}, ValueError, "`check_every` .* Received: check_every=1.5"),
        ({"max_norm_ratio": 1}, ValueError, "a finite number above 1. Received: max_norm_ratio=1"),
        ({"max_growth": 0.5}, ValueError, "a finite number above 1. Received: max_growth=0.5"),
        ({"on_divergence": "x"}, ValueError, "`on_divergence` must be one of .*Received: .*'x'"),
    ],
)
def test_wrong_arguments_of_the_monitor(arguments, error, message):
    with pytest.raises(error, match=message):
        AlignmentMonitor(**arguments)

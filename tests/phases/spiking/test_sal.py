"""Spike-based alignment learning as a phase."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import training
from interrupted import assert_resumes_to_the_same_weights
from phased import feedback_kernels as feedback
from sal_layers import K, quick, run

import tf_alignment as ta
from tf_alignment.callbacks import DivergenceError, FeedbackCallback, Resume
from tf_alignment.phases import SAL
from tf_alignment.spiking.sampling import FeedbackLearning

Uniform = keras.initializers.RandomUniform


def dense(method="fa", seed=0, **options):
    return ta.convert(training.perceptron(seed=seed, **options), method)


def pair(n=50, seed=1):
    """Two populations of n with weights U(±√(3/n)), the published test."""
    limit = (3 / n) ** 0.5
    layer = ta.layers.Dense(
        n, feedback="fa", kernel_initializer=Uniform(-limit, limit, seed=seed), name="top"
    )
    model = keras.Sequential([keras.Input((n,)), layer], name="net")
    return model, layer


def test_fifty_to_fifty_in_100000_refractory_times(recwarn):
    model, layer = pair()
    results = SAL(steps=7800, chains=64, seed=1).run(model)["net/top"]  # 99840
    assert 80 < results["weight_angle_before"] < 100
    assert results["weight_angle"] < 14.0
    w, b = (np.ravel(a) for a in (layer.kernel, layer.feedback_weights["feedback_kernel"]))
    assert np.corrcoef(w, b)[0, 1] > 0.95
    assert 0.75 < np.polyfit(w, b, 1)[0] < 1.1
    assert not [w for w in recwarn if "sal" in str(w.message)]


@pytest.mark.slow
def test_unequal_lobes_are_survived():
    def angle(**options):
        return SAL(steps=6000, seed=1, **options).run(pair()[0])["net/top"]["weight_angle"]

    assert angle(lobe_mismatch=0.1) < 20.0
    assert angle(synapse_mismatch=0.1) < 20.0
    with pytest.warns(UserWarning, match="outweighs"):
        assert angle(lobe_mismatch=0.1, subtract_rates=False) > 45.0


@pytest.mark.slow
def test_deep_networks():
    """All layers at once, and again at a lower rate; the rest of the model stays as it was.

    The kernel is not the default, with which the next test learns.
    """
    keras.utils.set_random_seed(1)
    layers = [K.Dense(n, "relu", name=f"dense{n}") for n in (128, 64, 32, 10)]
    model = ta.convert(keras.Sequential([keras.Input((20,)), *layers], name="net"), "fa")
    before = {v.path: v.numpy() for v in model.variables}
    decay = keras.optimizers.schedules.InverseTimeDecay(0.07, 80, 1.0, staircase=True)
    phase = SAL(steps=4000, seed=1, rate=decay, kernel="triangular")
    first = phase.run(model)
    assert list(first) == ["net/dense64", "net/dense32", "net/dense10"]
    assert all(r["weight_angle"] < 30 for r in first.values())
    second = phase.run(model)
    for path, measured in second.items():
        assert measured["weight_angle"] < first[path]["weight_angle"]
        assert measured["weight_angle_before"] == pytest.approx(first[path]["weight_angle"])
    for variable in model.variables:
        same = np.array_equal(variable.numpy(), before[variable.path])
        assert same == (not variable.path.endswith("feedback_kernel")), variable.path


@pytest.mark.slow
@pytest.mark.parametrize("phases", [1, 6])
def test_a_phase_on_the_mnist_perceptron_s_layers(phases):
    """784-256-128-64-10: one phase, and six with a decaying rate.

    Measured are 25.1°, 19.1° and 11.8° after one, 13.3°, 9.9° and 6.0° after six.
    """
    keras.utils.set_random_seed(1)
    layers = [K.Dense(n, "relu", name=f"dense{n}") for n in (256, 128, 64, 10)]
    model = ta.convert(keras.Sequential([keras.Input((784,)), *layers], name="net"), "fa")
    rate = keras.optimizers.schedules.InverseTimeDecay(0.07, 80, 0.5, staircase=True)
    phase = SAL(steps=4000, seed=1, rate=rate)
    results = [phase.run(model) for _ in range(phases)][-1]
    angles = np.array([measured["weight_angle"] for measured in results.values()])
    assert np.all(angles < ([32.0, 28.0, 22.0] if phases == 1 else 16.0))


def test_spike_rates_are_those_of_the_neurons():
    """Without weights every neuron has σ(bias); inputs have bias 0."""
    model, layer = pair()
    layer.kernel.assign(tf.fill((50, 50), 1e-6))
    layer.feedback_weights["feedback_kernel"].assign(tf.zeros((50, 50)))
    layer.bias.assign(tf.fill([50], -1.0))
    measured = run(quick(500, 64, rate=1e-9), model)["net/top"]
    assert measured["spike_rate_below_per_tau"] == pytest.approx(0.5, abs=0.02)
    assert measured["spike_rate_above_per_tau"] == pytest.approx(1 / (1 + np.e), abs=0.02)
    measured = run(quick(500, 64, rate=1e-9, bias=-1.0), model)["net/top"]
    assert measured["spike_rate_below_per_tau"] == pytest.approx(1 / (1 + np.e), abs=0.02)


@pytest.mark.slow
def test_balanced_neurons_align_trained_weights_better():
    """Weights of one sign drive neurons to unequal rates; balanced neurons do not mind."""

    def run_one(balanced):
        model, layer = pair()
        layer.kernel.assign(layer.kernel + 0.15 * np.sign(np.arange(50) - 25.0))
        return run(SAL(steps=6000, seed=1, balanced=balanced), model)["net/top"]

    plain, balanced = run_one(False), run_one(True)
    assert balanced["spike_rate_above_per_tau"] == pytest.approx(0.5, abs=0.05)
    assert balanced["weight_angle"] < 0.7 * plain["weight_angle"]


def test_one_run_is_the_learning_of_the_spiking_network():
    model = dense()
    phase = quick(steps=200)
    connections = phase.connections(model)
    phase.build(model)
    learning = phase._learnings[0]
    kernels = [c.kernel.numpy() for c in connections.values()]
    biases = [np.zeros(12), *(c.layer.bias.numpy() for c in connections.values())]
    state = learning.start(list(feedback(model).values()))
    state = learning.run(state, kernels, biases, blocks=4)
    run(phase, model)
    for found, expected in zip(feedback(model).values(), state.feedback, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_seed_decides(capsys):
    def after(seed, verbose=0):
        model, phase, found = dense(), quick(seed=seed), []
        for _ in range(3):
            found.append(np.concatenate([b.ravel() for b in feedback(model).values()]))
            phase.advance(model, verbose)
        return np.array(found)

    one = after(1)
    np.testing.assert_array_equal(one, after(1, verbose=1))
    assert "100/100" in capsys.readouterr().out
    assert not np.allclose(one[1], after(2)[1])
    first, second = np.diff(one, axis=0)  # each run has random numbers of its own
    assert np.corrcoef(first, second)[0, 1] < 0.5


def test_nothing_is_traced_twice(monkeypatch):
    traces, blocks = [], FeedbackLearning._blocks

    def counted(self, *args):
        traces.append(args)
        return blocks(self, *args)

    monkeypatch.setattr(FeedbackLearning, "_blocks", counted)
    phase = quick()
    for seed in range(2):  # another model of the same shape
        model = dense(seed=seed)
        for verbose in (0, 1, 0):
            phase.advance(model, verbose)
    assert len(traces) == 1


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    x, y = training.toy()

    def after(directory, *callbacks):
        model = dense()
        model.compile(keras.optimizers.SGD(0.1), "mse")
        phase = quick()
        model.fit(
            x,
            y,
            epochs=4,
            verbose=0,
            shuffle=False,
            callbacks=[FeedbackCallback(phase), *callbacks, Resume(directory, phases=[phase])],
        )
        return [w.numpy() for w in model.weights]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert_resumes_to_the_same_weights(after, tmp_path)


def test_a_run_that_fails_half_way_changes_nothing(monkeypatch):
    x = keras.Input((6,))
    heads = [K.Dense(2, name=f"top{i}")(K.Dense(5, name=f"h{i}")(x)) for i in range(2)]
    model = ta.convert(keras.Model(x, heads), "fa")
    before, phase, calls, learn = feedback(model), quick(), [], FeedbackLearning.run

    def fails(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(self, *args)

    monkeypatch.setattr(FeedbackLearning, "run", fails)
    with pytest.raises(KeyboardInterrupt):
        phase.run(model)
    np.testing.assert_equal(feedback(model), before)
    assert int(phase.variables[0].numpy()) == 0


def test_it_keeps_feedback_aligned_in_training():
    def final(*callbacks):
        keras.utils.set_random_seed(3)
        layers = [K.Dense(n, "relu") for n in (48, 32)]
        stock = keras.Sequential([keras.Input((64,)), *layers, K.Dense(10)])
        model = training.compile_for_digits(ta.convert(stock, "fa"), keras.optimizers.SGD(0.1))
        x, y = training.flat_digits()
        monitor = ta.callbacks.AlignmentMonitor(probe_data=(x[:64], y[:64]))
        return model.fit(x, y, epochs=3, verbose=0, callbacks=[*callbacks, monitor]).history

    history = final(FeedbackCallback(SAL(steps=2000, seed=1)))
    without = final()
    assert history["mean/gradient_angle"][-1] < 15.0 < 35.0 < without["mean/gradient_angle"][-1]
    for name in ("weight_angle", "weight_angle_before", "spike_rate_below_per_tau", "silent_above"):
        assert len(history[f"sal/mean/{name}"]) == 3


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model, _ = pair()
    x = np.ones((8, 50), "float32")
    model.compile("sgd", "mse")
    callback = FeedbackCallback(SAL(seed=1))
    history = model.fit(x, x, verbose=0, callbacks=[callback]).history
    assert history["sal/net/top/weight_angle"][-1] < 20.0


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "float64"])
def test_every_dtype_policy(policy):
    keras.config.set_dtype_policy(policy)
    model, layer = pair()
    assert SAL(steps=6000, seed=1).run(model)["net/top"]["weight_angle"] < 20.0
    assert layer.feedback_weights["feedback_kernel"].dtype == policy


@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_replicas_run_it_once(jit_compile, two_replicas):
    x, y = training.toy()

    def after(model):
        model.compile("sgd", "mse")
        callback = FeedbackCallback(quick(jit_compile=jit_compile))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
        return model

    one = after(dense())
    with two_replicas.scope():
        two = dense()
    after(two)
    for a, b in zip(feedback(one).values(), feedback(two).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    for layer in ta.layers.feedback_layers(two):
        copies = layer.feedback_weights["feedback_kernel"].value.values
        np.testing.assert_array_equal(*copies)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (-7.0, r"9\d % of the units of 'net/top' hardly spike; raise"),
        (9.0, "100 % of the units of 'net/top' are saturated; lower"),
    ],
)
def test_silent_and_saturated_layers_are_named(bias, message):
    model, layer = pair()
    layer.bias.assign(tf.fill([50], bias))
    with pytest.warns(UserWarning, match=message):
        quick().run(model)


def test_half_a_layer_that_is_saturated_is_named():
    model, layer = pair()
    layer.bias.assign(np.where(np.arange(50) < 25, 9.0, -7.0))
    with pytest.warns(UserWarning, match="50 % of the units of 'net/top' are sat") as caught:
        measured = quick().run(model)["net/top"]
    assert {warning.filename for warning in caught} == {__file__}
    assert measured["saturated_above"] == 0.5 >= measured["silent_above"] > 0.3


def test_kernels_of_zeros_have_nothing_to_teach():
    model, layer = pair()
    layer.kernel.assign(np.zeros((50, 50)))
    with pytest.raises(ValueError, match="'net/top' with zeros alone"):
        quick().run(model)


def test_a_norm_ratio_without_a_forward_norm_is_no_divergence():
    """What all phases check afterwards is B alone."""

    class Nothing(ta.phases.Phase):
        def update(self, model, connections, verbose=0):
            return None

    model, layer = pair()
    layer.kernel.assign(np.zeros((50, 50)))
    assert np.isinf(Nothing().run(model)["net/top"]["norm_ratio"])
    layer.feedback_weights["feedback_kernel"].assign(np.full((50, 50), np.inf))
    with pytest.raises(DivergenceError, match="'net/top' contains NaN or infinity"):
        Nothing().run(model)


def test_a_silent_network_is_an_error():
    model, _ = pair()
    before = feedback(model)
    with pytest.raises(ValueError, match="not one neuron spiked, of \\['net/top'\\]"):
        quick(bias=-60.0).run(model)
    np.testing.assert_equal(feedback(model), before)


def test_a_rate_that_is_too_high_is_named():
    with pytest.warns(UserWarning, match=r"feedback kernel of 'net/top' grew.*lower `rate`"):
        quick(1000, 64, rate=2.0).run(pair()[0])


def test_infinite_results_are_not_carried_on():
    model, _ = pair()
    before = feedback(model)
    with pytest.raises(DivergenceError, match="'net/top' would contain NaN"):
        quick(rate=3e38).run(model)
    np.testing.assert_equal(feedback(model), before)


@pytest.mark.parametrize("name", ["kernel", "feedback kernel", "bias"])
def test_nan_weights_are_named(name):
    model, layer = pair()
    weights = {
        "kernel": layer.kernel,
        "feedback kernel": layer.feedback_weights["feedback_kernel"],
        "bias": layer.bias,
    }
    weights[name].assign(tf.fill(weights[name].shape, np.nan))
    with pytest.raises(DivergenceError, match=f"the {name} of 'net/top' contains NaN"):
        quick().run(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 120}, "steps=120, block=50"),
        ({"chains": 0}, "chains=0"),
        ({"block": -1}, "block=-1"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"rate": "a"}, "rate='a'"),
        ({"rate": np.inf}, "rate=inf"),
        ({"bias": "x"}, "bias='x'"),
        ({"bias": np.nan}, "bias=nan"),
        ({"lobe_mismatch": "a"}, "lobe_mismatch='a'"),
        ({"neuron_mismatch": -0.1}, r"neuron_mismatch=-0\.1"),
        ({"seed": 1.7}, "seed=1.7"),
        ({"tau": 0}, "tau=0"),
        ({"interval": 3}, "interval=3"),
        ({"kernel": "square"}, "kernel='square'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SAL(**arguments)


def test_what_a_model_must_have():
    with pytest.raises(ValueError, match="feedback kernel"):
        quick().run(training.perceptron())
    convolution = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            ta.layers.Conv2D(3, 3, feedback="fa", name="conv"),
            K.Flatten(),
            ta.layers.Dense(3, feedback="fa", use_bias=False, name="top"),
        ],
        name="net",
    )
    with pytest.raises(ValueError, match=r"one matrix product.*net/conv"):
        quick(layers=["conv"]).run(convolution)
    assert list(run(quick(), convolution)) == ["net/top"]

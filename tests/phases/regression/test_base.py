"""Feedback by regression: replicas, resuming, precision, what it needs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import training
from interrupted import assert_resumes_to_the_same_weights
from perturbed import (
    SIZES,
    K,
    N,
    data,
    feedback,
    network,
    squared,
    stream,
)

import tf_alignment as ta
from tf_alignment._support.noise import Noise
from tf_alignment.phases import NodePerturbation


@pytest.mark.parametrize("solver", ["ridge", "sgd", "nlms"])
def test_two_replicas_equal_one_device_with_the_same_noise(solver, two_replicas, monkeypatch):
    pattern = tf.constant(np.linspace(-1, 1, 16), tf.float32)

    def sample(self, shape, seed):
        return 0.1 * tf.ones(shape) * pattern[: shape[1]]

    monkeypatch.setattr(Noise, "sample", sample)
    found = []
    for scoped in (False, True):
        with two_replicas.scope() if scoped else tf.name_scope("one"):
            model = network()
        NodePerturbation(squared, dataset=stream(*data(64)), noise=0.1, solver=solver, steps=6).run(
            model
        )
        found.append(feedback(model).numpy())
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-4)


def test_replicas_draw_noise_of_their_own_and_learn_as_one_device_does(two_replicas):
    found = []
    for scoped in (False, True):
        with two_replicas.scope() if scoped else tf.name_scope("one"):
            model = network()
        phase = NodePerturbation(squared, dataset=data(512), solver="ridge", steps=300, seed=1)
        found.append(phase.run(model)["net/top"]["weight_angle"])
    seeds = two_replicas.run(lambda: phase.draw_seed("net/top"))
    first, second = two_replicas.experimental_local_results(seeds)
    assert np.any(first.numpy() != second.numpy())
    # twice as many examples a step: about 1/√2 of the noise
    assert 0.4 * found[0] < found[1] < 1.1 * found[0]


def test_nothing_is_traced_twice():
    traced = []

    class Counted(NodePerturbation):
        def step(self, *given):
            traced.append(self)
            super().step(*given)

    model = network()
    phase = Counted(squared, dataset=data(), steps=3, seed=1)
    for steps in (3, 5, 2):
        phase.steps = steps
        phase.run(model)
    assert len(traced) == 1


@pytest.mark.parametrize(("solver", "woven"), [("ridge", True), ("nlms", False)])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, solver, woven):
    def run(directory, *callbacks):
        model = network()
        model.compile("sgd", "mse")
        phase = NodePerturbation(squared, dataset=data(), solver=solver, steps=5, seed=3)
        if woven:
            ta.phases.interleave(model, phase)
        model.fit(
            *data(),
            batch_size=N,
            epochs=4,
            shuffle=False,
            verbose=0,
            callbacks=[
                ta.callbacks.FeedbackCallback(phase, warmup=1),
                *callbacks,
                ta.callbacks.Resume(directory, phases=[phase]),
            ],
        )
        return [w.numpy() for w in model.weights]

    assert_resumes_to_the_same_weights(run, tmp_path)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network()
    results = NodePerturbation(squared, dataset=data(512), noise=0.3, steps=1000, seed=1).run(model)
    assert results["net/top"]["weight_angle"] < 12.0
    with pytest.warns(UserWarning, match=r"rounded more coarsely.*0.0625.*0.01"):
        NodePerturbation(squared, dataset=data(), noise=0.01, steps=1).run(network())


@pytest.mark.parametrize("solver", ["nlms", "ridge", "sgd"])
def test_layers_of_float64(solver):
    layer = ta.layers.Dense(SIZES[-1], feedback="fa", dtype="float64", name="top")
    hidden = K.Dense(5, "tanh", dtype="float64")
    model = keras.Sequential([keras.Input(SIZES[:1], dtype="float64"), hidden, layer])
    before = feedback(model).numpy()
    assert before.dtype == np.float64
    NodePerturbation(squared, dataset=data(), solver=solver, steps=2, seed=1).run(model)
    assert np.any(feedback(model).numpy() != before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataset": np.ones((4, 6))}, TypeError, "dataset of type ndarray"),
        ({"loss": "mse"}, TypeError, "loss='mse'"),
        ({"loss": keras.losses.MeanSquaredError()}, ValueError, "reduction=None"),
        ({"noise": 0.0}, ValueError, "a standard deviation above 0.*noise=0.0"),
        ({"noise": "loud"}, ValueError, "noise='loud'"),
        ({"noise": "pink"}, ValueError, "noise='pink'"),
        ({"solver": "ridge", "gain": 0.5}, TypeError, "gain"),
        ({"dataset": (data()[0], None)}, TypeError, "`dataset`"),
        ({"loss": []}, TypeError, r"loss=\[\]"),
        ({"loss": keras.losses.MeanSquaredError}, TypeError, "`loss`"),
        ({"noise": -0.1}, ValueError, "-0.1"),
        ({"form": "both"}, ValueError, "form='both'"),
        ({"antithetic": "no"}, TypeError, "antithetic='no'"),
        ({"draws": 0}, ValueError, "`draws` must be an integer of at least 1.*draws=0"),
        ({"steps": 0}, ValueError, "steps=0"),
        ({"solver": "magic"}, ValueError, "`solver` must be 'nlms'.*solver='magic'"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        NodePerturbation(**{"dataset": data(), "loss": squared, **arguments})


def test_distributions_are_checked():
    distributions = pytest.importorskip("tensorflow_probability").distributions
    with pytest.raises(ValueError, match="a mean of 0"):
        NodePerturbation(squared, dataset=data(), noise=distributions.Uniform(0.0, 1.0))
    with pytest.raises(ValueError, match="a variance of 0"):
        NodePerturbation(squared, dataset=data(), noise=distributions.Deterministic(0.0))
    with pytest.raises(ValueError, match="scalar distribution"):
        NodePerturbation(squared, dataset=data(), noise=distributions.Normal([0.0, 0.0], 1.0))


def test_what_it_needs_to_run():
    with pytest.raises(ValueError, match="one number per example"):
        NodePerturbation(lambda a, b: keras.ops.mean((a - b) ** 2), dataset=data()).run(network())
    with pytest.raises(ValueError, match="feedback kernel"):
        NodePerturbation(squared, dataset=data()).run(training.perceptron())
    empty = tuple(a[:0] for a in data())
    with pytest.raises(ValueError, match="empty arrays"):
        NodePerturbation(squared, dataset=empty).run(network())
    with pytest.raises(ValueError, match=r"needs data.*dataset=None"):
        NodePerturbation(squared).run(network())
    unequal = data()[0], data(20)[1]
    with pytest.raises(ValueError, match=r"same number of examples.*\[16, 20\]"):
        NodePerturbation(squared, dataset=unequal).run(network())
    with pytest.raises(ValueError, match=r"needs form='dfa'"):
        NodePerturbation(squared, dataset=data()).run(network("dfa"))
    with pytest.raises(ValueError, match=r"form='dfa'.*without direct feedback"):
        NodePerturbation(squared, dataset=data(), form="dfa").run(network())

"""Phases of many small steps: a loop that is compiled once, and a state that survives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import training
from interrupted import assert_resumes_to_the_same_weights
from phased import SGD, feedback_kernels, fit, perceptron

import tf_alignment as ta
from tf_alignment.callbacks import FeedbackCallback, Resume
from tf_alignment.phases import Alignment


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


def test_a_progress_bar_is_shown(capsys):
    model = perceptron()
    model.compile("sgd", "mse")
    x, y = training.toy()
    model.fit(x, y, verbose=1, callbacks=[FeedbackCallback(Alignment("sa", steps=40))])
    assert "40/40" in capsys.readouterr().out
    fit(model, FeedbackCallback(Alignment("sa", steps=40)), epochs=1)
    assert "40/40" not in capsys.readouterr().out


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

    assert_resumes_to_the_same_weights(run, tmp_path)

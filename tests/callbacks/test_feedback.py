"""`FeedbackCallback`: when a phase runs, and what it logs."""

import numpy as np
import pytest
import training
from phased import SGD, fit, perceptron

import tf_alignment as ta
from tf_alignment.callbacks import FeedbackCallback
from tf_alignment.layers.inspection import own_path
from tf_alignment.phases import Alignment, Phase


class Counting(Phase):
    name = "counting"

    def __init__(self):
        super().__init__()
        self.calls = []

    def update(self, model, connections, verbose=0):
        self.calls.append(int(model.optimizer.iterations))
        return {path: {"calls": float(len(self.calls))} for path in connections}


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
    path = own_path(model, model.layers[-1].path)
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
    first, second = Alignment("sa", steps=1), Alignment("sa", steps=1)
    both = FeedbackCallback(first), FeedbackCallback(second)
    with pytest.raises(ValueError, match="two callbacks with phases named 'alignment'"):
        fit(model, *both, epochs=1)
    for one in both:  # each alone, and after the failure
        fit(model, one, epochs=1)
    renamed = FeedbackCallback(Alignment("sa", steps=1, name="other"))
    history = fit(model, both[0], renamed, epochs=1)
    assert {"alignment/mean/weight_angle", "other/mean/weight_angle"} <= set(history)


def test_a_mirror_phase_keeps_feedback_aligned_in_training():
    def final(*callbacks):
        model = training.classifier("fa", SGD(0.01, momentum=0.9))
        x, y = training.flat_digits()
        monitor = ta.callbacks.AlignmentMonitor(probe_data=(x[:64], y[:64]))
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[*callbacks, monitor]).history
        return history["mean/weight_angle"][-1], history["mean/gradient_angle"][-1]

    mirror = FeedbackCallback(Alignment("wm", steps=150, seed=1), warmup=1)
    with_phase, without = final(mirror), final()
    assert with_phase[0] < 25.0 < 60.0 < without[0]
    assert with_phase[1] < 40.0 < without[1]


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

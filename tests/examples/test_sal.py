"""The scripts on spike-based alignment: their parts, and that they write what they say."""

import argparse
import functools
import itertools
import json
import types

import numpy as np
import pytest
import scripts
import tensorflow as tf

import tf_alignment as ta
from examples.sal import boltzmann, deep, microcircuit, scatter
from tf_alignment.spiking.sampling import pair_sums, triangular

# ---- the sampling network --------------------------------------------------------------------


def sampling(**changes):
    settings = {"tau": 10, "interval": None, "chains": 50, "seed": 3, "rate": 0.1}
    settings |= {"seeds": 1, "asymmetries": (1.0,), **changes}
    return boltzmann.Study(argparse.Namespace(**settings))


def test_the_target_is_its_boltzmann_distribution():
    target = boltzmann.Target(seed=0)
    assert target.p.sum() == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    w, b = np.triu(rng.uniform(-1, 1, (7, 7)), 1), rng.uniform(-1, 1, 7)
    states = np.array(list(itertools.product([0, 1], repeat=7)))
    expected = [np.exp(z @ w @ z + b @ z) for z in states]
    np.testing.assert_allclose(target.p, expected / np.sum(expected), rtol=1e-6)
    assert target.divergence(1e7 * target.p) == pytest.approx(0.0, abs=1e-4)
    assert target.divergence(np.ones(128)) > 0.1


def test_sal_makes_weights_symmetric_and_wake_sleep_does_not():
    study = sampling()
    networks = study.start()
    before = boltzmann.asymmetry_of(networks.weights)
    assert [sal for _, sal, _ in study.rows] == [False, True] and before[0] == before[1] > 0.8
    after = boltzmann.asymmetry_of(study.learn(networks, tf.constant(0), tf.constant(400)).weights)
    assert after[0] == pytest.approx(before[0], rel=0.15) and after[1] < 0.6 * before[1]


def test_the_rule_of_the_sampling_network_is_that_of_the_library():
    """Traces from ages give the sums of the triangular kernel over pairs of spikes."""
    study = sampling(chains=200, seeds=1)
    networks = study.start()
    ages, spikes, _ = tf.function(study._run, jit_compile=True)(networks, tf.constant([1, 2]))
    tau = study.parameters.tau
    traces = tf.nn.relu(1 - ages / tau)
    earlier = tf.einsum("tnci,tncj->nij", traces, spikes)
    found = (tf.linalg.matrix_transpose(earlier) - earlier)[0]
    one = spikes[:, 0]
    # the synapse from i to j: presynaptic i, postsynaptic j
    expected = tf.transpose(pair_sums(one, one, triangular(tau)))
    off_diagonal = ~np.eye(7, dtype=bool)
    np.testing.assert_allclose(
        found.numpy()[off_diagonal], expected.numpy()[off_diagonal], rtol=1e-3, atol=0.05
    )
    assert np.abs(expected).max() > 10.0


# ---- two neurons, two layers, three neurons, deep networks ------------------------------------


def test_two_neurons_drift_to_the_forward_weight():
    below, at, above = scatter.drifts(np.array([0.0, 1.0, 2.0]), steps=500, seed=1)
    assert below > 0.03 and abs(at) < 0.01 and above < -0.03


def test_fifty_to_fifty():
    found = scatter.learn(scatter.SETTINGS["defaults of the phase"], 20_000, seed=1)
    assert found["angles"][0] > 70.0 and found["angle"] == found["angles"][-1] < 35.0
    assert found["refractory times"][-1] == pytest.approx(20_000, rel=0.05)
    correlation = np.corrcoef(found["W"], found["B"])[0, 1]
    assert correlation == pytest.approx(found["correlation"], abs=1e-3)


def test_students_of_the_microcircuit():
    study = microcircuit.Study(students=8, seed=1)
    students = study.start
    teacher = students._replace(lower=tf.fill([24], 2.0), upper=tf.fill([24], 2.0))
    np.testing.assert_allclose(study.errors(teacher), 0.0, atol=1e-6)
    after = students
    for epoch in range(4):
        after = study.epoch(after, tf.constant(epoch))
    moved = np.abs(after.feedback - students.feedback)
    fa, sal, copy = (study.rows == method for method in ("fa", "sal", "copy"))
    assert not moved[fa].any() and moved[sal].all()
    np.testing.assert_array_equal(students.feedback[copy], students.upper[copy])
    assert np.all(after.upper != students.upper)


def test_deep_networks_and_their_optimizer():
    assert deep.NETWORKS["perceptron"]((28, 28), 10).output_shape == (None, 10)
    model = ta.convert(deep.NETWORKS["conv"]((32, 32, 3), 10), "fa")
    names = [path.split("/")[-1] for path in ta.phases.SAL(steps=2000).connections(model)]
    assert names == ["dense1", "dense2", "output"]
    decays = {
        method: deep.optimizer(
            types.SimpleNamespace(steps=10, feedback=method.split(",")[0], variant=method),
            rate=0.1,
            decay=0.02,
        ).weight_decay
        for method in ("fa", "kp", "fa, decay", "backprop, decay")
    }
    assert decays == {"fa": 0.0, "kp": 0.02, "fa, decay": 0.02, "backprop, decay": 0.02}


def test_controls_with_the_decay_of_kolen_pollack():
    phase = functools.partial(ta.phases.SAL, steps=2000)
    rows = deep.variants(deep.METHODS, phase, decay_for_all=True)
    names = ["backprop", "backprop, decay", "fa", "fa, decay", "kp", "sal"]
    assert [row.name for row in rows] == names
    assert [row.feedback for row in rows] == ["backprop"] * 2 + ["fa"] * 2 + ["kp", "fa"]
    assert [bool(row.phases) for row in rows] == [False] * 5 + [True]
    assert [row.name for row in deep.variants(deep.METHODS, phase)] == list(deep.METHODS)
    copied, learned = deep.variants(deep.OF_CONV, phase)
    assert copied.feedback["conv2"] == learned.feedback["dense1"] == "fa"
    assert (copied.feedback["dense1"], learned.feedback["conv2"]) == ("sa", "wm")
    assert (list(copied.phases), learned.phases) == ([], [phase])
    for row, rate in ((copied, 0.5), (learned, 0.05)):
        run = types.SimpleNamespace(variant=row.name, feedback=None, steps=10)
        feedback, forward = deep.optimizer(run, 0.01, 0.01).optimizers
        assert float(feedback.learning_rate) == pytest.approx(rate)
        assert forward.momentum == 0.9 and not forward.weight_decay


def test_neurons_whose_gains_differ_align_in_effect():
    """B goes to W times the gain of the upper neuron over that of the lower."""
    setting = scatter.SETTINGS["defaults of the phase"]
    found = scatter.learn(setting, 20_000, seed=1, neuron_mismatch=0.5)
    assert found["effective angle"] < found["angle"] - 5
    w, b = (np.reshape(found[name], (50, 50)) for name in ("W", "B"))
    lower, upper = (scatter.gains(0.5, 1, layer) for layer in (0, 1))
    effective = ta.metrics.weight_angle(w * upper, b * lower[:, None])
    assert float(effective) == pytest.approx(found["effective angle"], abs=0.1)
    assert "effective angle" not in scatter.learn(setting, 500, seed=1)


def test_runs_become_what_the_pages_have():
    page = json.loads((scripts.ROOT / "docs/results/sal/deep-perceptron-mnist.json").read_text())
    run = page["runs"]["kp"][0]
    assert deep.to_page({**run, "variant": "kp"}) == run
    text = (scripts.ROOT / "docs/results/sal.md").read_text("utf-8")
    rows = [
        line.rpartition("|")[0].rpartition("|")[0] for line in deep.table(page["runs"]).splitlines()
    ]
    assert len(rows) == 2 + 6 and all(row in text for row in rows[2:])  # but for seconds
    assert deep.draw(page["runs"]).axes


# ---- the scripts -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "name", "row"),
    [
        ("bias", "bias", "| 3 |"),
        ("boltzmann", "boltzmann", "| wake-sleep and SAL |"),
        ("deep", "deep-perceptron-digits", "| backprop |"),
        ("microcircuit", "microcircuit", "| copy |"),
        ("scatter", "scatter", "| published, 4 × rate |"),
    ],
)
def test_quick(script, name, row, tmp_path):
    assert row in scripts.run(f"sal.{script}", "--quick", "--output", tmp_path)
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    numbers = json.loads((tmp_path / f"{name}.json").read_text())
    assert numbers["versions"] and "NaN" not in (tmp_path / f"{name}.json").read_text()

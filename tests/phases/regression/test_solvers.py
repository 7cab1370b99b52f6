"""How feedback kernels are fitted: normalised steps, ridge regression, optimizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from perturbed import (
    SIZES,
    K,
    N,
    data,
    estimates,
    feedback,
    network,
    squared,
    stream,
)

import tf_alignment as ta
from tf_alignment.phases import NodePerturbation, NormalizedLMS, Ridge
from tf_alignment.phases.regression.solvers import Fit


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalizedLMS("a"), "gain='a'"),
        (lambda: NormalizedLMS(gain=2.0), "gain=2.0"),
        (lambda: Ridge(gamma=None), "gamma=None"),
        (lambda: Ridge(gamma=0.0), "gamma=0.0"),
        (lambda: Ridge(forgetting=1.5), "forgetting=1.5"),
    ],
)
def test_wrong_arguments_of_solvers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "layer",
    [
        ta.layers.Conv2D(64, 5, feedback="fa"),
        ta.layers.Conv2D(4, 3, groups=2, feedback="fa"),
        ta.layers.DepthwiseConv2D(3, feedback="fa"),
    ],
    ids=["1600 regressors", "groups", "depthwise"],
)
def test_what_ridge_does_not_serve(layer):
    model = keras.Sequential([keras.Input((5, 5, 2)), layer, K.Flatten()])
    with pytest.raises(ValueError, match=rf"solver 'ridge'.*{type(layer).__name__}.*'nlms'"):
        NodePerturbation(squared, dataset=data(), solver="ridge").run(model)


def test_ridge_is_the_normal_equations():
    model, batch = network(), data()
    phase = NodePerturbation(
        squared, dataset=stream(*batch), solver=Ridge(gamma=0.5), steps=1, seed=3
    )
    phase.build(model)
    top = "net/top"
    sent, targets = tf.function(lambda: phase.estimate(batch))()
    e, target = sent[top, 0].errors[top].numpy(), targets[top, 0].numpy()
    phase.run(model)
    expected = target.T @ e @ np.linalg.inv(0.5 * np.eye(SIZES[-1]) + e.T @ e)
    np.testing.assert_allclose(feedback(model), expected, rtol=1e-3, atol=1e-3)
    phase.reset()
    assert not any(v.numpy().any() for v in phase.variables if v.name in ("errors", "products"))


def test_ridge_forgets():
    """After k steps on the same batch the sums are the geometric series of its products."""
    model, batch = network(), data()
    phase = NodePerturbation(
        squared,
        dataset=stream(*batch),
        solver=Ridge(forgetting=0.9),
        steps=5,
        layers=["top"],
    )
    phase.run(model)
    [errors] = [v.numpy() for v in phase.variables if v.name == "errors"]
    e = estimates(phase, model, batch)[1]["net/top"].numpy()
    np.testing.assert_allclose(errors, e.T @ e * sum(0.9**k for k in range(5)), rtol=1e-4)


def test_a_normalised_step_is_as_long_as_it_says():
    model, batch = network(), data()
    phase = NodePerturbation(
        squared, dataset=stream(*batch), solver=NormalizedLMS(0.5), steps=1, seed=3
    )
    phase.build(model)
    sent, targets = tf.function(lambda: phase.estimate(batch))()
    before = feedback(model).numpy()
    e = sent["net/top", 0].errors["net/top"].numpy()
    units = SIZES[1] + SIZES[2]  # of both layers that are perturbed
    length = np.sum(e**2) * (1 + units / N)
    expected = before - 0.5 * (e @ before.T - targets["net/top", 0]).numpy().T @ e / length
    phase.run(model)
    np.testing.assert_allclose(feedback(model), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_ridge_stays_sound_at_any_scale_of_the_loss(scale, loss):
    """Errors of a softmax have no full rank; γ is forgotten with the rest."""

    def each(y_true, y_pred):
        if loss == "squared":
            return scale * squared(y_true, y_pred)
        return scale * keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)

    x, y = data(512)
    if loss == "cross-entropy":
        y = np.eye(8, dtype="float32")[y.argmax(-1)]
    model = network()
    # long enough for a γ that outweighs the errors at first to be forgotten
    options = {"solver": Ridge(forgetting=0.98), "steps": 1200, "seed": 1}
    NodePerturbation(each, dataset=(x, y), **options).run(model)
    kernels = model.get_layer("top").kernel.numpy(), feedback(model).numpy()
    if loss == "cross-entropy":  # which determines W up to a constant a row
        kernels = [kernel - kernel.mean(1, keepdims=True) for kernel in kernels]
    assert float(ta.metrics.weight_angle(*kernels)) < 5.0
    assert float(ta.metrics.norm_ratio(*kernels)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_normalised_steps_do_not_depend_on_the_scale_of_the_loss(scale):
    def loss(y_true, y_pred):
        return scale * squared(y_true, y_pred)

    model = network()
    results = NodePerturbation(
        loss, dataset=data(512), steps=400, solver=NormalizedLMS(gain=0.5), seed=1
    ).run(model)
    assert results["net/top"]["weight_angle"] < 6.0


def test_steps_with_several_draws_are_longer():
    lengths, batch = [], data()
    for draws in (1, 3):
        model = network()
        phase = NodePerturbation(squared, dataset=stream(*batch), draws=draws, steps=1, seed=1)
        phase.build(model)
        sent, _ = tf.function(lambda p=phase: p.estimate(batch))()
        lengths.append(float(phase.noisy_units(("net/top", 0), sent)))
    assert lengths == pytest.approx([22.0, 22.0 / 3])


def test_constraints_hold():
    for solver in ("nlms", "ridge"):
        keras.utils.set_random_seed(1)
        layer = ta.layers.Dense(8, feedback="fa", feedback_constraint="non_neg", name="top")
        model = keras.Sequential([keras.Input(SIZES[:1]), K.Dense(12, "tanh"), layer], name="net")
        NodePerturbation(squared, dataset=data(), solver=solver, steps=20).run(model)
        weight = layer.feedback_weights["feedback_kernel"]
        if weight.constraint is not None:
            assert weight.numpy().min() >= 0.0


def test_normalised_steps_count_the_positions_at_which_a_kernel_acts():
    # heads are no positions: (2, 10, 4, 8) has 10 of them
    layer = ta.layers.EinsumDense("abcd,cde->abe", (None, 16), feedback="fa")
    layer.build((2, 10, 4, 8))
    [c] = layer.connections
    [b] = layer.feedback_weights.values()
    error, target = tf.random.normal((2, 10, 16)), tf.random.normal((2, 10, 4, 8))
    fit = Fit({c.path: error}, tf.zeros(target.shape), target, units=30.0)
    solver = NormalizedLMS(0.5)
    solver.build({c.path: c}, [[c.path]])
    before = b.numpy()
    solver.solve([fit])
    rate = 0.5 / (tf.reduce_sum(error**2) * (1.0 + 30.0 / (2 * 10)))
    expected = before + rate * tf.einsum("abcd,abe->cde", target, error)
    np.testing.assert_allclose(b, expected, rtol=1e-4, atol=1e-6)

"""Feedback fitted to the true gradient."""

import numpy as np
import pytest
import tensorflow as tf
from perturbed import (
    data,
    network,
    squared,
    stream,
)

from tf_alignment.phases import NodePerturbation, SyntheticGradient


@pytest.mark.parametrize("form", ["fa", "dfa"])
def test_synthetic_gradient_targets_are_backpropagations(form):
    model, batch = network(form), data()
    phase = SyntheticGradient(squared, dataset=stream(*batch), form=form)
    phase.build(model)
    _, targets = tf.function(lambda: phase.estimate(batch))()
    with tf.GradientTape() as tape:
        hidden = [tf.constant(batch[0])]
        for name in ("hidden0", "hidden1", "top"):
            layer = model.get_layer(name)
            hidden.append(layer.activation(hidden[-1] @ layer.kernel + layer.bias))
            tape.watch(hidden[-1])
        total = tf.reduce_sum(squared(batch[1], hidden[-1]))
    expected = tape.gradient(total, hidden[1:3])
    assert len(targets) == 2
    for found, gradient in zip(targets.values(), expected, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-5)


def test_synthetic_gradient_learns_faster_than_noise_teaches():
    ends = []
    for phase in (SyntheticGradient, NodePerturbation):
        model = network()
        results = phase(squared, dataset=data(512), steps=200, seed=1).run(model)
        ends.append(results["net/top"]["weight_angle"])
    assert ends[0] < 0.7 * ends[1]

"""Networks of layers of stochastic neurons."""

import numpy as np
import pytest
import tensorflow as tf

from tf_alignment.spiking import sampling


@pytest.mark.parametrize(
    ("sizes", "connections"),
    [((3, 4, 2, 5), None), ((3, 4, 2, 5), [(0, 1), (3, 0), (2, 3)]), ((3, 4), None)],
)
def test_potentials_of_layers(sizes, connections):
    rng = np.random.default_rng(0)
    network = sampling.LayeredNetwork(sizes, connections)
    edges = connections or [(i, i + 1) for i in range(len(sizes) - 1)]
    w, b = ([rng.standard_normal((sizes[i], sizes[j])) for i, j in edges] for _ in range(2))
    biases = [rng.standard_normal(n) for n in sizes]
    psp = [rng.standard_normal((2, n)) for n in sizes]
    expected = [np.tile(bias, (2, 1)) for bias in biases]
    for (i, j), forward, back in zip(edges, w, b, strict=True):
        expected[j] += psp[i] @ forward
        expected[i] += psp[j] @ back.T
    f = [[tf.constant(a, tf.float32) for a in group] for group in (w, b, biases, psp)]
    for a, e in zip(network.potential(*f[:3])(f[3]), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)
    shifted = network.potential(*f[:3], resting=0.5)([p + 0.5 for p in f[3]])
    for a, e in zip(shifted, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)

"""Crops and flips."""

import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta


def test_crops_and_flips_are_pieces_of_the_image():
    x = tf.random.stateless_uniform((40, 8, 8, 1), (1, 2))
    layer = ta.models.CropAndFlip(1)
    np.testing.assert_array_equal(layer(x), x)
    moved = layer(x, training=True).numpy()
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    pieces = [
        piece[:, i : i + 8, j : j + 8]
        for i in range(3)
        for j in range(3)
        for piece in (padded, padded[:, :, ::-1])
    ]
    kinds = [
        [k for k, p in enumerate(pieces) if np.array_equal(p[n], m)] for n, m in enumerate(moved)
    ]
    assert all(kinds) and len({k for [k, *_] in kinds}) > 8


def test_crops_follow_the_seed_and_differ_between_replicas(two_replicas):
    x = tf.random.stateless_uniform((6, 8, 8, 1), (1, 2))
    alone, again, other = (ta.models.CropAndFlip(2, seed=s)(x, training=True) for s in (3, 3, 4))
    np.testing.assert_array_equal(alone, again)
    assert not np.array_equal(alone, other)
    with two_replicas.scope():
        layer = ta.models.CropAndFlip(2, seed=3)
    run = tf.function(lambda: two_replicas.run(lambda: layer(x, training=True)))
    first, second = two_replicas.experimental_local_results(run())
    np.testing.assert_array_equal(first, alone)
    assert not np.array_equal(first, second)
    assert ta.models.CropAndFlip.from_config(layer.get_config()).seed == 3
    with pytest.raises(ValueError, match="Received: seed=-1"):
        ta.models.CropAndFlip(seed=-1)

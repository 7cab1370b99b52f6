"""Batches whose order depends on the seed and the epoch alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_alignment import data


def epochs_seen(batches, epochs):
    """Labels in the order in which `epochs` passes give them."""
    return [[int(v) for _, y in batches.dataset for v in y.numpy()] for _ in range(epochs)]


def batches_of(**kwargs):
    return data.EpochShuffled(np.arange(10.0), np.arange(10), **{"batch_size": 4, **kwargs})


class TestEpochShuffled:
    def test_every_pass_is_a_new_permutation_of_everything(self):
        batches = batches_of()
        first, second = epochs_seen(batches, 2)
        assert sorted(first) == sorted(second) == list(range(10))
        assert first != second
        assert batches.epoch == 2

    def test_inputs_and_targets_stay_together(self):
        for x, y in batches_of().dataset:
            np.testing.assert_array_equal(x, tf.cast(y, x.dtype))

    def test_the_order_is_that_of_the_seed_and_the_epoch(self):
        batches = batches_of(seed=3, epoch=5)
        expected = [np.random.default_rng((3, e)).permutation(10).tolist() for e in (5, 6)]
        assert epochs_seen(batches, 2) == expected
        assert batches.order(5).tolist() == expected[0]
        batches.epoch = 5
        assert epochs_seen(batches, 1) == expected[:1]
        assert epochs_seen(batches_of(seed=4, epoch=5), 1) != expected[:1]

    def test_length_and_remainder(self):
        batches = batches_of()
        assert len(batches) == int(batches.dataset.cardinality()) == 3
        assert [len(y) for _, y in batches.dataset] == [4, 4, 2]
        batches = batches_of(drop_remainder=True)
        assert len(batches) == int(batches.dataset.cardinality()) == 2
        assert [len(y) for _, y in batches.dataset] == [4, 4]
        assert batches.dataset.element_spec[0].shape == (4,)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            (
                {"batch_size": 0},
                "`batch_size` .* at least 1. Received: batch_size=0",
            ),
            (
                {"batch_size": 2.0},
                "`batch_size` .* at least 1. Received: batch_size=2.0",
            ),
            ({"seed": -1}, "`seed` must be an integer of at least 0. Received: seed=-1"),
            ({"epoch": None}, "`epoch` must be an integer of at least 0. Received: epoch=None"),
            ({"batch_size": 11, "drop_remainder": True}, "at least one example"),
        ],
    )
    def test_wrong_arguments(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            batches_of(**kwargs)

    def test_lengths_that_differ(self):
        with pytest.raises(ValueError, match=r"len\(x\)=10, len\(y\)=9"):
            data.EpochShuffled(np.arange(10), np.arange(9), batch_size=2)


class Recorder(keras.Model):
    """A model that trains nothing and remembers the order of the examples it was given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def train_step(self, batch):
        self.seen.extend(batch[1].numpy().tolist())
        return {"loss": 0.0}


def fit(batches, **kwargs):
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(batches.dataset, shuffle=False, verbose=0, **kwargs)
    return np.array(model.seen).reshape(-1, 10).tolist()


class TestInFit:
    def test_fit_sees_the_order_of_each_epoch(self):
        batches = batches_of()
        assert fit(batches, epochs=3) == [batches.order(e).tolist() for e in range(3)]

    def test_a_run_that_resumes_sees_what_it_would_have_seen(self):
        whole = fit(batches_of(), epochs=5)
        batches = batches_of()
        first = fit(batches, epochs=2, callbacks=[batches.callback])
        batches = batches_of()
        rest = fit(batches, epochs=5, initial_epoch=2, callbacks=[batches.callback])
        assert first + rest == whole

    def test_the_callback_overrides_what_was_iterated_before(self):
        batches = batches_of()
        epochs_seen(batches, 2)
        assert fit(batches, epochs=1, callbacks=[batches.callback]) == [batches.order(0).tolist()]

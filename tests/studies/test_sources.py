"""Data of every kind as what a run trains on; models as what it starts from."""

import functools
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.studies.encoding import Encoder
from tf_alignment.studies.models import named_model
from tf_alignment.studies.sources import InMemory, encode_data, hold_out, open_data
from tf_alignment.studies.starts import build_model, save_start
from tf_alignment.studies.store import Store

RUN = types.SimpleNamespace(data_dir=None, seed=3, settings={"examples": 40})


def generated(run, scale=1.0):
    """Data that depend on the run."""
    x = scale * np.random.default_rng(run.seed).normal(size=(run.settings["examples"], 4))
    return (x[:30], x[:30]), (x[30:], x[30:])


def opened(data, directory):
    return open_data(encode_data(data, directory, Encoder()), directory, RUN)


def test_arrays_are_written_once_and_found_again(tmp_path, data):
    source = opened(data, tmp_path)
    for split, expected in zip((source.train, source.test), data, strict=True):
        np.testing.assert_array_equal(split.x, expected[0])
        np.testing.assert_array_equal(split.y, expected[1])
    files = sorted((tmp_path / "data").iterdir())
    assert len(files) == 4
    opened(data, tmp_path)
    assert sorted((tmp_path / "data").iterdir()) == files


@pytest.mark.parametrize("batched", [False, True])
def test_datasets_are_laid_open(tmp_path, data, batched):
    splits = [tf.data.Dataset.from_tensor_slices(split) for split in data]
    splits = [split.batch(10) for split in splits] if batched else splits
    np.testing.assert_array_equal(opened(tuple(splits), tmp_path).train.x, data[0][0])


def test_datasets_that_cannot_be_laid_open(tmp_path, data):
    dataset = tf.data.Dataset.from_tensor_slices(data[0])
    with pytest.raises(ValueError, match="without end"):
        opened((dataset.repeat(), dataset), tmp_path)
    pairs = tf.data.Dataset.from_tensor_slices((data[0][0], data[0][0]))
    with pytest.raises(ValueError, match="single examples, or of batches"):
        opened((pairs, pairs), tmp_path)
    with pytest.raises(TypeError, match="datasets of \\(x, y\\)"):
        opened((tf.data.Dataset.range(3), tf.data.Dataset.range(3)), tmp_path)


def ragged(*lengths):
    """Sequences of vectors with a label for each step, of which the specification is a batch's."""
    return tf.data.Dataset.from_generator(
        lambda: ((np.zeros((n, 3), "float32"), np.zeros(n, "int32")) for n in lengths),
        output_signature=(tf.TensorSpec((None, 3)), tf.TensorSpec((None,), tf.int32)),
    )


def test_sequences_of_different_lengths_are_no_batches(tmp_path):
    for lengths in ((4, 6, 5), (4, 6), (6, 5, 4)):
        data = ragged(*lengths), ragged(6, 6)
        with pytest.raises(ValueError, match=f"Received: elements of sizes {str(lengths)[1:-1]}$"):
            opened(data, tmp_path)
    assert len(opened((ragged(6, 6, 4), ragged(5, 5)), tmp_path).train.x) == 16


def test_names_and_library_data(tmp_path):
    digits = ta.data.load("digits")
    for data in ("digits", digits):
        np.testing.assert_array_equal(opened(data, tmp_path).test.y, digits.test.y)


def test_a_function_of_the_run(tmp_path):
    source = opened(functools.partial(generated, scale=2.0), tmp_path)
    expected = 2.0 * np.random.default_rng(3).normal(size=(40, 4))
    np.testing.assert_array_equal(source.train.x, expected[:30])


@pytest.mark.parametrize("data", [3, (1, 2), ((np.zeros(3), np.zeros(2)), (np.zeros(3),) * 2)])
def test_what_is_no_data(tmp_path, data):
    with pytest.raises((TypeError, ValueError), match="Argument `data`"):
        opened(data, tmp_path)


def test_what_is_held_out_is_not_trained_on(data):
    source = hold_out(InMemory(*data), 0.25)
    assert (len(source.train.x), len(source.test.x)) == (48, 16)
    np.testing.assert_array_equal(np.concatenate([source.train.x, source.test.x]), data[0][0])
    with pytest.raises(TypeError, match="holds out"):
        hold_out(object(), 0.25)


def test_a_start_is_the_same_for_the_same_seed(tmp_path, network):
    store = Store(tmp_path)
    first, again, other = (save_start(build_model(network, seed), store) for seed in (1, 1, 2))
    assert first.name == again.name != other.name
    loaded = keras.saving.load_model(store.file("starts", first.name, ".keras"))
    kernel = build_model(network, 1).layers[0].kernel.numpy()
    np.testing.assert_array_equal(loaded.layers[0].kernel.numpy(), kernel)


def test_a_model_gets_new_weights_for_each_seed(network):
    model = network()
    kernels = [build_model(model, seed).layers[0].kernel.numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


def test_a_function_may_take_the_seed():
    def build(seed):
        return ta.models.perceptron((4, seed, 2))

    assert build_model(build, 7).layers[0].units == 7


@pytest.mark.parametrize("name", ["small", "perceptron", "lenet", "resnet8"])
def test_models_by_name(name):
    assert named_model(name, (16, 16, 3), 5).output_shape == (None, 5)


def test_an_unbuilt_model():
    with pytest.raises(ValueError, match="must return a model that is built"):
        build_model(lambda: keras.Sequential([keras.layers.Dense(3)]), 0)

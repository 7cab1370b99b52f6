"""Batches of images that are read while they are used."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tf_alignment import data


@pytest.mark.parametrize(("preprocessing", "size"), [("resnet", 224), ("inception", 299)])
def test_imagenet_on_mock_data(preprocessing, size, mock_data, monkeypatch):
    import tensorflow_datasets as tfds

    splits = {
        name: types.SimpleNamespace(num_examples=1_281_167, num_bytes=1 << 37)
        for name in ("train", "validation")
    }
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", splits)
    images = data.images("imagenet2012", preprocessing=preprocessing)
    assert images.size == size and images.examples == 1_281_167
    images.buffer = 8
    x, y = next(iter(images.batches(2, seed=1).dataset))
    assert x.shape == (2, size, size, 3) and y.shape == (2,)
    least, most = (-1.0, 1.0) if preprocessing == "inception" else (-2.2, 2.7)
    for values in (x, next(iter(images.validation(3)))[0]):
        assert least <= tf.reduce_min(values) < tf.reduce_max(values) <= most
    assert images.validation(3).element_spec[0].shape == (None, size, size, 3)


def test_imagenet_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'imagenet2012'.*tfds\.load\("):
        data.images(data_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_crops():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    cut = data.central_crop(image, 28)  # the short side becomes 32
    assert cut.shape == (28, 28, 3)
    scaled = tf.image.resize(image, (32, 48)).numpy()
    np.testing.assert_allclose(cut, scaled[2:30, 10:38], atol=1e-3)
    one, same, other = (
        data.random_crop(tf.constant(image), 16, tf.constant(seed, tf.int64)).numpy()
        for seed in ((0, 2), (0, 2), (0, 4))
    )
    assert one.shape == (16, 16, 3)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.min() >= 0 and one.max() <= 255


def pictures(examples=60, **kwargs):
    """Grey pictures of 20 x 24, each of its own brightness, which is its label."""
    labels = np.arange(examples)
    x = np.broadcast_to(labels[:, None, None, None], (examples, 20, 24, 3)).astype(np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels))
    return data.Images(dataset, dataset, examples, **{"size": 8, "buffer": 16, **kwargs})


def one_epoch(stream, number):
    stream.epoch = number
    found = list(stream.dataset.as_numpy_iterator())
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


@pytest.mark.parametrize("preprocessing", ["resnet", "inception"])
@pytest.mark.parametrize("seed", [0, 5])
def test_batches_of_images_depend_on_seed_and_epoch_alone(preprocessing, seed):
    images = pictures(preprocessing=preprocessing)
    tf.random.set_seed(0)  # Dataset.shuffle has a case of its own for it
    stream = images.batches(20, seed)
    assert len(stream) == 3
    x, y = one_epoch(stream, 1)
    tf.random.set_seed(3)
    for found, expected in zip(one_epoch(images.batches(20, seed), 1), (x, y), strict=True):
        np.testing.assert_array_equal(found, expected)
    for other in (one_epoch(stream, 2), one_epoch(images.batches(20, seed + 1), 1)):
        assert not np.array_equal(other[1], y) and sorted(other[1]) == sorted(y) == list(range(60))
    if preprocessing == "inception":  # the same picture in other colours
        brightness = {e: dict(zip(*one_epoch(stream, e)[::-1], strict=True)) for e in (1, 2)}
        assert np.abs(brightness[1][30] - brightness[2][30]).max() > 0.01


def test_every_worker_reads_a_part_of_its_own():
    """Three workers with two replicas each."""
    stream = pictures(62).batches(12, seed=1)
    assert len(stream) == 5
    parts = []
    for number in range(3):
        batches = stream.of_worker(tf.distribute.InputContext(3, number, 6))
        assert int(batches.cardinality()) == 10
        labels = [y for _, y in batches.as_numpy_iterator()]
        assert [len(y) for y in labels] == 10 * [2]
        parts.append(np.concatenate(labels))
    assert len(set(np.concatenate(parts))) == 60
    assert stream.epoch == 1  # each has made one pass


def test_every_pass_over_images_is_of_another_epoch():
    stream = pictures().batches(20, seed=1)
    passes = [tuple(y for _, b in stream.dataset for y in b.numpy()) for _ in range(3)]
    assert len(set(passes)) == 3 and stream.epoch == 3
    assert tuple(one_epoch(stream, 1)[1]) == passes[1]
    with pytest.raises(ValueError, match=r"`epoch` must be .*Received: epoch=-1"):
        stream.epoch = -1


def test_replicas_share_one_pass(two_replicas):
    with two_replicas.scope():
        stream = pictures().batches(20, 1, two_replicas)
        batches = two_replicas.experimental_distribute_dataset(stream.dataset)
        arrays = data.EpochShuffled(np.arange(10.0), np.arange(10), batch_size=4)
        shared = two_replicas.experimental_distribute_dataset(arrays.dataset)
    for passes in (1, 2):
        assert len(list(batches)) == len(list(shared)) == 3
        assert stream.epoch == arrays.epoch == passes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pictures(preprocessing="vgg"), "preprocessing='vgg'"),
        (lambda: pictures(size=0), "size=0"),
        (lambda: pictures().batches(61), "batch_size=61, 60 examples"),
        (lambda: pictures().batches(4, seed=-1), "seed=-1"),
    ],
)
def test_images_with_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()

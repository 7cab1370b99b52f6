"""Datasets by name, and batches whose order depends on the seed and the epoch alone."""

import sys
import types

import digits as digits_file
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_alignment import data
from tf_alignment.data import arrays


class TestLoad:
    def test_digits(self):
        digits = data.load("digits")
        assert digits.name == "digits"
        assert digits.classes == 10
        for split, examples in ((digits.train, 1437), (digits.test, 360)):
            assert split.x.shape == (examples, 8, 8, 1)
            assert split.x.dtype == np.float32
            assert split.x.min() == 0.0
            assert split.x.max() == 1.0
            assert split.y.shape == (examples,)
            assert split.y.dtype == np.int32

    def test_digits_are_always_split_in_the_same_way_and_by_class(self):
        first, second = data.load("digits"), data.load("digits")
        np.testing.assert_array_equal(first.train.x, second.train.x)
        np.testing.assert_array_equal(first.test.y, second.test.y)
        shares = np.bincount(first.test.y) / np.bincount(first.train.y)
        np.testing.assert_allclose(shares, 0.25, atol=0.01)

    def test_unknown_name(self):
        with pytest.raises(ValueError, match=r"`name` must be one of .*'digits', .*name='mnits'"):
            data.load("mnits")

    @pytest.mark.parametrize("name", ["mnist", "cifar10"])
    def test_a_dataset_that_is_not_there(self, name, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"'{name}'") as info:
            data.load(name, data_dir=str(tmp_path))
        message = str(info.value)
        assert str(tmp_path / name) in message
        assert "tfds.load(" in message
        assert not list(tmp_path.iterdir()), "nothing may be downloaded"

    @pytest.mark.parametrize("read", [data.load, data.images])
    def test_a_directory_may_begin_at_home(self, read, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(FileNotFoundError) as info:
            read("mnist", data_dir="~/tfds")
        assert str(tmp_path / "tfds" / "mnist") in str(info.value)
        assert "~" not in str(info.value)  # so that the command in it works anywhere

    def test_a_library_that_is_not_installed(self, monkeypatch):
        for loaded in list(sys.modules):
            if loaded.partition(".")[0] == "tensorflow_datasets":
                monkeypatch.delitem(sys.modules, loaded)

        class Missing:
            def find_spec(self, fullname, path=None, target=None):
                if fullname.partition(".")[0] == "tensorflow_datasets":
                    raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

        monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
        with pytest.raises(ImportError, match=r"pip install tensorflow-datasets$"):
            data.load("mnist")

    def test_the_digits_are_those_of_scikit_learn(self):
        expected = digits_file.digits()
        with np.load(digits_file.TARGET) as file:
            assert {name: file[name].tolist() for name in file} == {
                name: values.tolist() for name, values in expected.items()
            }
        digits = data.load("digits")
        x, y = (expected[f"{kind}_train"] for kind in "xy")
        np.testing.assert_array_equal(digits.train.x[..., 0], (x / 16.0).astype("float32"))
        np.testing.assert_array_equal(digits.train.y, y)


class TestMap:
    def test_inputs_of_both_splits_change_and_labels_stay(self):
        digits = data.load("digits")
        seen = []

        def halved(x):
            seen.append(len(x))
            return x[:, ::2] / 2

        found = digits.map(halved)
        assert seen == [1437, 360] and (found.name, found.classes) == ("digits", 10)
        for before, after in ((digits.train, found.train), (digits.test, found.test)):
            np.testing.assert_array_equal(after.x, before.x[:, ::2] / 2)
            assert after.y is before.y
        assert digits.train.x.shape[1:] == (8, 8, 1)  # what was there is as it was

    def test_tensors_become_arrays(self):
        found = data.load("digits").map(lambda x: tf.cast(255 * x, tf.uint8))
        assert isinstance(found.test.x, np.ndarray) and found.test.x.dtype == np.uint8

    @pytest.mark.parametrize("change", [lambda x: x[1:], lambda x: 1.0])
    def test_as_many_examples_come_out(self, change):
        with pytest.raises(ValueError, match=r"as it gets, 1437\. Received: function=.*returns"):
            data.load("digits").map(change)

    def test_what_is_no_function(self):
        with pytest.raises(TypeError, match=r"`function` must be a function.*function=255"):
            data.load("digits").map(255)


MOCK = {
    "mnist": ((28, 28, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "voc": ((32, 32, 3), 21),
}


@pytest.fixture
def mock_data(monkeypatch):
    """Made-up examples of any TensorFlow Dataset, at full image size."""
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=6):
        yield


@pytest.mark.parametrize("name", list(MOCK))
def test_every_name_on_mock_data(name, mock_data):
    assert set(MOCK) | {"digits"} == set(data.NAMES)
    shape, classes = MOCK[name]
    loaded = data.load(name)
    assert loaded.classes == classes
    for split in (loaded.train, loaded.test):
        assert split.x.shape[1:] == shape and len(split.x) == len(split.y) >= 6
        assert split.x.dtype == np.float32 and 0.0 <= split.x.min() < split.x.max() <= 1.0
        assert split.y.dtype == np.int32 and split.y.min() >= 0 and split.y.max() < classes


def test_the_label_of_an_image_is_its_largest_object():
    example = {
        "image": tf.zeros((40, 60, 3), tf.uint8),
        "objects": {
            "bbox": tf.constant([[0.0, 0.0, 0.5, 0.5], [0.1, 0.0, 1.0, 0.9]]),
            "label": tf.constant([3, 7], tf.int64),
        },
    }
    image, label = arrays._largest_object(example)
    assert image.shape == (32, 32, 3) and int(label) == 8
    example["objects"] = {"bbox": tf.zeros((0, 4)), "label": tf.zeros((0,), tf.int64)}
    assert int(arrays._largest_object(example)[1]) == 0


# ---- images of different sizes ---------------------------------------------------------------


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
        arrays = make()
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


def epochs_seen(batches, epochs):
    """Labels in the order in which `epochs` passes give them."""
    return [[int(v) for _, y in batches.dataset for v in y.numpy()] for _ in range(epochs)]


def make(**kwargs):
    return data.EpochShuffled(np.arange(10.0), np.arange(10), **{"batch_size": 4, **kwargs})


class TestEpochShuffled:
    def test_every_pass_is_a_new_permutation_of_everything(self):
        batches = make()
        first, second = epochs_seen(batches, 2)
        assert sorted(first) == sorted(second) == list(range(10))
        assert first != second
        assert batches.epoch == 2

    def test_inputs_and_targets_stay_together(self):
        for x, y in make().dataset:
            np.testing.assert_array_equal(x, tf.cast(y, x.dtype))

    def test_the_order_is_that_of_the_seed_and_the_epoch(self):
        batches = make(seed=3, epoch=5)
        expected = [np.random.default_rng((3, e)).permutation(10).tolist() for e in (5, 6)]
        assert epochs_seen(batches, 2) == expected
        assert batches.order(5).tolist() == expected[0]
        batches.epoch = 5
        assert epochs_seen(batches, 1) == expected[:1]
        assert epochs_seen(make(seed=4, epoch=5), 1) != expected[:1]

    def test_length_and_remainder(self):
        batches = make()
        assert len(batches) == int(batches.dataset.cardinality()) == 3
        assert [len(y) for _, y in batches.dataset] == [4, 4, 2]
        batches = make(drop_remainder=True)
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
            make(**kwargs)

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
        batches = make()
        assert fit(batches, epochs=3) == [batches.order(e).tolist() for e in range(3)]

    def test_a_run_that_resumes_sees_what_it_would_have_seen(self):
        whole = fit(make(), epochs=5)
        batches = make()
        first = fit(batches, epochs=2, callbacks=[batches.callback])
        batches = make()
        rest = fit(batches, epochs=5, initial_epoch=2, callbacks=[batches.callback])
        assert first + rest == whole

    def test_the_callback_overrides_what_was_iterated_before(self):
        batches = make()
        epochs_seen(batches, 2)
        assert fit(batches, epochs=1, callbacks=[batches.callback]) == [batches.order(0).tolist()]

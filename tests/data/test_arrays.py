"""Datasets by name, as arrays."""

import sys

import digits as digits_file
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


class TestPreparedElsewhere:
    """Datasets that are none of `NAMES`: folders of `data_dir`."""

    @staticmethod
    def written(tmp_path, name, splits, size=(4, 4, 3), key="label"):
        """Write a dataset with six examples per split, and return its first split's images."""
        tfds = pytest.importorskip("tensorflow_datasets")
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (6, *(side or 4 for side in size)), dtype=np.uint8)
        labels = np.arange(6) % 3
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=size, encoding_format="png"),
                key: tfds.features.ClassLabel(num_classes=3),
            }
        )
        folder = tmp_path / name / "1.0.0"
        folder.mkdir(parents=True)
        for split in splits:
            with tf.io.TFRecordWriter(f"{folder}/{name}-{split}.tfrecord-00000-of-00001") as file:
                for image, label in zip(images, labels, strict=True):
                    file.write(features.serialize_example({"image": image, key: label}))
        tfds.folder_dataset.write_metadata(
            data_dir=str(folder),
            features=features,
            split_infos=[
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[6],
                    num_bytes=0,
                    filename_template=tfds.core.ShardedFileTemplate(
                        data_dir=folder, dataset_name=name, split=split, filetype_suffix="tfrecord"
                    ),
                )
                for split in splits
            ],
        )
        return images, labels

    @pytest.mark.parametrize("test", ["test", "validation"])
    def test_a_folder_with_images_and_labels(self, test, tmp_path):
        images, labels = self.written(tmp_path, "animals", ["train", test])
        found = data.load("animals", str(tmp_path))
        assert (found.name, found.classes) == ("animals", 3)
        for split in (found.train, found.test):
            np.testing.assert_array_equal(split.x, images.astype(np.float32) / np.float32(255.0))
            np.testing.assert_array_equal(split.y, labels)

    @pytest.mark.parametrize(
        ("wrong", "received"),
        [
            ({"splits": ["train"]}, r"splits=\['train'\]"),
            ({"splits": ["train", "test"], "size": (None, None, 3)}, r"Image\(shape=\(None"),
            ({"splits": ["train", "test"], "key": "kind"}, r"'kind': ClassLabel"),
        ],
    )
    def test_what_is_no_such_dataset(self, wrong, received, tmp_path):
        self.written(tmp_path, "animals", **wrong)
        with pytest.raises(ValueError, match=rf"(?s)'animals' must have the features.*{received}"):
            data.load("animals", str(tmp_path))

    @pytest.mark.parametrize("name", ["animals", "..", "../animals", 3])
    def test_a_name_without_a_folder(self, name, tmp_path):
        with pytest.raises(ValueError, match=r"`name` must be one of .*Received: name="):
            data.load(name, str(tmp_path))


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

"""Residual networks: sizes, shapes, published weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.models.resnet import copy_weights_by_name


@functools.lru_cache(maxsize=4)
def published(depth, version=1):
    """A network that several tests look at, and none changes."""
    return ta.models.resnet(depth, version)


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        (18, 11_689_512),
        (34, 21_797_672),
        (50, 25_557_032),
        pytest.param(101, 44_549_160, marks=pytest.mark.slow),
        pytest.param(152, 60_192_808, marks=pytest.mark.slow),
        (20, 269_722),
        (32, 464_154),
        (56, 853_018),
        pytest.param(110, 1_727_962, marks=pytest.mark.slow),
    ],
)
def test_version_1_has_as_many_parameters_as_published(depth, parameters):
    assert trainable(published(depth)) == parameters


@pytest.mark.parametrize("depth", [18, 50, 20])
def test_version_2_has_the_same_convolutions(depth):
    """And norms before instead of after them: none after a shortcut, one more at the end."""
    found = [
        sorted(tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel"))
        for model in (published(depth, version) for version in (1, 2))
    ]
    assert found[0] == found[1]
    model = published(depth, 2)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    blocks = sum("_0_" not in layer.name and "_1_conv" in layer.name for layer in model.layers)
    assert len(norms) == (3 if depth == 50 else 2) * blocks + 1
    assert norms[0].momentum == 0.997 and norms[-1].name == "post_bn"


@pytest.mark.parametrize(
    ("depth", "version", "size", "shapes"),
    [
        (18, 1, 224, [(56, 56, 64), (28, 28, 128), (14, 14, 256), (7, 7, 512)]),
        (50, 2, 299, [(75, 75, 256), (38, 38, 512), (19, 19, 1024), (10, 10, 2048)]),
        (20, 1, 32, [(32, 32, 16), (16, 16, 32), (8, 8, 64)]),
        (32, 2, 32, [(32, 32, 16), (16, 16, 32), (8, 8, 64)]),
    ],
)
def test_shapes_of_the_stages(depth, version, size, shapes):
    model = published(depth, version)
    assert model.input_shape == (None, size, size, 3)
    outs = [layer for layer in model.layers if layer.name.endswith("_out")]
    ends = {layer.name.split("_")[0]: layer.output.shape[1:] for layer in outs}
    assert list(ends.values()) == shapes


@pytest.mark.parametrize(
    ("depth", "version", "name"),
    [(50, 1, "ResNet50")]
    + [
        pytest.param(depth, version, f"ResNet{depth}{suffix}", marks=pytest.mark.slow)
        for depth in (50, 101, 152)
        for version, suffix in ((1, ""), (2, "V2"))
        if (depth, version) != (50, 1)
    ],
)
def test_weights_of_keras_applications(depth, version, name):
    """Same outputs, and as many parameters, with statistics that are not those of the start."""
    shape = (64, 64, 3)
    application = getattr(keras.applications, name)(
        weights=None, input_shape=shape, classes=7, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for layer in application.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_mean.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    model = ta.models.resnet(
        depth, version, layout="keras", input_shape=shape, classes=7, weights=application
    )
    assert model.count_params() == application.count_params()
    x = rng.random((2, *shape)).astype(np.float32)
    expected = application(x)
    np.testing.assert_allclose(model(x), expected, atol=1e-4 * float(tf.norm(expected)))


@pytest.mark.parametrize("version", [1, 2])
def test_images_of_any_size(version):
    model, fixed = (
        ta.models.resnet(
            8,
            version,
            feedback="sa",
            input_shape=(size, size, 1),
            width=4,
            augment=ta.models.CropAndFlip(2),
        )
        for size in (None, 12)
    )
    model.set_weights(fixed.get_weights())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for size in (12, 17):
        x = np.random.default_rng(0).random((3, size, size, 1)).astype(np.float32)
        found = model(x)
        assert found.shape == (3, 10)
        if size == 12:
            np.testing.assert_allclose(found, fixed(x), rtol=1e-5, atol=1e-6)
        assert np.isfinite(model.train_on_batch(x, np.zeros(3, int)))


@pytest.mark.parametrize("shape", [(None, 8, 3), (None, None, None), (8, 8), 8, (0, 8, 3)])
def test_image_shapes_are_checked(shape):
    with pytest.raises(ValueError, match=r"Argument `input_shape` .*Received: input_shape="):
        ta.models.resnet(8, input_shape=shape)


def test_weights_must_fit():
    small, other = (ta.models.resnet(8, width=width) for width in (4, 6))
    with pytest.raises(ValueError, match=r"'conv1_conv'.*Received: \[\(3, 3, 3, 6\)\]"):
        ta.models.resnet(8, width=4, weights=other)
    with pytest.raises(ValueError, match="no such layer"):
        copy_weights_by_name(keras.Sequential([keras.Input((2,))]), small)


@pytest.mark.parametrize(
    ("version", "shortcuts"),
    [
        (1, "padding"),
        (2, "projection"),
        pytest.param(1, "projection", marks=pytest.mark.slow),
        pytest.param(2, "padding", marks=pytest.mark.slow),
    ],
)
def test_any_method_width_and_size(version, shortcuts, tmp_path):
    model = ta.models.resnet(
        8,
        version,
        feedback="sa",
        input_shape=(20, 20, 1),
        classes=3,
        width=4,
        shortcuts=shortcuts,
        augment=ta.models.CropAndFlip(2),
    )
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    labels = np.arange(8) % 3
    x = np.random.default_rng(0).random((8, 20, 20, 1), np.float32)
    x += labels[:, None, None, None]  # brighter by class: noise alone is learned by luck
    losses = model.fit(x, labels, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    projected = [layer.name for layer in model.layers if layer.name.endswith("_0_conv")]
    assert len(projected) == (2 if shortcuts == "projection" else 0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_shortcut_without_weights():
    x = tf.reshape(tf.range(48.0), (1, 4, 4, 3))
    found = ta.models.ChannelPadding(6, 2)(x).numpy()
    np.testing.assert_array_equal(found[..., 1:4], x.numpy()[:, ::2, ::2])
    assert not found[..., [0, 4, 5]].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 21}, r"one of \[18, 34, 50, 101, 152\], or 6n \+ 2. Received: depth=21"),
        ({"depth": "20"}, "depth='20'"),
        ({"depth": 2}, "depth=2"),
        ({"depth": True}, "depth=True"),
        ({"depth": 20.0}, "depth=20.0"),
        ({"depth": 20, "version": 3}, "version=3"),
        ({"depth": 20, "shortcuts": "none"}, "shortcuts='none'"),
        ({"depth": 18, "layout": "torch"}, "layout='torch'"),
        ({"depth": 18, "layout": "keras"}, "other than 50, 101 and 152"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ta.models.resnet(**arguments)


def test_integers_of_numpy_are_depths():
    assert ta.models.resnet(np.int64(8), width=np.int64(4)).name == "resnet8v1"

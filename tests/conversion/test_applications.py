"""Models of `keras.applications`: every kernel converted in place or named, and back."""

import inspect
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import set_feedback_to_forward

import tf_alignment as ta

A = keras.applications

# One model a family, the smallest: (its class, side of the smallest image, arguments)
FAMILIES = {
    "convnext": (A.ConvNeXtTiny, 32, {}),
    "densenet": (A.DenseNet121, 32, {}),
    "efficientnet": (A.EfficientNetB0, 32, {}),
    "efficientnet_v2": (A.EfficientNetV2B0, 32, {}),
    "inception_resnet_v2": (A.InceptionResNetV2, 75, {}),
    "inception_v3": (A.InceptionV3, 75, {}),
    "mobilenet": (A.MobileNet, 32, {"alpha": 0.25}),
    "mobilenet_v2": (A.MobileNetV2, 32, {"alpha": 0.35}),
    "mobilenet_v3": (A.MobileNetV3Small, 32, {"minimalistic": True}),
    "nasnet": (A.NASNetMobile, 32, {}),
    "resnet": (A.ResNet50, 32, {}),
    "resnet_v2": (A.ResNet50V2, 32, {}),
    "vgg16": (A.VGG16, 32, {}),
    "vgg19": (A.VGG19, 32, {}),
    "xception": (A.Xception, 71, {}),
}
# of the same code with more layers, or wider ones
LARGER = [
    *("ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
    *("DenseNet169", "DenseNet201", "MobileNetV3Large", "NASNetLarge"),
    *(f"EfficientNetB{n}" for n in range(1, 8)),
    *("EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2S", "EfficientNetV2M", "EfficientNetV2L"),
    *("ResNet101", "ResNet152", "ResNet101V2", "ResNet152V2"),
]


def test_no_family_is_left_out():
    public = {name for name, value in vars(A).items() if inspect.isfunction(value)}
    tried = {make.__name__ for make, *_ in FAMILIES.values()}
    assert tried | set(LARGER) == public


def gradients(model, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model(x, training=False)))
    found = tape.gradient(loss, model.trainable_weights)
    weights = model.trainable_weights
    return {w.path: g.numpy() for w, g in zip(weights, found, strict=True) if g is not None}


def close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        error = np.linalg.norm(found[path] - value)
        assert error <= tolerance * np.linalg.norm(value), (path, error)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
def test_in_place_and_back(family, tmp_path):
    make, side, arguments = FAMILIES[family]
    model = make(
        weights=None,
        input_shape=(side, side, 3),
        classes=5,
        classifier_activation=None,
        **arguments,
    )
    x = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype("float32")
    before, gradient = model(x, training=False), gradients(model, x)
    kernels = [w for w in model.trainable_weights if w.name.endswith("kernel")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing has to stay stock but what is at the bottom
        assert ta.convert(model, "fa", inplace=True) is model
    rows = ta.summary(model, None)
    why = [row.why for row in rows if row.method == "stock" and row.why != "has no kernel"]
    assert why == ["nothing below it learns"]  # the first kernel
    connections = [c for v in ta.layers.feedback_layers(model) for c in v.connections]
    assert len(connections) == len(kernels) - 1
    np.testing.assert_array_equal(model(x, training=False), before)
    drawn = [c.weights["feedback_kernel"].numpy() for c in connections]
    for layer in ta.layers.feedback_layers(model):
        set_feedback_to_forward(layer)
    close(gradients(model, x), gradient, 1e-3)
    for c, b in zip(connections, drawn, strict=True):
        c.weights["feedback_kernel"].assign(b)
    weights = model.get_weights()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True), run_eagerly=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.train_on_batch(x, np.array([1, 2])))
    assert any(np.any(a != b) for a, b in zip(weights, model.get_weights(), strict=True))
    model.set_weights(weights)
    model.save(tmp_path / "m.keras")
    loaded = ta.load_model(tmp_path / "m.keras", compile=False)
    assert len(ta.layers.feedback_layers(loaded)) == len(ta.layers.feedback_layers(model))
    for a, b in zip(loaded.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    del loaded
    assert ta.strip(model, inplace=True) is model and not ta.layers.feedback_layers(model)
    close(gradients(model, x), gradient, 1e-5)

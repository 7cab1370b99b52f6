"""Backbones of KerasHub with tiny settings: every kernel converted in place, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import set_feedback_to_forward

import tf_alignment as ta

hub = pytest.importorskip(
    "keras_hub", reason="needs KerasHub: pip install 'tf_alignment[test-hub]'"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore"),  # what KerasHub says of masks is no matter here
]
M = hub.models
TEXT = {"vocabulary_size": 30, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
TEXT["intermediate_dim"] = 16


def tokens(*names):
    rng = np.random.default_rng(0)
    made = {}
    for name in names:
        ids = rng.integers(1, 20, (2, 6)).astype("int32")
        made[name] = ids if "token" in name else np.ones_like(ids) * ("mask" in name)
    return made


def image(size):
    return np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")


def bert():
    x = tokens("token_ids", "segment_ids", "padding_mask")
    return M.BertBackbone(**TEXT, max_sequence_length=6), x


def distil_bert():
    return M.DistilBertBackbone(**TEXT, max_sequence_length=6), tokens("token_ids", "padding_mask")


def gpt2():
    return M.GPT2Backbone(**TEXT, max_sequence_length=6), tokens("token_ids", "padding_mask")


def gpt2_causal_lm():
    model, x = gpt2()
    return M.GPT2CausalLM(model), x


def vit():
    shape = {"image_shape": (16, 16, 3), "patch_size": 8, "mlp_dim": 16}
    return M.ViTBackbone(num_layers=2, num_heads=2, hidden_dim=8, **shape), image(16)


def t5():
    names = ("encoder_token_ids", "encoder_padding_mask")
    other = ("decoder_token_ids", "decoder_padding_mask")
    return M.T5Backbone(**TEXT), tokens(*names, *other)


def whisper():
    x = tokens("decoder_token_ids", "decoder_padding_mask")
    x["encoder_features"] = np.random.default_rng(0).standard_normal((2, 12, 80)).astype("float32")
    lengths = {"max_encoder_sequence_length": 12, "max_decoder_sequence_length": 6}
    return M.WhisperBackbone(**TEXT, **lengths), x


def resnet():
    stem = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3]}
    stacks = {"stackwise_num_filters": [64, 8], "stackwise_num_blocks": [1, 1]}
    return M.ResNetBackbone(
        **stem,
        **stacks,
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    ), image(16)


def segformer():
    encoder = M.MiTBackbone(
        layerwise_depths=[1, 1],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        image_shape=(32, 32, 3),
        hidden_dims=[4, 8],
    )
    return M.SegFormerBackbone(image_encoder=encoder, projection_filters=8), image(32)


# layers with feedback: all with kernels, but for those below which nothing learns; and embeddings
# whose transpose makes the logits
BACKBONES = {
    bert: 0,
    distil_bert: 0,
    gpt2: 0,
    gpt2_causal_lm: 1,
    vit: 0,
    t5: 0,
    whisper: -1,
    resnet: -1,
    segformer: 0,
}


def gradients(model, x):
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(model(x, training=False))
        loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(o, "float32"))) for o in outputs])
    found = tape.gradient(loss, model.trainable_weights)
    return {
        w.path: np.asarray(tf.convert_to_tensor(g))
        for w, g in zip(model.trainable_weights, found, strict=True)
        if g is not None
    }


def close(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_allclose(b[name], value, rtol=1e-4, atol=1e-5 * np.abs(value).max())


@pytest.mark.parametrize("make", BACKBONES, ids=lambda make: make.__name__)
def test_backbones(make, tmp_path):
    model, x = make()
    before, gradient = keras.tree.flatten(model(x, training=False)), gradients(model, x)
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    cls = type(model)
    assert ta.convert(model, "fa", inplace=True) is model and type(model) is cls
    layers = [v for v in ta.layers.feedback_layers(model) if isinstance(v, ta.layers.FeedbackLayer)]
    assert len(layers) == len(kernels) + BACKBONES[make]
    lines = []
    ta.summary(model, lines.append)
    assert lines[-1].startswith("No weight transport remains")
    for a, b in zip(before, keras.tree.flatten(model(x, training=False)), strict=True):
        np.testing.assert_array_equal(a, b)
    for layer in layers:
        set_feedback_to_forward(layer)
    close(gradient, gradients(model, x))
    model.save(tmp_path / "m.keras")
    loaded = ta.load_model(tmp_path / "m.keras")
    assert type(loaded) is cls
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with tf.GradientTape() as tape:  # a step
        outputs = keras.tree.flatten(model(x, training=True))
        loss = tf.add_n([tf.reduce_sum(tf.cast(o, "float32")) for o in outputs])
    found = tape.gradient(loss, model.trainable_weights)
    optimizer = keras.optimizers.SGD(1e-3)
    pairs = zip(found, model.trainable_weights, strict=True)
    optimizer.apply_gradients((g, w) for g, w in pairs if g is not None)
    ta.strip(loaded, inplace=True)
    assert not ta.layers.feedback_layers(loaded)
    again = gradients(loaded, x)
    for a, b in zip(gradient.values(), again.values(), strict=True):  # paths are other ones
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())
    assert len(ta.layers.feedback_layers(ta.convert(loaded, "kp"))) == len(layers)

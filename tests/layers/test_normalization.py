"""Fused batch normalisation against Keras'."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

STOCK, FUSED = keras.layers.BatchNormalization, ta.layers.BatchNormalization
# Of the largest entry; outputs and errors are rounded to the dtype, and may differ by one there.
ROUNDING = {"float32": 2e-6, "mixed_bfloat16": 2**-8, "mixed_float16": 2**-10}


def draws(shape, axis=-1, seed=0):
    """Input, error from above, and of each channel γ, β, moving mean and variance."""
    rng = np.random.default_rng(seed)
    x, error = rng.normal(2.0, 3.0, shape), rng.normal(size=shape)
    channels = shape[axis]
    own = {
        "gamma": rng.normal(1.0, 0.3, channels),
        "beta": rng.normal(size=channels),
        "moving_mean": rng.normal(size=channels),
        "moving_variance": rng.uniform(0.5, 2.0, channels),
    }
    return x.astype("float32"), error.astype("float32"), own


def result(
    kind, shape, training=True, policy="float32", jit=False, mask=None, known=True, **kwargs
):
    """Output, error sent down, gradients and moving averages of a layer of this kind."""
    axis = kwargs.get("axis", -1)
    x, error, own = draws(shape, axis)
    layer = kind(dtype=policy, **kwargs)
    dtype = layer.compute_dtype
    layer.build((None, *shape[1:]))
    for weight in layer.weights:
        if weight.name in own:
            weight.assign(own[weight.name])
    spec = tf.TensorSpec(shape if known else [None] * (len(shape) - 1) + [shape[-1]], dtype)

    @tf.function(jit_compile=jit, input_signature=[spec, spec])
    def run(x, error):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training, mask=mask)
        sources = [x, *(w.value for w in layer.trainable_variables)]
        return y, tape.gradient(y, sources, error)

    y, gradients = run(tf.cast(x, dtype), tf.cast(error, dtype))
    return [y, *gradients], [w.value for w in layer.weights]


def operations(layer, shape, **kwargs):
    """Types of the operations of a training step's forward pass."""
    spec = tf.TensorSpec(shape, layer.compute_dtype)
    graph = tf.function(lambda x: layer(x, training=True, **kwargs)).get_concrete_function(spec)
    return {op.type for op in graph.graph.get_operations()}


def compare(shape, policy="float32", **kwargs):
    ours, theirs = (result(kind, shape, policy=policy, **kwargs) for kind in (FUSED, STOCK))
    for found, expected, tolerance in (
        (ours[0], theirs[0], ROUNDING[policy]),
        (ours[1], theirs[1], 1e-6),
    ):
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype and one.shape == other.shape
            one, other = np.float64(one), np.float64(other)
            np.testing.assert_allclose(one, other, atol=tolerance * abs(other).max(), rtol=0)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("policy", list(ROUNDING))
def test_it_computes_what_keras_does(policy, training, jit):
    compare((8, 6, 6, 5), policy, training=training, jit=jit)


@pytest.mark.parametrize(
    "shape", [(9, 5), (1, 5), (8, 7, 5), (8, 7, 6, 5), (4, 3, 3, 3, 5), (2, 2, 2, 2, 2, 5)]
)
@pytest.mark.parametrize("known", [True, False])
def test_inputs_of_any_rank_are_fused(shape, known):
    compare(shape, known=known)
    assert "FusedBatchNormV3" in operations(FUSED(), shape)


@pytest.mark.parametrize(
    "options",
    [
        {"center": False},
        {"scale": False},
        {"center": False, "scale": False},
        {"epsilon": 0.1, "momentum": 0.5},
        {"axis": 3},
        {"synchronized": True},
        {"trainable": False},
    ],
    ids=str,
)
def test_arguments(options):
    compare((8, 6, 6, 5), **options)


def test_numbers_by_hand():
    """From the paper's algorithm 1, with the moving average that Keras documents."""
    x, _, own = draws((8, 6, 6, 5))
    layer = FUSED(momentum=0.9, epsilon=1e-3)
    layer.build((None, 6, 6, 5))
    for weight in layer.weights:
        weight.assign(own[weight.name])
    y = layer(x, training=True)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    normalised = (x - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(y, own["gamma"] * normalised + own["beta"], rtol=1e-5, atol=1e-5)
    expected = 0.9 * own["moving_variance"] + 0.1 * variance  # no Bessel's correction
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * own["moving_mean"] + 0.1 * mean, rtol=1e-6)


MASK = np.arange(48).reshape(8, 6) % 3 > 0


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8, 6, 5), {"mask": tf.constant(MASK)}),
        ((8, 5, 6, 6), {"axis": 1}),
        ((8, 6, 5), {"axis": 1}),
        (
            (8, 6, 6, 5),
            {"renorm": True, "renorm_clipping": {"rmax": 3.0, "rmin": 0.3, "dmax": 5.0}},
        ),
    ],
    ids=["mask", "channels first", "middle axis", "renorm"],
)
def test_what_the_fused_operation_lacks_is_keras_own_bit_for_bit(shape, options):
    ours, theirs = (result(kind, shape, **options) for kind in (FUSED, STOCK))
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
    mask = {"mask": options["mask"]} if "mask" in options else {}
    layer = FUSED(**{k: v for k, v in options.items() if k != "mask"})
    assert "FusedBatchNormV3" not in operations(layer, shape, **mask)


def test_float64_is_keras_own():
    layer = FUSED(dtype="float64")
    y = layer(tf.ones((4, 3), tf.float64), training=True)
    assert y.dtype == tf.float64 and "FusedBatchNormV3" not in operations(layer, (4, 3))


def test_wrong_masks_are_refused_as_by_keras():
    with pytest.raises(ValueError, match="one dimension less"):
        FUSED()(tf.ones((4, 3, 2)), mask=tf.ones(4, tf.bool))


def network(kind, width=8, **options):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(width, 3, use_bias=False),
            kind(momentum=0.9, name="norm", **options),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16),
            kind(momentum=0.9, name="dense_norm", **options),
            layers.Dense(10),
        ]
    )


def trained(kind, jit=False, steps=5, **options):
    model = network(kind, **options)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=jit)
    optimizer.build(model.trainable_variables)  # in the step, it would be traced twice
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(32, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 32)
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model, x, y


@pytest.mark.parametrize("jit", [False, True])
def test_training_is_keras_to_rounding(jit):
    (ours, x, y), (theirs, _, _) = trained(FUSED, jit), trained(STOCK, jit)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    np.testing.assert_allclose(
        ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), 1e-4
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_as_keras_does(policy):
    keras.config.set_dtype_policy(policy)
    (ours, _, _), (theirs, _, _) = trained(FUSED), trained(STOCK)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        # of the order of what five steps of a rounded gradient differ by
        np.testing.assert_allclose(one, other, atol=0.02)


def test_half_precision_makes_no_copy_in_float32():
    spec = tf.TensorSpec((8, 6, 6, 5), tf.bfloat16)
    sizes = {}
    for kind in (FUSED, STOCK):
        layer = kind(dtype="mixed_bfloat16")
        graph = tf.function(lambda x, layer=layer: layer(x, training=True)).get_concrete_function(
            spec
        )
        made = [t for op in graph.graph.get_operations() for t in op.outputs]
        sizes[kind] = sum(t.dtype == tf.float32 and t.shape == spec.shape for t in made)
    assert sizes[FUSED] == 0 < sizes[STOCK]


@pytest.mark.parametrize("synchronized", [False, True])
def test_two_replicas(two_replicas, synchronized):
    """With `synchronized`, Keras' own; without, each replica its half of the batch, as in Keras."""
    found = []
    for kind in (FUSED, STOCK):
        with two_replicas.scope():
            model, _, _ = trained(kind, steps=3, synchronized=synchronized)
        found.append(model)
    for one, other in zip(found[0].weights, found[1].weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_it_is_saved_and_loaded(tmp_path):
    model, x, _ = trained(FUSED)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is FUSED
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(("source", "target"), [(FUSED, STOCK), (STOCK, FUSED)])
def test_weights_go_both_ways(tmp_path, source, target):
    model, x, _ = trained(source)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        other = network(target)
        other.load_weights(tmp_path / file)
        np.testing.assert_allclose(other(x), model(x), rtol=1e-4, atol=1e-5)


def test_it_is_converted_and_cloned_as_keras_own():
    converted = ta.convert(network(FUSED), "fa")
    assert type(converted.get_layer("norm")) is FUSED
    assert type(keras.models.clone_model(converted).get_layer("norm")) is FUSED


def test_its_config_is_that_of_keras():
    options = {"momentum": 0.5, "axis": 1, "scale": False, "name": "norm", "beta_regularizer": "l2"}
    assert FUSED(**options).get_config() == STOCK(**options).get_config()
    assert (
        FUSED.from_config(FUSED(**options).get_config()).get_config()
        == FUSED(**options).get_config()
    )

"""The one-pass SGD against Keras', bit for bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

STOCK, FUSED = keras.optimizers.SGD, ta.optimizers.SGD


def trained(kind, steps=4, jit=False, **options):
    """Weights, and the variables of the optimizer, after some steps on noise."""
    keras.utils.set_random_seed(2)
    layers = [
        keras.layers.Dense(9, "relu", kernel_constraint=keras.constraints.MaxNorm(0.9)),
        keras.layers.BatchNormalization(),
        ta.layers.Dense(5, "relu", feedback="kp"),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((7,)), *layers])
    model.compile(kind(0.05, **options), "mse", jit_compile=jit)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 7)).astype("float32"), rng.normal(size=(16, 3)).astype("float32")
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model, [np.float64(w) for w in (*model.weights, *model.optimizer.variables)]


def applied(kind, shapes=((33, 7), (5,), (16, 16)), dtype="float32", steps=5, **options):
    """Likewise, for given gradients in a compiled step."""
    rng = np.random.default_rng(0)
    weights = [
        keras.Variable(rng.normal(size=shape), dtype=dtype, constraint=constraint)
        for shape, constraint in zip(
            shapes, (keras.constraints.MaxNorm(0.9), None, None), strict=False
        )
    ]
    optimizer = kind(0.037, **options)
    optimizer.build(weights)
    step = tf.function(lambda *gradients: optimizer.apply(list(gradients), weights))
    for _ in range(steps):
        step(*(tf.cast(rng.normal(size=shape), dtype) for shape in shapes))
    return [np.float64(w) for w in (*weights, *optimizer.variables)]


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"clipnorm": 0.1},
        {"momentum": 0.9, "global_clipnorm": 0.1},
        {"momentum": 0.9, "clipvalue": 0.01},
        {"momentum": 0.9, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
        {"momentum": 0.9, "gradient_accumulation_steps": 2},
        {"momentum": 0.9, "loss_scale_factor": 8.0},
    ],
    ids=str,
)
def test_it_is_keras_own_bit_for_bit(options):
    same(applied(FUSED, **options), applied(STOCK, **options))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_other_precisions(dtype, options):
    same(*(applied(kind, dtype=dtype, **options) for kind in (FUSED, STOCK)))


@pytest.mark.parametrize("size", [1, 17, 4096, 262_149])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}])
def test_weights_of_any_size(size, options):
    same(*(applied(kind, shapes=((1, 1), (size,)), **options) for kind in (FUSED, STOCK)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training(policy, momentum):
    keras.config.set_dtype_policy(policy)
    ours, theirs = (trained(kind, momentum=momentum)[1] for kind in (FUSED, STOCK))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_xla():
    """XLA is free to contract a product and a sum, in either of them."""
    ours, theirs = (trained(kind, momentum=0.9, jit=True)[1] for kind in (FUSED, STOCK))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_two_replicas(two_replicas, momentum):
    found = []
    for kind in (FUSED, STOCK):
        with two_replicas.scope():
            found.append(trained(kind, momentum=momentum)[1])
    same(*found)


def test_learning_rate_schedules():
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    found = []
    for kind in (FUSED, STOCK):
        weight = keras.Variable(np.ones(5, "float32"))
        optimizer = kind(rate, momentum=0.9)
        for gradient in np.random.default_rng(0).normal(size=(4, 5)).astype("float32"):
            optimizer.apply([tf.constant(gradient)], [weight])
        found.append(weight.numpy())
    same(found[:1], found[1:])


def test_sparse_gradients_touch_their_rows_alone():
    found = []
    for kind in (FUSED, STOCK):
        weight = keras.Variable(np.ones((5, 2), "float32"))
        gradient = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 3]), tf.constant([5, 2]))
        optimizer = kind(0.1)
        optimizer.apply([gradient], [weight])
        found.append(weight.numpy())
    same(found[:1], found[1:])
    np.testing.assert_array_equal(found[0][[0, 2, 4]], 1.0)


def operations(kind, momentum):
    weight = keras.Variable(np.ones((8, 6), "float32"))
    optimizer = kind(0.1, momentum=momentum)
    optimizer.build([weight])
    step = tf.function(lambda g: optimizer.apply([g], [weight]))
    graph = step.get_concrete_function(tf.TensorSpec((8, 6))).graph
    return {op.type for op in graph.get_operations()}


@pytest.mark.parametrize(
    ("momentum", "operation"),
    [(0.0, "ResourceApplyGradientDescent"), (0.9, "ResourceApplyKerasMomentum")],
)
def test_it_is_one_operation(momentum, operation):
    assert operation in operations(FUSED, momentum)
    assert operation not in operations(STOCK, momentum)


def test_saved_and_loaded_with_its_momenta(tmp_path):
    model, _ = trained(FUSED, momentum=0.9)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is FUSED
    same(
        [v.numpy() for v in model.optimizer.variables],
        [v.numpy() for v in loaded.optimizer.variables],
    )
    options = {"learning_rate": 0.5, "momentum": 0.9, "nesterov": True, "name": "sgd"}
    assert FUSED(**options).get_config() == STOCK(**options).get_config()


def test_split_takes_it_for_sgd():
    optimizer = ta.optimizers.split("sgd")
    assert [type(inner) for inner in optimizer.optimizers] == [FUSED, FUSED]
    assert [inner.name for inner in optimizer.optimizers] == ["feedback", "sgd"]
    given = STOCK(0.1)
    assert ta.optimizers.split(given).optimizers[1] is given

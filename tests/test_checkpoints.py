"""`tf.train.Checkpoint` keeps everything: feedback weights, counters, both optimizers."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

SCHEDULED = ta.feedback.SymmetricAlignment(
    beta=keras.optimizers.schedules.ExponentialDecay(1.0, 9, 0.9)
)
RULES = [*ta.feedback.METHODS, SCHEDULED]


def network(feedback, seed):
    """A model whose every variable, the optimizer's too, has numbers of its own."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(16, "relu"),
        keras.layers.Reshape((4, 4, 1)),
        keras.layers.SeparableConv2D(4, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    with warnings.catch_warnings():
        # direct feedback leaves backpropagation between the two kernels of one layer, and says so
        warnings.filterwarnings("ignore", message=".*inside a layer with several kernels.*")
        model = ta.convert(keras.Sequential([keras.Input((16,)), *layers]), feedback)
    model.compile(ta.optimizers.split("adam"), "mse")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(seed)
    for variable in (*model.variables, *model.optimizer.variables):
        variable.assign(rng.integers(1, 1000, variable.shape).astype(variable.dtype))
    return model


def values(model):
    return {
        f"{i} {v.path}": v.numpy()
        for i, v in enumerate([*model.variables, *model.optimizer.variables])
    }


def assert_same(model, other):
    for (name, a), b in zip(values(model).items(), values(other).values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("feedback", RULES, ids=lambda f: f if isinstance(f, str) else "scheduled")
def test_a_checkpoint_restores_every_weight_and_both_optimizers(feedback, tmp_path):
    model, other = network(feedback, 1), network(feedback, 2)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = tf.train.CheckpointManager(checkpoint, str(tmp_path), 2).save()
    status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    status.assert_consumed()
    assert_same(model, other)


def test_it_restores_under_mixed_precision_and_after_loading(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model, other = network("sa", 1), network("sa", 2)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    path = tf.train.Checkpoint(model=loaded, optimizer=loaded.optimizer).save(str(tmp_path / "c"))
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path).assert_consumed()
    assert_same(model, other)


def test_a_checkpoint_of_stock_weights_says_what_it_lacks(tmp_path):
    """Restoring into a layer with feedback leaves B as it is, and `assert_consumed` passes."""
    stock = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    path = tf.train.Checkpoint(model=stock).save(str(tmp_path / "c"))
    model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="fa")])
    status = tf.train.Checkpoint(model=model).restore(path)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), stock.layers[0].kernel.numpy())
    with pytest.raises(AssertionError, match="feedback/feedback_kernel"):
        status.assert_existing_objects_matched()

"""A small network for node perturbation, its data, and what noise and backpropagation say of it."""

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

K = keras.layers
N, SIZES = 16, (6, 12, 10, 8)


def squared(y_true, y_pred):
    return 0.5 * keras.ops.sum((y_pred - y_true) ** 2, -1)


def network(method="fa", activation="tanh"):
    keras.utils.set_random_seed(1)
    hidden = [K.Dense(n, activation, name=f"hidden{i}") for i, n in enumerate(SIZES[1:-1])]
    layers = [keras.Input(SIZES[:1]), *hidden, K.Dense(SIZES[-1], name="top")]
    return ta.convert(keras.Sequential(layers, name="net"), method)


def data(examples=N):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((examples, SIZES[0])).astype("float32")
    return x, rng.standard_normal((examples, SIZES[-1])).astype("float32")


def stream(*arrays, batch=N):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch, drop_remainder=True)


def feedback(model, name="top"):
    return model.get_layer(name).feedback_weights["feedback_kernel"]


def estimates(phase, model, batch, repeats=1):
    """Mean of λ̂ over repeats of the batch, by path, and the errors δ."""
    phase.build(model)
    many = tuple(np.repeat(a[None], repeats, 0).reshape(-1, *a.shape[1:]) for a in batch)
    sent, targets = tf.function(lambda: phase.estimate(many))()
    means = {
        p: v.numpy().reshape(repeats, *batch[0].shape[:1], -1).mean(0)
        for (p, _), v in targets.items()
    }
    return means, {path: e for s in sent.values() for path, e in s.errors.items()}


def true_gradients(model, batch, loss=squared):
    """∂L/∂h for the input of every layer with feedback, by backpropagation."""
    x, y = batch
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(x))
        with ta.probe.probe(backprop=True) as seen:
            total = tf.reduce_sum(loss(y, model(x)))
    inputs = {c.path: calls[0] for c, calls in seen.inputs.items()}
    return {path: found.numpy() for path, found in tape.gradient(total, inputs).items()}

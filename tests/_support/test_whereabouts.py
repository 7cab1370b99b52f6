"""Layers refuse to be called where their backward pass would be lost."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment._support import whereabouts

X = tf.ones((3, 2, 4))


def seen_by(ask):
    """What `ask` says at each of the calls of a function of one tensor."""
    found = []

    def function(x):
        found.append(ask(x))
        return 2.0 * x

    return function, found


def test_it_is_known_where_a_function_is_called():
    mapped, in_map = seen_by(lambda x: whereabouts.in_vectorized_map())
    tf.vectorized_map(mapped, X)
    keras.ops.vectorized_map(mapped, X)
    tf.function(lambda: keras.ops.vectorized_map(mapped, X))()
    assert in_map == [True] * 3
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = mapped(X)
    tape.jacobian(y, X)  # maps the backward pass alone
    tf.map_fn(mapped, X)
    assert not any(in_map[3:])

    again, in_recomputation = seen_by(lambda x: whereabouts.in_recomputation())
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = tf.recompute_grad(again)(X)
    tape.gradient(y, X)
    assert in_recomputation == [True, True]
    tf.custom_gradient(lambda x: (again(x), lambda d: d))(X)
    assert in_recomputation[2:] == [False]

    assert not whereabouts.in_forward_mode(X)
    with tf.autodiff.ForwardAccumulator(X, X):
        assert whereabouts.in_forward_mode(2.0 * X)
        assert not whereabouts.in_forward_mode(tf.zeros(3))

    assert not whereabouts.records()
    with tf.GradientTape():
        assert whereabouts.records()


class Told(keras.layers.Layer):
    """Notes whether it is trained, where its model tells it otherwise."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x, training=None):
        self.seen.append((training, whereabouts.trains(training)))
        return x


class Within(keras.Model):
    """Calls a layer as in inference, as fine-tuning with frozen statistics does."""

    def __init__(self, inner=None):
        super().__init__()
        self.inner = inner or Told()

    def call(self, x, training=None):
        return self.inner(x, training=False)


def test_it_is_known_whether_a_step_of_training_takes_place():
    model, alone = Within(), Told()
    model(X)
    model.inner.seen.clear()
    ways = [{}, {"training": True}, {"training": False}]
    for told in ways:
        model(X, **told)
        alone(X, **told)
    assert model.inner.seen == [(False, False)] * 3
    assert alone.seen == [(None, False), (True, True), (False, False)]
    with tf.GradientTape():
        for told in ways:
            model(X, **told)
            alone(X, **told)
        alone.call(X, training=False)
    assert model.inner.seen[3:] == [(False, True), (False, True), (False, False)]
    assert alone.seen[3:] == [(None, True), (True, True), (False, False), (False, False)]


@pytest.fixture(params=["fa", "sa", "usf"])
def layer(request):
    layer = ta.layers.Dense(4, feedback=request.param)
    layer.build((None, 4))
    return layer


def test_training_inside_vectorized_map_is_refused(layer):
    with pytest.raises(ValueError, match=r"Fold the mapped axis.*Received: a call inside `vec"):
        tf.vectorized_map(lambda x: layer(x, training=True), X)
    with tf.GradientTape(), pytest.raises(ValueError, match="drops its backward pass"):
        tf.vectorized_map(layer, X)
    with tf.GradientTape(), pytest.raises(ValueError, match="drops its backward pass"):
        tf.vectorized_map(Within(layer), X)
    outputs = tf.vectorized_map(lambda x: layer(x, training=False), X)  # inference is right
    np.testing.assert_allclose(outputs, layer(X), atol=1e-6)
    tf.map_fn(lambda x: layer(x, training=True), X)


def test_keras_time_distributed_with_an_unknown_number_of_steps_is_refused():
    inputs = keras.Input((None, 4))
    hidden = keras.layers.TimeDistributed(ta.layers.Dense(4, feedback="fa"))(
        keras.layers.Dense(4)(inputs)
    )
    model = keras.Model(inputs, hidden)
    model.compile("sgd", "mse")
    signature = tf.TensorSpec((3, None, 4))
    data = tf.data.Dataset.from_generator(
        lambda: iter([(X, X)]), output_signature=(signature, signature)
    )
    with pytest.raises(ValueError, match=r"`tf_alignment.layers.TimeDistributed` does"):
        model.fit(data, shuffle=False, verbose=0)


def test_recomputation_is_refused_by_what_learns_by_alignment():
    layer = ta.layers.Dense(4, feedback="sa")
    layer.build((None, 4))
    with tf.GradientTape(), pytest.raises(ValueError, match=r"Received: a call inside `tf.recomp"):
        tf.recompute_grad(lambda x: layer(x, training=True))(X)
    layer = ta.layers.Dense(4, feedback="fa")
    layer.build((None, 4))

    def gradients(call):
        with tf.GradientTape() as tape:
            tape.watch(X)
            y = tf.reduce_sum(call(X) ** 2)
        return tape.gradient(y, X)

    want = gradients(layer)
    np.testing.assert_allclose(gradients(tf.recompute_grad(lambda x: layer(x))), want, atol=1e-5)


def test_forward_mode_is_refused(layer):
    refused = pytest.raises(ValueError, match=r"tf_alignment\.strip")
    with tf.autodiff.ForwardAccumulator(X, X), refused:
        layer(X)
    with tf.autodiff.ForwardAccumulator(layer.kernel.value, layer.kernel.value):
        layer(X)  # by the weights of the top layer it is right

    @tf.function
    def inside(x):
        with tf.autodiff.ForwardAccumulator(x, x) as forward:
            y = layer(x)
        return forward.jvp(y)

    with pytest.raises(ValueError, match="forward-mode differentiation would go through them"):
        inside(X)


def test_a_jacobian_is_right(layer):
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    jacobian = tape.jacobian(y, x)
    for i in range(2):
        np.testing.assert_allclose(
            jacobian[i, :, i], tf.transpose(layer.effective_feedback_kernel()), atol=1e-6
        )


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("feedback", ["fa", "backprop", "brsf", "dfa"])
def test_a_model_with_feedback_is_not_quantized(feedback):
    def converted():
        layers = [keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(3)]
        return ta.convert(keras.Sequential(layers), feedback)

    with pytest.raises(ValueError, match=r"cannot be quantized with a feedback.*strip\(model\)"):
        converted().quantize("int8")
    ta.strip(converted()).quantize("int8")

"""A feedback weight is read before its update, however often the layer is called in a step."""

import itertools
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import tf_alignment as ta

UPDATES = ("AssignSubVariableOp", "AssignVariableOp", "AssignAddVariableOp")
SELF = ta.feedback.Alignment({"self": 1.0})  # its gradient has neither B nor the response
RULES = [*(m for m in ta.feedback.METHODS if m not in ("dfa", "backprop")), SELF]


def graph_of(function, *arguments):
    """The nodes of the function as TensorFlow's graph optimizer leaves it."""
    context.context().enable_graph_collection()
    try:
        tf.function(lambda: tf.zeros(()))()  # the first reading of a process is empty
        context.context().export_run_metadata()
        function(*arguments)
        metadata = context.context().export_run_metadata()
    finally:
        context.context().disable_graph_collection()
    return [list(f.post_optimization_graph.node) for f in metadata.function_graphs]


def unordered(nodes):
    """How many reads there are of variables that are updated, and those without an order to it."""
    inputs = {n.name: [i.lstrip("^").split(":")[0] for i in n.input] for n in nodes}

    def before(name):
        seen, todo = set(), [name]
        while todo:
            for i in inputs.get(todo.pop(), ()):
                if i not in seen:
                    seen.add(i)
                    todo.append(i)
        return seen

    updates = [n for n in nodes if n.op in UPDATES]
    reads = [n for n in nodes if n.op == "ReadVariableOp"]
    earlier = {n.name: before(n.name) for n in (*updates, *reads)}
    pairs = [
        (read.name, update.name)
        for update in updates
        for read in reads
        if inputs[read.name][0] == inputs[update.name][0]
    ]
    return len(pairs), [(r, u) for r, u in pairs if r not in earlier[u] and u not in earlier[r]]


@keras.saving.register_keras_serializable("tests")
class Twice(keras.Model):
    """Calls one layer several times, the last time after a while."""

    def __init__(self, layer, top, delay=0.0):
        super().__init__()
        self.inner, self.top, self.delay = layer, top, delay
        self.bottom = keras.layers.Dense(6, "tanh")

    def call(self, x, training=None):
        h = self.inner(self.bottom(x), training=training)
        if not self.delay:
            return self.top(self.inner(h, training=training), training=training)
        wait = tf.py_function(lambda: time.sleep(self.delay), [], [])
        with tf.control_dependencies([wait]):  # the read, too, has to wait
            h = self.inner(h, training=training)
        return self.top(h, training=training)


def step_of(model, loss, call=None):
    optimizer = keras.optimizers.SGD(0.3)
    optimizer.build(model.trainable_variables)

    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, (call or model)(x, training=True)) + sum(model.losses)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return step


def squares(y, p):
    return tf.reduce_mean((y - p) ** 2)


def mean(y, p):
    return tf.reduce_mean(p)


def shared(feedback):
    layer = ta.layers.Dense(6, "tanh", feedback=feedback)
    model = Twice(layer, ta.layers.Dense(3, feedback=feedback))
    model(tf.zeros((8, 6)))
    return model, (8, 6), (8, 3)


def over_time(feedback):
    inner = ta.layers.Dense(6, "tanh", feedback=feedback)
    inputs = keras.Input((4, 6))
    hidden = keras.layers.TimeDistributed(inner)(keras.layers.Dense(6)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(hidden)), (8, 4, 6), (8, 4, 3)


MODELS, LOSSES = (shared, over_time), (squares, mean)


def combinations():
    """Rules, models and losses: every pair of two of them, the rest of the product slow."""
    for i, rule in enumerate(RULES):
        for (j, build), (k, loss) in itertools.product(*map(enumerate, (MODELS, LOSSES))):
            name = rule if isinstance(rule, str) else "self"
            marks = [pytest.mark.slow] if (i + j + k) % 2 else []
            words = f"{name}-{build.__name__}-{loss.__name__}"
            yield pytest.param(rule, build, loss, id=words, marks=marks)


@pytest.mark.parametrize(("feedback", "build", "loss"), list(combinations()))
def test_every_read_is_ordered_before_or_after_the_update(feedback, build, loss):
    model, x, y = build(feedback)
    [nodes] = [
        nodes
        for nodes in graph_of(tf.function(step_of(model, loss)), tf.ones(x), tf.ones(y))
        if any(n.op in UPDATES for n in nodes)
    ]
    reads, wrong = unordered(nodes)
    assert reads >= len(model.trainable_variables)
    assert not wrong


def test_layers_called_one_by_one_are_ordered_too():
    layer = ta.layers.Dense(6, "tanh", feedback="sa")
    layer.build((8, 6))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(layer.trainable_variables)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = layer(layer(x, training=True), training=True)
            value = tf.reduce_mean(h**2) + sum(layer.losses)
        *gradients, error = tape.gradient(value, [*layer.trainable_variables, x])
        optimizer.apply(gradients, layer.trainable_variables)
        return error

    for nodes in graph_of(step, tf.ones((8, 6))):
        assert not unordered(nodes)[1]


@pytest.mark.parametrize("feedback", ["sa", SELF], ids=["sa", "self"])
def test_a_second_call_that_is_late_sees_the_feedback_of_before_the_step(feedback):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((8, n)).astype("float32") for n in (6, 3))
    results = []
    for delay, compiled in ((0.0, False), (0.2, True)):
        keras.utils.set_random_seed(2)
        layer = ta.layers.Dense(6, "tanh", feedback=feedback)
        model = Twice(layer, keras.layers.Dense(3), delay)
        model(tf.zeros((8, 6)))
        step = step_of(model, squares)
        (tf.function(step) if compiled else step)(tf.constant(x), tf.constant(y))
        results.append([v.numpy() for v in model.variables])
    for eager, late in zip(*results, strict=True):
        np.testing.assert_allclose(late, eager, atol=1e-6)


def test_calls_in_inner_functions_use_one_read_where_it_can_be_had():
    layer = ta.layers.Dense(6, "tanh", feedback="sa")
    model = Twice(layer, keras.layers.Dense(3))
    model(tf.zeros((8, 6)))

    class Inner(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.shared = layer

        def call(self, x, training=None):
            h = self.shared(x, training=training)
            return tf.function(lambda h: self.shared(h, training=training))(h)

    inputs = keras.Input((6,))
    hidden = Inner()(keras.layers.Dense(6)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    step = step_of(model, squares)
    before = layer.feedback_weights["feedback_kernel"].numpy()
    tf.function(step)(tf.ones((8, 6)), tf.zeros((8, 3)))
    assert np.abs(layer.feedback_weights["feedback_kernel"].numpy() - before).max() > 0

"""Recurrent layers with feedback: backpropagation through time along B, made once per pass."""

import contextlib

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.conversion.graph import copy_weights
from tf_alignment.layers.inspection import connections
from tf_alignment.testing import gradients

K = keras.layers
DENSE = [
    ("SimpleRNN", {}),
    ("LSTM", {}),
    ("LSTM", {"implementation": 1}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"implementation": 1}),
    ("GRU", {"implementation": 1, "reset_after": False, "use_bias": False}),
]
IDS = [f"{kind}-{len(extra)}-{i}" for i, (kind, extra) in enumerate(DENSE)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def pair(kind, feedback, shape=(3, 4, 5), units=4, **extra):
    """A stock layer and one with feedback with the same numbers; biases are not zero."""
    stock = getattr(K, kind)(units, **extra)
    layer = getattr(ta.layers, kind)(units, **extra, feedback=feedback)
    stock.build(shape), layer.build(shape)
    for i, (a, b) in enumerate(zip(stock.weights, layer.weights, strict=False)):
        if a.name == "bias":
            a.assign(normal(*a.shape, seed=i))
        b.assign(a)
    return stock, layer


@pytest.mark.parametrize(("kind", "extra"), DENSE, ids=IDS)
def test_b_equal_to_w_is_backprop_under_a_dynamic_time_axis_and_a_mask(kind, extra):
    stock, layer = pair(kind, "fa", return_sequences=True, go_backwards=True, **extra)
    cases.set_feedback_to_forward(layer)
    target = tf.constant(normal(3, 4, 4, seed=1))

    def run(layer, x, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=mask, training=True)
            loss = tf.reduce_sum(y * target)
        return y, tape.gradient(loss, [x, *layer.trainable_weights])

    signature = tf.TensorSpec((None, None, 5)), tf.TensorSpec((None, None), tf.bool)
    x = tf.constant(normal(3, 4, 5))
    mask = tf.constant([[True] * 4, [True, True, False, False], [False, True, False, True]])
    functions = [
        tf.function(lambda x, m, of=of: run(of, x, m), signature, autograph=False)
        for of in (stock, layer)
    ]
    (y, want), (own, found) = (f(x, mask) for f in functions)
    np.testing.assert_array_equal(own, y)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def simple_rnn(x, delta, w, u, b, down, back):
    """NumPy: `h(t) = tanh(x W + b + h U)`, errors down through `down`, in time through `back`."""
    h, hs = np.zeros((len(x), u.shape[0])), []
    for t in range(x.shape[1]):
        hs.append(h)
        h = np.tanh(x[:, t] @ w + b + h @ u)
    hs.append(h)
    dx, dw, du, db, error = np.zeros(x.shape), 0, 0, 0, 0
    for t in reversed(range(x.shape[1])):
        d = (delta[:, t] + error) * (1 - hs[t + 1] ** 2)
        dx[:, t], error = d @ down.T, d @ back.T
        dw, du, db = dw + x[:, t].T @ d, du + hs[t].T @ d, db + d.sum(0)
    return np.stack(hs[1:], 1), dx, dw, du, db


def lstm(x, delta, w, u, b, down, back):
    """NumPy: the LSTM of Keras, gates in the order i, f, g, o."""
    n, units = len(x), u.shape[0]
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    h, c, trace = np.zeros((n, units)), np.zeros((n, units)), []
    for t in range(x.shape[1]):
        z = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
        i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
        new = f * c + i * g
        trace.append((h, c, i, f, g, o, new))
        h, c = o * np.tanh(new), new
    ys = np.stack([*(s[0] for s in trace[1:]), h], 1)
    dx, dw, du, db, eh, ec = np.zeros(x.shape), 0, 0, 0, 0, 0
    for t in reversed(range(x.shape[1])):
        h, c, i, f, g, o, new = trace[t]
        dh = delta[:, t] + eh
        dc = ec + dh * o * (1 - np.tanh(new) ** 2)
        d = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dc * i * (1 - g**2),
                dh * np.tanh(new) * o * (1 - o),
            ],
            1,
        )
        dx[:, t], eh, ec = d @ down.T, d @ back.T, dc * f
        dw, du, db = dw + x[:, t].T @ d, du + h.T @ d, db + d.sum(0)
    return ys, dx, dw, du, db


@pytest.mark.parametrize(("kind", "numpy"), [("SimpleRNN", simple_rnn), ("LSTM", lstm)])
@pytest.mark.parametrize("method", ["fa", "usf", "frsf", "kp", "sa", "pfa", "pfa_o"])
def test_errors_travel_along_the_effective_kernels_down_and_in_time(kind, numpy, method):
    _, layer = pair(kind, method, return_sequences=True)
    x, delta = normal(3, 4, 5), normal(3, 4, 4, seed=1)
    kernels = [np.float64(c.kernel) for c in layer.connections]
    effective = layer.effective_feedback_kernel()
    down, back = np.float64(effective["input"]), np.float64(effective["recurrent"])
    assert not np.allclose(down, kernels[0]) and not np.allclose(back, kernels[1])
    y, *want = numpy(np.float64(x), delta, *kernels, np.float64(layer.cell.bias), down, back)
    found_y, found = gradients(layer, x)  # its error is `delta`
    np.testing.assert_allclose(found_y, y, rtol=1e-4, atol=1e-5)
    for a, b in zip(found, want, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    if method == "kp":
        np.testing.assert_array_equal(found[4], found[1])
        np.testing.assert_array_equal(found[5], found[2])
    if method.startswith("pfa"):
        for c, gradient, own in zip(layer.connections, found[4:], want[1:3], strict=False):
            fixed = np.float64(c.weights["product_fixed"])
            np.testing.assert_allclose(gradient, own @ fixed.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_dropout_masks_are_those_of_the_stock_layer(kind):
    for extra in ({"dropout": 0.5}, {"dropout": 0.4, "recurrent_dropout": 0.5}):
        stock, layer = pair(kind, "fa", seed=3, **extra)
        cases.set_feedback_to_forward(layer)
        x = tf.constant(normal(3, 4, 5))
        results = []
        for of in (stock, layer):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(of(x, training=True) ** 2)
            results.append((loss, *tape.gradient(loss, of.trainable_weights)))
        assert abs(float(results[0][0]) - float(tf.reduce_sum(stock(x) ** 2))) > 1e-3
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def network(feedback, **compiled):
    """Embedding, bidirectional, stacked cells and a layer, over sequences of any length."""
    made = [
        keras.Input((None,), dtype="int32"),
        K.Embedding(11, 6, mask_zero=True),
        K.Bidirectional(ta.layers.LSTM(4, return_sequences=True, feedback=feedback)),
        K.RNN(
            [ta.layers.LSTMCell(5, feedback=feedback), ta.layers.GRUCell(4, feedback=feedback)],
            return_sequences=True,
        ),
        ta.layers.SimpleRNN(4, feedback=feedback),
        ta.layers.Dense(2, feedback=feedback),
    ]
    model = keras.Sequential(made)
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.1)), "mse", **compiled)
    return model


TEXT = np.random.default_rng(0).integers(0, 11, (8, 6))


@pytest.mark.parametrize("method", cases.mostly_slow(cases.WITH_WEIGHTS_IN_LAYER, "fa", "sa"))
def test_every_method_trains_a_stack_of_everything(method, tmp_path):
    # compiled for what learns from the error, and from a loss of its own; others are traced alike
    model = network(method, run_eagerly=method not in ("kp", "sa"))
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(TEXT, np.ones((8, 2)), verbose=0)
    assert all(np.all(np.isfinite(w)) for w in model.weights)
    changed = [
        not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True)
    ]
    assert all(changed)
    assert len(connections(model)) == 11
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(TEXT), model(TEXT))
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["wm", "ia", "sa", "aa"])
def test_b_aligns_in_a_loop_of_unknown_length(method):
    layer = ta.layers.LSTM(4, feedback=method)
    model = keras.Sequential([keras.Input((None, 5)), layer, K.Dense(2)])
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.0)), "mse")
    monitor = ta.callbacks.AlignmentMonitor()
    x = normal(64, 4, 5)
    model.fit(x, np.ones((64, 2)), batch_size=8, epochs=6, verbose=0, callbacks=[monitor])
    assert len(model.losses) == 2  # once per connection, not once per time step
    for name in ("input", "recurrent"):
        path = f"{model.name}/{layer.name}/lstm_cell/{name}/weight_angle"
        [path] = [key for key in monitor.records[-1] if key.endswith(path.split("/", 1)[1])]
        assert monitor.records[-1][path] < min(30.0, 0.6 * monitor.records[0][path] + 1.0)


def test_rules_on_the_layers_own_activity_see_the_first_step_and_the_output_that_follows():
    rule = ta.feedback.WeightMirror(noise=None, normalize=None)
    layer = ta.layers.SimpleRNN(4, feedback=rule)
    x = normal(3, 6, 5)
    with ta.probe.probe() as seen:
        layer(x)
    feed, recur = (seen.activities[c] for c in layer.connections)
    np.testing.assert_array_equal(feed[0].x, x[:, 0])
    np.testing.assert_allclose(recur[0].x, layer(x[:, :1]), rtol=1e-6)
    assert len(feed) == len(recur) == 1


def test_schedules_count_training_steps_not_time_steps():
    decay = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    layer = ta.layers.GRU(3, feedback=ta.feedback.Alignment({"decay": decay, "self": 1.0}))
    model = keras.Sequential([keras.Input((None, 5)), layer])
    model.compile("sgd", "mse")
    model.fit(normal(6, 7, 5), np.ones((6, 3)), batch_size=2, epochs=2, verbose=0)
    [counter] = [w for w in layer.cell.feedback_store.weights if w.name == "step"]
    assert int(counter.numpy()) == 6


def weights_after(fit, strategy=None, policy="float32", method="sa", **compiled):
    keras.utils.set_random_seed(5)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        layer = ta.layers.LSTM(4, feedback=method, dtype=policy)
        top = ta.layers.Dense(2, feedback=method, dtype="float32")
        model = keras.Sequential([keras.Input((3, 5)), layer, top])
        model.compile(ta.optimizers.split(keras.optimizers.SGD(0.05)), "mse", **compiled)
    model.fit(normal(16, 3, 5), np.ones((16, 2)), shuffle=False, verbose=0, **fit)
    return [np.float32(w) for w in model.weights]


@pytest.mark.parametrize(
    ("method", "policy", "compiled"),
    [
        ("kp", "mixed_bfloat16", [{"jit_compile": True}]),
        *(
            pytest.param(
                method,
                policy,
                [{"jit_compile": True}, {"steps_per_execution": 2}],
                marks=pytest.mark.slow,
            )
            for method, policy in [
                ("sa", "mixed_float16"),
                ("fa", "mixed_float16"),
                ("pfa", "mixed_bfloat16"),
            ]
        ),
    ],
)
def test_all_ways_of_running_agree(method, policy, compiled, two_replicas):
    fit = {"batch_size": 8, "epochs": 2}
    want = weights_after(fit, method=method)
    for other in (*compiled, {"strategy": two_replicas}):
        for a, b in zip(weights_after(fit, method=method, **other), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    found = weights_after(fit, method=method, policy=policy)
    for a, b in zip(found, want, strict=True):
        assert np.linalg.norm(a - b) <= 0.05 * (0.1 + np.linalg.norm(b))


@pytest.mark.parametrize("method", ["brsf", "wm"])
def test_two_replicas_with_rules_that_draw(method, two_replicas):
    found = weights_after({"batch_size": 8}, two_replicas, method=method)
    assert all(np.all(np.isfinite(w)) for w in found)


@pytest.mark.parametrize("unroll", [False, True])
def test_stateful_layers_carry_their_state_and_backpropagate_one_batch(unroll):
    layers = []
    for cls, extra in ((K.LSTM, {}), (ta.layers.LSTM, {"feedback": "fa"})):
        keras.utils.set_random_seed(2)
        layers.append(cls(4, stateful=True, unroll=unroll, **extra))
        layers[-1].build((2, 3, 5))
    cases.set_feedback_to_forward(layers[1])
    for batch in range(2):
        x = normal(2, 3, 5, seed=batch)
        (y, want), (own, found) = (gradients(layer, x) for layer in layers)
        np.testing.assert_array_equal(own, y)
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_seed_gives_the_weights_of_the_stock_layer_and_leaves_later_layers_alone():
    def build(cls, **extra):
        keras.utils.set_random_seed(11)
        layers = [cls(3, dropout=0.5, return_sequences=True, **extra), cls(3, **extra)]
        model = keras.Sequential([keras.Input((4, 3)), *layers, K.Dense(2)])
        own = ("kernel", "recurrent_kernel", "bias")
        return [w.numpy() for w in model.weights if w.name in own], model

    (stock, _), (ours, model), (again, other) = (
        build(K.LSTM),
        build(ta.layers.LSTM, feedback="fa"),
        build(ta.layers.LSTM, feedback="fa"),
    )
    for a, b in zip(stock, ours, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again is not ours


def test_gradient_angles_of_both_connections_and_of_the_stock_model_have_one_name():
    def model(feedback):
        gru, cell = (
            ta.layers.GRU(3, return_sequences=True, feedback=feedback, name="gru"),
            ta.layers.LSTMCell(4, feedback=feedback, name="lstm"),
        )
        made = [keras.Input((None, 5)), gru, K.RNN(cell, name="rnn"), K.Dense(2, name="top")]
        made = keras.Sequential(made, name="net")
        made.compile(loss="mse")
        return made

    x, y = normal(4, 3, 5), np.ones((4, 2), "float32")
    angles = ta.metrics.gradient_angle(model("fa"), x, y)
    names = ["gru/gru_cell/input", "gru/gru_cell/recurrent", "rnn/lstm/input", "rnn/lstm/recurrent"]
    assert list(angles) == [f"net/{name}" for name in (*names, "top")]
    assert all(angles[f"net/{name}"]["kernel"] > 1.0 for name in names)
    assert angles["net/gru/gru_cell/input"]["error"] > 1.0
    assert list(ta.metrics.gradient_angle(model(None), x, y)) == list(angles)
    control = ta.metrics.gradient_angle(model("backprop"), x, y)
    assert max(value for values in control.values() for value in values.values()) < 0.1


def test_a_stock_layer_whose_class_is_exchanged_builds_its_feedback_weights():
    x = normal(2, 3, 5)
    layer = K.LSTM(4)
    y = layer(x)
    cell, shape = layer.cell, layer.cell.get_build_config()["input_shape"]
    layer.__class__, cell.__class__ = ta.layers.LSTM, ta.layers.LSTMCell
    ta.layers.base.set_feedback_arguments(layer, "fa")
    cell._tracker.unlock()
    cell._build_feedback(tuple(shape))
    cell._tracker.lock()
    assert sorted(layer.feedback_weights) == ["input_feedback_kernel", "recurrent_feedback_kernel"]
    np.testing.assert_array_equal(layer(x), y)
    cases.set_feedback_to_forward(layer)
    stock = K.LSTM(4)
    stock.build((2, 3, 5))
    for a, b in zip(stock.weights, layer.weights, strict=False):
        a.assign(b)
    for a, b in zip(gradients(layer, x)[1], gradients(stock, x)[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Clipped(ta.feedback.FeedbackAlignment):
    """FA with a `send` of its own."""

    def send(self, c, dz):
        return super().send(c, tf.clip_by_value(dz, -0.1, 0.1))


def test_a_rule_with_a_send_of_its_own_is_asked_at_every_time_step():
    _, layer = pair("SimpleRNN", Clipped(), return_sequences=True)
    x, delta = normal(3, 4, 5), normal(3, 4, 4, seed=1)
    down, back = (np.float64(k) for k in layer.effective_feedback_kernel().values())
    w, u, b = (np.float64(v) for v in (*(c.kernel for c in layer.connections), layer.cell.bias))
    hs = [np.zeros((3, 4))]
    for t in range(4):
        hs.append(np.tanh(x[:, t] @ w + b + hs[-1] @ u))
    want, error = np.zeros(x.shape), 0
    for t in reversed(range(4)):
        d = np.clip((delta[:, t] + error) * (1 - hs[t + 1] ** 2), -0.1, 0.1)
        want[:, t], error = d @ down.T, d @ back.T
    np.testing.assert_allclose(gradients(layer, x)[1][0], want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"`send` of its own.*Received: feedback=Clipped"):
        ta.layers.GRU(3, reset_after=False, feedback=Clipped()).build((None, 4, 5))
    with pytest.raises(ValueError, match="Clipped has a `send` of its own"):
        ta.layers.ConvLSTM1D(3, 2, feedback=Clipped()).build((None, 4, 5, 2))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="convert"):
        ta.layers.LSTM(3, feedback="dfa")
    with pytest.raises(ValueError, match="cuDNN"):
        ta.layers.GRU(3, feedback="fa", use_cudnn=True)
    cell = ta.layers.SimpleRNNCell(3, feedback="sa")
    cell.build((None, 4))

    @tf.function(autograph=False)
    def loop(x):
        zero = tf.zeros((2, 3))
        return tf.while_loop(
            lambda t, h: t < 3, lambda t, h: (t + 1, cell(x, [h])[0]), (tf.constant(0), zero)
        )

    with pytest.raises(ValueError, match="in a TensorFlow loop of one's own"):
        loop(tf.ones((2, 4)))
    model = keras.Sequential([keras.Input((3, 5)), ta.layers.LSTM(3, feedback="fa"), K.Dense(2)])
    model.compile(loss="mse")
    data = normal(4, 3, 5), np.ones((4, 2), "float32")
    for phase in (
        ta.phases.NodePerturbation(keras.losses.MeanSquaredError(reduction=None), dataset=data),
        ta.phases.RDD(),
        ta.phases.SAL(),
    ):
        with pytest.raises(ValueError, match=r"loop over time|one matrix product"):
            phase.run(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: ta.layers.LSTM(3, feedback=f),
        lambda f: ta.layers.SimpleRNN(3, feedback=f, unroll=True),
        lambda f: K.RNN(ta.layers.GRUCell(3, feedback=f)),
    ],
    ids=["lstm", "unrolled", "cell"],
)
def test_where_the_backward_pass_would_be_lost_is_refused(make):
    x = tf.constant(normal(4, 3, 5))
    layer, learns = make("fa"), make("sa")
    layer(x), learns(x)
    with tf.GradientTape(), pytest.raises(ValueError, match="inside `vectorized_map`"):
        tf.vectorized_map(lambda v: layer(v[None], training=True)[0], x)
    with (
        tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)),
        pytest.raises(ValueError, match="ForwardAccumulator"),
    ):
        layer(x, training=True)
    recomputed = tf.recompute_grad(lambda v: learns(v, training=True))
    with tf.GradientTape(), pytest.raises(ValueError, match=r"tf.recompute_grad"):
        recomputed(x)
    assert layer(x).shape == (4, 3)  # and nothing of it stays


def test_a_kernel_of_another_shape_is_named():
    class Transposed(ta.feedback.FeedbackAlignment):
        def feedback_kernel(self, c):
            return tf.transpose(c.weights["feedback_kernel"])

    for kind in ("LSTM", "GRU"):
        layer = getattr(ta.layers, kind)(3, feedback=Transposed())
        with pytest.raises(ValueError, match=r"kernel's shape, \(5, \d+\).*Received: shape"):
            layer(normal(2, 3, 5))


def test_a_cell_called_outside_of_a_layer_reads_its_weights_at_every_call():
    cell = ta.layers.SimpleRNNCell(3, feedback="kp")
    x = normal(2, 4)
    first, _ = cell(x, [np.zeros((2, 3), "float32")])
    cell.kernel.assign(2.0 * cell.kernel)
    second, _ = cell(x, [np.zeros((2, 3), "float32")])
    np.testing.assert_allclose(np.arctanh(second), 2 * np.arctanh(first), rtol=1e-3)


def test_an_alignment_phase_reaches_both_connections():
    layer = ta.layers.LSTM(4, feedback="fa", name="lstm")
    model = keras.Sequential([keras.Input((3, 5)), layer, K.Dense(2)], name="net")
    results = ta.phases.Alignment("wm", steps=200, seed=1).run(model)
    assert len(results) == 2
    assert all(values["weight_angle"] < 25 for values in results.values())


@pytest.mark.parametrize("method", ["fa", "sa"])
def test_conversion_and_back(method):
    x = inputs = keras.Input((6,), dtype="int32")
    x = K.Embedding(11, 6, mask_zero=True)(x)
    x = K.Bidirectional(K.GRU(4, return_sequences=True), merge_mode="sum")(x)
    x = K.RNN([K.LSTMCell(5), K.GRUCell(4)], return_sequences=True)(x)
    stock = keras.Model(inputs, K.Dense(2)(K.SimpleRNN(4)(x)))
    model = ta.convert(stock, method)
    np.testing.assert_array_equal(model(TEXT), stock(TEXT))
    assert len(connections(model)) == 11
    rows = ta.summary(model, print_fn=None)
    assert [row.method for row in rows] == ["stock", *[method] * 6]
    again = ta.strip(model)
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in stock.layers]
    np.testing.assert_array_equal(again(TEXT), stock(TEXT))


@pytest.mark.parametrize("method", ["fa", "sa"])
def test_grouped_queries(method):
    layer = ta.layers.GroupQueryAttention(4, 4, 2, feedback=method, **cases.GATE)
    stock = K.GroupQueryAttention(4, 4, 2, **cases.GATE)
    x = normal(2, 3, 8)
    layer(x, x), stock(x, x)
    copy_weights(stock, layer)
    np.testing.assert_array_equal(layer(x, x), stock(x, x))
    assert [p.name for p in layer.projections] == [
        *("query", "key", *(["gate"] if cases.GATED else []), "value", "attention_output")
    ]
    for projection in layer.projections:
        cases.set_feedback_to_forward(projection)
    results = []
    for of in (stock, layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(of(x, x) ** 2)
        kernels = [w for w in of.trainable_weights if w.name in ("kernel", "bias")]
        results.append(tape.gradient(loss, kernels))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "ConvLSTM1D"])
@pytest.mark.parametrize("backwards", [False, True])
def test_padding_in_front_teaches_what_padding_behind_does(kind, backwards):
    """Rules on activity learn from the first time step of each example that is not hidden."""
    rng = np.random.default_rng(4)
    shape = (4, 3) if kind.startswith("Conv") else (3,)
    lengths, x = [2, 5, 3, 4], rng.standard_normal((4, 5, *shape)).astype("float32")
    front, behind = np.zeros_like(x), np.zeros_like(x)
    masks = np.zeros((2, 4, 5), bool)
    for i, n in enumerate(lengths):
        front[i, -n:], behind[i, :n] = x[i, :n], x[i, :n]
        masks[0, i, -n:], masks[1, i, :n] = True, True
    learned = []
    for sequences, mask in zip((front, behind), masks, strict=True):
        keras.utils.set_random_seed(2)
        arguments = (3, 2) if kind.startswith("Conv") else (3,)
        layer = getattr(ta.layers, kind)(*arguments, feedback="aa", go_backwards=backwards)
        layer.build(x.shape)
        with tf.GradientTape() as tape:
            layer(tf.constant(sequences), mask=tf.constant(mask), training=True)
            loss = tf.add_n(layer.losses)
        learned.append(tape.gradient(loss, list(layer.feedback_weights.values())))
    for a, b in zip(*learned, strict=True):
        assert np.abs(a).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def first_of_mask(depth, wrapper, rule):
    """A loop over cells, or layers on top of each other, with the same weights."""
    if wrapper is None:
        layers = [ta.layers.GRU(4, feedback=rule, return_sequences=True) for _ in range(depth)]
        return layers, [layer.cell for layer in layers]
    cells = [ta.layers.GRUCell(4, feedback=rule) for _ in range(depth)]
    layer = wrapper(cells if depth > 1 else cells[0], return_sequences=True)
    return [layer], cells


@pytest.mark.parametrize("depth", [1, 3])
def test_rules_in_a_loop_over_cells_learn_from_what_a_mask_shows(depth):
    """Padding in front: the gradients of B are those of the layers, whose own loop knows masks."""
    rule = ta.feedback.ActivationAlignment(normalize="input")
    x = normal(3, 4, 5)
    mask = tf.constant([[False, False, True, True], [True] * 4, [False, True, True, True]])
    found, outputs = {}, {}
    for name, wrapper in (("layers", None), ("ours", ta.layers.RNN), ("Keras", K.RNN)):
        layers, cells = first_of_mask(depth, wrapper, rule)
        y = normal(3, 4, 5)
        for layer in layers:
            layer.build(y.shape)
            y = layer(y)
        rng = np.random.default_rng(0)
        for cell in cells:
            for weight in (cell.kernel, cell.recurrent_kernel, *cell.feedback_weights.values()):
                weight.assign(rng.standard_normal(weight.shape))
        with tf.GradientTape() as tape:
            outputs[name] = x
            for layer in layers:
                outputs[name] = layer(outputs[name], mask=mask, training=True)
            loss = tf.add_n([loss for layer in layers for loss in layer.losses])
        weights = [weight for cell in cells for weight in cell.feedback_weights.values()]
        found[name] = tape.gradient(loss, weights)
    np.testing.assert_allclose(outputs["ours"], outputs["Keras"], rtol=1e-6)
    assert len(found["ours"]) == 2 * depth
    for ours, layers, plain in zip(*(found[k] for k in ("ours", "layers", "Keras")), strict=True):
        np.testing.assert_allclose(ours, layers, rtol=1e-4, atol=1e-6)
        assert np.abs(ours - plain).max() > 1e-3


def test_convert_exchanges_a_loop_that_does_not_tell_of_masks():
    def stock():
        low = K.RNN([K.GRUCell(4), K.SimpleRNNCell(4)], return_sequences=True, name="low")
        return keras.Sequential([keras.Input((4, 5)), low, K.RNN(K.LSTMCell(3), name="high")])

    kinds = {}
    for method in ("aa", "sa", "fa"):
        model = ta.convert(stock(), method)
        kinds[method] = [type(layer) for layer in model.layers]
        np.testing.assert_allclose(ta.strip(model)(normal(2, 4, 5)), model(normal(2, 4, 5)))
        assert [type(layer) for layer in ta.strip(model).layers] == [K.RNN] * 2
    assert kinds == {"aa": [ta.layers.RNN] * 2, "sa": [K.RNN] * 2, "fa": [K.RNN] * 2}
    model = stock()
    assert ta.convert(model, "wm", inplace=True) is model
    assert type(model.layers[0]) is ta.layers.RNN

"""e-prop and RFLO against eligibility traces carried forward in time, in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

K = keras.layers
READOUTS = {"symmetric": None, "random": "fa", "adaptive": "kp"}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def outer(post, pre):
    """`(batch, pre, post)`: what each synapse gets of each example."""
    return pre[:, :, None] * post[:, None, :]


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def learn(signals, eligibilities):
    """`Σ_t L_j(t) e_ji(t)`, summed over the batch."""
    return sum(
        np.einsum("nj,nij->ij", signal, e) for signal, e in zip(signals, eligibilities, strict=True)
    )


def network(layer, readout):
    model = keras.Sequential([keras.Input((6, 4)), layer, ta.layers.Dense(2, feedback=readout)])
    top = model.layers[-1]
    path = top.kernel if readout is None else top.feedback_weights["feedback_kernel"]
    return model, top, np.float64(path)


def gradients(model, layer, x, targets):
    """What reaches the recurrent weights from `½ Σ (y − y*)²`."""
    with tf.GradientTape() as tape:
        loss = 0.5 * tf.reduce_sum((model(x, training=True) - targets) ** 2)
        loss += tf.add_n([*model.losses, tf.zeros(())])
    cell = layer.cell
    return tape.gradient(loss, [cell.kernel.value, cell.recurrent_kernel.value, cell.bias.value])


def signals(top, path, hidden, targets):
    """`L(t) = (y(t) − y*(t)) Bᵀ`."""
    return [
        (h @ np.float64(top.kernel) + np.float64(top.bias) - targets[:, t]) @ path.T
        for t, h in enumerate(hidden)
    ]


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("implementation", [1, 2])
def test_eprop_in_an_lstm(readout, implementation):
    layer = ta.layers.LSTM(
        3, return_sequences=True, feedback="eprop", implementation=implementation
    )
    model, top, path = network(layer, READOUTS[readout])
    x, targets = normal(5, 6, 4), normal(5, 6, 2, seed=1)
    w, u, b = (
        np.float64(v) for v in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    )
    h, c = np.zeros((5, 3)), np.zeros((5, 3))
    traces = {gate: np.zeros((5, 8, 3)) for gate in "ifg"}
    hidden, found = [], {gate: [] for gate in "ifgo"}
    for t in range(6):
        pre = np.concatenate([x[:, t], h, np.ones((5, 1))], 1)  # the bias learns as from a 1
        z = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
        i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
        own = {"i": g * i * (1 - i), "f": c * f * (1 - f), "g": i * (1 - g**2)}
        c = f * c + i * g
        for gate in "ifg":
            traces[gate] = f[:, None, :] * traces[gate] + outer(own[gate], pre)
            found[gate].append((o * (1 - np.tanh(c) ** 2))[:, None, :] * traces[gate])
        found["o"].append(outer(o * (1 - o) * np.tanh(c), pre))
        h = o * np.tanh(c)
        hidden.append(h)
    learned = signals(top, path, hidden, targets)
    want = np.concatenate([learn(learned, found[gate]) for gate in "ifgo"], 1)
    for a, b in zip(gradients(model, layer, x, targets), np.split(want, [4, 7]), strict=True):
        np.testing.assert_allclose(np.reshape(a, b.shape), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("method", ["rflo", "eprop"])
def test_rflo_in_leaky_rate_units(readout, method):
    cell = ta.layers.LeakyRNNCell(3, leak=0.3, feedback=method)
    layer = K.RNN(cell, return_sequences=True)
    model, top, path = network(layer, READOUTS[readout])
    x, targets = normal(5, 6, 4), normal(5, 6, 2, seed=1)
    w, u, b = (np.float64(v) for v in (cell.kernel, cell.recurrent_kernel, cell.bias))
    h, p, hidden, found = np.zeros((5, 3)), np.zeros((5, 8, 3)), [], []
    for t in range(6):
        pre = np.concatenate([x[:, t], h, np.ones((5, 1))], 1)
        phi = np.tanh(x[:, t] @ w + h @ u + b)
        p = 0.7 * p + 0.3 * outer(1 - phi**2, pre)
        h = 0.7 * h + 0.3 * phi
        found.append(p)
        hidden.append(h)
    np.testing.assert_allclose(layer(x), np.stack(hidden, 1), rtol=1e-4, atol=1e-5)
    want = learn(signals(top, path, hidden, targets), found)
    for a, b in zip(gradients(model, layer, x, targets), np.split(want, [4, 7]), strict=True):
        np.testing.assert_allclose(np.reshape(a, b.shape), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_eprop_in_spiking_neurons_with_adaptive_thresholds(readout, beta):
    constants = {"tau": 4.0, "tau_adaptation": 7.0, "beta": beta, "threshold": 0.6, "gamma": 0.3}
    cell = ta.layers.ALIFCell(3, **constants, feedback="eprop", kernel_initializer="he_normal")
    layer = K.RNN(cell, return_sequences=True)
    model, top, path = network(layer, READOUTS[readout])
    x, targets = normal(5, 6, 4), normal(5, 6, 2, seed=1)
    w, u, b = (np.float64(v) for v in (cell.kernel, cell.recurrent_kernel, cell.bias))
    alpha, rho = np.exp(-1 / 4.0), np.exp(-1 / 7.0)
    v, a, z = (np.zeros((5, 3)) for _ in range(3))
    of_v, of_a, psi = np.zeros((5, 8, 3)), np.zeros((5, 8, 3)), np.zeros((5, 3))
    spikes, found = [], []
    for t in range(6):
        pre = np.concatenate([x[:, t], z, np.ones((5, 1))], 1)
        # the adaptation's trace belongs to the potential and pseudo-derivative of the step before
        before = psi[:, None, :]
        of_a = before * of_v + (rho - beta * before) * of_a
        of_v = alpha * of_v + outer(np.ones((5, 3)), pre)
        v = alpha * v + x[:, t] @ w + z @ u + b - 0.6 * z
        a = rho * a + z
        distance = v - 0.6 - beta * a
        z = (distance > 0).astype(float)
        psi = 0.3 / 0.6 * np.maximum(0, 1 - abs(distance) / 0.6)
        found.append(psi[:, None, :] * (of_v - beta * of_a))
        spikes.append(z)
    assert 0.1 < np.mean(spikes) < 0.9
    np.testing.assert_array_equal(layer(x), np.stack(spikes, 1))
    want = learn(signals(top, path, spikes, targets), found)
    for a, b in zip(gradients(model, layer, x, targets), np.split(want, [4, 7]), strict=True):
        np.testing.assert_allclose(np.reshape(a, b.shape), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["LeakyRNNCell", "ALIFCell", "SimpleRNNCell", "GRUCell"])
def test_with_no_time_behind_them_local_rules_are_backpropagation(cell):
    """At the first time step there is nothing to cut; later there is."""
    made = getattr(ta.layers, cell)(3, feedback="eprop")
    stock = getattr(ta.layers, cell)(3)
    layers = [K.RNN(made, return_sequences=True), K.RNN(stock, return_sequences=True)]
    for length, same in ((1, True), (6, False)):
        x, grads = 2 * normal(4, length, 5), []
        for layer in layers:
            layer.build(x.shape)
        for a, b in zip(stock.weights, made.weights, strict=False):
            b.assign(a)
        for layer in layers:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x) * normal(4, length, 3, seed=2))
            grads.append(tape.gradient(loss, layer.cell.kernel.value))
        assert np.any(grads[0])
        assert np.allclose(*grads, rtol=1e-4, atol=1e-6) == same


@pytest.mark.parametrize(("cell", "extra"), [("LeakyRNNCell", {"leak": 0.2}), ("ALIFCell", {})])
@pytest.mark.parametrize("method", [None, "fa", "eprop"])
def test_cells_are_saved_and_loaded(cell, extra, method, tmp_path):
    made = getattr(ta.layers, cell)(3, **extra, feedback=method)
    model = keras.Sequential([keras.Input((4, 5)), K.RNN(made)])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = normal(2, 4, 5)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[0].cell.feedback == made.feedback


def test_a_leak_of_one_is_a_simple_rnn():
    leaky, stock = ta.layers.LeakyRNNCell(3, leak=1.0), K.SimpleRNNCell(3)
    x, h = normal(2, 4), [normal(2, 3)]
    leaky(x, h), stock(x, h)
    for a, b in zip(leaky.weights, stock.weights, strict=True):
        a.assign(b)
    np.testing.assert_allclose(leaky(x, h)[0], stock(x, h)[0], rtol=1e-6)


def test_what_is_not_recurrent_refuses_them():
    for kind, arguments in (("Dense", (3,)), ("Conv2D", (3, 3)), ("MultiHeadAttention", (2, 4))):
        with pytest.raises(ValueError, match=r"belongs to recurrent layers.*feedback='eprop'"):
            getattr(ta.layers, kind)(*arguments, feedback="eprop")
    for arguments, name in (({"leak": 0.0}, "leak"), ({"leak": 1.5}, "leak")):
        with pytest.raises(ValueError, match=f"`{name}`.*Received"):
            ta.layers.LeakyRNNCell(3, **arguments)
    for name, value in (("beta", -1.0), ("tau", 0.0), ("threshold", 0.0), ("gamma", -0.1)):
        with pytest.raises(ValueError, match=f"`{name}`.*Received"):
            ta.layers.ALIFCell(3, **{name: value})


def test_spikes_have_no_activation():
    with pytest.raises(ValueError, match=r"`activation` must be left out.*activation='relu'"):
        ta.layers.ALIFCell(3, activation="relu")
    cell = ta.layers.ALIFCell(3, activation="linear")
    assert type(cell).from_config(cell.get_config()).beta == cell.beta


@pytest.mark.parametrize("method", ["eprop", "rflo", ta.feedback.Imperfect("eprop", bits=4)])
def test_convert_gives_it_to_recurrent_layers(method):
    layers = [keras.layers.RNN(keras.layers.SimpleRNNCell(3), name="rnn"), keras.layers.Dense(2)]
    stock = keras.Sequential([keras.Input((4, 5)), *layers])
    model = ta.convert(stock, method, include="rnn")
    assert model.layers[0].cell.feedback == ta.feedback.get(method)
    assert list(model.layers[0].cell.feedback_weights) == ["input_feedback_kernel"]

"""Rules of x, y and δ, their own optimizer, their units, and a signal that all layers receive."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.testing import LAYERS

RNG = np.random.default_rng(3)
X = RNG.standard_normal((6, 4)).astype("float32")
DELTA = RNG.standard_normal((6, 3)).astype("float32")


class ThreeFactors(ta.feedback.FeedbackAlignment):
    """Descends with xᵀ(δ ∘ y): input, error and output meet at the synapse."""

    learns = "error"

    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)

    def send(self, c, dz):
        dx, _ = super().send(c, dz)
        return dx, {"feedback_kernel": c.map.outer(c.x, dz * c.output, c.kernel)}


class SendsOnly(ta.feedback.Feedback):
    """Scales the error by its own size: no kernel of W's shape carries it."""

    def send(self, c, dz):
        size = tf.sqrt(tf.reduce_mean(tf.square(dz)))
        return size * c.map.transpose(dz, tf.sign(c.kernel), c.x), {}


def test_a_rule_sees_response_bias_and_activation():
    layer = ta.layers.Dense(3, activation="tanh", feedback=ThreeFactors())
    layer.build((None, 4))
    layer.bias.assign([0.5, -1.0, 2.0])
    w, b = (v.numpy() for v in (layer.kernel, layer.feedback_weights["feedback_kernel"]))
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True) * DELTA)
    dx, db = tape.gradient(loss, [x, layer.feedback_weights["feedback_kernel"]])
    y = np.tanh(X @ w + [0.5, -1.0, 2.0])
    delta = DELTA * (1 - y**2)
    np.testing.assert_allclose(dx, delta @ b.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(db, X.T @ (delta * y), rtol=1e-4, atol=1e-5)


def test_a_weight_that_learns_from_the_error_may_have_an_optimizer_of_its_own():
    layer = ta.layers.Dense(3, feedback=ThreeFactors(), kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((4,)), layer])
    optimizer = ta.optimizers.split(keras.optimizers.SGD(0.0, momentum=0.9))
    model.compile(optimizer, "mse")
    w, b = layer.kernel.numpy(), layer.feedback_weights["feedback_kernel"].numpy()
    assert len(layer.losses) == 1  # W's regularizer: none for B, and no loss that it descends
    model.train_on_batch(X, DELTA)
    y = X @ w
    gradient = X.T @ (2 * (y - DELTA) / y.size * y)
    np.testing.assert_array_equal(layer.kernel, w)  # a rate of 0
    found = layer.feedback_weights["feedback_kernel"]
    np.testing.assert_allclose(found, b - 0.5 * gradient, rtol=1e-4, atol=1e-6)
    assert ta.optimizers.check(model) == []


UNITS = {
    "dense": (1, 5),
    "dense-3d": (1, 1, 5),
    "einsum": (1, 1, 5),
    "einsum-heads": (1, 1, 2, 3),
    "einsum-ellipsis": (1, 1, 4),
    "einsum-shared": (1, 3, 4),
    "conv1d": (1, 1, 4),
    "conv2d-grouped": (1, 1, 1, 6),
    "conv3d": (1, 1, 1, 1, 3),
    "depthwise1d": (1, 1, 6),
    "depthwise2d": (1, 1, 1, 6),
    "transpose2d": (1, 1, 1, 4),
    "transpose3d": (1, 1, 1, 1, 2),
    "conv1d-first": (1, 4, 1),
    "depthwise2d-first": (1, 3, 1, 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_output_channels_are_those_of_the_response(name):
    shapes = []

    class Asks(ta.feedback.FeedbackAlignment):
        def build(self, setup):
            super().build(setup)
            shapes.append((setup.output_channels, setup.input_channels))
            assert setup.units == np.prod(setup.output_channels)

    layer = LAYERS[name].layer(Asks())
    x = tf.constant(LAYERS[name].inputs())
    with ta.probe.probe() as seen:
        layer(x)
    if name in UNITS:
        assert shapes[0][0] == UNITS[name]
    for c, (outputs, inputs) in zip(layer.connections, shapes, strict=True):
        [activity] = seen.activities[c]
        assert np.broadcast_shapes(outputs, activity.z.shape) == activity.z.shape
        assert np.broadcast_shapes(inputs, activity.x.shape) == activity.x.shape
        assert all(a in (1, b) for a, b in zip(outputs, activity.z.shape, strict=True))


def test_feedback_bias_in_a_separable_layer_with_a_multiplier():
    rule = ta.feedback.Alignment({"null": 1.0, "decay": 0.1}, feedback_bias=True)
    report = ta.testing.check_rule(
        rule, checks=["gradients", "closed_form"], layers=["separable2d"]
    )
    assert not cases.skipped(report)


def test_a_method_that_only_sends_passes_everything(two_replicas):
    assert not SendsOnly().has_kernel
    assert ta.feedback.get("kp").has_kernel and not ta.feedback.get("brsf").has_kernel
    checks = [c for c in ta.testing.CHECKS if c != "save"]  # it is not registered
    report = ta.testing.check_rule(SendsOnly(), checks=checks, strategy=two_replicas)
    assert {check.name for check in cases.skipped(report)} == {"effective_kernel", "closed_form"}
    model = ta.convert(ta.models.perceptron((4, 5, 3)), SendsOnly())
    model.compile("sgd", keras.losses.MeanSquaredError())
    monitor = ta.callbacks.AlignmentMonitor(probe_data=(X, DELTA))
    history = model.fit(X, DELTA, verbose=0, callbacks=[monitor]).history
    assert "mean/gradient_angle" in history and "mean/weight_angle" not in history
    with pytest.raises(ValueError, match="no effective feedback kernel"):
        model.layers[-1].effective_feedback_kernel()
    assert not ta.layers.feedback_layers(ta.strip(model))


class Modulated(ta.feedback.FeedbackAlignment):
    """B's gradient is the signal times ones."""

    learns, modulated = "alignment", True

    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)

    def align(self, activity, weights):
        b = weights["feedback_kernel"]
        return {"feedback_kernel": activity.modulator * tf.ones_like(b)}


def modulated(signal, **extra):
    layer = ta.layers.Dense(3, use_bias=False, feedback=Modulated(), kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), layer])
    forward, feedback = keras.optimizers.SGD(0.1), keras.optimizers.SGD(1.0, name="b")
    model.compile(ta.optimizers.split(forward, feedback), "mse", **extra)
    ta.modulate(model, signal, decay=0.5)
    return model, layer


def numpy_steps(signal, steps):
    """W and the sum of signals after some steps of descent on mean((x W − t)²)."""
    w, total, mean = np.zeros((4, 3)), 0.0, None
    for t in range(1, steps + 1):
        error = X @ w - DELTA
        loss = np.mean(error**2)
        mean = loss if mean is None else mean
        total += loss if signal == "loss" else loss - mean
        mean += max(0.5, 1 / t) * (loss - mean)
        w -= 0.1 * X.T @ (2 * error / error.size)
    return w, total


@pytest.mark.parametrize("signal", ["loss", "change"])
@pytest.mark.parametrize("how", ["plain", "xla", "replicas", "several"])
def test_the_signal_is_this_steps_loss(signal, how, two_replicas):
    extra = {"xla": {"jit_compile": True}, "several": {"steps_per_execution": 2}}.get(how, {})
    if how == "replicas":
        with two_replicas.scope():
            model, layer = modulated(signal)
    else:
        model, layer = modulated(signal, **extra)
    b = layer.feedback_weights["feedback_kernel"].numpy()
    data = tf.data.Dataset.from_tensors((X, DELTA)).repeat(4)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    model.fit(data.with_options(options), verbose=0, shuffle=False)
    model.evaluate(X, DELTA, verbose=0)  # gives no signal
    w, total = numpy_steps(signal, 4)
    np.testing.assert_allclose(layer.kernel, w, rtol=1e-4, atol=1e-6)
    change = layer.feedback_weights["feedback_kernel"].numpy() - b
    np.testing.assert_allclose(change, -total * np.ones((4, 3)), rtol=1e-4, atol=1e-5)
    assert float(layer.modulation[2]) == 4


def test_a_signal_of_ones_own_and_the_warning_without_one(tmp_path):
    model, layer = modulated(lambda loss, mean: tf.sign(loss))
    b = layer.feedback_weights["feedback_kernel"].numpy()
    model.train_on_batch(X, DELTA)
    found = layer.feedback_weights["feedback_kernel"]
    np.testing.assert_allclose(found, b - 1.0, rtol=1e-5)
    ta.modulate(model, None)
    layer.modulation.assign([0.5, 0.0, 0.0])
    model.train_on_batch(X, DELTA)
    np.testing.assert_allclose(found, b - 1.5, rtol=1e-5)
    layer = ta.layers.Dense(3, feedback=Modulated())
    with pytest.warns(UserWarning, match="waits for a signal"):
        layer(X, training=True)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (lambda m: (m, "dopamine"), ValueError, "Received: signal='dopamine'"),
        (lambda m: (m, ["loss"]), ValueError, "`signal`"),
        (lambda m: (ta.models.perceptron((4, 3)), "loss"), ValueError, "`modulated`"),
        (lambda m: (m, "loss", 1.0), ValueError, "Received: decay=1.0"),
        (lambda m: ("m", "loss"), TypeError, "Received: model='m'"),
    ],
)
def test_modulate_refuses(arguments, error, match):
    model, _ = modulated("loss")
    with pytest.raises(error, match=match):
        ta.modulate(*arguments(model))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("FA", "fa"),
        ("PFA-o", "pfa_o"),
        ("Feedback Alignment", "fa"),
        ("kolen_pollack", "kp"),
        *((long, short) for long, short in ta.feedback.LONG_NAMES.items()),
    ],
)
def test_long_names(name, short):
    assert ta.feedback.get(name).id == short


@pytest.mark.parametrize(
    ("name", "meant"), [("kollen_pollack", "kp"), ("weight_miror", "wm"), ("brfs", "brsf")]
)
def test_a_name_that_is_near_is_suggested(name, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        ta.feedback.get(name)


def test_every_id_has_a_long_name():
    assert tuple(ta.feedback.LONG_NAMES.values()) == (
        *ta.feedback.METHODS,
        *ta.feedback.RECURRENT_METHODS,
    )


def test_terms_as_pairs_of_names():
    amp, decay = ta.primitives.amp, ta.primitives.decay
    pairs = ta.feedback.Alignment([(amp, 1.0), ("decay", 0.5)])
    assert pairs == ta.feedback.Alignment([(amp, 1.0), (decay, 0.5)])
    assert ta.feedback.Alignment([("amp", 1.0)]) == ta.feedback.Alignment({"amp": 1.0})
    with pytest.raises(ValueError, match=r"unknown names: \['dekay'\]"):
        ta.feedback.Alignment([("dekay", 1.0)])
    with pytest.raises(ValueError, match="each primitive once"):
        ta.feedback.Alignment([("decay", 1.0), (decay, 0.5)])


class Chases(ta.feedback.FeedbackAlignment):
    """B descends ½‖xB − xW‖² / N: activation alignment, written by hand."""

    learns = "alignment"

    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)

    def align(self, activity, weights):
        b = weights["feedback_kernel"]
        difference = activity.map.apply(activity.x, b) - activity.z
        count = tf.cast(tf.shape(activity.x)[0], b.dtype)
        return {"feedback_kernel": activity.map.outer(activity.x, difference, b) / count}


@pytest.mark.parametrize("data", [False, True])
def test_any_rule_that_learns_by_alignment_is_a_phase(data):
    model = ta.convert(ta.models.perceptron((6, 5, 3)), "fa")
    x = np.random.default_rng(0).standard_normal((256, 6)).astype("float32") if data else None
    optimizer = keras.optimizers.SGD(0.3)
    phase = ta.phases.Alignment(Chases(), dataset=x, steps=150, optimizer=optimizer, seed=1)
    first = next(iter(phase.run(model).values()))
    assert first["weight_angle"] < 5.0


def test_rules_that_do_not_learn_by_alignment_are_no_phase():
    for rule in ("kp", ta.feedback.FeedbackAlignment()):
        with pytest.raises(TypeError, match="learns by alignment"):
            ta.phases.Alignment(rule)


class Gated(ta.feedback.FeedbackAlignment):
    """Hebb's product of input and error, times the signal."""

    learns, modulated = "error", True

    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)

    def send(self, c, dz):
        dx, _ = super().send(c, dz)
        signal = tf.cast(c.modulator, dz.dtype)
        return dx, {"feedback_kernel": signal * c.map.outer(c.x, dz, c.kernel)}


class Scaled(ta.feedback.FeedbackAlignment):
    """B times the signal."""

    modulated = True

    def feedback_kernel(self, c):
        signal = 0.0 if c.modulator is None else tf.cast(c.modulator, c.kernel.dtype)
        return signal * c.weights["feedback_kernel"]


@pytest.mark.parametrize("how", ["compiled", "xla", "eager"])
@pytest.mark.parametrize("unroll", [False, True])
def test_a_signal_is_that_of_the_step_at_every_time_step(how, unroll):
    """B of the input connection changes by the signal times Σ_t x(t)ᵀ δ(t)."""
    x, y = RNG.standard_normal((4, 3, 2)).astype("float32"), np.ones((4, 5), "float32")

    def trained(signal):
        keras.utils.set_random_seed(1)
        layer = ta.layers.SimpleRNN(5, feedback=Gated(), unroll=unroll)
        model = keras.Sequential([keras.Input((3, 2)), layer])
        options = {"run_eagerly": how == "eager", "jit_compile": how == "xla"}
        split = ta.optimizers.split(keras.optimizers.SGD(0.0), keras.optimizers.SGD(1.0))
        model.compile(split, "mse", **options)
        ta.modulate(model, lambda loss, mean: signal * loss)
        before = layer.feedback_weights["input_feedback_kernel"].numpy()
        loss = model.train_on_batch(x, y)
        return layer.feedback_weights["input_feedback_kernel"].numpy() - before, loss, model

    change, loss, model = trained(2.0)
    cell = model.layers[0].cell
    w, u = cell.kernel.numpy(), cell.recurrent_kernel.numpy()
    keras.utils.set_random_seed(1)
    start = ta.layers.SimpleRNN(5, feedback=Gated())
    start.build((None, 3, 2))
    back = start.feedback_weights["recurrent_feedback_kernel"].numpy()
    hs = [np.zeros((4, 5))]
    for t in range(3):
        hs.append(np.tanh(x[:, t] @ w + hs[-1] @ u))
    error, hebb = 2.0 * (hs[-1] - y) / y.size, 0.0
    for t in reversed(range(3)):
        delta = error * (1 - hs[t + 1] ** 2)
        hebb, error = hebb + x[:, t].T @ delta, delta @ back.T
    np.testing.assert_allclose(change, -2.0 * loss * hebb, rtol=1e-3, atol=1e-6)


def test_a_kernel_that_waits_for_the_signal_is_not_made_before_it():
    x, y = RNG.standard_normal((4, 3, 2)).astype("float32"), np.ones((4, 5), "float32")
    layer = ta.layers.SimpleRNN(5, feedback=Scaled())
    low = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((3, 2)), low, layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    ta.modulate(model, lambda loss, mean: 1.0 + 0.0 * loss)
    before = low.kernel.numpy()
    model.train_on_batch(x, y)  # before the first step the signal is 0
    assert np.abs(low.kernel.numpy() - before).max() > 1e-4
    with pytest.raises(ValueError, match=r"Scaled waits for a signal.*Received"):
        ta.layers.GRU(3, reset_after=False, feedback=Scaled()).build((None, 4, 5))

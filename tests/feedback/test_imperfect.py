"""`Imperfect` against its definition in numpy, around every kind of method and layer."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.feedback.imperfect import quantise

Imperfect = ta.feedback.Imperfect
RNG = np.random.default_rng(5)
X = RNG.standard_normal((7, 30)).astype("float32")
DELTA = RNG.standard_normal((7, 20)).astype("float32")


def numpy_quantise(x, bits):
    """Levels of a symmetric uniform quantiser."""
    if bits == 1:
        return np.mean(np.abs(x)) * np.sign(x)
    n = 2 ** (bits - 1) - 1
    levels = np.arange(-n, n + 1) * np.abs(x).max() / n
    return levels[np.abs(x[..., None] - levels).argmin(-1)]


def dense(method, units=20, inputs=30, name="d", **extra):
    layer = ta.layers.Dense(units, feedback=method, use_bias=False, name=name, **extra)
    layer.build((None, inputs))
    return layer


def sent(layer, training=False):
    """The error below for the error DELTA."""
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=training) * DELTA)
    return tape.gradient(loss, x).numpy()


def stored(layer, name):
    return layer.feedback_weights[f"imperfect_{name}"].numpy()


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_quantise(bits):
    x = RNG.standard_normal((40, 3)).astype("float32")
    found = quantise(tf.constant(x), bits).numpy()
    np.testing.assert_allclose(found, numpy_quantise(x, bits), rtol=1e-5, atol=1e-6)
    assert len(np.unique(found)) <= (2 if bits == 1 else 2**bits - 1)
    np.testing.assert_array_equal(quantise(tf.zeros((2, 2)), bits), 0.0)
    assert quantise(tf.constant(x, tf.float16), bits).dtype == tf.float16


@pytest.mark.parametrize("error_bits", [None, 3])
def test_all_defects_at_once_are_their_formula(error_bits):
    layer = dense(
        Imperfect(
            "fa",
            bits=4,
            error_bits=error_bits,
            mismatch=0.3,
            density=0.7,
            rank=6,
            stuck_off=0.1,
            stuck_on=0.1,
            excitatory=0.5,
            seed=1,
        )
    )
    b = layer.feedback_weights["feedback_kernel"].numpy()
    gain, on, signs, p = (stored(layer, n) for n in ("gain", "stuck", "signs", "rank"))
    k = b @ p.T
    k = np.where(k * signs > 0, k, 0.0)
    kernel = gain * numpy_quantise(k, 4) + np.abs(k).max() * on
    np.testing.assert_allclose(layer.effective_feedback_kernel(), kernel, rtol=1e-3, atol=1e-5)
    delta = DELTA
    if error_bits is not None:  # each example in its own range
        delta = np.stack([numpy_quantise(row, error_bits) for row in DELTA])
    np.testing.assert_allclose(sent(layer), delta @ kernel.T, rtol=1e-3, atol=1e-4)


def test_the_error_has_the_kernels_bits_by_default():
    assert Imperfect("fa", bits=3).error_bits == 3
    assert Imperfect("fa", bits=3, error_bits=None).error_bits is None
    follows = Imperfect("fa", bits=8)
    assert Imperfect.from_config({**follows.get_config(), "bits": 2}).error_bits == 2  # in a search
    assert "error_bits=None" in repr(Imperfect("fa", bits=4, error_bits=None))
    assert repr(follows) == "Imperfect(FeedbackAlignment(), bits=8)"


def test_mismatch_density_and_stuck_synapses_are_as_many_as_said():
    def gain(**defects):
        return dense(Imperfect("fa", seed=2, **defects), 300, 200)

    g = stored(gain(mismatch=0.2), "gain")
    assert abs(g.mean() - 1) < 0.005 and abs(g.std() - 0.2) < 0.005 and g.min() >= 0
    g = stored(gain(density=0.25), "gain")
    assert set(np.unique(g)) == {0.0, 1.0} and abs(g.mean() - 0.25) < 0.01
    layer = gain(stuck_off=0.1, stuck_on=0.2)
    g, s = stored(layer, "gain"), stored(layer, "stuck")
    assert abs((g == 0).mean() - 0.3) < 0.01 and abs((s != 0).mean() - 0.2) < 0.01
    assert np.all(g[s != 0] == 0) and abs(s.sum()) < 4 * 0.2**0.5 * 60000**0.5


def test_rank():
    layer = dense(Imperfect("backprop", rank=3, seed=1))
    kernel, w = layer.effective_feedback_kernel().numpy(), layer.kernel.numpy()
    assert np.linalg.matrix_rank(kernel, tol=1e-4) == 3
    p = stored(layer, "rank")
    np.testing.assert_allclose(p @ p, p, atol=1e-5)
    np.testing.assert_allclose(p, p.T, atol=1e-6)
    np.testing.assert_allclose(sent(layer), DELTA @ p @ w.T, rtol=1e-3, atol=1e-4)
    full = dense(Imperfect("backprop", rank=50))
    np.testing.assert_allclose(full.effective_feedback_kernel(), full.kernel, atol=1e-5)
    grouped = ta.layers.Conv2D(8, 3, groups=2, feedback=Imperfect("backprop", rank=1))
    grouped.build((None, 6, 6, 4))
    matrix = np.reshape(grouped.effective_feedback_kernel(), (18, 8))
    assert [np.linalg.matrix_rank(m, tol=1e-4) for m in np.split(matrix, 2, 1)] == [1, 1]


def test_read_noise_is_new_at_every_step_and_of_the_size_said():
    layer = dense(Imperfect("fa", noise=0.5))
    b = layer.feedback_weights["feedback_kernel"].numpy()
    np.testing.assert_array_equal(layer.effective_feedback_kernel(), b)
    errors = np.stack([sent(layer, training=True) - DELTA @ b.T for _ in range(100)])
    assert np.abs(errors[0] - errors[1]).max() > 0.01
    # the noise of a synapse times δ, summed over the units
    expected = 0.5 * np.sqrt(np.mean(b**2)) * np.sqrt(np.sum(DELTA**2, 1))
    np.testing.assert_allclose(errors.std((0, 2)), expected, rtol=0.1)
    assert np.abs(errors.mean(0)).max() < 5 * expected.max() / 10


def test_seeds():
    def gain(seed, name="d"):
        return stored(dense(Imperfect("fa", mismatch=0.1, seed=seed), name=name), "gain")

    np.testing.assert_array_equal(gain(1), gain(1))  # the weights differ
    assert not np.array_equal(gain(1), gain(2))
    assert not np.array_equal(gain(1), gain(1, "other"))
    assert not np.array_equal(gain(None), gain(None))
    one, two = (
        dense(Imperfect("fa", mismatch=0.1), kernel_initializer=keras.initializers.GlorotUniform(3))
        for _ in range(2)
    )
    np.testing.assert_array_equal(stored(one, "gain"), stored(two, "gain"))


def test_a_model_of_layers_with_names_has_the_same_defects_when_it_is_made_again():
    def gains(*names, name=None):
        layers = [keras.layers.Dense(9, name=name) for name in names]
        stock = keras.Sequential([keras.Input((9,)), *layers], name=name)
        model = ta.convert(stock, Imperfect("fa", density=0.5, seed=1))
        return [stored(layer, "gain") for layer in ta.layers.feedback_layers(model)]

    one, again = gains("a", "b", "c", name="net"), gains("a", "b", "c", name="net")
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[0], one[1])
    # as the docstring says: names that Keras counts are others
    assert not np.array_equal(gains(None, None), gains(None, None))


def test_a_rule_that_measures_its_synapses_learns_around_the_defects():
    """SA ends with the path at W, KP with the stored weights there."""
    defects = {"mismatch": 0.3, "stuck_off": 0.1, "seed": 1}
    layer = dense(Imperfect("sa", **defects), 5, 4)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.0)), "mse")
    for _ in range(60):
        model.train_on_batch(X[:, :4], DELTA[:, :5])
    path, alive = layer.effective_feedback_kernel().numpy(), stored(layer, "gain") > 0
    assert 0 < alive.mean() < 1
    np.testing.assert_allclose(path, layer.kernel * alive, atol=1e-4)
    layer = dense(Imperfect("kp", **defects), 5, 4)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(0.2, weight_decay=0.5), "mse")
    for _ in range(100):
        model.train_on_batch(X[:, :4], DELTA[:, :5])
    b = layer.feedback_weights["feedback_kernel"].numpy()
    np.testing.assert_allclose(b, layer.kernel, atol=1e-3)
    path = layer.effective_feedback_kernel()
    np.testing.assert_allclose(path, stored(layer, "gain") * b, rtol=1e-5)


@pytest.mark.parametrize("defects", [{"rank": 2}, {"excitatory": 0.5}])
def test_what_the_path_leaves_out_does_not_run_away(defects):
    layer = dense(Imperfect("sa", **defects, seed=1), 12, 30)
    model = keras.Sequential([keras.Input((30,)), layer])
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.0)), "mse")

    def train(steps):
        for _ in range(steps):
            model.train_on_batch(X, DELTA[:, :12])
        stored_weights = layer.feedback_weights["feedback_kernel"]
        return np.linalg.norm(stored_weights), layer.effective_feedback_kernel().numpy()

    def best(w):
        if "rank" in defects:
            return w @ stored(layer, "rank")
        return np.where(w * stored(layer, "signs") > 0, w, 0.0)

    norm, path = train(40)
    w = layer.kernel.numpy()
    np.testing.assert_allclose(path, best(w), atol=0.02)
    assert norm < 3 * np.linalg.norm(w)
    layer.kernel.assign(-w)
    norm, path = train(40)  # a synapse of the wrong sign comes back as fast as it went
    np.testing.assert_allclose(path, best(-w), atol=0.02)
    assert norm < 3 * np.linalg.norm(w)


def test_product_feedback_learns_from_the_exact_error():
    def gradient(method):
        keras.utils.set_random_seed(3)
        layer = dense(method, 20, 4)  # few inputs: R learns from its own product
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(X[:, :4]), training=True) * DELTA)
        return tape.gradient(loss, layer.feedback_weights["product_plastic"])

    for expansion in (1, 10):
        exact = ta.feedback.ProductFeedback(expansion)
        keep = gradient(exact)
        np.testing.assert_allclose(gradient(Imperfect(exact, error_bits=2)), keep, rtol=1e-5)
    wide = [
        ta.layers.Dense(40, feedback=m, kernel_initializer=keras.initializers.GlorotUniform(1))
        for m in ("pfa", Imperfect("pfa", error_bits=2))
    ]
    x, delta = RNG.standard_normal((8, 60)), RNG.standard_normal((8, 40))
    found = []
    for layer in wide:
        layer.build((None, 60))
        pairs = zip(layer.feedback_weights.values(), wide[0].feedback_weights.values(), strict=True)
        for mine, first in pairs:
            mine.assign(first)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(x, tf.float32)) * tf.constant(delta, tf.float32))
        found.append(tape.gradient(loss, layer.feedback_weights["product_plastic"]))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["eprop", "rflo"])
def test_methods_that_send_no_error_back_in_time(method):
    kind = ta.layers.SimpleRNN if method == "rflo" else ta.layers.LSTM
    layers = [kind(5, feedback=rule) for rule in (method, Imperfect(method, bits=8))]
    for layer in layers:
        layer.build((None, 6, 3))
    names = [[c.name for c in layer.connections] for layer in layers]
    assert names[0] == names[1] and len(names[0]) == 1
    with pytest.raises(ValueError, match="recurrent"):
        ta.layers.Dense(3, feedback=Imperfect(method))


FINE = {"bits": 6, "error_bits": None}


@pytest.mark.parametrize(
    ("turn", "rule"),
    [
        (0, Imperfect("sa", **FINE, mismatch=0.2, stuck_off=0.1)),
        *(
            pytest.param(turn, rule, marks=pytest.mark.slow)
            for turn, rule in [
                (None, Imperfect("fa", **FINE, mismatch=0.2, density=0.8, stuck_on=0.02, seed=1)),
                (0, Imperfect("backprop", **FINE, rank=2, excitatory=0.8)),
                (1, Imperfect("kp", mismatch=0.2, rank=3)),
                (2, Imperfect("aa", mismatch=0.2)),
                (3, Imperfect("brsf", density=0.5)),
                (4, Imperfect("pfa", **FINE, mismatch=0.3)),
                (5, Imperfect("usf", noise=0.3)),
            ]
        ),
    ],
    ids=repr,
)
def test_check_rule(turn, rule, two_replicas):
    layers = None
    if turn is not None:
        layers = cases.a_third(turn)
    report = ta.testing.check_rule(rule, layers=layers, strategy=two_replicas)
    skipped = {"closed_form"} | (set() if rule.has_kernel else {"effective_kernel"})
    assert {check.name for check in cases.skipped(report)} == skipped


@pytest.mark.parametrize("name", ["dense", "conv2d-strided", "transpose2d"])
def test_coarse_errors_in_half_precision_and_compiled(name):
    # another rounding moves an entry by one level: too far for comparisons of all entries
    layer = ta.testing.LAYERS[name].layer(Imperfect("fa", bits=8), dtype="mixed_float16")
    x = tf.constant(ta.testing.LAYERS[name].inputs())
    _, (dx, *_) = ta.testing.gradients(layer, tf.cast(x, tf.float16))
    compiled = tf.function(lambda x: ta.testing.gradients(layer, x)[1][0], jit_compile=True)
    np.testing.assert_allclose(dx, compiled(tf.cast(x, tf.float16)), rtol=0.05, atol=0.05)
    exact = ta.testing.LAYERS[name].layer("fa")
    exact.build(x.shape)
    for a, b in zip(exact.weights, layer.weights, strict=True):
        a.assign(b)
    _, (dx32, *_) = ta.testing.gradients(exact, x)
    a, b = (np.asarray(tf.cast(e, tf.float64)) for e in (dx, dx32))
    cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    assert dx.dtype == tf.float16 and 0.999 < cosine < 1.0 - 1e-7


def test_save_load_and_strip(tmp_path):
    stock = ta.models.perceptron((30, 20, 20))
    model = ta.convert(stock, Imperfect("sa", bits=4, mismatch=0.2, stuck_on=0.1))
    model.compile(ta.optimizers.split("sgd"), "mse")
    model.train_on_batch(X, DELTA)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    pairs = zip(*(ta.layers.feedback_layers(m) for m in (model, loaded)), strict=True)
    for a, b in pairs:
        assert a.feedback == b.feedback and repr(a.feedback) == repr(b.feedback)
        np.testing.assert_array_equal(a.effective_feedback_kernel(), b.effective_feedback_kernel())
    assert float(model.train_on_batch(X, DELTA)) == float(loaded.train_on_batch(X, DELTA))
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    stripped = ta.strip(loaded)
    np.testing.assert_array_equal(stripped(X), loaded(X))
    assert not ta.layers.feedback_layers(stripped)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"bits": 0}, "Received: bits=0"),
        ({"bits": 17}, "Received: bits=17"),
        ({"error_bits": 2.5}, "Received: error_bits=2.5"),
        ({"noise": -1}, "Received: noise=-1"),
        ({"mismatch": "big"}, "Received: mismatch='big'"),
        ({"density": 0}, "Received: density=0"),
        ({"rank": 0}, "Received: rank=0"),
        ({"stuck_off": 0.6, "stuck_on": 0.6}, "stuck_on=0.6"),
        ({"excitatory": 1.5}, "Received: excitatory=1.5"),
        ({"seed": -1}, "Received: seed=-1"),
    ],
)
def test_wrong_arguments_name_themselves(arguments, match):
    with pytest.raises(ValueError, match=match):
        Imperfect("fa", **arguments)


@pytest.mark.parametrize("method", ["dfa", None, Imperfect("fa")])
def test_methods_that_it_is_not_for(method):
    with pytest.raises(ValueError, match="`method`"):
        Imperfect(method)


DEFECTS = {"mismatch": 0.3, "density": 0.6, "stuck_on": 0.05, "bits": 3, "error_bits": None}


@pytest.mark.parametrize("method", ["fa", "usf", "brsf", "kp", "sa", "pfa", "eprop"])
def test_a_path_without_coarse_errors_is_made_once_per_pass(method):
    """The same numbers as with the path made at every time step, and in gates apart too."""

    class Slow(Imperfect):
        def send(self, c, dz):
            return super().send(c, dz)

    x, found = tf.random.stateless_normal((3, 4, 5), (0, 1)), []
    for kind in (Imperfect, Slow):
        rule = kind(method, **DEFECTS, noise=0.2, seed=1)
        layer = ta.layers.GRU(3, feedback=rule, seed=2, name="one")
        layer.build(x.shape)
        rng = np.random.default_rng(0)
        for weight in layer.weights:
            if "imperfect" not in weight.name and weight.dtype == "float32":
                weight.assign(rng.standard_normal(weight.shape))
        layer.cell.seed_generator.state.assign([1, 2])
        found.append(ta.testing.gradients(layer, x)[1])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    ta.layers.ConvLSTM1D(2, 2, feedback=Imperfect(method, **DEFECTS)).build((2, 3, 6, 2))
    with pytest.raises(ValueError, match="Slow has a `send` of its own"):
        ta.layers.ConvLSTM1D(2, 2, feedback=Slow(method, **DEFECTS)).build((2, 3, 6, 2))


def test_what_it_wraps_counts():
    def model(method):
        layers = [keras.layers.Dense(4, name="low"), keras.layers.Dense(3, name="top")]
        stock = keras.Sequential([keras.Input((5,)), *layers])
        return ta.convert(stock, Imperfect(method, bits=3))

    def said(method):
        lines = []
        ta.summary(model(method), print_fn=lines.append)
        return "\n".join(lines)

    assert "Weight transport remains: the error passes the forward weights of 'top'" in said(
        "backprop"
    )
    assert "No weight transport remains" in said("fa")
    assert "usf copies the signs of the forward weights" in said("usf")
    monitor = ta.callbacks.AlignmentMonitor()
    product = model("pfa")
    product.compile(keras.optimizers.SGD(0.1), "mse")
    names = product.fit(np.ones((4, 5)), np.ones((4, 3)), verbose=0, callbacks=[monitor]).history
    assert "top/path_angle" in names and "top/weight_angle" not in names


@pytest.mark.parametrize(
    ("rule", "mismatch", "told"),
    [
        ("sa", 0.1, False),
        ("sa", 0.5, True),
        ("aa", 0.5, True),
        (ta.feedback.SymmetricAlignment(0.5, 0.5), 0.5, False),
        ("kp", 0.5, False),
        (ta.feedback.ActivationAlignment(noise="rademacher"), 0.5, False),
    ],
)
def test_steps_too_large_for_strong_devices_are_told_before_training(rule, mismatch, told):
    layer = ta.layers.Dense(40, feedback=Imperfect(rule, mismatch=mismatch, seed=1))
    model = keras.Sequential([keras.Input((30,)), layer])
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.0)), "mse")
    gain = float(np.max(layer.feedback_weights["imperfect_gain"]))
    assert 1.2 < gain < 1.6 or 2.0 < gain < 3.5
    if not told:
        assert ta.optimizers.check(model) == []
        return
    with pytest.warns(UserWarning, match=rf"the largest gain is {gain:.1f}: from 2 on"):
        assert len(ta.optimizers.check(model)) == 1
    start = np.abs(layer.effective_feedback_kernel() - layer.kernel).max()
    model.fit(RNG.standard_normal((960, 30)), np.zeros((960, 40)), verbose=0, batch_size=48)
    assert np.abs(layer.effective_feedback_kernel() - layer.kernel).max() > 10 * start  # it is true

"""What must be true of training with each method, in every way Keras trains."""

import contextlib
import os
import warnings

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
import training

import tf_alignment as ta

K = keras.layers
PUBLISHED = {"noise": None, "normalize": None, "response_bias": True}
# rules that draw nothing: equal in all ways of running
EXACT = {
    "backprop": "backprop",
    "fa": "fa",
    "dfa": "dfa",
    "usf": "usf",
    "frsf": "frsf",
    "kp": "kp",
    "sa": "sa",
    "pfa": "pfa",
    "pfa_o": "pfa_o",
    "wm": ta.feedback.WeightMirror(0.1, 0.2, **PUBLISHED),
    "ia": ta.feedback.InformationAlignment(0.1, 0.2, 0.1, **PUBLISHED),
    "aa": ta.feedback.ActivationAlignment(0.1, 0.1, **PUBLISHED),
}


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            K.Conv2D(3, 2, activation="tanh", use_bias=False),
            K.Conv2D(4, 2, activation="tanh"),
            K.Flatten(),
            K.Dense(3),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4, 4, 2)).astype("float32")
    return x, rng.standard_normal((64, 3)).astype("float32")


def train(method, batch=16, epochs=2, accumulate=None, forward=None, **compile_arguments):
    """Train for a few steps; the weights, in order."""
    model = ta.convert(network(), method)
    forward = forward or keras.optimizers.SGD(0.05, gradient_accumulation_steps=accumulate)
    optimizer = ta.optimizers.split(
        forward,
        keras.optimizers.SGD(0.2, gradient_accumulation_steps=accumulate),
    )
    model.compile(optimizer, "mse", **compile_arguments)
    model.fit(*data(), batch_size=batch, epochs=epochs, shuffle=False, verbose=0)
    return model, model.get_weights()


def agree(a, b, tolerance=1e-5):
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=tolerance)


WAYS = {
    "eager": {"run_eagerly": True},
    "xla": {"jit_compile": True},
    "steps at once": {"steps_per_execution": 4},
    "accumulated": {"batch": 8, "accumulate": 2},
    "two replicas": {},
}
# Every way is met by methods of different kinds, every kind by ways of different kinds; the rest
# of the product is slow. What a method does in graphs, under XLA and on replicas is among the
# checks that every method passes, too.
PAIRS = {
    "backprop": ["eager", "steps at once"],
    "fa": ["xla", "two replicas"],
    "dfa": ["two replicas", "eager"],
    "kp": ["accumulated", "xla"],
    "sa": ["two replicas", "accumulated", "xla"],
    "wm": ["eager", "steps at once", "two replicas"],
}


def assert_all_the_same(method, ways, two_replicas):
    method = EXACT[method]
    before = ta.convert(network(), method).get_weights()
    _, expected = train(method)
    assert not all(np.allclose(a, b) for a, b in zip(expected, before, strict=True))
    for way in ways:
        scope = two_replicas.scope() if way == "two replicas" else contextlib.nullcontext()
        with scope:
            _, found = train(method, **WAYS[way])
        agree(found, expected)


@pytest.mark.parametrize("method", PAIRS)
def test_ways_of_running_give_the_same_weights(method, two_replicas):
    assert_all_the_same(method, PAIRS[method], two_replicas)


@pytest.mark.slow
@pytest.mark.parametrize("method", EXACT)
def test_all_other_ways_of_running_give_the_same_weights(method, two_replicas):
    others = [way for way in WAYS if way not in PAIRS.get(method, [])]
    assert_all_the_same(method, others, two_replicas)


@pytest.mark.parametrize("method", cases.mostly_slow(cases.RANDOM, "brsf"))
def test_noise_is_drawn_on_each_replica_and_agrees_in_its_statistics(method, two_replicas):
    def kernels():
        model, _ = train(method, epochs=20 if ta.feedback.get(method).has_kernel else 2)
        return [
            (c.kernel.numpy(), c.feedback_kernel().numpy() if layer.feedback.has_kernel else None)
            for layer in ta.layers.feedback_layers(model)
            for c in layer.connections
        ]

    one = kernels()
    with two_replicas.scope():
        two = kernels()
    for (w, b), (w2, b2) in zip(one, two, strict=True):
        assert np.all(np.isfinite(w2))
        assert not np.array_equal(w, w2)
        if b is not None:
            angle, angle2 = ta.metrics.weight_angle(w, b), ta.metrics.weight_angle(w2, b2)
            assert abs(float(angle) - float(angle2)) < 15.0


def seeds_seen(feedback, strategy):
    """The seed that a layer draws on each replica."""
    with strategy.scope():
        layer = ta.layers.Dense(3, feedback=feedback)
        layer.build((None, 4))
    results = strategy.run(tf.function(lambda: layer.draw_seed(True)))
    return [tuple(np.asarray(v)) for v in strategy.experimental_local_results(results)]


def test_replicas_share_magnitudes_but_not_noise(two_replicas):
    a, b = seeds_seen("brsf", two_replicas)
    assert a == b
    a, b = seeds_seen("wm", two_replicas)
    assert a != b


SLOW = ("backprop", "usf", "frsf", "ia", "pfa_o")  # others run the same code
HALF = {m: ["mixed_float16"] for m in ta.feedback.METHODS}
HALF |= {m: ["mixed_float16", "mixed_bfloat16"] for m in ("fa", "dfa", "kp", "aa", "pfa")}


@pytest.mark.parametrize("method", cases.mostly_slow(HALF, *(m for m in HALF if m not in SLOW)))
def test_mixed_precision_trains(method):
    _, expected = train(EXACT.get(method, method))
    for policy in HALF[method]:
        keras.config.set_dtype_policy(policy)
        model, found = train(EXACT.get(method, method))
        wrapped = type(model.optimizer).__name__ == "LossScaleOptimizer"
        assert wrapped == (policy == "mixed_float16")
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype == np.float32
            if ta.feedback.get(method).random != "shared":
                assert np.linalg.norm(a - b) < 0.03 * (0.1 + np.linalg.norm(b))


def test_the_alignment_loss_leaves_the_reported_loss_alone():
    model = ta.convert(network(), "sa")
    model.compile(ta.optimizers.split("sgd"), "mse")
    x, y = data()
    expected = float(np.mean((model.predict(x, verbose=0) - y) ** 2))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_fixed_feedback_never_moves():
    for method in ("fa", "frsf", "dfa", "usf", "brsf"):
        model = ta.convert(network(), method)
        stored = [w for v in model.layers for w in getattr(v, "feedback_weights", {}).values()]
        assert stored and not any(w.trainable for w in stored)
        before = [w.numpy() for w in stored]
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        model.compile(optimizer, "mse", run_eagerly=True)
        model.fit(*data(), epochs=2, verbose=0)
        for weight, start in zip(stored, before, strict=True):
            np.testing.assert_array_equal(weight, start)


@keras.saving.register_keras_serializable(package="tests")
class Shrink(keras.constraints.Constraint):
    def __call__(self, w):
        return 0.99 * w


@pytest.mark.parametrize(
    ("decay", "jit"),
    [("optimizer", False), ("regularizer", False), ("constraint", False), ("optimizer", True)],
)
def test_kolen_pollack_forgets_the_difference_at_the_rate_of_the_decay(decay, jit):
    rate, steps, arguments = 0.05, 40, {}
    optimizer = keras.optimizers.SGD(rate)
    if decay == "optimizer":
        optimizer, factor = keras.optimizers.SGD(rate, weight_decay=0.4), 1 - rate * 0.4
    elif decay == "regularizer":
        arguments["kernel_regularizer"] = keras.regularizers.L2(0.2)
        factor = 1 - rate * 2 * 0.2
    else:
        arguments["kernel_constraint"] = Shrink()
        factor = 0.99
    model = ta.convert(training.perceptron(**arguments), "kp")

    def differences():
        return [
            c.weights["feedback_kernel"].numpy() - c.kernel.numpy()
            for layer in ta.layers.feedback_layers(model)
            for c in layer.connections
        ]

    before = differences()
    model.compile(optimizer, "mse", jit_compile=jit)
    x, y = (np.tile(a, (steps, 1)) for a in training.toy())
    model.fit(x, y, batch_size=len(x) // steps, shuffle=False, verbose=0)
    for start, end in zip(before, differences(), strict=True):
        np.testing.assert_allclose(end, factor**steps * start, atol=2e-5)
    assert factor**steps < 0.7


def test_kolen_pollack_without_decay_keeps_the_difference():
    model = ta.convert(training.perceptron(), "kp")
    [first, _] = ta.layers.feedback_layers(model)
    before = first.feedback_weights["feedback_kernel"].numpy() - first.kernel.numpy()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    model.fit(*training.toy(), epochs=20, verbose=0)
    after = first.feedback_weights["feedback_kernel"].numpy() - first.kernel.numpy()
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize(("method", "target"), [("pfa", 17.55), ("pfa_o", 0.0)])
def test_product_feedback_reaches_its_angle_once_the_start_is_forgotten(method, target):
    model = ta.convert(training.perceptron((60, 60, 60), inputs=30), method)
    model.compile(keras.optimizers.SGD(0.5, weight_decay=0.02), "mse")  # a step forgets 1 %
    model.fit(*training.toy(512, 30, 60), batch_size=32, epochs=30, verbose=0)
    for angle in training.angles(model).values():
        assert angle == pytest.approx(target, abs=4.0)


FORWARD = {
    # at .02 one of six seeds of `sa` runs away: B is W of the step before, and W moves far in one
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.003, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(1e-3),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The product feedback weights:UserWarning")  # under Adam
@pytest.mark.parametrize("forward", ["momentum", "sgd", "adam"])
def test_every_method_trains_digits_with_its_defaults(forward):
    (x, y), (x_test, y_test) = training.digits()
    accuracy, angles = {}, {}
    for method in ta.feedback.METHODS:
        model = ta.convert(training.network(0), method)
        training.compile_for_digits(model, FORWARD[forward]())
        model.fit(x, y, batch_size=32, epochs=40 if forward == "sgd" else 20, verbose=0)
        accuracy[method] = model.evaluate(x_test, y_test, verbose=0)[1]
        angles[method] = max(training.angles(model).values()) if method == "sa" else None
    assert accuracy["backprop"] > 0.9, accuracy
    low = {method: value for method, value in accuracy.items() if value < 0.75}
    assert not low, accuracy
    assert angles["sa"] < 1.0
    # 4 of 360 examples; plain SGD is still on its way after 40 epochs, and curves cross
    tolerance = 0.05 if forward == "sgd" else 0.012
    assert abs(accuracy["sa"] - accuracy["backprop"]) < tolerance


MNIST = os.environ.get("TFDS_DATA_DIR", os.path.expanduser("~/tensorflow_datasets"))


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.isdir(os.path.join(MNIST, "mnist")),
    reason="MNIST is not prepared; set TFDS_DATA_DIR to the directory that holds it",
)
@pytest.mark.parametrize("forward", FORWARD)
@pytest.mark.timeout(1800)
def test_every_method_trains_an_mnist_perceptron_with_its_defaults(forward):
    arrays = ta.data.load("mnist", MNIST)
    rates = {"sgd": 0.05, "momentum": 0.02, "adam": 1e-3}
    accuracy = {}
    for method in ta.feedback.METHODS:
        keras.utils.set_random_seed(0)
        stock = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                K.Flatten(),
                K.Dense(256, activation="relu"),
                K.Dense(256, activation="relu"),
                K.Dense(10),
            ]
        )
        optimizer = FORWARD[forward]()
        optimizer.learning_rate = rates[forward]
        model = training.compile_for_digits(ta.convert(stock, method), optimizer)
        model.fit(*arrays.train, batch_size=64, epochs=2, verbose=0)
        accuracy[method] = model.evaluate(*arrays.test, verbose=0)[1]
    assert accuracy["backprop"] > 0.94
    assert all(value > 0.85 for value in accuracy.values()), accuracy
    assert abs(accuracy["sa"] - accuracy["backprop"]) < 0.006, accuracy  # one seed, 10 000 examples


def test_alignment_under_momentum_is_warned_about_without_any_callback():
    def fit(method, optimizer, **options):
        model = ta.convert(network(), method)
        model.compile(optimizer, "mse", **options)
        model.fit(*data(), epochs=1, verbose=0)
        return model

    momentum = keras.optimizers.SGD(0.01, momentum=0.9)
    with pytest.warns(UserWarning, match="split"):
        model = fit("sa", momentum)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*data(), epochs=1, verbose=0)  # once is enough
        fit("sa", ta.optimizers.split(keras.optimizers.SGD(0.01, momentum=0.9)))
        fit("sa", keras.optimizers.SGD(0.01), run_eagerly=True)
        fit("kp", keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)


def test_a_custom_training_loop_learns_too():
    model = ta.convert(network(), "sa")
    x, y = data()
    optimizer = ta.optimizers.split(keras.optimizers.SGD(0.01))

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2) + sum(model.losses)
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    optimizer.build(model.trainable_weights)
    for _ in range(30):
        step(tf.constant(x), tf.constant(y))
    assert all(angle < 1.0 for angle in training.angles(model).values())


def test_nothing_is_retraced_from_step_to_step():
    traces = []

    class Counting(ta.feedback.FeedbackAlignment):
        def send(self, c, dz):
            traces.append(dz.shape)
            return super().send(c, dz)

    model = ta.convert(network(), Counting())
    model.compile("sgd", "mse")
    model.fit(*data(), batch_size=16, epochs=5, verbose=0)
    assert len(traces) == len(ta.layers.feedback_layers(model))


def test_a_layer_called_many_times_a_step_aligns_as_one_called_once():
    layer = ta.layers.Dense(6, feedback=ta.feedback.SymmetricAlignment(1.0, 1.0))
    x = inputs = keras.Input((6,))
    for _ in range(6):
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile(ta.optimizers.split(keras.optimizers.SGD(0.0)), "mse")
    data = np.ones((8, 6), "float32")
    before = layer.feedback_weights["feedback_kernel"].numpy() - layer.kernel.numpy()
    model.fit(data, data, batch_size=8, epochs=1, verbose=0)
    after = layer.feedback_weights["feedback_kernel"].numpy() - layer.kernel.numpy()
    np.testing.assert_allclose(after, 0.5 * before, atol=1e-5)


class Recorded(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self):
        self.steps = []

    def __call__(self, step):
        self.steps.append(step)
        return 1.0


@pytest.mark.parametrize("eagerly", [False, True])
def test_schedules_count_steps_not_calls_of_a_shared_layer(eagerly):
    schedule, seeds = Recorded(), []

    class Seen(ta.layers.Dense):
        def draw_seed(self, training):
            seeds.append(super().draw_seed(training))
            return seeds[-1]

    layer = Seen(4, feedback=ta.feedback.ActivationAlignment(schedule, noise="rademacher"))
    entry = keras.Input((4,))
    model = keras.Model(entry, layer(layer(layer(entry))))
    model.compile(ta.optimizers.split("sgd"), "mse", run_eagerly=eagerly)
    x = np.ones((20, 4), "float32")
    seeds.clear()
    model.fit(x, x, batch_size=4, verbose=0)
    model.predict(x, verbose=0)
    [counter] = [w for w in layer.weights if w.name == "step"]
    assert int(counter) == 5
    if eagerly:
        assert [int(step) for step in schedule.steps] == [0, 1, 2, 3, 4]
        # noise is drawn for every call
        assert len({tuple(seed.numpy()) for seed in seeds[:15]}) == 15


def test_schedules_count_calls_of_the_layer_not_of_its_connections():
    ramp = keras.optimizers.schedules.PolynomialDecay(1.0, 100)
    layer = ta.layers.SeparableConv1D(3, 2, feedback=ta.feedback.SymmetricAlignment(ramp))
    x = np.ones((2, 5, 3), "float32")
    for _ in range(3):
        layer(x, training=True)
    [step] = [w for w in layer.weights if w.name == "step"]
    assert int(step) == 3


class FineTuned(keras.Model):
    """A network that calls its base as in inference, so that batch normalisation is held."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.head = K.Dense(2, name="head")

    def call(self, x, training=None):
        return self.head(self.base(x, training=False))


def streams_and_steps(model):
    layers = ta.layers.feedback_layers(model)
    streams = [v.seed_generator.state.numpy().tolist() for v in layers if v.feedback.random]
    counters = [w for v in layers for w in v.feedback_store.weights if w.name == "step"]
    return streams, [int(counter) for counter in counters]


RAMP = ta.feedback.SymmetricAlignment(keras.optimizers.schedules.PolynomialDecay(1.0, 100))


@pytest.mark.parametrize("eagerly", [False, True])
def test_randomness_and_schedules_go_on_in_layers_that_are_called_as_in_inference(eagerly):
    model = FineTuned(network())
    x, _ = data()
    model(x[:2])
    ta.convert(model, {"head": RAMP, ".+/.+": "brsf"}, inplace=True)
    model.compile(ta.optimizers.split("sgd"), "mse", run_eagerly=eagerly)
    streams, counters = streams_and_steps(model)
    assert streams and counters == [0]
    model.fit(x[:32], np.ones((32, 2)), batch_size=16, verbose=0)
    after, counters = streams_and_steps(model)
    assert counters == [2]
    assert all(a != b for a, b in zip(streams, after, strict=True))
    model.predict(x[:32], verbose=0)
    assert streams_and_steps(model) == (after, [2])


@pytest.mark.filterwarnings("ignore:.*was not converted itself")
@pytest.mark.parametrize("eagerly", [False, True])
def test_schedules_go_on_in_a_converted_part_of_a_model(eagerly):
    """When the first layer begins training, the whole model is checked in a call of its own."""
    model = FineTuned(ta.convert(network(), RAMP))
    x, _ = data()
    model(x[:2])
    model.compile(ta.optimizers.split("sgd"), "mse", run_eagerly=eagerly)
    model.fit(x[:32], np.ones((32, 2)), batch_size=16, verbose=0)
    counters = streams_and_steps(model.base)[1]
    assert len(counters) > 1 and set(counters) == {2}


def test_schedules_count_the_steps_of_a_loop_that_leaves_training_unset():
    model = ta.convert(network(), RAMP)
    x, _ = data()
    for _ in range(3):
        with tf.GradientTape():
            model(x)
    model(x)
    assert set(streams_and_steps(model)[1]) == {3}


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("method", ta.feedback.METHODS)
def test_training_in_double_precision(method, floatx):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        layers = [K.Dense(5, "tanh", dtype="float64"), K.Dense(2, dtype="float64")]
        stock = keras.Sequential([keras.Input((4,), dtype="float64"), *layers])
        model = ta.convert(stock, method)
        model.compile(ta.optimizers.split("sgd"), "mse", run_eagerly=True)
        rng = np.random.default_rng(0)
        weights = [np.array(w) for w in model.weights]
        model.fit(rng.standard_normal((8, 4)), rng.standard_normal((8, 2)), verbose=0)
        moved = [np.any(np.array(w) != v) for w, v in zip(model.weights, weights, strict=True)]
        trained = [w.trainable for w in model.weights]
        assert [m for m, t in zip(moved, trained, strict=True) if t] == [True] * sum(trained)
        assert all(w.dtype == "float64" for w in model.trainable_weights)
        last = model.layers[-1]
        if getattr(getattr(last, "feedback", None), "learns", None) == "alignment":
            activity = ta.testing.activity(last, tf.ones((2, 5), "float64"))
            stored = {n: tf.convert_to_tensor(w) for n, w in last.feedback_weights.items()}
            assert np.isfinite(last.feedback.loss(activity, stored))
    finally:
        keras.config.set_floatx(before)

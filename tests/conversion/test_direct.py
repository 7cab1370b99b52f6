"""Direct feedback alignment against numpy in float64, on every shape of network."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from stock_models import MODELS, example, two_heads

import tf_alignment as ta

K = keras.layers
STOCK_STAYS = pytest.mark.filterwarnings("ignore:The error still passes the forward weights")


def mlp(dtype=None):
    return keras.Sequential(
        [
            keras.Input((6,)),
            K.Dense(5, activation="tanh", dtype=dtype),
            K.Dense(4, activation="tanh", dtype=dtype),
            K.Dense(3, activation="softmax", dtype=dtype),
        ]
    )


def tap_of(model):
    [tap] = [v for v in model.layers if isinstance(v, ta.layers.direct.OutputTap)]
    return tap


def numpy_gradients(weights, feedback, x, labels):
    """Nøkland's equation 6 for a tanh network with softmax cross-entropy, mean over the batch."""
    w1, b1, w2, b2, w3, b3 = (np.asarray(w, "float64") for w in weights)
    f1, f2 = (np.asarray(b, "float64") for b in feedback)
    x = x.astype("float64")
    h1 = np.tanh(x @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    logits = h2 @ w3 + b3
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    e = (p - np.eye(3)[labels]) / len(x)
    d1 = e @ f1.T * (1 - h1**2)
    d2 = e @ f2.T * (1 - h2**2)
    return [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ e, e.sum(0)]


def loss_of(model, x, labels):
    loss = keras.losses.SparseCategoricalCrossentropy()(labels, model(x, training=True))
    return loss + sum(model.losses or [0.0])


@pytest.mark.parametrize("mode", ["eager", "graph", "xla", "inner function"])
def test_gradients_against_numpy(mode):
    model = ta.convert(mlp(), "dfa")
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((7, 6)).astype("float32"), rng.integers(0, 3, 7)
    call = tf.function(model) if mode == "inner function" else model

    def step(x, labels):
        with tf.GradientTape() as tape:
            loss = keras.losses.SparseCategoricalCrossentropy()(labels, call(x))
        return tape.gradient(loss, model.trainable_weights)

    if mode in ("graph", "xla"):
        step = tf.function(step, jit_compile=mode == "xla")
    found = step(tf.constant(x), tf.constant(labels))
    feedback = tap_of(model).feedback_weights
    assert [f.shape for f in feedback.values()] == [(5, 3), (4, 3)]
    expected = numpy_gradients(model.trainable_weights, feedback.values(), x, labels)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_two_models_in_one_tape_and_a_feature_extractor():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((7, 6)).astype("float32"), rng.integers(0, 3, 7)
    a, b = ta.convert(mlp(), "dfa"), ta.convert(mlp(), "dfa")
    features = keras.Model(a.inputs[0], a.layers[2].output)
    with tf.GradientTape() as tape:
        features(x)  # a second forward pass through the same layers, with no loss on it
        loss = loss_of(a, x, labels) + 2.0 * loss_of(b, x, labels)
    ga, gb = tape.gradient(loss, [a.trainable_weights, b.trainable_weights])
    for model, grads, factor in ((a, ga, 1.0), (b, gb, 2.0)):
        feedback = tap_of(model).feedback_weights.values()
        expected = numpy_gradients(model.trainable_weights, feedback, x, labels)
        for g, want in zip(grads, expected, strict=True):
            np.testing.assert_allclose(g, factor * want, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@STOCK_STAYS
def test_every_weight_learns_and_no_error_passes_a_cut(name):
    model = MODELS[name]()
    converted = ta.convert(model, "dfa")
    x = example(model)
    taps = [v for v in converted.layers if isinstance(v, ta.layers.direct.OutputTap)]

    def gradients():
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(converted(x))
            loss = tf.add_n([tf.reduce_sum(tf.sin(o)) for o in outputs])
        return tape.gradient(loss, converted.trainable_weights)

    assert all(g is not None for g in gradients())
    # without feedback weights only what leads straight to the output can learn
    for tap in taps:
        for weight in tap.weights:
            weight.assign(tf.zeros_like(weight))
    # an Embedding's gradient is sparse
    moving = [bool(np.any(np.asarray(tf.convert_to_tensor(g)))) for g in gradients()]
    assert 0 < sum(moving) < len(moving)
    names = [w.path for w, moves in zip(converted.trainable_weights, moving, strict=True) if moves]
    assert len(names) <= 2 * len(taps)  # kernel and bias of each output layer


def test_two_heads_send_their_own_errors():
    model = ta.convert(two_heads(), "dfa")
    x = example(model)
    taps = {t.name: t for t in model.layers if isinstance(t, ta.layers.direct.OutputTap)}
    assert len(taps) == 2
    shared = model.layers[3]
    [first] = [v for v in model.layers if isinstance(v, K.Dense) and v.units == 6]
    assert shared is not None

    def gradient(head):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x)[head])
        return tape.gradient(loss, first.kernel)

    both = gradient("left") + gradient("right")
    with tf.GradientTape() as tape:
        outputs = model(x)
        loss = tf.reduce_sum(outputs["left"]) + tf.reduce_sum(outputs["right"])
    np.testing.assert_allclose(tape.gradient(loss, first.kernel), both, rtol=1e-4, atol=1e-6)


def test_the_probe_makes_it_backprop():
    stock = mlp()
    model = ta.convert(stock, "dfa")
    x, labels = np.random.default_rng(0).standard_normal((7, 6)), np.arange(7) % 3
    with tf.GradientTape() as tape, ta.probe.probe(backprop=True):
        loss = loss_of(model, x, labels)
    with tf.GradientTape() as other:
        expected = loss_of(stock, x, labels)
    for a, b in zip(
        tape.gradient(loss, model.trainable_weights),
        other.gradient(expected, stock.trainable_weights),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    model = ta.convert(mlp(policy), "dfa")
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((7, 6)).astype("float32"), rng.integers(0, 3, 7)
    with tf.GradientTape() as tape:
        loss = loss_of(model, x, labels)
    found = tape.gradient(loss, model.trainable_weights)
    feedback = tap_of(model).feedback_weights.values()
    expected = numpy_gradients(model.trainable_weights, feedback, x, labels)
    for a, b in zip(found, expected, strict=True):
        assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b)


def test_dynamic_shapes_are_refused():
    x = inputs = keras.Input((None, 6))
    x = K.Dense(4)(K.GlobalAveragePooling1D()(K.Add()([K.Dense(5)(x), K.Dense(5)(x)])))
    with pytest.raises(ValueError, match="static shapes"):
        ta.convert(keras.Model(inputs, x), "dfa")


def test_logits_are_tapped_before_the_softmax():
    model = ta.convert(mlp(), "dfa")
    kinds = [type(v).__name__ for v in model.layers]
    assert kinds[-3:] == ["Dense", "OutputTap", "Activation"]


def recurrent():
    x = inputs = keras.Input((5, 6))
    return keras.Model(inputs, K.LSTM(3)(K.Dense(4)(K.Dense(4)(x))))


def one_layer_thrice():
    layer = K.Dense(6, activation="tanh")
    x = inputs = keras.Input((6,))
    return keras.Model(inputs, layer(layer(layer(x))))


def regularized_head():
    x = inputs = keras.Input((6,))
    x = K.Dense(5, activation="tanh")(x)
    head = K.Dense(3, activation="softmax", activity_regularizer="l2")
    return keras.Model(inputs, head(x))


def with_probabilities():
    x = inputs = keras.Input((6,))
    y = K.Dense(3)(K.Dense(5, activation="tanh")(K.Dense(5)(x)))
    return keras.Model(inputs, [y, K.Softmax()(y)])


def fully_convolutional():
    x = inputs = keras.Input((8, 8, 2))
    x = K.Conv2D(4, 3, activation="relu")(K.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(inputs, K.Softmax()(K.GlobalAveragePooling2D()(K.Conv2D(5, 1)(x))))


@pytest.mark.parametrize(
    "make",
    [
        recurrent,
        one_layer_thrice,
        regularized_head,
        with_probabilities,
        fully_convolutional,
    ],
)
@STOCK_STAYS
def test_odd_graphs_keep_their_outputs_losses_and_gradients(make):
    model = make()
    converted = ta.convert(model, "dfa")
    x = example(model)
    for a, b in zip(keras.tree.flatten(converted(x)), keras.tree.flatten(model(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [np.sum([float(v) for v in m.losses]) for m in (model, converted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(keras.tree.flatten(converted(x))[0]))  # of the first output
    assert all(g is not None for g in tape.gradient(loss, converted.trainable_weights))


@pytest.mark.parametrize("onward", [False, True])
@pytest.mark.parametrize("after", [None, K.ReLU])
def test_an_output_on_the_way_to_another_is_refused(onward, after):
    """Its tap would send on the errors that come down to its block from the other output."""
    x = inputs = keras.Input((6,))
    h = K.Dense(5, activation="tanh", name="features")(K.Dense(5, activation="tanh")(x))
    if after is not None:
        h = after()(h)
    logits = K.Dense(3, name="logits")(K.Dense(4)(h) if onward else h)
    with pytest.raises(ValueError, match=r"no other output.*Received: outputs at \['features'\]"):
        ta.convert(keras.Model(inputs, [logits, h]), "dfa")
    first = K.Dense(5, name="first")(inputs)  # nothing is below, to which errors could be sent on
    ta.convert(keras.Model(inputs, [K.Dense(3)(first), first]), "dfa")


def feedback_shapes(model):
    return [list(v.feedback_weights.items()) for v in model.layers if hasattr(v, "hidden")]


def test_taps_are_where_the_logits_are():
    [[*taps]] = feedback_shapes(ta.convert(fully_convolutional(), "dfa"))
    assert [tuple(b.shape)[1] for _, b in taps] == [5, 5]  # the pooled classes, not the map of them
    [[*taps]] = feedback_shapes(ta.convert(with_probabilities(), "dfa"))
    assert len(taps) == len({name for name, _ in taps}) == 2  # once a block


def test_what_layers_have_learned_and_how_they_compute_comes_along():
    data = np.random.default_rng(0).standard_normal((50, 1)).astype("float32")
    inputs, parts = keras.Input((1,)), []
    for _ in range(2):  # layers of one name, in models that are laid open
        bins = K.Discretization(num_bins=4, name="bins")
        bins.adapt(data * (1 + len(parts)))
        x = keras.Input((1,))
        parts.append(keras.Model(x, K.Flatten()(K.Embedding(5, 3)(bins(x))))(inputs))
    norm = K.Normalization()
    norm.adapt(data)
    x = K.Concatenate()([*parts, norm(inputs)])
    half = K.Dense(4, "relu", dtype="mixed_bfloat16", name="half")
    half.build((None, 7))
    half.bias.trainable = False
    model = keras.Model(inputs, K.Dense(2, dtype="float32")(half(x)))
    before = model(data)
    direct = ta.convert(model, "dfa")
    np.testing.assert_array_equal(direct(data), before)
    assert not direct.get_layer("half").bias.trainable
    np.testing.assert_array_equal(ta.strip(direct)(data), before)


def test_frozen_kernels_pass_no_error():
    model = mlp()
    model.layers[1].trainable = False
    converted = ta.convert(model, "dfa")
    x, labels = np.ones((4, 6), "float32"), np.arange(4) % 3
    first, frozen = converted.layers[1], converted.get_layer(model.layers[1].name)
    assert not frozen.trainable

    def gradient():
        with tf.GradientTape() as tape:
            loss = loss_of(converted, x, labels)
        return tape.gradient(loss, first.kernel).numpy()

    assert np.any(gradient())
    frozen.kernel.assign(0.0 * frozen.kernel)
    assert np.any(gradient())  # backprop through it would be silent now


def test_output_names_stay_so_that_losses_find_them():
    model = two_heads()
    x = keras.Input((6,))
    h = K.Dense(4, activation="relu")(K.Dense(4, activation="relu")(x))
    left, right = K.Dense(2, name="left")(h), K.Dense(3, activation="softmax", name="right")(h)
    model = keras.Model(x, [left, right])
    losses = {"left": "mse", "right": "sparse_categorical_crossentropy"}
    model.compile("sgd", losses)
    for method in ("dfa", "fa", "dfa"):
        converted = ta.convert(model, method)
        assert converted.output_names == model.output_names
        converted.fit(
            np.ones((8, 6)), {"left": np.ones((8, 2)), "right": np.zeros(8, "int32")}, verbose=0
        )
        model = converted


def test_a_head_used_twice():
    a, b = keras.Input((6,)), keras.Input((6,))
    body, head = K.Dense(5, activation="relu"), K.Dense(3, activation="softmax")
    middle = K.Dense(5, activation="relu")
    model = keras.Model([a, b], [head(middle(body(a))), head(middle(body(b)))])
    converted = ta.convert(model, "dfa")
    x = example(model)
    for p, q in zip(converted(x), model(x), strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_float32_head_in_mixed_precision_stays_float32():
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential(
        [keras.Input((6,)), K.Dense(5), K.Dense(5), K.Dense(3, "softmax", dtype="float32")]
    )
    converted = ta.convert(model, "dfa")
    x = np.full((2, 6), 300.0, "float32")
    assert converted(x).dtype == model(x).dtype == tf.float32
    np.testing.assert_array_equal(converted(x), model(x))


def test_seeded_feedback_differs_between_layers_of_one_shape():
    x = inputs = keras.Input((6,))
    for _ in range(3):
        x = K.Dense(5)(x)
    model = keras.Model(inputs, K.Dense(3)(x))
    initializer = keras.initializers.GlorotUniform(seed=3)
    [[*taps]] = feedback_shapes(ta.convert(model, "dfa", feedback_initializer=initializer))
    values = [b.numpy() for _, b in taps]
    assert not np.array_equal(values[0], values[1])


@pytest.mark.parametrize("initializer", [None, 7])
def test_seeded_feedback_differs_between_heads(initializer):
    """Kernels with seeds draw none: then nothing else sets two taps apart."""
    seeded = keras.initializers.GlorotUniform
    if initializer is not None:
        initializer = seeded(seed=initializer)

    def model():
        x = inputs = keras.Input((4,))
        x = K.Dense(5, kernel_initializer=seeded(seed=1))(x)
        heads = [
            K.Dense(3, kernel_initializer=seeded(seed=2))(
                K.Dense(4, kernel_initializer=seeded(seed=2))(x)
            )
            for _ in range(3)
        ]
        return keras.Model(inputs, heads)

    def feedback():
        keras.utils.set_random_seed(3)
        shapes = feedback_shapes(ta.convert(model(), "dfa", feedback_initializer=initializer))
        return [[b.numpy() for _, b in tap] for tap in shapes]

    taps = feedback()
    assert len(taps) == 3 and len({b.tobytes() for [b, *_] in taps}) == 3
    for tap, again in zip(taps, feedback(), strict=True):
        for b, c in zip(tap, again, strict=True):
            np.testing.assert_array_equal(b, c)


def test_it_has_no_effective_kernel_and_says_why():
    with pytest.raises(ValueError, match=r"'dfa' has no effective feedback kernel: .*from the out"):
        ta.feedback.DirectFeedback().feedback_kernel(None)


def sequence(positions, width=4):
    x = inputs = keras.Input((positions, 6))
    x = K.Dense(5, activation="tanh", name="first")(x)
    x = K.Dense(width, activation="tanh", name="second")(x)
    return keras.Model(inputs, K.Dense(3, name="logits")(x))


@pytest.mark.parametrize("positions", [7, None])
def test_sequences_have_one_kernel_for_all_positions(positions):
    keras.utils.set_random_seed(0)
    model = ta.convert(sequence(positions), "dfa")
    shapes = {name: tuple(b.shape) for name, b in tap_of(model).feedback_weights.items()}
    assert shapes == {"first": (5, 3), "second": (4, 3)}
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((2, 7, 6)), rng.standard_normal((2, 7, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) * e)
    found = tape.gradient(loss, model.trainable_weights)
    # every position is an example of its own
    w1, b1, w2, b2 = [w.numpy().astype("float64") for w in model.trainable_weights[:4]]
    feedback = [b.numpy().astype("float64") for b in tap_of(model).feedback_weights.values()]
    x, e = x.reshape(-1, 6), e.reshape(-1, 3)
    h1 = np.tanh(x @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    d1, d2 = e @ feedback[0].T * (1 - h1**2), e @ feedback[1].T * (1 - h2**2)
    expected = [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ e, e.sum(0)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_one_kernel_for_all_places_of_a_map():
    stock = keras.Sequential(
        [keras.Input((6, 6, 2)), K.Conv2D(4, 3, name="c"), K.Flatten(), K.Dense(3)]
    )
    model = ta.convert(stock, ta.feedback.DirectFeedback(over_space="shared"))
    [(name, b)] = tap_of(model).feedback_weights.items()
    assert name == "c" and b.shape == (4 * 4 * 4, 3)  # the block ends behind the flattening
    x = inputs = keras.Input((6, 6, 2))
    x = K.Conv2D(4, 3, name="c")(x)
    x = K.Add()([x, x])
    stock = keras.Model(inputs, K.Dense(3)(K.Flatten()(x)))
    model = ta.convert(stock, ta.feedback.DirectFeedback(over_space="shared"))
    [b] = tap_of(model).feedback_weights.values()
    assert b.shape == (4, 3)
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((2, 6, 6, 2)), rng.standard_normal((2, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) * e)
    gradient = tape.gradient(loss, model.get_layer("c").bias)
    # 16 places, each with a sixteenth of the error
    np.testing.assert_allclose(gradient, (e @ b.numpy().T).sum(0), rtol=1e-5)
    assert tap_of(model).get_config()["over_space"] == "shared"
    with pytest.raises(ValueError, match="Received: over_space='some'"):
        ta.feedback.DirectFeedback("some")


@pytest.mark.parametrize(("over_space", "places"), [("shared", False), ("each", True)])
def test_maps_with_channels_first_are_refused_where_axes_count(over_space, places):
    first = {"data_format": "channels_first"}
    layers = [K.Conv2D(4, 3, **first, name=n, padding="same", activation="relu") for n in "ab"]
    top = [K.Conv2D(4, 1, **first, name="top")] if places else [K.Flatten(), K.Dense(2)]
    stock = keras.Sequential([keras.Input((3, 5, 7)), *layers, *top])
    with pytest.raises(ValueError, match=r"'channels_last'. Received: layers \['a', 'b'"):
        ta.convert(stock, ta.feedback.DirectFeedback(over_space))
    if not places:  # every unit of the map has its own coefficients, in any order
        kernels = tap_of(ta.convert(stock, "dfa")).feedback_weights.values()
        assert [tuple(b.shape) for b in kernels] == [(4 * 5 * 7, 2)] * 2


def test_too_much_memory_is_refused_with_numbers(monkeypatch):
    monkeypatch.setattr(ta.layers.direct, "available_memory", lambda: 10**9)
    stock = keras.Sequential(
        [keras.Input((6,)), K.Dense(100_000, name="wide"), K.Dense(1), K.Dense(3000)], name="m"
    )
    with pytest.raises(ValueError, match=r"1.20 GB.*1.00 GB.*'wide' \(100000, 3000\): 1.20 GB"):
        ta.convert(stock, "dfa")


def test_what_cannot_be_tapped_is_refused():
    class Two(K.Layer):
        def build(self, shape):
            self.parts = [K.Dense(4, name="up"), K.Dense(4, name="down")]
            for part in self.parts:
                part.build(shape)

        def call(self, x):
            return self.parts[1](self.parts[0](x))

    model = keras.Sequential([keras.Input((4,)), K.Dense(4), Two(name="two"), K.Dense(2)])
    with pytest.raises(ValueError, match=r"cannot see into.*'two': .'up', 'down'"):
        ta.convert(model, "dfa")

    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model.build((None, 4))
    with pytest.raises(ValueError, match="nobody can see that of a model with a `call`"):
        ta.convert(model, "dfa")

"""What convert, summary and the beginning of training say about weight transport."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

K = keras.layers


def last_line(model):
    lines = []
    ta.summary(model, lines.append)
    return lines[-1]


def mlp(*layers):
    return keras.Sequential([keras.Input((4,)), K.Dense(4, "relu", name="a"), *layers])


class Matrix(K.Layer):
    """A kernel of its own, and a gain for each unit."""

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1], shape[-1]))
        self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return self.gain * keras.ops.matmul(x, self.w)


def fit(model, **arguments):
    x = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    y = np.zeros((8, *model.output_shape[1:]), "float32")
    return model.fit(x, y, verbose=0, **arguments)


def test_no_transport():
    model = ta.convert(mlp(K.Dense(4, name="b"), K.Dense(2)), "fa")
    assert last_line(model) == "No weight transport remains: no error passes a forward kernel."


def test_signs_and_scales_have_words_of_their_own():
    model = ta.convert(mlp(K.Dense(4), K.LayerNormalization(name="norm"), K.Dense(2)), "usf")
    line = last_line(model)
    assert line.startswith("No weight transport remains")
    assert "usf copies the signs of the forward weights" in line
    assert "the scales (gamma) of 'norm' act on the error as they do in backprop" in line


def test_what_was_excluded_is_in_the_verdict_and_no_surprise():
    model = ta.convert(mlp(K.Dense(4, name="b"), K.Dense(2, name="c")), "fa", exclude="b")
    assert last_line(model).startswith(
        "Weight transport remains: the error passes the forward weights of "
        "'b' (excluded, or never converted)"
    )
    assert "its method is backprop" in last_line(ta.convert(model, "backprop"))


def test_custom_layers_are_named_with_what_they_hold():
    model = mlp(Matrix(name="own"), K.Dense(2))
    with pytest.warns(UserWarning, match="'own' .custom layer; the error passes its 'w'"):
        converted = ta.convert(model, "fa")
    assert "'own' (custom layer; the error passes its 'w')" in last_line(converted)
    rows = {row.path: row for row in ta.summary(converted, None)}
    assert rows["own"].method == "stock" and "the error passes its 'w'" in rows["own"].why


def test_a_custom_layer_that_cannot_be_traced_is_named_by_what_it_holds():
    class Opaque(Matrix):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor) and not tf.executing_eagerly():
                raise RuntimeError("eager only")
            return super().call(x)

        def compute_output_shape(self, shape):
            return shape

    with pytest.warns(UserWarning, match="cannot be seen into; holds 'w'"):
        ta.convert(mlp(Opaque(name="own"), K.Dense(2)), "fa")


def test_a_custom_layer_below_which_nothing_learns_is_no_transport():
    model = keras.Sequential([keras.Input((4,)), Matrix(), K.Dense(4), K.Dense(2)])
    converted = ta.convert(model, "fa")
    assert last_line(converted).startswith("No weight transport remains")
    assert len(ta.layers.feedback_layers(converted)) == 2


def test_positions_and_scales_are_no_kernels():
    class Position(K.Layer):
        def build(self, shape):
            self.p = self.add_weight(name="position_embedding", shape=shape[1:])
            self.token = self.add_weight(name="token", shape=(1, 1, shape[-1]))

        def call(self, x):
            return x + self.p + self.token

    x = inputs = keras.Input((3, 4))
    x = K.PReLU()(Position()(K.Dense(4)(x)))
    model = ta.convert(keras.Model(inputs, K.Dense(2)(x)), "fa")  # no warning
    assert last_line(model).startswith("No weight transport remains")


class Vectors(K.Layer):
    """Adds a vector to each position, or multiplies with the vectors, one after the other."""

    def __init__(self, how, **arguments):
        super().__init__(**arguments)
        self.how = how

    def build(self, shape):
        self.v = self.add_weight(name="embedding", shape=(shape[-1], shape[-1]))

    def call(self, x):
        def product(x):
            return keras.ops.matmul(x, self.v)

        if self.how == "add":
            return keras.ops.relu(x + self.v)
        if self.how == "activity":  # what is read on the way back is an activity
            return x * keras.ops.stop_gradient(product(x))
        if self.how == "loop":
            loop = keras.ops.while_loop(
                lambda i, _: i < 2, lambda i, x: (i + 1, product(x)), (0, x)
            )
            return keras.ops.reshape(loop[1], keras.ops.shape(x))
        return tf.function(product)(x) if self.how == "function" else product(x)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("how", "passes"),
    [("add", 0), ("activity", 0), ("product", 1), ("function", 1), ("loop", 1)],
)
def test_what_the_error_passes_is_seen_by_tracing_and_not_by_names(how, passes, inside):
    x = inputs = keras.Input((4, 4))
    x = Vectors(how, name="vectors")(K.Dense(4)(x))
    model = keras.Model(inputs, K.Dense(2)(x))
    if inside:
        model = Subclassed(model)
        model(np.ones((1, 4, 4), "float32"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ta.convert(model, "fa", inplace=True)
    assert [
        ("vectors' (custom layer; the error passes its 'embedding')" in str(w.message))
        for w in caught
    ] == [True] * passes
    assert ("Weight transport remains" in last_line(model)) == bool(passes)


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner.layers

    def call(self, x):
        for layer in self.inner[1:]:
            x = layer(x)
        return x


class Tokens(K.Layer):
    """Holds embeddings that could be used both ways."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.rows = K.ReversibleEmbedding(7, 4, name="rows")
        self.places = K.Embedding(3, 4)

    def build(self, shape):
        self.rows.build(shape)
        self.places.build(shape)

    def call(self, ids):
        return self.rows(ids) + self.places(keras.ops.arange(3))


class Head(K.Layer):
    def __init__(self, rows, **arguments):
        super().__init__(**arguments)
        self.dense, self.rows = K.Dense(4, name="dense"), rows

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.rows(self.dense(x), reverse=True)


@pytest.mark.parametrize("head", ["none", "open", "inside"])
def test_tied_embeddings_are_converted_where_they_are_used_in_reverse(head):
    tokens, ids = Tokens(), keras.Input((3,), dtype="int32")
    x = K.Dense(4, "relu", name="a")(tokens(ids))
    if head == "none":
        x = K.Dense(7)(x)
    else:
        x = Head(tokens.rows)(x) if head == "inside" else tokens.rows(x, reverse=True)
    model, used = keras.Model(ids, x), head != "none"
    example = np.array([[1, 2, 3], [3, 2, 0]])
    before = model(example)
    assert ("'rows'" in last_line(model) or "/rows'" in last_line(model)) == used
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("fa", "kp"):  # a second time too
            ta.convert(model, method, inplace=True)
            found = [layer.name for layer in ta.layers.feedback_layers(model)]
            assert ("rows" in found) == used
    assert last_line(model) == "No weight transport remains: no error passes a forward kernel."
    np.testing.assert_array_equal(model(example), before)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(example, example, verbose=0)
        angles = ta.metrics.gradient_angle(model, example, example)
    assert sum("rows" in path for path in angles) == used
    assert all(a["error"] > 0.01 for path, a in angles.items() if path.endswith("rows"))
    ta.strip(model, inplace=True)
    assert type(tokens.rows) is K.ReversibleEmbedding


def test_frozen_converted_unfrozen():
    model = mlp(K.Dense(4, name="b"), K.Dense(2, name="head"))
    for layer in model.layers[:2]:
        layer.trainable = False
    model = ta.convert(model, "fa")
    assert [v.name for v in ta.layers.feedback_layers(model)] == ["b", "head"]
    model.trainable = True
    model.compile("sgd", "mse")
    fit(model)
    assert last_line(model).startswith("No weight transport remains")


@pytest.mark.parametrize("method", ["kp", "pfa"])
def test_what_copies_the_learning_of_a_frozen_kernel_is_named(method):
    model = ta.convert(mlp(K.Dense(4, name="b"), K.Dense(2)), method)
    model.get_layer("b").kernel.trainable = False
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"'[a-z/_0-9]*b' learn .* kernels .* frozen.*drift"):
        fit(model)


def test_a_change_after_the_first_training_is_noticed():
    model = ta.convert(mlp(K.Dense(4, name="b"), K.Dense(2)), "sa")

    def trained(optimizer, message):
        if optimizer is not None:
            model.compile(optimizer, "mse")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit(model)
        assert [message in str(s.message) for s in said] == [True] * bool(message)

    trained(ta.optimizers.split("sgd"), "")
    trained(keras.optimizers.SGD(0.05, momentum=0.9), "split")
    trained(keras.optimizers.SGD(0.05, momentum=0.8), "split")
    model.get_layer("b").trainable = False
    trained(ta.optimizers.split("sgd"), "are frozen")
    trained(None, "")


def test_a_frozen_layer_cannot_align():
    model = mlp(K.Dense(4, name="b"), K.Dense(2, name="head"))
    model.get_layer("b").trainable = False
    with pytest.warns(UserWarning, match=r"'.*/?b' learn by alignment.*frozen"):
        model = ta.convert(model, "sa")
    model.get_layer("head").trainable = False  # after the conversion
    model.compile(ta.optimizers.split("sgd"), "mse")
    with pytest.warns(UserWarning, match=r"'[a-z/_0-9]*head' learn by alignment"):
        fit(model)
    other = mlp(K.Dense(4), K.Dense(2))
    other.layers[1].trainable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ta.convert(other, "kp")


def test_a_stock_layer_put_in_later_is_found_when_training_begins():
    class Growing(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [K.Dense(4, name="a"), K.Dense(4, name="b")]
            self.built = True

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    model = Growing()
    model(np.ones((1, 4)))
    ta.convert(model, "fa", inplace=True)
    model._tracker.unlock()
    model.parts.append(K.Dense(2, name="late"))
    model(np.ones((1, 4)))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="weight transport has come into it.*'late'"):
        model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("eager", [False, True])
def test_lost_backward_passes_are_named(eager):
    class Lossy(keras.Model):
        def __init__(self):
            super().__init__()
            self.below, self.stopped = K.Dense(4, name="below"), K.Dense(4, name="stopped")
            self.unused, self.top = K.Dense(4, name="unused"), K.Dense(2, name="top")
            self.every = False

        def call(self, x):
            h = self.below(x)
            if self.every:
                self.unused(h)
            return self.top(h + tf.stop_gradient(self.stopped(h)))

        def build(self, shape):
            for layer in (self.below, self.stopped, self.unused, self.top):
                layer.build((None, 4))

    model = Lossy()
    model(np.ones((1, 4)))
    ta.convert(model, "fa", inplace=True)
    model.compile("sgd", "mse", run_eagerly=eager)
    x, y = np.ones((8, 4)), np.ones((8, 2))
    with pytest.warns(UserWarning, match="does not use the feedback") as caught:
        model.fit(x, y, verbose=0)
    [text] = [str(w.message) for w in caught if "does not use the feedback" in str(w.message)]
    assert "stopped' (no error came back to it)" in text
    assert "unused' (it was not called)" in text
    assert "below'" not in text and "top'" not in text


def test_an_alignment_rule_that_is_not_run_is_named():
    class Forgetful(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = K.Dense(4, name="a"), K.Dense(2, name="b")

        def call(self, x):
            return self.b(self.a(x))

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = keras.losses.MeanSquaredError()(y, self(x, training=True))
            forward = [v for v in self.trainable_variables if "feedback" not in v.path]
            for gradient, weight in zip(tape.gradient(loss, forward), forward, strict=True):
                weight.assign_sub(0.1 * gradient)  # `self.losses` is forgotten
            return {"loss": loss}

    model = Forgetful()
    model(np.ones((1, 4)))
    ta.convert(model, "sa", inplace=True)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="its alignment rule was not run, B stands still"):
        model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)


def transferred(base, head, how):
    """A new model around a converted one, or around layers of it."""
    if how == "layers":  # the converted model itself is gone
        model = keras.Model(base.inputs, head(base.layers[-1].output))
    else:
        x = keras.Input((4,))
        model = keras.Model(x, head(base(x)), name="root")
    model.compile("sgd", "mse")
    return model


def own_step(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(np.ones((2, 4)), training=True))
    tape.gradient(loss, model.trainable_weights)


@pytest.mark.parametrize("how", ["functional", "layers", "own loop", "eager"])
@pytest.mark.parametrize("trained", [False, True])
def test_a_new_model_around_a_converted_one_is_checked_when_it_is_trained(how, trained):
    base = ta.convert(mlp(K.Dense(4, name="b")), "fa")
    if trained:
        base.compile("sgd", "mse")
        fit(base)
    model = transferred(base, K.Dense(3, name="head"), how)
    model.run_eagerly = how == "eager"
    del base
    assert "'head' (excluded, or never converted)" in last_line(model)
    with pytest.warns(UserWarning, match=r"was not converted itself.*of 'head' .excluded, or"):
        (own_step if how == "own loop" else fit)(model)
    with warnings.catch_warnings():  # once
        warnings.simplefilter("error")
        fit(model)
        model = ta.convert(model, "fa")
        model.compile("sgd", "mse")
        fit(model)
    assert last_line(model).startswith("No weight transport remains")


def test_an_optimizer_of_a_new_model_is_checked_too():
    base = ta.convert(mlp(K.Dense(4, name="b")), "sa")
    base.layers[1].trainable = False
    x = keras.Input((4,))
    model = keras.Model(x, ta.layers.Dense(3, feedback="sa", name="head")(base(x)))
    model.compile("adam", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model)
    for text in ("their layers are frozen", "under an optimizer with momentum"):
        assert any(text in str(w.message) for w in caught)


def test_it_is_silent_where_all_is_well():
    model = ta.convert(mlp(K.Dense(4), K.Dropout(0.1), K.Dense(2)), "sa")
    model.compile(ta.optimizers.split("sgd"), "mse", steps_per_execution=2, jit_compile=True)
    fit(model, batch_size=2, validation_split=0.5)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = ta.convert(mlp(K.Dense(4), K.Dense(2)), "kp")
        model.compile("sgd", "mse")
    fit(model)
    assert "train_step" in vars(model)
    ta.strip(model, inplace=True)
    assert "train_step" not in vars(model)

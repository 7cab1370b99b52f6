"""Feedback in models of any kind: in place and as a copy, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import set_feedback_to_forward
from stock_models import (
    Block,
    Named,
    Narrow,
    Subclassed,
    data,
    example,
    gradients,
    residual,
    same,
    sequential,
    subclassed,
)

import tf_alignment as ta
from tf_alignment.conversion import registry

K = keras.layers


def wrapped():
    x = inputs = keras.Input((4, 6))
    x = K.Conv1D(6, 3, padding="same")(x)
    x = K.TimeDistributed(K.Dense(6))(x)
    x = K.SpectralNormalization(K.Dense(6))(x)
    x = K.Bidirectional(K.LSTM(3, return_sequences=True))(x)
    x = K.MultiHeadAttention(2, 3)(x, x)
    x = Narrow()(x)
    x = K.SeparableConv1D(5, 2)(x)
    inner = [keras.Input((3, 5)), K.Flatten(), K.Dense(4), K.Dense(4)]
    return keras.Model(inputs, K.Dense(3)(keras.Sequential(inner)(x)))


class Own(keras.Model):
    """Functional, with a step of its own."""

    def train_step(self, data):
        self.seen = True
        return super().train_step(data)


def functional_subclass():
    x = keras.Input((6,))
    return Own(x, K.Dense(3)(Block()(K.Dense(6)(x))))


MODELS = {
    "subclassed": (subclassed, 5),
    "wrapped": (wrapped, None),
    "functional_subclass": (functional_subclass, 3),
    "residual": (residual, 5),
    "sequential": (sequential, 2),
}
STOCK_STAYS = pytest.mark.filterwarnings("ignore:The error still passes the forward weights")


def plain(layer):
    return not type(layer).__module__.startswith("tf_alignment")


def close(a, b):
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", MODELS)
@STOCK_STAYS
def test_whole_and_back(name, inplace):
    make, count = MODELS[name]
    model = make()
    x, _ = data(name, 3)
    before, gradient = model(x), gradients(model, x, training=False)
    weights = model.get_weights()
    converted = ta.convert(model, "fa", inplace=inplace)
    assert (converted is model) == inplace and type(converted) is type(model)
    same(converted(x), before)
    found = ta.layers.feedback_layers(converted)
    assert count is None or len(found) == count
    for layer in found:
        if isinstance(layer, ta.layers.FeedbackLayer):
            set_feedback_to_forward(layer)
    close(gradients(converted, x, training=False), gradient)
    stock = ta.strip(converted, inplace=inplace)
    assert type(stock) is type(model) and (stock is converted) == inplace
    assert all(plain(layer) for layer in stock._flatten_layers())
    same(stock.get_weights(), weights)
    same(stock(x), before)
    close(gradients(stock, x, training=False), gradient)
    if not inplace:  # the original was left alone
        assert all(plain(layer) for layer in model._flatten_layers())
        assert {id(w) for w in model.weights}.isdisjoint({id(w) for w in stock.weights})


@pytest.mark.parametrize("method", ["backprop", "brsf", "kp", "sa"])
@pytest.mark.parametrize("inplace", [True, False])
def test_every_kind_of_method_trains_in_a_subclassed_model(method, inplace):
    keras.utils.set_random_seed(0)
    model = ta.convert(subclassed(), method, inplace=inplace)
    x, y = data("subclassed", 32)
    model.compile(
        ta.optimizers.split(keras.optimizers.SGD(0.05)),
        keras.losses.SparseCategoricalCrossentropy(True),
        run_eagerly=not inplace,
    )
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and model.steps > 0
    same(model.double(x), 2 * model(x))
    ta.strip(model, inplace=True)
    assert all(plain(layer) for layer in model._flatten_layers())
    assert not any("feedback" in w.path for w in model.weights)
    assert model.fit(x, y, verbose=0).history["loss"][0] < losses[0]


def test_a_compiled_model_goes_on_with_feedback_and_its_momentum():
    def trained(method, inplace):
        keras.utils.set_random_seed(0)
        model = subclassed()
        # eager: the next test is on graphs
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse", run_eagerly=True)
        x, y = data("subclassed", 16)
        y = np.eye(3, dtype="float32")[y]
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
        if method is not None:
            model = ta.convert(model, method, inplace=inplace)
        for layer in ta.layers.feedback_layers(model):
            if method == "fa":
                set_feedback_to_forward(layer)
        model.fit(x, y, epochs=1, verbose=0, shuffle=False)
        return model

    stock = trained(None, True)
    for inplace in (True, False):
        followed = trained("kp", inplace)  # has more weights to train: another optimizer
        assert int(followed.optimizer.iterations) == int(stock.optimizer.iterations)
        assert len(followed.optimizer.variables) > len(stock.optimizer.variables)
        # with B = W a step of feedback alignment is one of backprop; the momentum is that of before
        fixed = trained("fa", inplace)
        close(fixed.trainable_weights, stock.trainable_weights)
        followed = ta.strip(followed, inplace=True)
        assert len(followed.optimizer.variables) == len(stock.optimizer.variables)


def test_the_step_that_was_compiled_is_compiled_again():
    model = subclassed()
    x, y = data("subclassed", 16)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    model.fit(x, y, verbose=0)
    ta.convert(model, "fa", inplace=True)
    for layer in ta.layers.feedback_layers(model):  # no error comes back
        weight = layer.feedback_weights["feedback_kernel"]
        weight.assign(tf.zeros_like(weight))
    bottom = model.blocks[0].parts["inner"][0].kernel
    before, top = bottom.numpy(), model.head.kernel.numpy()
    model.fit(x, y, verbose=0)
    same(bottom, before)
    assert np.abs(model.head.kernel.numpy() - top).max() > 0


@pytest.mark.parametrize("inplace", [True, False])
def test_inner_layers_are_chosen_by_path(inplace):
    def chosen(**arguments):
        model = ta.convert(subclassed(), "fa", inplace=inplace, **arguments)
        return {row.path for row in ta.summary(model, None) if row.method == "fa"}

    assert chosen(include="block_0/up") == {"block_0/up"}
    assert chosen(include="block_1") == {"block_1/up", "block_1/down"}
    assert chosen(include="up") == {"block_0/up", "block_1/up"}
    assert chosen(exclude=["block_.*/up", "head"]) == {"block_0/down", "block_1/down"}
    assert chosen(include=lambda layer: isinstance(layer, Narrow)) == {
        "block_0/down",
        "block_1/down",
    }
    with pytest.raises(ValueError, match=r"block_0/up.*Received: 'block_2'"):
        chosen(include="block_2")


def test_a_refused_method_leaves_the_model_as_it_was():
    class Refused(ta.feedback.FeedbackAlignment):
        def build(self, setup):
            if setup.kernel.shape[-1] == 3:  # the head, after four others
                raise RuntimeError("no")
            super().build(setup)

    model = subclassed()
    weights = [w.path for w in model.weights]
    with pytest.raises(RuntimeError, match="no"):
        ta.convert(model, Refused(), inplace=True)
    assert all(plain(layer) for layer in model._flatten_layers())
    assert [w.path for w in model.weights] == weights


def test_a_class_of_ones_own_stays_itself():
    model = ta.convert(subclassed(), "sa", inplace=True)
    down, head = model.blocks[0].parts["inner"][1], model.head
    assert isinstance(down, Narrow) and isinstance(down, ta.layers.Dense)
    assert type(down) is type(model.blocks[1].parts["inner"][1])
    assert type(down).__name__ == "Narrow" and "feedback" not in down.get_config()
    assert keras.saving.get_registered_name(type(head)) == "tests_inplace>Named"
    assert keras.saving.get_registered_object("tests_inplace>Named") is Named
    assert down._call_has_training_arg
    ta.strip(model, inplace=True)
    assert type(down) is Narrow and type(head) is Named


def test_quantization_is_refused_in_place_and_allowed_after_strip():
    model = ta.convert(keras.Sequential([keras.Input((4,)), K.Dense(4), K.Dense(4)]), "fa")
    layer = model.layers[1]
    with pytest.raises(ValueError, match="cannot be quantized with a feedback method"):
        layer.quantize("int8")
    ta.strip(model, inplace=True)
    layer.quantize("int8")
    assert layer.quantization_mode == "int8"


def test_a_subclass_with_a_call_of_its_own_is_named():
    class Scaled(K.Dense):
        def call(self, x):
            return 2 * keras.ops.matmul(x, self.kernel)

    model = keras.Sequential([keras.Input((4,)), K.Dense(4), Scaled(4, name="scaled"), K.Dense(3)])
    with pytest.warns(UserWarning, match="'scaled' .its class overrides `call`; holds 'kernel'"):
        ta.convert(model, "fa", inplace=True)
    assert registry.overridden(Scaled) == ["call"]


def test_what_cannot_be_copied_is_converted_in_place():
    class Odd(keras.Model):
        def __init__(self, part):
            super().__init__()
            self.part = part
            self.top = K.Dense(2)

        def call(self, x):
            return self.top(self.part(x))

    model = Odd(K.Dense(4))
    model(np.ones((1, 3)))
    with pytest.raises(
        ValueError, match=r"cannot be copied.*inplace=True.*Received: inplace=False"
    ):
        ta.convert(model, "fa")
    assert len(ta.layers.feedback_layers(ta.convert(model, "fa", inplace=True))) == 2


def test_layers_that_are_not_exchanged_keep_what_they_learned(tmp_path):
    numbers, words = keras.Input((1,), name="n"), keras.Input((1,), dtype="string", name="w")
    bins = K.Discretization(num_bins=4)
    bins.adapt(np.arange(100.0))
    vocabulary = K.TextVectorization(output_sequence_length=3)
    vocabulary.adapt(np.array(["a b c", "b c d"]))
    a = K.Embedding(6, 4)(K.Flatten()(bins(numbers)))
    b = K.Embedding(8, 4)(vocabulary(words))
    x = K.Dense(5, "relu")(K.Flatten()(K.Concatenate(axis=1)([a, b])))
    model = keras.Model([numbers, words], K.Dense(2)(x))
    inputs = [tf.constant([[3.0], [80.0]]), tf.constant([["a c"], ["d x"]])]
    for inplace in (False, True):
        converted = ta.convert(model, "fa", inplace=inplace)
        same(converted(inputs), model(inputs))
        assert len(ta.layers.feedback_layers(converted)) == 2


def test_sparse_and_optional_inputs_stay():
    x = keras.Input((5,), sparse=True, name="s")
    y = keras.Input((5,), optional=True, name="o")

    class Either(K.Layer):
        def call(self, x, y=None):
            x = tf.sparse.to_dense(x) if isinstance(x, tf.SparseTensor) else x
            return x if y is None else x + y

        def compute_output_spec(self, x, y=None):
            return keras.KerasTensor(x.shape)

    h = K.Dense(4)(Either()(x, y))
    model = ta.convert(keras.Model([x, y], K.Dense(2)(h)), "fa")
    assert model.inputs[0].sparse
    sparse = tf.sparse.from_dense(np.eye(5, dtype="float32"))
    assert model([sparse, None]).shape == (5, 2)


def test_a_layer_in_two_models_is_converted_in_both():
    shared = keras.Sequential([keras.Input((4,)), K.Dense(4), K.Dense(4)], name="shared")
    x = keras.Input((4,))
    model = keras.Model(x, K.Dense(2)(shared(x)))
    ta.convert(model, "fa", inplace=True)
    assert len(ta.layers.feedback_layers(shared)) == 1  # its first layer has nothing below it
    ta.strip(shared, inplace=True)
    assert len(ta.layers.feedback_layers(model)) == 1


def test_models_of_ones_own_layers_of_this_library():
    class ByHand(Subclassed):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = ta.layers.Dense(3, feedback="sa")

        def build(self, shape):
            for part in (*self.blocks, self.head):
                part.build(shape)

    model = ByHand()
    x, y = data("subclassed")
    before = model(x)
    ta.convert(model, "kp", inplace=True)
    assert {v.feedback.id for v in ta.layers.feedback_layers(model)} == {"kp"}
    ta.strip(model, inplace=True)
    assert all(plain(layer) for layer in model._flatten_layers())
    same(model(x), before)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    model.fit(x, y, verbose=0)


def test_a_class_derived_from_one_of_ours_has_no_stock_class():
    class Mine(ta.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((4,)), K.Dense(3), Mine(3, feedback="fa", name="mine")])
    for run in (lambda: ta.strip(model), lambda: ta.convert(model, "kp", inplace=True)):
        with pytest.raises(ValueError, match=r"derived from one of this library.*'mine'"):
            run()


def test_weights_made_under_a_strategy_get_feedback_under_it():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = subclassed()
    ta.convert(model, "sa", inplace=True)
    for layer in ta.layers.feedback_layers(model):
        [weight] = layer.feedback_weights.values()
        assert weight.value.distribute_strategy is strategy


def test_nested_models_with_a_call_of_their_own_stay_what_they_are():
    @keras.saving.register_keras_serializable(package="tests_inplace")
    class Twice(keras.Sequential):
        def call(self, x, training=None, mask=None):
            return super().call(super().call(x))

    inner = Twice([keras.Input((4,)), K.Dense(4), K.Dense(4)], name="inner")
    x = inputs = keras.Input((4,))
    model = keras.Model(inputs, K.Dense(3)(inner(x)))
    rows = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    converted = ta.convert(model, "fa")
    assert type(converted.get_layer("inner")) is Twice
    same(converted(rows), model(rows))
    assert len(ta.layers.feedback_layers(converted)) == 3


def test_attributes_seeds_and_trainability_come_along():
    model = sequential()
    model.tag = "mine"
    model.get_layer("second").bias.trainable = False
    x = example(model)
    model(x, training=True)
    converted = ta.convert(model, "fa")
    assert converted.tag == "mine"
    assert not converted.get_layer("second").bias.trainable
    assert converted.get_layer("second").kernel.trainable
    same(converted(x, training=True), model(x, training=True))  # the same dropout

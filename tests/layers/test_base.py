"""Every layer against its Keras parent; methods on layers are in feedback/test_methods.py."""

import inspect
import itertools

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tf_alignment as ta
from tf_alignment._support.compat import KERAS
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS
from tf_alignment.testing import gradients

OTHERS = ("FeedbackLayer", "feedback_layers", "BatchNormalization", "TimeDistributed", "RNN")
OWN_CELLS = ("ALIFCell", "LeakyRNNCell")  # Keras has none of the kind
# Keras 3.12 brought it
MISSING = () if hasattr(keras.layers, "ReversibleEmbedding") else ("ReversibleEmbedding",)
KINDS = [kind for kind in ta.layers.__all__ if kind not in (*OTHERS, *OWN_CELLS, *MISSING)]


# Compiling by XLA takes as long as all else: in the other configurations of a kind it is slow.
FIRST = {case.kind: name for name, case in reversed(cases.LAYERS.items())}.values()


def check(name, checks):
    case = cases.LAYERS[name]
    return ta.testing.check_layer(
        case.layer_class, case.parent, case.arguments, case.input_shape, checks=checks
    )


# Convolutions in a loop over time and in groups take long: one of the former stands for the others.
OFTEN = [n for n in cases.LAYERS if n not in ("convlstm2d", "convlstm3d", "conv2d-grouped")]


@pytest.mark.parametrize("name", cases.mostly_slow(cases.LAYERS, *OFTEN))
def test_every_layer_passes_the_checks(name):
    case = cases.LAYERS[name]
    report = check(name, [c for c in ta.testing.LAYER_CHECKS if c != "xla" or name in FIRST])
    if any("does not run here" in check.why for check in report.skipped):
        pytest.skip("Keras itself does not run the layer with this version and processor")
    # whether channels-first convolutions have half-precision kernels depends on the processor
    half = {"mixed_float16", "mixed_bfloat16"}
    plain = name in ("conv1d-first", "conv2d-first")
    may_skip = half if plain or (name.endswith("-first") and KERAS < (3, 15)) else set()
    if case.kind != case.parent.__name__:  # Keras has no layer of this name, and no files
        may_skip = {*may_skip, "weight_files"}
    assert {check.name for check in report.skipped} <= may_skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in cases.LAYERS if name not in FIRST])
def test_every_configuration_of_a_layer_is_compiled_by_xla(name):
    if not check(name, ["xla"]).passed:
        pytest.skip("Keras itself does not run the layer with this version and processor")


@pytest.mark.parametrize(
    "kind",
    [*("MultiHeadAttention", "GroupQueryAttention"), *("SimpleRNNCell", "LSTMCell", "GRUCell")],
)
def test_the_signature_is_the_parents_plus_the_feedback_arguments(kind):
    parent = inspect.signature(getattr(keras.layers, kind)).parameters
    own = inspect.signature(getattr(ta.layers, kind)).parameters
    assert [p for p in own if p not in FEEDBACK_ARGUMENTS] == list(parent)
    assert {n: own[n].default for n in FEEDBACK_ARGUMENTS} == FEEDBACK_ARGUMENTS
    assert all(own[n].default == parent[n].default for n in parent)


spatial = st.sampled_from([1, 2, 3])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    rank=spatial,
    window=st.integers(1, 3),
    strides=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    groups=st.integers(1, 2),
    kind=st.sampled_from(["Conv", "ConvTranspose", "Depthwise", "Separable"]),
    use_bias=st.booleans(),
)
def test_b_equal_to_w_is_backprop_for_any_convolution(
    rank, window, strides, dilation, padding, groups, kind, use_bias
):
    assume(not (strides > 1 and dilation > 1))
    arguments = {"kernel_size": window, "strides": strides, "padding": padding}
    arguments.update(use_bias=use_bias, dilation_rate=dilation)
    if kind == "Conv":
        arguments.update(filters=2 * groups, groups=groups)
        kind = f"Conv{rank}D"
    elif kind == "ConvTranspose":
        # Keras computes no dilated transposed convolution on CPU
        arguments.update(filters=2, dilation_rate=1)
        kind = f"Conv{rank}DTranspose"
    else:
        assume(rank < 3)
        kind = f"{kind}Conv{rank}D"
        if kind.startswith("Separable"):
            arguments.update(filters=3)
    x = np.random.default_rng(0).standard_normal((2, *(6,) * rank, 2 * groups)).astype("float32")
    stock = getattr(keras.layers, kind)(**arguments)
    layer = getattr(ta.layers, kind)(**arguments, feedback="fa")
    stock(x), layer(x)
    for source, target in zip(stock.weights, layer.weights, strict=False):
        target.assign(source)
    cases.set_feedback_to_forward(layer)
    y, grads = gradients(stock, x)
    own_y, own = gradients(layer, x)
    np.testing.assert_array_equal(own_y, y)
    for a, b in zip(own, grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", cases.HAS_KERNEL)
@pytest.mark.parametrize("name", ["einsum-heads", "conv2d-first"])
def test_the_effective_kernel_is_what_carries_the_error(name, method):
    _, layer, x = cases.pair(name, method)
    kernel = layer.effective_feedback_kernel()
    assert kernel.shape == layer.kernel.shape
    c = layer.connections[0]
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        with ta.probe.probe() as seen:
            y = layer(x)
        z = c.map.apply(x, tf.convert_to_tensor(c.kernel))
        loss = tf.reduce_sum(y)
    [dx] = tape.gradient(loss, seen.inputs[c])
    dz = z
    with tf.GradientTape() as tape:
        tape.watch(dz)
        y = layer._activate(layer._bias_adder()(dz))
        loss = tf.reduce_sum(y)
    dz = tape.gradient(loss, dz)
    np.testing.assert_allclose(dx, c.map.transpose(dz, kernel, x), rtol=1e-3, atol=1e-4)


def test_feedback_weights_of_another_method_are_refused(tmp_path):
    def model(method):
        return keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback=method, name="d")])

    model("fa").save_weights(tmp_path / "fa.weights.h5")
    with pytest.raises(ValueError, match="product_fixed"):
        model("pfa").load_weights(tmp_path / "fa.weights.h5")


PRECISION = [  # the rest is in `ta.testing`, which leaves out the numbers of rules that draw
    *itertools.product(["conv2d-strided"], cases.RANDOM, ["mixed_float16"]),
    *itertools.product(["dense"], cases.RANDOM, ["mixed_bfloat16"]),
    *itertools.product(["dense", "separable1d"], ["pfa", "ia"], ["bfloat16", "float64"]),
]


@pytest.mark.parametrize(("name", "method", "policy"), PRECISION)
def test_precision_policies(name, method, policy):
    keras.utils.set_random_seed(5)
    layer = cases.ours(name, method, dtype=policy)
    keras.utils.set_random_seed(5)
    reference = cases.ours(name, method)
    x = cases.inputs(name)
    layer(x), reference(x)
    for a, b in zip(layer.weights, reference.weights, strict=True):
        a.assign(keras.ops.cast(b, a.dtype))
    y, grads = gradients(layer, keras.ops.cast(x, layer.compute_dtype))
    _, expected = gradients(reference, x)
    assert y.dtype.name == layer.compute_dtype
    rough = 0.1 if "float16" in policy else 1e-4
    for grad, want, weight in zip(grads[1:], expected[1:], layer.trainable_weights, strict=True):
        assert grad.dtype.name == weight.dtype
        grad, want = np.asarray(tf.cast(grad, tf.float32)), np.asarray(want)
        assert np.linalg.norm(grad - want) <= rough * (1e-2 + np.linalg.norm(want))


@pytest.mark.parametrize("method", ["fa", "brsf", "kp", "wm", "pfa"])
def test_attention_projections_carry_the_method(method, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype("float32")
    query, value = keras.Input((3, 8)), keras.Input((3, 8))
    stock = keras.layers.MultiHeadAttention(2, 4, **cases.GATE)
    layer = ta.layers.MultiHeadAttention(2, 4, **cases.GATE, feedback=method)
    stock_model = keras.Model([query, value], stock(query, value))
    model = keras.Model([query, value], layer(query, value))
    ta.conversion.graph.copy_weights(stock, layer)
    np.testing.assert_array_equal(model([x, x]), stock_model([x, x]))
    names = [projection.name for projection in layer.projections]
    assert names == [
        "query",
        "key",
        *(["gate"] if cases.GATED else []),
        "value",
        "attention_output",
    ]
    assert all(p.feedback == layer.feedback for p in layer.projections)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model([x, x], training=True) ** 2) + sum(model.losses or [0.0])
    assert all(g is not None for g in tape.gradient(loss, model.trainable_weights))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    clone = keras.models.clone_model(model)
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
    with pytest.raises(ValueError, match="projections"):
        layer.effective_feedback_kernel()


def test_attention_without_feedback_is_stock():
    x = np.ones((2, 3, 8), "float32")
    keras.utils.set_random_seed(3)
    y = keras.layers.MultiHeadAttention(2, 4)(x, x)
    keras.utils.set_random_seed(3)
    layer = ta.layers.MultiHeadAttention(2, 4)
    np.testing.assert_array_equal(layer(x, x), y)
    assert layer.projections == () and layer.feedback_weights == {}


@pytest.mark.parametrize("initializer", ["glorot_uniform", "shared instance", None])
def test_feedback_weights_start_at_the_scale_of_the_forward_weights(initializer):
    for name in cases.SINGLE:
        extra = {"feedback_initializer": initializer}
        if initializer == "shared instance":
            extra["feedback_initializer"] = keras.initializers.HeNormal(seed=1)
            depthwise = cases.LAYERS[name].kind.startswith("Depthwise")
            kernel = "depthwise_initializer" if depthwise else "kernel_initializer"
            extra[kernel] = extra["feedback_initializer"]
        layer = cases.ours(name, "fa", **extra)
        layer.build(cases.LAYERS[name].input_shape)
        w, b = layer.kernel.numpy(), layer.feedback_weights["feedback_kernel"].numpy()
        assert abs(np.corrcoef(w.ravel(), b.ravel())[0, 1]) < 0.6, name
        assert 0.5 < b.std() / w.std() < 2.0, name


def test_a_seed_reproduces_feedback_weights_and_leaves_forward_weights_alone():
    def build(cls, **extra):
        keras.utils.set_random_seed(11)
        model = keras.Sequential([keras.Input((4,)), cls(5, **extra), cls(5, **extra)])
        return model.layers

    stock, own, again = (
        build(keras.layers.Dense),
        build(ta.layers.Dense, feedback="fa"),
        build(ta.layers.Dense, feedback="fa"),
    )
    for a, b, c in zip(stock, own, again, strict=True):
        np.testing.assert_array_equal(a.kernel, b.kernel)
        b, c = b.feedback_weights["feedback_kernel"], c.feedback_weights["feedback_kernel"]
        np.testing.assert_array_equal(b, c)


def test_feedback_weights_follow_trainable():
    layer = ta.layers.Dense(3, feedback="sa")
    layer.build((None, 4))
    assert len(layer.trainable_weights) == 3
    layer.trainable = False
    assert layer.trainable_weights == []
    frozen = ta.layers.Dense(3, feedback="sa", trainable=False)
    frozen.build((None, 4))
    assert frozen.trainable_weights == []


@pytest.mark.parametrize(
    ("feedback", "error", "match"),
    [
        ("dfa", ValueError, r"ta?.*convert\(model, 'dfa'\)"),
        ("nonsense", ValueError, "must be one of.*Received: feedback='nonsense'"),
        (3, TypeError, "Received: feedback=3"),
        (object(), TypeError, "Received: feedback="),
    ],
)
def test_wrong_methods_are_refused_at_construction(feedback, error, match):
    arguments = {"Dense": (3,), "EinsumDense": ("ab,bc->ac", 3), "MultiHeadAttention": (2, 4)}
    arguments |= {"GroupQueryAttention": (4, 2, 2), "ReversibleEmbedding": (4, 3)}
    for kind in KINDS:
        one = kind.startswith(("Depthwise", "Simple", "LSTM", "GRU"))
        positional = arguments.get(kind, (3,) if one else (3, 3))
        with pytest.raises(error, match=match):
            getattr(ta.layers, kind)(*positional, feedback=feedback)


def test_what_would_bypass_the_method_is_refused():
    with pytest.raises(ValueError, match="quantized dtype policy"):
        ta.layers.Dense(3, feedback="fa", dtype="int8_from_float32")
    with pytest.raises(ValueError, match="LoRA"):
        ta.layers.Dense(3, feedback="fa", lora_rank=2)
    layer = ta.layers.Dense(3, feedback="fa")
    layer.build((None, 4))
    with pytest.raises(ValueError, match="strip"):
        layer.quantize("int8")
    with pytest.raises(ValueError, match="LoRA"):
        layer.enable_lora(2)


@pytest.mark.parametrize("kind", ["Dense", "EinsumDense", "ReversibleEmbedding"])
def test_without_a_method_a_layer_is_quantized_as_keras_own(kind):
    if kind in MISSING:
        pytest.skip(f"Keras {keras.__version__} has no {kind}")
    arguments = {"Dense": (3,), "EinsumDense": ("ab,bc->ac", 3), "ReversibleEmbedding": (5, 3)}
    x = np.array([[1, 2, 3, 4]])
    stock, layer = (getattr(of, kind)(*arguments[kind]) for of in (keras.layers, ta.layers))
    for one in (stock, layer):
        one.build((None, 4))
        one.set_weights([np.linspace(-1, 1, w.numpy().size).reshape(w.shape) for w in one.weights])
        one.quantize("int8")
    np.testing.assert_array_equal(layer(x), stock(x))


def test_effective_kernel_errors_say_why():
    layer = ta.layers.Dense(3, feedback="brsf")
    with pytest.raises(ValueError, match="built layer"):
        layer.effective_feedback_kernel()
    layer.build((None, 4))
    with pytest.raises(ValueError, match="redrawn at every step"):
        layer.effective_feedback_kernel()
    separable = ta.layers.SeparableConv1D(3, 2, feedback="fa")
    separable.build((None, 5, 4))
    assert sorted(separable.effective_feedback_kernel()) == ["depthwise", "pointwise"]


@pytest.mark.parametrize(("method", "same"), [("kp", True), ("pfa", True), ("sa", False)])
def test_weights_that_ride_on_the_error_share_the_kernels_decay(method, same):
    layer = ta.layers.Dense(
        3,
        feedback=method,
        kernel_regularizer=keras.regularizers.L2(0.1),
        kernel_constraint=keras.constraints.NonNeg(),
    )
    layer.build((None, 4))
    [learning] = [w for w in layer.feedback_weights.values() if w.trainable]
    assert (getattr(learning.regularizer, "regularizer", None) is layer.kernel_regularizer) == same
    assert (learning.constraint is layer.kernel.constraint) == same
    own = ta.layers.Dense(3, feedback=method, feedback_regularizer="l1", kernel_regularizer="l2")
    own.build((None, 4))
    [learning] = [w for w in own.feedback_weights.values() if w.trainable]
    assert isinstance(learning.regularizer.regularizer, keras.regularizers.L1)


@pytest.mark.parametrize("method", ["kp", "pfa", "sa"])
def test_losses_of_methods_are_comparable_under_a_regularizer(method):
    x = np.ones((2, 4), "float32")
    stock, layer = (
        cls(3, kernel_regularizer="l2", kernel_initializer="ones", **extra)
        for cls, extra in ((keras.layers.Dense, {}), (ta.layers.Dense, {"feedback": method}))
    )
    stock(x)
    with tf.GradientTape() as tape:
        layer(x)
        loss = sum(layer.losses)
    assert float(loss) == pytest.approx(float(sum(stock.losses)))
    [learning] = [w for w in layer.feedback_weights.values() if w.trainable]
    gradient = tape.gradient(loss, learning.value)
    if method != "sa":  # decay that the method is about
        np.testing.assert_allclose(gradient, 2 * 0.01 * learning.numpy(), rtol=1e-5)


def test_shared_layers_and_higher_ranks():
    layer = ta.layers.Dense(4, feedback="sa")
    x = keras.Input((4,))
    model = keras.Model(x, layer(layer(x)))
    data = np.ones((2, 4), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(data)) + sum(model.losses)
    grads = tape.gradient(loss, model.trainable_weights)
    assert all(g is not None for g in grads)
    [zero] = model.losses  # a shared layer aligns at its first call
    assert float(zero) == 0.0


def test_all_combinations_of_kinds_are_in_the_table():
    covered = {case.kind for case in cases.LAYERS.values()}
    # the reverse product is a call with an argument of its own: layers/test_embedding.py
    others = {"MultiHeadAttention", "GroupQueryAttention", "ReversibleEmbedding"}
    assert (covered | others) - {*MISSING} == {kind for kind in KINDS if not kind.endswith("Cell")}


@pytest.mark.parametrize("same", ["seed", "instance"])
def test_equal_seeds_never_make_feedback_equal(same):
    def layer():
        kernel = keras.initializers.GlorotUniform(seed=1)
        feedback = kernel if same == "instance" else keras.initializers.GlorotUniform(seed=1)
        return ta.layers.Dense(
            5, feedback="fa", kernel_initializer=kernel, feedback_initializer=feedback
        )

    first = layer()
    again = ta.layers.Dense.from_config(first.get_config())
    for built in (first, again):
        built.build((None, 5))
        b = built.feedback_weights["feedback_kernel"]
        assert not np.allclose(b, built.kernel)
    np.testing.assert_array_equal(b, first.feedback_weights["feedback_kernel"])  # reproducible


def numbers(shape, dtype=None):
    """An initializer without a seed to change."""
    return tf.constant(np.random.default_rng(1).standard_normal(shape), dtype)


def flips(shape, dtype=None):
    """Another, which happens to draw the same twice, but not again."""
    flips.calls = getattr(flips, "calls", 0) + 1
    return tf.constant([[1.0, -1.0]] if flips.calls < 3 else [[1.0, 1.0]], dtype)


@pytest.mark.parametrize("method", ["fa", "kp", "sa", "frsf"])
@pytest.mark.parametrize("same", [numbers, keras.initializers.Identity()], ids=["f", "identity"])
def test_a_feedback_kernel_that_copies_the_kernel_is_refused(method, same):
    layer = ta.layers.Dense(4, feedback=method, kernel_initializer=same, feedback_initializer=same)
    with pytest.raises(ValueError, match=r"`feedback_initializer` must draw other numbers .* feed"):
        layer.build((None, 4))


def test_feedback_initializers_that_may_equal_the_kernels():
    zeros, ones = keras.initializers.Zeros(), keras.initializers.Ones()
    for units, method, kernel, feedback in (
        (4, "fa", zeros, zeros),  # nothing is copied from constants
        (4, "sa", ones, ones),
        (1, "fa", numbers, numbers),
        (4, "fa", numbers, None),
        (4, "brsf", numbers, numbers),  # tells only the scale
        (2, "fa", flips, flips),
    ):
        inputs = 1 if units < 4 else 4
        layer = ta.layers.Dense(
            units, feedback=method, kernel_initializer=kernel, feedback_initializer=feedback
        )
        layer.build((None, inputs))
    assert flips.calls == 3


@pytest.mark.parametrize("method", ["pfa", "aa", "fa"])
def test_integer_inputs_work_as_in_keras(method):
    layer = ta.layers.Dense(3, feedback=method)
    x = np.arange(8).reshape(2, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x)) + sum(layer.losses or [0.0])
    assert all(g is not None for g in tape.gradient(loss, layer.trainable_weights))


@pytest.mark.parametrize("method", ["aa", "wm", "ia"])
def test_half_precision_keeps_small_and_large_sums(method):
    x = np.random.default_rng(0).standard_normal((32, 32, 32, 16)).astype("float32")
    rule = ta.feedback.get(method)
    plain = rule.get_config() | {"noise": None, "normalize": rule.on_activity}
    grads = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(2)
        rule = type(ta.feedback.get(method)).from_config(plain)
        layer = ta.layers.Conv2D(8, 3, feedback=rule, dtype=policy)
        layer(x)
        with tf.GradientTape() as tape:
            layer(x)
            loss = sum(layer.losses)
        grads.append(tape.gradient(loss, layer.feedback_weights["feedback_kernel"]).numpy())
    assert np.linalg.norm(grads[1] - grads[0]) < 0.02 * np.linalg.norm(grads[0])


def test_feature_normalisation_survives_half_precision():
    rule = ta.feedback.WeightMirror(noise=None, feature_normalize=True)
    layer = ta.layers.Conv2D(4, 3, feedback=rule, dtype="mixed_float16")
    x = 10 * np.random.default_rng(0).standard_normal((2, 40, 40, 16)).astype("float32")
    layer(x)
    with tf.GradientTape() as tape:
        layer(x)
        loss = sum(layer.losses)
    assert np.all(np.isfinite(tape.gradient(loss, layer.feedback_weights["feedback_kernel"])))


@pytest.mark.parametrize("method", [None, "fa", "kp", "sa"])
@pytest.mark.parametrize("kind", ["Dense", "Conv2D"])
def test_rematerialisation(kind, method):
    arguments = {"units": 3} if kind == "Dense" else {"filters": 3, "kernel_size": 2}
    x = np.random.default_rng(0).standard_normal((4, 5, 5, 2)).astype("float32")

    def weights(remat):
        keras.utils.set_random_seed(1)
        with keras.RematScope(mode="full" if remat else None):
            layer = getattr(ta.layers, kind)(**arguments, feedback=method)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer, keras.layers.Flatten()])
        model.compile("sgd", "mse")
        model.fit(x, np.ones((4, *model.output_shape[1:])), verbose=0)
        return model.get_weights()

    if method == "sa":
        with pytest.warns(UserWarning, match="not rematerialised"):
            found = weights(True)
    else:
        found = weights(True)
    for a, b in zip(found, weights(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("feedback_initializer", 5), ("feedback_regularizer", 5), ("feedback_constraint", "q")],
)
def test_wrong_feedback_arguments_name_themselves(argument, value):
    for make in (
        lambda **k: ta.layers.Dense(3, **k),
        lambda **k: ta.layers.MultiHeadAttention(2, 3, **k),
    ):
        with pytest.raises(ValueError, match=f"`{argument}`.*Received: {argument}={value!r}"):
            make(**{argument: value})


@pytest.mark.parametrize("method", ["fa", "kp", "sa", "pfa"])
def test_sparse_inputs_are_what_they_stand_for(method):
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((4, 6)).astype("float32") * (rng.random((4, 6)) < 0.4)
    sparse = tf.sparse.from_dense(dense)
    stock, layer = keras.layers.Dense(3, "tanh"), ta.layers.Dense(3, "tanh", feedback=method)
    np.testing.assert_allclose(layer(sparse), layer(dense), atol=1e-6)
    stock(sparse), stock.set_weights([v.numpy() for v in (layer.kernel, layer.bias)])
    np.testing.assert_allclose(layer(sparse), stock(sparse), atol=1e-6)

    def gradients(x):
        with tf.GradientTape() as tape:
            watched = x.values if isinstance(x, tf.SparseTensor) else tf.constant(x)
            tape.watch(watched)
            x = x.with_values(watched) if isinstance(x, tf.SparseTensor) else watched
            loss = tf.reduce_sum(layer(x, training=True) ** 2) + sum(layer.losses)
        return tape.gradient(loss, [*layer.trainable_variables, watched])

    *found, of_values = gradients(sparse)
    *want, error = gradients(dense)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(of_values, tf.gather_nd(error, sparse.indices), atol=1e-5)

    inputs = keras.Input((6,), sparse=True)
    model = keras.Model(inputs, ta.layers.Dense(3, feedback=method)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(sparse, np.ones((4, 3))))


@pytest.mark.parametrize("dtype", ["float64", "float16", "float32"])
@pytest.mark.parametrize("rank", [1, 2])
def test_separable_convolutions_with_channels_first_run_in_every_precision(rank, dtype):
    if dtype != "float32" and tf.__version__.startswith("2.19."):
        pytest.skip("TensorFlow 2.19 has depthwise convolutions for channels last alone")
    kind = f"SeparableConv{rank}D"
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal((2, 3) + (6,) * rank), dtype)
    first, last = (
        getattr(ta.layers, kind)(4, 3, data_format=f, dtype=dtype, feedback="sa", padding="same")
        for f in ("channels_first", "channels_last")
    )
    move = [0, *range(2, rank + 2), 1]

    def gradients(layer, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y**2) + tf.cast(sum(layer.losses), y.dtype)
        return y, tape.gradient(loss, [x, *layer.trainable_variables])

    first(x), last(tf.transpose(x, move))
    last.set_weights(first.get_weights())
    y, (dx, *dw) = gradients(first, x)
    z, (dx_last, *dw_last) = gradients(last, tf.transpose(x, move))
    tolerance = 2e-2 if dtype == "float16" else 1e-4
    pairs = [(tf.transpose(y, move), z), (tf.transpose(dx, move), dx_last)]
    for a, b in (*pairs, *zip(dw, dw_last, strict=True)):
        np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, float(np.abs(b).max())))


def test_a_layer_can_be_compiled_by_itself():
    layer = ta.layers.Dense(3, feedback="fa")
    assert tf.function(layer)(tf.ones((2, 4))).shape == (2, 3)

"""Layers of any configuration, against stock Keras layers that have the feedback kernel as theirs.

The error that a layer sends down is what backpropagation sends through a stock layer whose kernel
is B: no formula of ours is needed to say so.
"""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from processor import channels_first_runs

import tf_alignment as ta
from tf_alignment.feedback.alignment import BUILT_IN

# Without shrinking: an example costs too much to be tried again hundreds of times.
FEW = settings(
    max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)
MANY = settings(FEW, max_examples=30)
METHODS = ("fa", "kp", "usf", "frsf", "sa", "pfa", "pfa_o")
ACTIVATIONS = {"linear": lambda z: z, "tanh": tf.tanh, "softplus": tf.math.softplus}
# Of entries, whose size is about 1: half precision rounds products in an order of its own.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9, "mixed_bfloat16": 0.1}
KINDS = [
    kind for kind in ta.layers.__all__ if "Dense" in kind or ("Conv" in kind and "LSTM" not in kind)
]
# On a CPU in float32, where oneDNN is; elsewhere a draw of them would skip the whole test.
CHANNELS_FIRST = ("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D")
EINSUMS = {
    "ab,bc->ac": ((2, 3), 4, "c"),
    "abc,cd->abd": ((2, 3, 4), (None, 2), "d"),
    "abc,cde->abde": ((2, 3, 4), (None, 2, 3), "de"),
    "abcd,cde->abe": ((2, 3, 2, 3), (None, 4), "e"),
    "...x,xy->...y": ((3, 2, 4), 3, "y"),
    "agc,gcd->agd": ((2, 3, 4), (3, 2), "gd"),
}


@st.composite
def configurations(draw, kind, groups=1):
    """Arguments of a layer, with at most so many groups, and the shape of its input."""
    bias, batch = draw(st.booleans()), draw(st.integers(1, 3))
    if kind == "EinsumDense":
        equation = draw(st.sampled_from(sorted(EINSUMS)))
        (_, *sizes), output, axes = EINSUMS[equation]
        arguments = {"equation": equation, "output_shape": output}
        return arguments | {"bias_axes": axes if bias else None}, (batch, *sizes)
    if kind == "Dense":
        sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
        return {"units": draw(st.integers(1, 5)), "use_bias": bias}, (batch, *sizes)
    rank = int(kind[kind.index("D") - 1]) if "Depthwise" not in kind else int(kind[-2])
    same = draw(st.booleans())
    window = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)) if strides == 1 and "Transpose" not in kind else 1
    arguments = {"kernel_size": window, "strides": strides, "use_bias": bias}
    arguments |= {"padding": "same" if same else "valid", "dilation_rate": dilation}
    channels = draw(st.integers(1, 3))
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        groups = draw(st.integers(1, groups))
        arguments |= {"filters": groups * draw(st.integers(1, 2)), "groups": groups}
        channels *= groups
    elif "Transpose" in kind:
        arguments["filters"] = draw(st.integers(1, 3))
    else:
        arguments["depth_multiplier"] = draw(st.integers(1, 2))
        if "Separable" in kind:
            arguments["filters"] = draw(st.integers(1, 3))
    if kind == "Conv1D" and draw(st.booleans()):
        arguments["padding"] = "causal"
    sizes = [draw(st.integers(dilation * (w - 1) + 1, 6)) for w in window]
    may_be_first = kind in CHANNELS_FIRST and dilation == 1 and arguments.get("groups", 1) == 1
    if may_be_first and channels_first_runs():
        arguments["data_format"] = draw(st.sampled_from(["channels_last", "channels_first"]))
    if arguments.get("data_format") == "channels_first":
        if arguments["padding"] == "causal":
            arguments["padding"] = "same"
        return arguments, (batch, channels, *sizes)
    return arguments, (batch, *sizes, channels)


def pulled_back(layer, x, error, weights=None):
    """What comes back for the input and the first weights of an error at a layer's output."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    sources = [x, *layer.trainable_weights[:weights]]
    return [tf.cast(g, tf.float64) for g in tape.gradient(y, sources, output_gradients=error)]


def check_layer(kind, data, groups=1):
    arguments, shape = data.draw(configurations(kind, groups))
    first = arguments.get("data_format") == "channels_first"
    policy = data.draw(st.sampled_from(["float32"] if first else sorted(TOLERANCE)))
    activation = data.draw(st.sampled_from(sorted(ACTIVATIONS)))
    method = data.draw(st.sampled_from(METHODS))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    layer = getattr(ta.layers, kind)(
        **arguments, activation=activation, feedback=method, dtype=policy
    )
    x = tf.cast(rng.standard_normal(shape), layer.compute_dtype)
    y = layer(x)

    def stock(activation, kernels=None):
        """The stock layer, with its own kernels exchanged for others where they are given."""
        found = getattr(keras.layers, kind)(**arguments, activation=activation, dtype=policy)
        found.build(shape)
        # the forward weights come first, in Keras' own order
        for target, source in zip(found.weights, layer.weights, strict=False):
            target.assign(source)
        for name, kernel in (kernels or {}).items():
            getattr(found, f"{name}_kernel" if name else "kernel").assign(kernel)
        return found

    def close(found, expected):
        found, expected = tf.cast(found, tf.float64), tf.cast(expected, tf.float64)
        scale = 1.0 + np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[policy] * scale)

    np.testing.assert_array_equal(y, stock(activation)(x))
    error = tf.cast(rng.standard_normal(y.shape), y.dtype)
    forward = len(stock("linear").trainable_weights)
    dx, *gradients = pulled_back(layer, x, error, forward)
    z = stock("linear")(x)
    with tf.GradientTape() as tape:
        tape.watch(z)
        out = ACTIVATIONS[activation](z)
    dz = tape.gradient(out, z, output_gradients=error)  # δ

    feedback = layer.effective_feedback_kernel()
    feedback = feedback if isinstance(feedback, dict) else {"": feedback}
    close(dx, pulled_back(stock("linear", feedback), x, dz)[0])
    expected = pulled_back(stock("linear"), x, dz)[1:]
    if "pointwise" in feedback:  # the lower kernel learns from what the upper feedback sends
        upper = {"pointwise": feedback["pointwise"]}
        expected[0] = pulled_back(stock("linear", upper), x, dz)[1]
    for found, wanted in zip(gradients, expected, strict=True):
        close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_any_layer_sends_what_a_stock_layer_with_the_feedback_kernel_sends(kind, data):
    check_layer(kind, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(data=st.data())
def test_many_layers_send_what_stock_layers_with_the_feedback_kernel_send(kind, data):
    check_layer(kind, data, groups=3)  # XLA compiles each grouped convolution


@FEW
@given(
    heads=st.integers(1, 3),
    key=st.integers(1, 4),
    value=st.none() | st.integers(1, 4),
    bias=st.booleans(),
    gate=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    sources=st.integers(1, 4),
)
def test_attention_of_any_size_with_b_equal_to_w_is_backprop(
    heads, key, value, bias, gate, shape, sources
):
    arguments = {"num_heads": heads, "key_dim": key, "value_dim": value, "use_bias": bias}
    arguments |= cases.GATE if gate else {}
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal(shape), tf.float32)
    other = tf.constant(rng.standard_normal((shape[0], sources, shape[2])), tf.float32)
    stock = keras.layers.MultiHeadAttention(**arguments)
    layer = ta.layers.MultiHeadAttention(**arguments, feedback="fa")
    y = stock(x, other)
    layer(x, other)
    ta.conversion.graph.copy_weights(stock, layer)
    np.testing.assert_array_equal(layer(x, other), y)
    for projection in layer.projections:
        projection.feedback_weights["feedback_kernel"].assign(projection.kernel)
    error = tf.constant(rng.standard_normal(y.shape), tf.float32)
    found, expected = (gradients_of_attention(a, x, other, error) for a in (layer, stock))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def gradients_of_attention(layer, x, other, error):
    with tf.GradientTape() as tape:
        tape.watch([x, other])
        y = layer(x, other)
    return tape.gradient(y, [x, other, *layer.trainable_weights], output_gradients=error)


def check_primitive(name, data):
    """A primitive is at most quadratic in B: a difference over any distance is exact."""
    kind = data.draw(
        st.sampled_from(["Dense", "EinsumDense", "Conv1D", "Conv2D", "DepthwiseConv2D"])
    )
    arguments, shape = data.draw(configurations(kind))
    options = data.draw(
        st.fixed_dictionaries(
            {
                "response": st.sampled_from(["linear", "output"]),
                "response_bias": st.booleans(),
                "batch_center": st.booleans(),
                "normalize": st.sampled_from([None, "input", "response", "variance"]),
                "positions": st.sampled_from(["sum", "mean"]),
                "feedback_bias": st.booleans(),
            }
        )
    )
    if options["normalize"]:  # it has a reduction of its own
        options["positions"] = "sum"
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rule = ta.feedback.Alignment({name: 1.0}, **options)
    layer = getattr(ta.layers, kind)(**arguments, activation="tanh", feedback=rule)
    x = rng.standard_normal(shape).astype("float32")
    layer(x)
    activity = ta.testing.activity(layer, x)
    names = list(layer.feedback_weights)
    drawn = [
        {
            n: tf.constant(rng.standard_normal(layer.feedback_weights[n].shape), tf.float32)
            for n in names
        }
        for _ in range(2)
    ]
    at, direction = drawn
    ahead, behind = (
        float(rule.loss(activity, {n: at[n] + step * direction[n] for n in names}))
        for step in (1.0, -1.0)
    )
    gradient = rule.align(activity, at)
    slope = sum(float(tf.reduce_sum(gradient[n] * direction[n])) for n in names)
    scale = 1.0 + abs(ahead) + abs(behind)
    assert abs(slope - (ahead - behind) / 2) <= 1e-4 * scale


@pytest.mark.parametrize("name", BUILT_IN)
@FEW
@given(data=st.data())
def test_the_gradient_of_any_primitive_is_its_slope(name, data):
    check_primitive(name, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BUILT_IN)
@MANY
@given(data=st.data())
def test_many_gradients_of_primitives_are_their_slopes(name, data):
    check_primitive(name, data)

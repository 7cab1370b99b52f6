"""A converted model is compiled as it was, with every argument and the optimizer's state."""

import keras
import numpy as np
import pytest
from stock_models import same

import tf_alignment as ta

K = keras.layers
X = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
Y = {"class": np.arange(8) % 3, "size": X[:, :1]}
HOW = [("fa", True), ("fa", False), ("kp", True), ("kp", False), ("dfa", False)]


def model():
    x = keras.Input((4,))
    inner = keras.Sequential([K.Dense(6, "relu", name="a"), K.Dense(5, "relu", name="b")])
    h = K.Dense(6, "tanh", name="a")(inner(x))  # a name that is there twice
    outputs = {"class": K.Dense(3, "softmax", name="class")(h), "size": K.Dense(1, name="size")(h)}
    return keras.Model(x, outputs)


def compiled(**arguments):
    made = model()
    made.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=3.0, name="sgd"),
        loss={"class": keras.losses.SparseCategoricalCrossentropy(), "size": "mae"},
        loss_weights={"class": 0.7, "size": 2.0},
        metrics={"class": ["accuracy"], "size": [keras.metrics.RootMeanSquaredError(name="rms")]},
        weighted_metrics={"size": ["mse"]},
        **arguments,
    )
    return made


def momenta(model):
    """The momentum of each forward weight, by the values that the weight has."""
    found = {}
    for weight in model.trainable_variables:
        if "feedback" not in weight.path:
            index = model.optimizer._get_variable_index(weight)
            found[weight.numpy().tobytes()] = model.optimizer.momentums[index].numpy()
    return found


@pytest.mark.parametrize(("method", "inplace"), HOW)
def test_every_argument_of_compile_stays(method, inplace):
    for arguments in (
        {"jit_compile": True, "steps_per_execution": 2},
        {"jit_compile": False, "run_eagerly": True},
    ):
        old = compiled(**arguments)
        new = ta.convert(old, method, inplace=inplace)
        for name, default in (
            ("jit_compile", None),
            ("steps_per_execution", 1),
            ("run_eagerly", False),
        ):
            assert getattr(new, name) == arguments.get(name, default), name
        assert new.get_compile_config() == compiled(**arguments).get_compile_config()


@pytest.mark.parametrize(("method", "inplace"), HOW)
def test_losses_metrics_and_the_optimizers_state_stay(method, inplace):
    old = compiled(run_eagerly=(method, inplace) != ("kp", True))  # one of them in a graph
    old.fit(X, Y, verbose=0)
    expected = old.evaluate(X, Y, sample_weight=np.arange(8.0), verbose=0, return_dict=True)
    before = momenta(old)
    new = ta.convert(old, method, inplace=inplace)
    got = new.evaluate(X, Y, sample_weight=np.arange(8.0), verbose=0, return_dict=True)
    assert got == pytest.approx(expected, rel=1e-5)
    assert {"loss", "class_accuracy", "size_rms", "size_mse"} <= got.keys()
    assert int(new.optimizer.iterations) == 1
    if not new.optimizer.built:
        new.optimizer.build(new.trainable_variables)
    after = momenta(new)
    assert after.keys() == before.keys()
    for weight, momentum in before.items():
        same(after[weight], momentum)
    history = new.fit(X, Y, verbose=0).history
    assert {"loss", "class_accuracy", "size_rms", "size_mse"} <= history.keys()


@pytest.mark.parametrize(
    ("method", "inplace", "scaled"),
    [("fa", True, True), ("kp", False, True), ("dfa", False, True), ("dfa", False, False)],
)
def test_the_loss_is_scaled_as_before(method, inplace, scaled):
    """By a factor that the optimizer has found, or not at all; whatever the policy of the day."""
    keras.config.set_dtype_policy("mixed_float16")
    old = model()
    keras.config.set_dtype_policy("float32")
    losses = {"class": "sparse_categorical_crossentropy", "size": "mse"}
    old.compile("adam", losses, auto_scale_loss=scaled)
    old.fit(X, Y, verbose=0)
    if scaled:
        old.optimizer.dynamic_scale.assign(64.0)
    new = ta.convert(old, method, inplace=inplace)
    assert isinstance(new.optimizer, keras.optimizers.LossScaleOptimizer) == scaled
    assert new.dtype_policy.name == "mixed_float16"
    if scaled:
        assert float(new.optimizer.dynamic_scale) == 64.0
    inner = new.optimizer.inner_optimizer if scaled else new.optimizer
    assert int(inner.iterations) == 1
    assert any(np.abs(v.numpy()).max() > 0 for v in inner.variables[2:])


def test_momenta_go_with_their_weights_from_direct_feedback_and_back():
    """Layers of one name, and layers that gave the tap theirs."""
    old = ta.convert(compiled(), "dfa")
    old.fit(X, Y, verbose=0)
    before = momenta(old)
    for method in ("fa", "dfa"):
        after = momenta(ta.convert(old, method))
        assert after.keys() == before.keys()
        for weight, momentum in before.items():
            same(after[weight], momentum)


@pytest.mark.parametrize(("method", "inplace"), HOW)
@pytest.mark.parametrize("split", [False, True])
def test_weights_without_decay_stay_without_decay(method, inplace, split):
    def by_name(variable):
        return variable.name == "bias"

    for exclude in ({"var_names": ["bias"]}, {"var_list": True}):
        old = model()
        if "var_list" in exclude:
            exclude["var_list"] = [v for v in old.trainable_variables if by_name(v)]
        inner = keras.optimizers.SGD(0.1, weight_decay=0.5)
        inner.exclude_from_weight_decay(**exclude)
        old.compile(ta.optimizers.split(inner) if split else inner, "mse")
        old.optimizer.build(old.trainable_variables)
        new = ta.convert(old, method, inplace=inplace)
        found = new.optimizer.owner.default_optimizer if split else new.optimizer
        weights = [v for v in new.trainable_variables if "feedback" not in v.path]
        assert [not found._use_weight_decay(v) for v in weights] == [by_name(v) for v in weights]

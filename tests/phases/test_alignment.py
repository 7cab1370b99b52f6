"""Alignment rules as a phase: what they compute, from noise and from data."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import training
from phased import SGD, feedback_kernels, perceptron

import tf_alignment as ta
from tf_alignment.phases import Alignment

K = keras.layers


def convolutional(method="fa"):
    """Convolutions with batch normalisation and dropout, as a network with state would have."""
    keras.utils.set_random_seed(5)
    return ta.convert(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                K.Conv2D(8, 3, padding="same", name="first"),
                K.BatchNormalization(),
                K.ReLU(),
                K.SeparableConv2D(6, 3, strides=2, activation="relu", name="separable"),
                K.Flatten(),
                K.Dense(16, activation="relu", name="hidden"),
                K.Dropout(0.5),
                K.Dense(10, name="top"),
            ],
            name="net",
        ),
        method,
    )


def test_weight_mirror_on_data_is_the_equation():
    model, (x, _) = perceptron(), training.toy(examples=32)
    rule = ta.feedback.WeightMirror(0.3, 0.2, noise=None, normalize=None, response_bias=False)
    expected, below = feedback_kernels(model), x
    for layer in model.layers:
        w = layer.kernel.numpy()
        if layer.path in expected:
            b = expected[layer.path]
            for _ in range(7):
                b = b - 0.1 * (0.2 * b - 0.3 * below.T @ (below @ w) / len(x))
            expected[layer.path] = b
        below = layer(below).numpy()
    data = tf.data.Dataset.from_tensors((x, np.zeros(len(x))))
    Alignment(rule, dataset=data, steps=7, optimizer=SGD(0.1)).run(model)
    for path, b in feedback_kernels(model).items():
        np.testing.assert_allclose(b, expected[path], rtol=1e-4, atol=1e-5)


def test_published_weight_mirror_on_noise_ends_at_its_fixed_point():
    """`B → (α/β) σ² W` under uniform noise of ±0.5, which has variance 1/12."""
    model = perceptron()
    rule = ta.feedback.WeightMirror(
        1.0, 0.5, normalize=None, noise=ta.Noise("uniform", 0.5 / 3**0.5)
    )
    phase = Alignment(rule, steps=600, optimizer=SGD(0.05), batch_size=256, seed=1)
    for measured in phase.run(model).values():
        # noise of B itself: σ² (out + ...) rate·α²/(2 β N), about 0.01 a norm of W
        assert measured["norm_ratio"] == pytest.approx(2.0 / 12.0, rel=0.05)
        assert measured["weight_angle"] < 10.0


@pytest.mark.parametrize("rule", ["wm", "ia", "sa", "aa", {"amp": 1.0, "sparse": 1.0}])
@pytest.mark.parametrize("source", ["noise", "arrays"])
def test_any_rule_aligns_every_kind_of_layer(rule, source):
    model, x = convolutional(), training.digits()[0].x
    before = [v.numpy() for v in model.variables]
    start = min(
        ta.metrics.weight_angle(c.kernel, c.weights["feedback_kernel"])
        for layer in ta.layers.feedback_layers(model)
        for c in layer.connections
    )
    arguments = {"dataset": x, "steps": 30} if source == "arrays" else {"steps": 300}
    optimizer = SGD(0.02) if isinstance(rule, dict) else None
    results = Alignment(rule, **arguments, optimizer=optimizer, seed=1).run(model)
    assert list(results) == [
        "net/separable/depthwise",
        "net/separable/pointwise",
        "net/hidden",
        "net/top",
    ]
    angles = [measured["weight_angle"] for measured in results.values()]
    # of real activity a rule sees little but its mean direction
    assert np.all(np.isfinite(angles))
    assert source == "arrays" or start > 20.0 > 15.0 > max(angles)
    for variable, value in zip(model.variables, before, strict=True):
        same = np.array_equal(variable.numpy(), value)
        assert same == (not variable.path.endswith("feedback_kernel")), variable.path


def test_one_by_one_is_the_same_for_rules_without_noise():
    both = [perceptron(), perceptron()]
    for model, one_by_one in zip(both, (False, True), strict=True):
        Alignment("sa", steps=3, optimizer=SGD(0.1), one_by_one=one_by_one).run(model)
    for a, b in zip(*(feedback_kernels(m).values() for m in both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def chain(count=3):
    """Layers of which each learns from noise as the others do."""
    keras.utils.set_random_seed(0)
    layers = [ta.layers.Dense(6, feedback="fa", name=f"layer{i}") for i in range(count)]
    return keras.Sequential([keras.Input((6,)), *layers], name="net")


@pytest.mark.parametrize("of", ["rule", "optimizer"])
@pytest.mark.parametrize("woven", [False, True])
def test_one_by_one_every_layer_has_the_schedule_from_its_start(of, woven):
    decay = keras.optimizers.schedules.PolynomialDecay(0.2, 8, end_learning_rate=0.0)

    def final(one_by_one):
        model = chain()
        rule = ta.feedback.Alignment({"self": decay, "decay": decay}) if of == "rule" else "sa"
        optimizer = SGD(1.0) if of == "rule" else SGD(decay, momentum=0.5)
        phase = Alignment(rule, steps=4, optimizer=optimizer, one_by_one=one_by_one, seed=1)
        model.compile(SGD(0.0), "mse")
        if woven:
            x = np.ones((8, 6), "float32")
            ta.phases.interleave(model, phase).fit(x, x, batch_size=2, verbose=0)
        else:
            phase.run(model)
        phase.run(model)  # the schedule goes on
        return feedback_kernels(model)

    together, in_turn = final(False), final(True)
    for path, b in together.items():
        np.testing.assert_allclose(in_turn[path], b, rtol=1e-5, err_msg=path)


def test_one_by_one_layers_draw_noise_of_their_own():
    def final(one_by_one):
        model = chain()
        Alignment("wm", steps=2, one_by_one=one_by_one, seed=1).run(model)
        return feedback_kernels(model)

    together, in_turn = final(False), final(True)
    assert np.array_equal(together["net/layer0"], in_turn["net/layer0"])
    assert not np.array_equal(together["net/layer1"], in_turn["net/layer1"])  # later steps


def test_one_by_one_warns_of_no_retracing(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    Alignment("sa", steps=1, one_by_one=True).run(chain(7))
    assert "retracing" not in caplog.text


def test_a_tuple_of_arrays_is_inputs_and_targets_as_in_a_dataset():
    x, y = training.toy()
    found = []
    for data in (x, (x,), (x, y), training.digits()[0]._replace(x=x, y=y)):
        model = perceptron()
        Alignment("aa", dataset=data, steps=2, seed=1).run(model)
        found.append(np.concatenate([b.ravel() for b in feedback_kernels(model).values()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("kind", [list, dict])
def test_several_inputs_are_a_list_or_a_dict(kind):
    inputs = [keras.Input((3,), name="left"), keras.Input((4,), name="right")]
    hidden = keras.layers.Concatenate()(inputs)
    names = {x.name: x for x in inputs}
    output = ta.layers.Dense(2, feedback="fa", name="top")(hidden)
    model = keras.Model(inputs if kind is list else names, output)
    left, right = np.ones((8, 3), "float32"), np.ones((8, 4), "float32")
    x = [left, right] if kind is list else {"left": left, "right": right}
    for data in (x, (x, right)):
        assert list(Alignment("aa", dataset=data, steps=1).run(model)) == ["top"]


def test_noise_of_a_numpy_number():
    assert Alignment("sa", noise=np.float32(0.5)).rule.noise == ta.Noise("rademacher", 0.5)


def test_noise_follows_from_the_seed_and_goes_on():
    def after(seed, runs=2, steps=5):
        model = perceptron()
        phase = Alignment("wm", steps=steps, seed=seed)
        for _ in range(runs):
            phase.run(model)
        return np.concatenate([b.ravel() for b in feedback_kernels(model).values()])

    first = after(1)
    np.testing.assert_array_equal(after(1), first)
    np.testing.assert_array_equal(after(1, runs=1, steps=10), first)
    assert not np.allclose(after(2), first)


def test_layers_can_be_chosen():
    model = convolutional()
    before = feedback_kernels(model)
    results = Alignment("sa", steps=2, layers=["top", "net/separable/pointwise"]).run(model)
    assert list(results) == ["net/separable/pointwise", "net/top"]
    for path, b in feedback_kernels(model).items():
        assert np.array_equal(b, before[path]) == (path not in results)


def test_a_schedule_counts_the_steps_of_the_phase():
    model = perceptron()
    before = feedback_kernels(model)
    late = ta.schedules.Between(1.0, start=4)
    phase = Alignment({"decay": late}, steps=4, optimizer=SGD(0.5))
    phase.run(model)
    np.testing.assert_equal(feedback_kernels(model), before)
    phase.run(model)
    for path, b in feedback_kernels(model).items():
        np.testing.assert_allclose(b, before[path] * 0.5**4, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    results = Alignment("wm", steps=200, seed=1).run(convolutional())
    assert max(m["weight_angle"] for m in results.values()) < 20.0


@pytest.mark.parametrize("kind", ["noise", "dataset"])
def test_two_replicas_equal_one_device_for_rules_without_noise(kind, two_replicas):
    x, _ = training.toy(examples=32)
    rule = ta.feedback.ActivationAlignment(noise=None, normalize=None)

    def phase():
        if kind == "noise":
            return Alignment("sa", steps=3, optimizer=SGD(0.1))
        data = tf.data.Dataset.from_tensor_slices(x).batch(16, drop_remainder=True)
        return Alignment(rule, dataset=data, steps=3, optimizer=SGD(0.1))

    one = perceptron()
    phase().run(one)
    with two_replicas.scope():
        two = perceptron()
    phase().run(two)
    for a, b in zip(feedback_kernels(one).values(), feedback_kernels(two).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_replicas_draw_noise_of_their_own(two_replicas):
    """The mean of two independent draws has half the variance of one."""
    spread = []
    for scoped in (False, True):
        finals = []
        with two_replicas.scope() if scoped else tf.name_scope("one"):
            model = perceptron()
        phase = Alignment({"amp": 1.0}, steps=1, optimizer=SGD(1.0), batch_size=4, seed=1)
        start = feedback_kernels(model)
        for _ in range(12):  # noise goes on from run to run
            for layer in ta.layers.feedback_layers(model):
                layer.feedback_weights["feedback_kernel"].assign(start[layer.path])
            phase.run(model)
            finals.append(np.concatenate([b.ravel() for b in feedback_kernels(model).values()]))
        spread.append(np.var(finals, axis=0).mean())
    assert spread[1] / spread[0] == pytest.approx(0.5, rel=0.3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rule": "fa"}, TypeError, "rule='fa'"),
        ({"rule": {"gain": 1.0}}, ValueError, "gain"),
        ({"noise": "pink"}, ValueError, "noise='pink'"),
        ({"noise": -1.0}, ValueError, "noise=-1.0"),
        ({"noise": 1.0, "dataset": np.ones((4, 6))}, ValueError, "noise=1.0"),
        ({"steps": 0}, ValueError, "steps=0"),
        ({"batch_size": 1.5}, ValueError, "batch_size=1.5"),
        ({"layers": "top"}, TypeError, "layers='top'"),
        ({"layers": []}, ValueError, r"layers=\[\]"),
        ({"dataset": ()}, TypeError, "dataset of type tuple"),
        ({"noise": True}, TypeError, "noise=True"),
        ({"name": 3}, TypeError, "name=3"),
        ({"name": ""}, ValueError, "name=''"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Alignment(**{"rule": "wm", **arguments})


def test_what_a_model_must_have():
    with pytest.raises(ValueError, match="feedback kernel"):
        Alignment("wm").run(training.perceptron())
    with pytest.raises(ValueError, match=r"\['nowhere'\]"):
        Alignment("wm", layers=["nowhere"]).run(perceptron())
    rule = ta.feedback.ActivationAlignment(noise="rademacher", feedback_bias=True)
    with pytest.raises(ValueError, match="feedback_bias"):
        Alignment(rule).run(perceptron())
    long = keras.Sequential([keras.Input((None, 4)), ta.layers.Conv1D(3, 3, feedback="fa")])
    with pytest.raises(ValueError, match=r"shapes \[\(None, 4\)\]"):
        Alignment("wm").run(long)
    Alignment("wm", dataset=np.ones((8, 5, 4), "float32"), steps=1).run(long)


def test_options_that_do_not_go_with_the_covariance_are_normalized_by_the_input():
    rule = ta.feedback.ActivationAlignment(noise="rademacher", feature_center=True)
    assert rule.with_input(None).normalize == "input"
    damped = ta.feedback.ActivationAlignment(damping=0.1).with_input(ta.Noise())
    assert (damped.normalize, damped.damping) == ("noise", 1e-3)
    assert type(damped).from_config(damped.get_config()).normalize == "noise"
    rule = ta.feedback.ActivationAlignment(noise="rademacher")
    assert rule.with_input(None).normalize == "covariance"


def test_a_rule_over_an_imperfect_path():
    imperfect = ta.feedback.Imperfect

    def one(method):
        keras.utils.set_random_seed(0)
        layer = ta.layers.Dense(6, feedback=method, name="top")
        return keras.Sequential([keras.Input((12,)), layer], name="net"), layer

    chip = imperfect("sa", noise=0.1, mismatch=0.3, seed=1)  # read noise is not the rule's noise
    model, layer = one(chip)
    Alignment(chip, steps=200, optimizer=SGD(0.2), seed=1).run(model)
    gain = layer.feedback_weights["imperfect_gain"].numpy()
    works = np.where(gain > 0, layer.kernel, 0.0)
    np.testing.assert_allclose(layer.effective_feedback_kernel(), works, atol=1e-3)

    x = np.zeros((64, 12), "float32")
    x[:, 0] = 1.0  # the other inputs are silent, and their weights only decay
    fine = imperfect("wm", bits=16, error_bits=None)
    model, layer = one(fine)
    Alignment(fine, dataset=x, steps=200, seed=1, batch_size=32).run(model)
    assert np.abs(layer.feedback_weights["feedback_kernel"].numpy()[1:]).max() < 1e-3

    model, _ = one("fa")
    with pytest.raises(ValueError, match=r"needs .*imperfect_gain.*Received: a layer with"):
        Alignment(chip, steps=1).run(model)


@pytest.mark.parametrize(("coefficient", "told"), [(2.0, True), (0.5, False)])
def test_steps_too_large_for_strong_devices_are_told(coefficient, told):
    rule = ta.feedback.SymmetricAlignment(coefficient, coefficient)
    path = ta.feedback.Imperfect(rule, mismatch=0.5, seed=1)
    model = keras.Sequential([keras.Input((30,)), ta.layers.Dense(40, feedback=path, name="top")])
    phase = ta.phases.Alignment(path, steps=2, batch_size=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        phase.run(model)
    texts = [str(w.message) for w in caught if "largest gain" in str(w.message)]
    assert len(texts) == told and all("/top' learn" in text for text in texts)

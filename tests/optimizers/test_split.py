"""`split` and `check`: who updates what, and who is warned."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from training import LOSS, classifier

import tf_alignment as ta
from tf_alignment._support.compat import KERAS, MultiOptimizer, OptimizerMap
from tf_alignment.optimizers import ALIGNED

SGD = keras.optimizers.SGD

# Keras 3.15 hands variables to numpy 2 in a way that numpy 2 announces to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(feedback="sa"):
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((6,)),
            ta.layers.Dense(8, "relu", feedback=feedback, name="low"),
            ta.layers.Dense(3, feedback=feedback, name="top"),
        ],
        name="net",
    )


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 6)).astype("float32"), rng.normal(size=(32, 3)).astype("float32")


def step(model, times=1):
    x, y = data()
    for _ in range(times):
        model.train_on_batch(x, y)


def values(model):
    return [w.numpy() for w in model.weights]


# ---- split -----------------------------------------------------------------------------------


def test_default_is_a_fast_plain_sgd_for_aligned_weights():
    forward = SGD(0.01, momentum=0.9, weight_decay=0.1)
    optimizer = ta.optimizers.split(forward)
    assert isinstance(optimizer, MultiOptimizer)
    feedback, default = optimizer.optimizers
    assert default is forward
    assert feedback.name == "feedback"
    config = feedback.get_config()
    assert config["learning_rate"] == 0.5
    assert config["momentum"] == 0.0
    assert config["weight_decay"] is None


def test_aligned_weights_take_plain_steps_of_half_the_gradient():
    model = network(ta.feedback.SymmetricAlignment(1.0, 1.0))
    model.compile(ta.optimizers.split(SGD(0.0)), "mse")
    layer = model.get_layer("top")
    kernel, feedback = layer.kernel.numpy(), layer.feedback_weights["feedback_kernel"].numpy()
    for _ in range(3):
        step(model)
        feedback = feedback - 0.5 * (feedback - kernel)
        np.testing.assert_allclose(
            layer.feedback_weights["feedback_kernel"].numpy(), feedback, atol=1e-6
        )
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


@pytest.mark.parametrize("feedback", ["kp", "pfa"])
def test_what_rides_on_the_error_stays_with_forward(feedback):
    model = network(feedback)
    model.compile(ta.optimizers.split(SGD(0.0)), "mse")
    before = values(model)
    step(model)
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("identifier", ["adam", {"class_name": "SGD", "config": {"momentum": 0.9}}])
def test_identifiers_and_configs(identifier):
    optimizer = ta.optimizers.split(identifier, "rmsprop")
    kinds = [type(inner).__name__ for inner in optimizer.optimizers]
    assert kinds == ["RMSprop", type(keras.optimizers.get(identifier)).__name__]


def test_forward_options_do_not_touch_feedback_weights():
    def feedback_after(forward):
        model = network()
        model.compile(ta.optimizers.split(forward), "mse")
        kernel = model.get_layer("low").kernel.numpy()
        step(model)
        moved = model.get_layer("low").kernel.numpy() - kernel
        return model.get_layer("low").feedback_weights["feedback_kernel"].numpy(), moved

    plain, moved = feedback_after(SGD(0.1))
    options = {"clipnorm": 1e-3}, {"global_clipnorm": 1e-3}, {"weight_decay": 0.5}
    for option in (*options, {"use_ema": True}):
        feedback, also_moved = feedback_after(SGD(0.1, **option))
        np.testing.assert_array_equal(feedback, plain)
        assert "use_ema" in option or not np.allclose(moved, also_moved)


def test_moving_averages_are_of_forward_weights():
    model = network()
    x, y = data()
    model.compile(ta.optimizers.split(SGD(0.1, use_ema=True, ema_momentum=0.9)), "mse")
    seen = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(values(model)))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[look])
    paths = [w.path for w in model.weights]
    for path, before, after in zip(paths, seen[-1], values(model), strict=True):
        assert np.array_equal(before, after) == ("feedback" in path), path


def test_gradient_accumulation_is_copied_and_exact():
    x, y = data()
    whole, parts = network(), network()
    whole.compile(ta.optimizers.split(SGD(0.1, momentum=0.9)), "mse")
    forward = SGD(0.1, momentum=0.9, gradient_accumulation_steps=4)
    optimizer = ta.optimizers.split(forward)
    assert optimizer.optimizers[0].gradient_accumulation_steps == 4
    parts.compile(optimizer, "mse")
    for _ in range(3):
        whole.train_on_batch(x, y)
        for i in range(4):
            parts.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    for a, b in zip(values(whole), values(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_saved_and_loaded_training_goes_on_as_if_nothing_had_been(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    model = network()
    model.compile(ta.optimizers.split(SGD(0.05, momentum=0.9)), "mse")
    step(model, 3)
    wrapped = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert wrapped == (policy == "mixed_float16")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    ours, theirs = (m.optimizer.variables for m in (model, again))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for m in (model, again):
        step(m, 2)
    for a, b in zip(values(model), values(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_config_round_trip():
    optimizer = ta.optimizers.split(SGD(0.05, momentum=0.9), keras.optimizers.RMSprop(0.01))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert [type(o).__name__ for o in again.optimizers] == ["RMSprop", "SGD"]


def test_a_schedule_on_forward_leaves_feedback_alone():
    halving = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model = network()
    model.compile(ta.optimizers.split(SGD(halving)), "mse")
    step(model, 3)
    feedback, forward = model.optimizer.optimizers
    assert float(forward.learning_rate) == pytest.approx(0.0125)
    assert float(feedback.learning_rate) == 0.5


@pytest.mark.skipif(KERAS < (3, 15), reason="of Keras 3.15")
def test_callbacks_that_set_rates_set_both():
    x, y = data()
    model = network()
    model.compile(ta.optimizers.split(SGD(0.1)), "mse")
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(x, y, verbose=0, callbacks=[halve])
    rates = [float(o.learning_rate) for o in model.optimizer.optimizers]
    assert rates == pytest.approx([0.25, 0.05])
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=1e9)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[plateau])
    rates = [float(o.learning_rate) for o in model.optimizer.optimizers]
    assert rates == pytest.approx([0.025, 0.005])


def test_a_fixed_loss_scale_is_kept():
    optimizer = ta.optimizers.split(SGD(0.1, loss_scale_factor=8.0))
    assert optimizer.loss_scale_factor == 8.0
    assert [o.loss_scale_factor for o in optimizer.optimizers] == [8.0, 8.0]
    scaled, plain = network(), network()
    scaled.compile(optimizer, "mse")
    plain.compile(ta.optimizers.split(SGD(0.1)), "mse")
    for model in (scaled, plain):
        step(model, 2)
    for a, b in zip(values(scaled), values(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_overflow_skips_the_step_of_both_optimizers():
    keras.config.set_dtype_policy("mixed_float16")
    model = network()
    model.compile(ta.optimizers.split(SGD(0.1)), "mse")
    step(model)
    before = values(model)
    x, y = data()
    model.train_on_batch(x * np.float32(1e30), y)
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, r"`forward` must be a Keras optimizer.*Received: forward=3"),
        ((None,), TypeError, r"`forward` must be a Keras optimizer.*Received: forward=None"),
        ((SGD,), TypeError, r"`forward` must be a Keras optimizer.*Received: forward=<class"),
        (("sdg",), ValueError, r"`forward` must be a Keras optimizer.*Received: forward='sdg'"),
        (("sgd", 0.5), TypeError, r"`feedback` must be a Keras optimizer.*Received: feedback=0.5"),
    ],
)
def test_what_is_no_optimizer_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ta.optimizers.split(*arguments)


@pytest.mark.parametrize(
    ("name", "optional", "use"),
    [
        ("forward", False, lambda value: ta.optimizers.split(value)),
        ("optimizer", False, lambda value: ta.optimizers.NoisyUpdates(value, 0.1)),
        ("optimizer", True, lambda value: ta.phases.Alignment("sa", optimizer=value)),
        (
            "solver",
            True,
            lambda value: ta.phases.NodePerturbation(
                keras.losses.MeanSquaredError(reduction=None), solver=value
            ),
        ),
    ],
)
def test_all_who_take_an_optimizer_refuse_alike(name, optional, use):
    wrong = {TypeError: [3, SGD, None][: 2 if optional else 3]}
    wrong[ValueError] = ["sdg", {"class_name": "sdg", "config": {}}]
    wrong[ValueError] += [ta.optimizers.split("sgd"), keras.optimizers.LossScaleOptimizer(SGD())]
    for error, given in wrong.items():
        for value in given:
            with pytest.raises(error, match=rf"Argument `{name}` must .*Received: {name}="):
                use(value)


@pytest.mark.parametrize("argument", ["forward", "feedback"])
def test_wrappers_are_refused(argument):
    arguments = {"forward": SGD(0.1), "feedback": SGD(0.1)}
    multi = ta.optimizers.split("sgd")
    with pytest.raises(ValueError, match=rf"`{argument}` must be a single optimizer.*Received:"):
        ta.optimizers.split(**arguments | {argument: multi})
    scaled = keras.optimizers.LossScaleOptimizer(SGD(0.1))
    with pytest.raises(ValueError, match=rf"`{argument}` must not be a LossScale.*Received:"):
        ta.optimizers.split(**arguments | {argument: scaled})


def test_one_object_for_both_and_steps_out_of_tune_are_refused():
    one = SGD(0.1)
    with pytest.raises(ValueError, match=r"two optimizers. Received: the same SGD object"):
        ta.optimizers.split(one, one)
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps=4. Received: .*=2"):
        ta.optimizers.split(
            SGD(0.1, gradient_accumulation_steps=4), SGD(0.1, gradient_accumulation_steps=2)
        )


# ---- check -----------------------------------------------------------------------------------

WITH_MOMENTUM = [
    lambda: SGD(0.1, momentum=0.9),
    lambda: SGD(0.1, momentum=0.5, nesterov=True),
    lambda: keras.optimizers.Adam(),
    lambda: keras.optimizers.AdamW(),
    lambda: keras.optimizers.Nadam(),
    lambda: keras.optimizers.Lion(),
    lambda: keras.optimizers.RMSprop(momentum=0.9),
    lambda: keras.optimizers.LossScaleOptimizer(SGD(0.1, momentum=0.9)),
    lambda: ta.optimizers.split(SGD(0.1), SGD(0.1, momentum=0.9)),
    lambda: keras.optimizers.LossScaleOptimizer(ta.optimizers.split("sgd", "adam")),
    lambda: MultiOptimizer(OptimizerMap(keras.optimizers.Adam(), {".*bias": SGD(0.1)})),
]
WITHOUT_MOMENTUM = [
    lambda: SGD(0.1),
    lambda: keras.optimizers.RMSprop(),
    lambda: keras.optimizers.Adagrad(),
    lambda: keras.optimizers.Adam(beta_1=0.0),
    lambda: ta.optimizers.split(SGD(0.1, momentum=0.9)),
    lambda: ta.optimizers.split("adam"),
    lambda: keras.optimizers.LossScaleOptimizer(ta.optimizers.split("adam")),
]
ALIGNED_PATHS = [f"net/{n}/feedback/feedback_kernel_aligned" for n in ("low", "top")]


@pytest.mark.parametrize("optimizer", WITH_MOMENTUM)
def test_momentum_is_warned_of(optimizer):
    model = network("sa")
    model.compile(optimizer(), "mse")
    with pytest.warns(UserWarning, match=r"'net/low' \(sa\).*momentum.*ta.optimizers.split"):
        assert ta.optimizers.check(model) == ALIGNED_PATHS
    step(model)
    with pytest.warns(UserWarning, match="momentum"):
        assert ta.optimizers.check(model) == ALIGNED_PATHS


@pytest.mark.parametrize("optimizer", WITHOUT_MOMENTUM)
def test_without_momentum_there_is_no_warning(optimizer):
    model = network("sa")
    model.compile(optimizer(), "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ta.optimizers.check(model) == []


@pytest.mark.parametrize("feedback", ta.feedback.METHODS)
def test_only_rules_that_learn_by_alignment_are_concerned(feedback):
    stock = keras.Sequential([keras.Input((6,)), *(keras.layers.Dense(4) for _ in range(2))])
    model = ta.convert(stock, feedback)
    model.compile(SGD(0.1, momentum=0.9), "mse")
    if ta.feedback.get(feedback).learns == "alignment":
        with pytest.warns(UserWarning, match="learn by alignment"):
            assert len(ta.optimizers.check(model)) == 1
    else:
        assert ta.optimizers.check(model) == []


def test_the_momentum_is_named_as_written_and_long_lists_are_cut():
    stock = keras.Sequential([keras.Input((6,)), *(keras.layers.Dense(4) for _ in range(8))])
    model = ta.convert(stock, "sa")
    model.compile(keras.optimizers.RMSprop(momentum=0.7), "mse")
    with pytest.warns(UserWarning, match=r"and 3 more learn.*RMSprop\(momentum=0.7\)"):
        assert len(ta.optimizers.check(model)) == 7


def test_frozen_layers_are_not_concerned():
    model = network("sa")
    model.get_layer("low").trainable = model.get_layer("top").trainable = False
    model.compile("adam", "mse")
    assert ta.optimizers.check(model) == []


@pytest.mark.skipif(KERAS < (3, 15), reason="of Keras 3.15")
def test_a_map_that_cannot_be_seen_is_passed_over():
    one = keras.optimizers.Adam()
    model = network("sa")
    model.compile(MultiOptimizer(lambda variable: one), "mse")
    assert ta.optimizers.check(model) == []


def test_a_map_that_was_made_elsewhere_is_read_once(monkeypatch):
    model = network("sa")
    model.compile(MultiOptimizer(OptimizerMap(keras.optimizers.Adam(), {ALIGNED: SGD()})), "mse")
    read = []
    get_config = MultiOptimizer.get_config
    monkeypatch.setattr(MultiOptimizer, "get_config", lambda o: read.append(o) or get_config(o))
    assert ta.optimizers.check(model) == [] and len(read) == 1


def test_the_check_when_training_begins_does_not_make_the_step_be_traced_again():
    traces = []

    class Counting(ta.feedback.SymmetricAlignment):
        def send(self, c, dz):
            traces.append(c)
            return super().send(c, dz)

    model = ta.convert(network(None), Counting())
    model.compile(ta.optimizers.split(SGD(0.01)), "mse")
    model.fit(*data(), batch_size=8, verbose=0)
    assert len(traces) == 1  # of the upper layer: nothing is below the other one


def test_an_uncompiled_model_is_refused():
    with pytest.raises(ValueError, match=r"compiled with an optimizer. Received: .*'net'"):
        ta.optimizers.check(network())


# ---- ReplicatedSGD ---------------------------------------------------------------------------


def trained(feedback_optimizer, policy="float32"):
    keras.config.set_dtype_policy(policy)
    model = network("sa")
    forward = SGD(0.05, momentum=0.9)
    model.compile(ta.optimizers.split(forward, feedback_optimizer), "mse", jit_compile=False)
    model.fit(*data(), batch_size=8, epochs=3, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_replicas_that_compute_alike_need_no_sum(two_replicas, policy):
    expected = trained(SGD(0.4, name="feedback"), policy).get_weights()
    one = trained(ta.optimizers.ReplicatedSGD(0.4), policy).get_weights()
    with two_replicas.scope():
        two = trained(ta.optimizers.ReplicatedSGD(0.4), policy)
    for a, b, variable in zip(expected, one, two.variables, strict=True):
        np.testing.assert_array_equal(a, b)
        copies = [np.asarray(c) for c in two_replicas.experimental_local_results(variable.value)]
        np.testing.assert_array_equal(*copies)
        tolerance = 1e-5 if policy == "float32" else 5e-3
        np.testing.assert_allclose(copies[0], a, atol=tolerance)


def test_constraints_hold_on_every_replica(two_replicas):
    def fitted():
        limit = keras.constraints.MaxNorm(0.1)
        layer = ta.layers.Dense(3, feedback="sa", feedback_constraint=limit, name="top")
        model = keras.Sequential([keras.Input((6,)), layer])
        feedback = ta.optimizers.ReplicatedSGD(0.5)
        model.compile(ta.optimizers.split("sgd", feedback), "mse", jit_compile=False)
        x, y = data()
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return layer.feedback_weights["feedback_kernel"]

    one = fitted().numpy()
    with two_replicas.scope():
        two = fitted()
    np.testing.assert_allclose(np.linalg.norm(one, axis=0), 0.1, rtol=1e-4)
    for copy in two_replicas.experimental_local_results(two.value):
        np.testing.assert_allclose(np.linalg.norm(copy, axis=0), 0.1, rtol=1e-4)


def test_gradients_without_their_variables(two_replicas):
    with two_replicas.scope():
        first, second = (keras.Variable(np.ones(2, "float32")) for _ in range(2))
        optimizer = ta.optimizers.ReplicatedSGD(0.25)
        optimizer.build([first, second])

    @tf.function
    def step(gradients):
        two_replicas.run(lambda: optimizer.apply(gradients))

    step([tf.ones(2), tf.ones(2)])
    step([None, tf.ones(2)])
    np.testing.assert_allclose(first, [0.5, 0.5])  # the rate is that of the sum over replicas
    np.testing.assert_allclose(second, [0.0, 0.0])
    assert int(optimizer.iterations.numpy()) == 2


def test_the_scale_of_the_loss_is_divided_out(two_replicas):
    with two_replicas.scope():
        weight = keras.Variable(np.ones(2, "float32"))
        feedback = ta.optimizers.ReplicatedSGD(0.25)
        scaled = keras.optimizers.SGD(0.0, loss_scale_factor=4.0)
        optimizer = ta.optimizers.split(scaled, feedback)
        assert feedback.loss_scale_factor == 4.0
        feedback.build([weight])

    @tf.function
    def step():  # the gradient is 1, and a half on each replica
        gradient = optimizer.scale_loss(tf.fill((2,), 0.5))
        two_replicas.run(lambda: feedback.apply([gradient]))

    step()
    np.testing.assert_allclose(weight, [0.75, 0.75])


def test_a_split_of_both_is_saved_and_loaded(tmp_path):
    model = trained(ta.optimizers.ReplicatedSGD(0.4))
    model.save(tmp_path / "m.keras")
    found = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True).optimizer.optimizers
    [replicated] = [o for o in found if isinstance(o, ta.optimizers.ReplicatedSGD)]
    assert (
        float(replicated.learning_rate) == pytest.approx(0.4) and int(replicated.iterations) == 12
    )


@pytest.mark.parametrize("feedback", ["wm", "ia", "aa"])
def test_weights_that_see_activity_or_noise_must_be_summed(feedback):
    model = network(feedback)
    model.compile(ta.optimizers.split(SGD(0.05), ta.optimizers.ReplicatedSGD()), "mse")
    with pytest.raises(ValueError, match=r"ReplicatedSGD.*Received: 'net/.*aligned'"):
        ta.optimizers.check(model)


def test_forward_weights_must_be_summed():
    model = network("sa")
    model.compile(ta.optimizers.ReplicatedSGD(), "mse")
    with pytest.raises(ValueError, match=r"Received: 'net/low/kernel'"):
        ta.optimizers.check(model)
    model.compile(ta.optimizers.split(SGD(0.05), ta.optimizers.ReplicatedSGD()), "mse")
    assert ta.optimizers.check(model) == []


@pytest.mark.parametrize(("method", "split"), [("sa", False), ("kp", False), ("kp", True)])
def test_feedback_weights_under_the_norm_that_clips_forward_weights_are_named(method, split):
    model = classifier(method, "sgd")
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    model.compile(ta.optimizers.split(optimizer) if split else optimizer, LOSS)
    model.optimizer.build(model.trainable_variables)
    with pytest.warns(UserWarning, match=r"SGD\(global_clipnorm=1.0\) clips"):
        [path] = ta.optimizers.check(model)
    assert path.startswith("net/top/feedback/feedback_kernel")


def test_split_keeps_alignment_out_of_the_norm_and_fixed_weights_have_no_gradient():
    for method, optimizer in (("sa", ta.optimizers.split), ("fa", lambda o: o)):
        model = classifier(method, "sgd")
        model.compile(optimizer(keras.optimizers.SGD(0.1, global_clipnorm=1.0)), LOSS)
        assert ta.optimizers.check(model) == []
    model.compile(keras.optimizers.SGD(0.1, clipnorm=1.0), LOSS)
    assert ta.optimizers.check(model) == []

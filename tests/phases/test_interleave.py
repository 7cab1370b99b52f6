"""A step of a phase inside of every training step."""

import functools
import warnings

import keras
import numpy as np
import pytest
import training
from perturbed import (
    K,
    N,
    data,
    feedback,
    network,
    squared,
    stream,
)

import tf_alignment as ta
from tf_alignment.phases import NodePerturbation


def compiled(model, **arguments):
    model.compile(keras.optimizers.SGD(0.01), squared, **arguments)
    return model


def test_interleaved_steps_are_a_phase_step_and_a_training_step():
    x, y = data(4 * N)
    alone, woven = compiled(network()), compiled(network(), steps_per_execution=4)
    arguments = {"noise": 0.1, "solver": "ridge", "seed": 5}
    for i in range(4):
        rows = slice(i * N, (i + 1) * N)
        if i == 0:
            # a stream deals the same batches
            phase = NodePerturbation(squared, dataset=stream(x, y), steps=1, **arguments)
        phase.run(alone)
        alone.train_on_batch(x[rows], y[rows])
    phase = NodePerturbation(squared, **arguments)
    assert ta.phases.interleave(woven, phase) is woven
    woven.fit(x, y, batch_size=N, shuffle=False, verbose=0)
    for a, b in zip(alone.weights, woven.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert int(phase.variables[0]) == 4


def test_interleaved_training_follows_backpropagation_where_feedback_alignment_does_not():
    x, y = training.flat_digits()
    y = np.eye(10, dtype="float32")[y]
    angles = {}
    for method in ("fa", "np"):
        keras.utils.set_random_seed(2)
        layers = [K.Dense(24, "tanh", name="low"), K.Dense(16, "tanh", name="mid")]
        stock = keras.Sequential([keras.Input((64,)), *layers, K.Dense(10, name="top")], name="net")
        model = compiled(ta.convert(stock, "fa"), steps_per_execution=45)
        if method == "np":
            ta.phases.interleave(model, NodePerturbation(squared, seed=1))
        model.fit(x, y, batch_size=32, epochs=30, verbose=0)
        measured = ta.metrics.GradientProbe(model)(x[:500], y[:500])
        angles[method] = [measured[f"net/{name}"]["kernel"] for name in ("low", "mid")]
    assert max(angles["np"]) < 0.4 * min(angles["fa"])


@pytest.mark.parametrize(("source", "jit_compile"), [("noise", True), ("data", False)])
def test_interleaved_alignment_from_noise_and_from_data_of_its_own(source, jit_compile):
    dataset = data(64)[0] if source == "data" else None
    model = compiled(network(), jit_compile=jit_compile)
    before = training.angles(model)["net/top"]
    phase = ta.phases.Alignment("wm", dataset=dataset, batch_size=8, seed=1)
    ta.phases.interleave(model, phase).fit(*data(256), batch_size=16, epochs=3, verbose=0)
    assert int(phase.variables[0]) == 48
    assert training.angles(model)["net/top"] < 0.8 * before


def test_interleaved_under_xla_learns_the_same():
    x, y = data(128)
    found = []
    for jit_compile in (False, True):
        model = compiled(network(), jit_compile=jit_compile)
        phase = NodePerturbation(squared, seed=1)
        ta.phases.interleave(model, phase)
        model.fit(x, y, batch_size=N, epochs=30, shuffle=False, verbose=0)
        found.append(training.angles(model)["net/top"])
    assert found[0] < 35.0  # from 80
    assert found[1] == pytest.approx(found[0], abs=0.1)


def test_interleaved_again_the_phase_is_replaced_and_none_takes_it_out():
    model = compiled(network())
    first, second = (NodePerturbation(squared, seed=i) for i in (1, 2))
    for phase in (first, first, second):
        ta.phases.interleave(model, phase)
    model.fit(*data(64), batch_size=16, verbose=0)
    assert (int(first._count), int(second._count)) == (0, 4)
    ta.phases.interleave(model, None).fit(*data(64), batch_size=16, verbose=0)
    assert int(second._count) == 4


def test_interleave_says_what_it_needs():
    with pytest.raises(TypeError, match="phase of small steps"):
        ta.phases.interleave(network(), ta.phases.Phase())
    with pytest.raises(ValueError, match=r"arrays.*tf\.data"):
        ta.phases.interleave(network(), NodePerturbation(squared, dataset=stream(*data())))


@pytest.mark.parametrize("first", ["interleaved", "converted"])
def test_a_phase_goes_on_in_a_model_that_is_converted_again_in_place(first):
    model = compiled(network()) if first == "interleaved" else compiled(ta.convert(network(), "fa"))
    phase = NodePerturbation(squared, seed=5)
    ta.phases.interleave(model, phase)
    model.fit(*data(4 * N), batch_size=N, verbose=0)
    check = model.train_step.added.check
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is wrong with the model
        assert ta.convert(model, "fa", inplace=True) is model
        kernel = model.get_layer("top").feedback_weights["feedback_kernel"]
        before = kernel.numpy()
        model.fit(*data(4 * N), batch_size=N, verbose=0)
    assert np.any(before != kernel.numpy()) and int(phase.variables[0]) == 4
    assert model.train_step.added.check is not check
    ta.phases.interleave(model, None)
    before = kernel.numpy()
    model.fit(*data(4 * N), batch_size=N, verbose=0)
    np.testing.assert_array_equal(before, kernel)


def test_a_conversion_names_a_phase_that_it_takes_out():
    model = compiled(network())
    ta.phases.interleave(model, NodePerturbation(squared, seed=5))
    with pytest.warns(UserWarning, match="'net' was taken out.* layers that store a feedback"):
        ta.convert(model, "backprop", inplace=True)
    model.fit(*data(4 * N), batch_size=N, verbose=0)
    model = compiled(network())
    ta.phases.interleave(model, NodePerturbation(squared, seed=5))
    ta.strip(model, inplace=True).fit(*data(4 * N), batch_size=N, verbose=0)


def moves(model, name="top"):
    before = feedback(model, name).numpy()
    model.fit(*data(2 * N), batch_size=N, verbose=0)
    return np.any(before != feedback(model, name).numpy())


def test_a_phase_whose_layer_became_stock_is_taken_out_by_name():
    model = compiled(network())
    ta.phases.interleave(model, ta.phases.Alignment("wm", layers=["top"], seed=1))
    with pytest.warns(UserWarning, match=r"'net' was taken out.*Received: layers=\['top'\]"):
        ta.convert(model, "fa", include="hidden1", inplace=True)
    model.fit(*data(N), batch_size=N, verbose=0)


def test_a_phase_with_nothing_to_learn_names_the_layers_of_now():
    model = compiled(network())
    ta.phases.interleave(model, NodePerturbation(squared, seed=5))
    ta.convert(model, "fa", include="hidden0", inplace=True)
    with pytest.raises(ValueError, match=r"needs a hidden layer.*\['net/hidden0'\]"):
        model.fit(*data(N), batch_size=N, verbose=0)


def test_a_phase_does_not_run_on_connections_that_are_gone():
    model, phase = network(), ta.phases.Alignment("wm", seed=1, steps=2)
    phase.run(model)
    ta.convert(model, "fa", include="hidden1", inplace=True)
    assert list(phase.run(model)) == ["net/hidden1"]
    ta.strip(model, inplace=True)
    with pytest.raises(ValueError, match="store a feedback kernel"):
        phase.run(model)


def test_a_phase_goes_on_in_a_model_inside_of_the_one_that_is_converted():
    inner = compiled(network())
    ta.phases.interleave(inner, NodePerturbation(squared, seed=5))
    outer = keras.Sequential([keras.Input((6,)), inner, K.Dense(8, name="out")])
    ta.convert(outer, "fa", inplace=True)
    assert moves(inner)
    ta.strip(compiled(outer), inplace=True).fit(*data(N), batch_size=N, verbose=0)
    inner.fit(*data(N), batch_size=N, verbose=0)


@pytest.mark.parametrize("wrap", [functools.wraps, lambda inner: lambda step: step])
def test_a_function_around_an_interleaved_step_stays_and_the_phase_goes_on(wrap):
    model, calls = compiled(network()), []
    phase = NodePerturbation(squared, seed=5)
    inner = ta.phases.interleave(model, phase).train_step

    @wrap(inner)
    def step(batch):
        calls.append(1)
        return inner(batch)

    model.train_step = step
    assert moves(model) and len(calls) == 1
    ta.convert(model, "fa", inplace=True)
    assert moves(model) and len(calls) == 2 and int(phase.variables[0]) == 2
    ta.phases.interleave(model, None)
    assert not moves(model) and len(calls) == 3
    ta.strip(model, inplace=True).fit(*data(N), batch_size=N, verbose=0)
    assert len(calls) == 4


def test_a_phase_in_training_by_symmetric_alignment_says_nothing_false():
    model = compiled(network("sa"))
    ta.phases.interleave(model, NodePerturbation(squared, seed=5)).fit(*data(2 * N), verbose=0)


def test_nothing_is_left_where_no_phase_was():
    model = compiled(ta.strip(network()))
    assert "train_step" not in vars(ta.phases.interleave(model, None))


def test_a_training_step_of_the_model_itself_survives_conversions_in_place():
    model, calls = compiled(ta.strip(network())), []
    own = model.train_step
    model.train_step = lambda batch: calls.append(1) or own(batch)
    for _ in range(2):
        ta.convert(model, "fa", inplace=True)
        model.fit(*data(N), batch_size=N, verbose=0)
    assert len(calls) == 2
    ta.strip(model, inplace=True).fit(*data(N), batch_size=N, verbose=0)
    assert len(calls) == 3


@pytest.mark.parametrize("change", [ta.convert, ta.strip])
def test_a_training_step_that_a_copy_has_not_is_named(change):
    model = compiled(network())
    own = model.train_step
    model.train_step = lambda batch: own(batch)
    arguments = ("fa",) if change is ta.convert else ()
    with pytest.warns(UserWarning, match="copy of model 'net' .* class Sequential"):
        change(model, *arguments)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: ta.convert(model, "fa", include="top", inplace=True),
        lambda model: ta.strip(model, inplace=True),
    ],
    ids=["convert", "strip"],
)
def test_a_check_of_before_says_nothing_false_below_a_function_around_it(change):
    model = compiled(network())
    own = model.train_step
    model.train_step = lambda batch: own(batch)
    change(model).fit(*data(N), batch_size=N, verbose=0)


def test_a_phase_takes_the_batch_where_it_was_put_also_after_a_conversion():
    model, sizes = compiled(network()), []
    phase = NodePerturbation(squared, seed=5)
    inner = ta.phases.interleave(model, phase).train_step
    take = phase.take_step
    phase.take_step = lambda model, batch: sizes.append(batch[0].shape[0]) or take(model, batch)
    model.train_step = lambda batch: inner(keras.tree.map_structure(lambda x: x[:4], batch))
    for _ in range(2):
        model.fit(*data(N), batch_size=N, verbose=0)
        ta.convert(model, "fa", inplace=True)
    assert sizes == [4, 4]


def test_a_step_that_was_kept_and_is_put_back_does_the_same():
    model = compiled(network())
    own = ta.phases.interleave(model, NodePerturbation(squared, seed=5)).train_step
    for _ in range(2):
        model.train_step = lambda batch: own(batch)
        ta.convert(model, "fa", inplace=True)
        model.train_step, model.train_function = own, None
        assert moves(model)
    ta.strip(model, inplace=True)
    assert "train_step" not in vars(model)


def test_a_phase_that_is_not_called_any_more_is_named():
    model = compiled(network())
    ta.phases.interleave(model, NodePerturbation(squared, seed=5))
    model.train_step = functools.partial(type(model).train_step, model)
    ta.convert(model, "fa", inplace=True)
    with pytest.warns(UserWarning, match="'node_perturbation' .* does not run"):
        model.fit(*data(N), batch_size=N, verbose=0)


@pytest.mark.parametrize("how", ["no arguments", "another name"])
def test_a_training_step_with_arguments_of_its_own(how):
    class Own(keras.Sequential):
        def train_step(self, batch=None):
            return {"loss": self.compute_loss(*(batch or data()), self(data()[0]))}

    model = compiled(Own([keras.Input((6,)), K.Dense(5, "tanh"), K.Dense(8)]))
    ta.convert(model, "fa", inplace=True)
    arguments = {} if how == "no arguments" else {"batch": data()}
    with pytest.warns(UserWarning, match="no error came back"):
        assert "loss" in model.train_step(**arguments)


def test_a_phase_of_another_model_or_of_changed_layers_is_refused():
    one, two = compiled(network()), compiled(network())
    phase = NodePerturbation(squared, seed=5)
    ta.phases.interleave(one, phase)
    ta.phases.interleave(two, phase)
    with pytest.raises(ValueError, match="one phase per model"):
        one.fit(*data(N), batch_size=N, verbose=0)
    inner = network()
    outer = compiled(keras.Sequential([keras.Input((6,)), inner]))
    ta.phases.interleave(ta.convert(outer, "fa", inplace=True), phase)
    ta.convert(inner, "fa", inplace=True)
    with pytest.raises(ValueError, match=r"interleave\(model, phase\)` again"):
        compiled(outer).fit(*data(N), batch_size=N, verbose=0)


def test_a_phase_does_not_hide_that_an_error_does_not_come_back():
    model = compiled(network())
    model.train_step = lambda batch: {"loss": keras.ops.sum(model(batch[0], training=True))}
    inner = ta.phases.interleave(model, NodePerturbation(squared, seed=5)).train_step
    model.train_step = lambda batch: inner(batch)
    ta.convert(model, "fa", inplace=True)  # the check is around the phase now
    with pytest.warns(UserWarning, match="no error came back"):
        model.fit(*data(N), batch_size=N, verbose=0)

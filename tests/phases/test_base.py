"""What all phases have in common: names, results, errors."""

import pytest
from phased import SGD, perceptron

import tf_alignment as ta
from tf_alignment.callbacks import DivergenceError
from tf_alignment.layers import feedback_layers
from tf_alignment.phases import Alignment
from tf_alignment.phases.base import measures


@pytest.mark.parametrize("kind", ["NodePerturbation", "SyntheticGradient", "RDD", "SAL"])
def test_every_phase_takes_a_name(kind):
    given = () if kind in ("RDD", "SAL") else (lambda y, y_pred: y,)
    assert getattr(ta.phases, kind)(*given, name="mine").name == "mine"
    assert getattr(ta.phases, kind)(*given).name != "mine"


def test_divergence_is_named():
    with pytest.raises(DivergenceError, match=r"'alignment' diverged: .*dense.* contains NaN"):
        Alignment("sa", steps=500, optimizer=SGD(3.0)).run(perceptron())


def test_a_model_that_was_converted_again_gets_its_new_kernels_changed():
    model, phase = ta.convert(perceptron(), "fa"), Alignment("wm", steps=5, seed=1)
    phase.run(model)
    ta.convert(model, "fa", inplace=True)
    kernels = [layer.feedback_weights["feedback_kernel"] for layer in feedback_layers(model)]
    before = [kernel.numpy() for kernel in kernels]
    results = phase.run(model)
    assert all((k.numpy() != old).any() for k, old in zip(kernels, before, strict=True))
    for path, connection in phase.connections(model).items():
        assert results[path] == pytest.approx(measures(connection))

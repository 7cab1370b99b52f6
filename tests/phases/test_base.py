"""What all phases have in common: names, results, errors."""

import pytest
from phased import SGD, perceptron

import tf_alignment as ta
from tf_alignment.callbacks import DivergenceError
from tf_alignment.phases import Alignment


@pytest.mark.parametrize("kind", ["NodePerturbation", "SyntheticGradient", "RDD", "SAL"])
def test_every_phase_takes_a_name(kind):
    given = () if kind in ("RDD", "SAL") else (lambda y, y_pred: y,)
    assert getattr(ta.phases, kind)(*given, name="mine").name == "mine"
    assert getattr(ta.phases, kind)(*given).name != "mine"


def test_divergence_is_named():
    with pytest.raises(DivergenceError, match=r"'alignment' diverged: .*dense.* contains NaN"):
        Alignment("sa", steps=500, optimizer=SGD(3.0)).run(perceptron())

"""Which dense layers follow each other."""

import keras
import numpy as np
import pytest
from phased import feedback_kernels as feedback
from sal_layers import K, quick, run

import tf_alignment as ta
from tf_alignment.phases import SAL
from tf_alignment.phases.spiking.stacks import stacks


def shape(model, layers=None):
    found = stacks(model, list(SAL(layers=layers).connections(model).values()))
    return [([c.layer.name for c in s.connections], s.below, s.sizes) for s in found]


def test_layers_follow_each_other_past_operations_on_units():
    x = keras.Input((4, 4, 2))
    h = K.Flatten()(K.Conv2D(2, 3, padding="same", name="conv")(x))
    h = K.Dropout(0.5)(K.ReLU()(K.BatchNormalization()(K.Dense(6, name="a")(h))))
    left = K.Dense(5, activation="tanh", name="b")(h)
    right = K.Dense(4, name="c")(K.Dense(3, name="d")(h))
    apart = K.Dense(7, name="e")(K.Flatten()(K.Conv1D(2, 1, name="conv1")(K.Reshape((5, 1))(left))))
    merged = K.Dense(2, name="f")(K.Concatenate()([left, right]))
    model = ta.convert(keras.Model(x, [apart, merged]), "fa")
    assert shape(model) == [
        (["a", "b", "d", "c"], (0, 1, 1, 3), [32, 6, 5, 3, 4]),
        (["e"], (0,), [10, 7]),
        (["f"], (0,), [9, 2]),
    ]
    assert shape(model, ["b", "c"]) == [(["b"], (0,), [6, 5]), (["c"], (0,), [3, 4])]
    assert set(run(quick(), model)) == set(feedback(model)) - {"conv", "conv1"}


@pytest.mark.parametrize(
    ("between", "follows"),
    [
        ([K.ELU(), K.LayerNormalization(), K.GaussianNoise(0.1), K.Identity()], True),
        ([K.Reshape((2, 3)), K.Permute((2, 1)), K.Flatten()], False),
        (
            [K.Reshape((6, 1)), K.MaxPooling1D(6), K.Flatten(), K.RepeatVector(6), K.Flatten()],
            False,
        ),
        ([K.EinsumDense("bi,ij->bj", 6)], False),
    ],
)
def test_layers_that_mix_units_begin_a_new_stack(between, follows):
    stack = [keras.Input((8,)), K.Dense(6, name="a"), *between, K.Dense(4, name="b")]
    model = ta.convert(keras.Sequential(stack), "fa", include="^[ab]$")
    found = [names for names, _, _ in shape(model, ["a", "b"])]
    assert found == ([["a", "b"]] if follows else [["a"], ["b"]])


def test_nested_shared_and_subclassed_models():
    inner = keras.Sequential([keras.Input((6,)), K.Dense(5, "relu", name="b")], name="inner")
    same = K.Dense(5, name="c")
    x = keras.Input((3,))
    nested = keras.Model(x, same(same(inner(K.Dense(6, name="a")(x)))))
    model = ta.convert(nested, "fa", include=".*")
    assert shape(model) == [(["a", "b", "c"], (0, 1, 2), [3, 6, 5, 5])]

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = (ta.layers.Dense(n, feedback="fa", name=f"of{n}") for n in (6, 5))

        def call(self, x):
            return self.b(self.a(x))

    own = Own()
    own(np.ones((1, 3)))
    assert shape(own) == [(["of6"], (0,), [3, 6]), (["of5"], (0,), [6, 5])]
    assert len(run(quick(), own)) == 2

"""Dale's law, as a constraint and as weights to begin with."""

import keras
import numpy as np
import pytest

import tf_alignment as ta

Dale = ta.constraints.Dale


def test_the_constraint_is_the_nearest_kernel_that_obeys():
    w = np.random.default_rng(0).standard_normal((10, 4)).astype("float32")
    dale = Dale(excitatory=0.7, seed=3)
    s = dale.signs(w.shape)
    assert s.shape == (10, 1) and (s > 0).sum() == 7
    found = np.asarray(dale(w))
    np.testing.assert_array_equal(found, np.where(np.sign(w) == s, w, 0.0))
    np.testing.assert_array_equal(dale(found), found)
    np.testing.assert_array_equal(Dale(excitatory=0.7, seed=3)(w), found)
    assert not np.array_equal(Dale(excitatory=0.7, seed=4)(w), found)


@pytest.mark.parametrize(("shape", "axis"), [((3, 3, 10, 4), -2), ((5, 20), -1), ((20, 5), 0)])
def test_the_initializer_obeys_and_is_balanced(shape, axis):
    dale = Dale(axis, 0.8, seed=1)
    draw = dale.initializer(seed=5)
    w = np.asarray(draw((*shape[:-2], *(40 * n for n in shape[-2:]))))
    np.testing.assert_array_equal(dale(w), w)
    other = tuple(i for i in range(w.ndim) if i != axis % w.ndim)
    signs = np.sign(w.sum(other))
    assert (signs > 0).mean() == 0.8
    base = np.asarray(keras.initializers.GlorotUniform(1)(w.shape))
    assert abs(np.sqrt(np.mean(w**2)) / base.std() - 1) < 0.03
    assert abs(w.mean()) < 0.03 * w.std()
    unbalanced = np.asarray(dale.initializer(balanced=False, seed=5)(w.shape))
    np.testing.assert_array_equal(np.sign(unbalanced), np.sign(w))
    assert unbalanced.mean() > 0.3 * unbalanced.std()


def test_a_network_learns_under_the_law_and_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 10)).astype("float32")
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    forward, back = Dale(seed=1), Dale(axis=-1, seed=2)
    layers = [
        ta.layers.Dense(
            units,
            activation,
            feedback="kp",
            kernel_initializer=forward.initializer(),
            kernel_constraint=forward,
            feedback_initializer=back.initializer(),
            feedback_constraint=back,
        )
        for units, activation in ((20, "relu"), (3, None))
    ]
    model = keras.Sequential([keras.Input((10,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.2), loss)
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for layer in loaded.layers:
        w, b = layer.kernel.numpy(), layer.feedback_weights["feedback_kernel"].numpy()
        np.testing.assert_array_equal(forward(w), w)
        np.testing.assert_array_equal(back(b), b)
        assert layer.kernel_constraint.get_config() == forward.get_config()
        assert layer.feedback_initializer.dale.get_config() == back.get_config()


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Dale(axis=0.5), ValueError, "Received: axis=0.5"),
        (lambda: Dale(excitatory=2), ValueError, "Received: excitatory=2"),
        (lambda: Dale(seed=-1), ValueError, "Received: seed=-1"),
        (lambda: Dale(axis=3).signs((2, 3)), ValueError, "Received: axis=3"),
        (lambda: ta.constraints.DaleInitializer("dale"), TypeError, "Received: dale='dale'"),
        (lambda: Dale().initializer("nothing"), ValueError, "`base`"),
        (lambda: Dale().initializer(balanced=1), TypeError, "Received: balanced=1"),
    ],
)
def test_wrong_arguments_name_themselves(make, error, match):
    with pytest.raises(error, match=match):
        make()

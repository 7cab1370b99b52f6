"""Models that earlier versions saved: they load, do the same, and learn on.

`make_fixtures.py` has written them; what is there is never written again.
"""

from pathlib import Path

import keras
import make_fixtures
import numpy as np
import pytest

import tf_alignment as ta

SAVED = sorted(make_fixtures.FIXTURES.glob("*/*.keras"))


@pytest.mark.parametrize("version", make_fixtures.METHODS)
def test_a_version_saved_every_method_that_it_had(version):
    names = {file.stem for file in SAVED if file.parent.name == version}
    assert names == set(make_fixtures.models_of(version)) > set(make_fixtures.METHODS[version])
    assert set(make_fixtures.METHODS[version]) <= set(ta.feedback.METHODS)  # none was taken away


def test_every_directory_of_files_has_its_list():
    assert {file.parent.name for file in SAVED} == set(make_fixtures.METHODS)


@pytest.mark.parametrize("file", SAVED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_saved_model_loads_does_the_same_and_learns_on(file: Path):
    model = keras.saving.load_model(file, safe_mode=True)
    with np.load(file.with_suffix(".npz"), allow_pickle=False) as stored:
        expected = {name: stored[name] for name in stored.files}
    x, y = make_fixtures.data(model)
    np.testing.assert_allclose(model(x), expected.pop("outputs"), rtol=1e-5, atol=1e-6)
    after = expected.pop("after")
    kernels = {f"feedback/{name}": b for name, b in make_fixtures.feedback_kernels(model).items()}
    assert set(kernels) == set(expected)
    for name, kernel in kernels.items():
        np.testing.assert_allclose(kernel, expected[name], rtol=1e-5, atol=1e-6)
    model.run_eagerly = True  # one step is not worth compiling
    model.fit(x, y, verbose=0)
    assert np.all(np.isfinite(model(x)))
    # needs the optimizer's state, and counters; what is drawn at random may come to be drawn anew
    if not any(layer.feedback.random for layer in ta.layers.feedback_layers(model)):
        np.testing.assert_allclose(model(x), after, rtol=1e-4, atol=1e-5)


def test_saved_models_take_little_room():
    files = [file for file in make_fixtures.FIXTURES.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 300_000

"""Write the models that every later version has to load.

    python tests/house/make_fixtures.py 0.1.0

It is done once per version, into a directory of that version, which is never written again; first
the version's methods are added to `METHODS`.
"""

import argparse
import os
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

import tf_alignment as ta

FIXTURES = Path(__file__).parent / "fixtures"
K = keras.layers


def convolutional():
    """A convolution, batch normalisation and two dense layers."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            K.Conv2D(3, 3, strides=2, activation="relu", name="conv"),
            K.BatchNormalization(name="norm"),
            K.Flatten(name="flat"),
            K.Dense(5, "tanh", name="hidden"),
            K.Dense(3, name="top"),
        ],
        name="net",
    )


def attention():
    """Attention of a sequence to itself, and a dense layer."""
    x = keras.Input((4, 5), name="words")
    y = K.MultiHeadAttention(2, 3, name="attention")(x, x)
    y = K.Dense(2, name="top")(K.GlobalAveragePooling1D(name="mean")(y))
    return keras.Model(x, y, name="net")


def _split():
    """An optimizer of their own for feedback weights that align, both with a state."""
    return ta.optimizers.split(keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1))


def _sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
# The methods that a version had. A line is written with its files and never changed: what came
# later is in a later one.
METHODS = {
    "0.1.0": (
        *("backprop", "fa", "dfa", "usf", "brsf", "frsf", "kp"),
        *("wm", "ia", "sa", "aa", "pfa", "pfa_o"),
    ),
}
# {name: (network, method, optimizer)}, besides one for every method
MODELS: dict[str, tuple] = {}
MODELS |= {method: (convolutional, method, _split) for method in ("wm", "ia", "sa", "aa")}
MODELS["scheduled"] = (
    convolutional,
    ta.feedback.Alignment({"amp": SCHEDULE, "decay": 0.1}, noise="gaussian", feedback_bias=True),
    _split,
)
MODELS["collapsed"] = (convolutional, ta.feedback.ProductFeedback(3.0, collapsed=True), _sgd)
MODELS["attention"] = (attention, "sa", _split)


def models_of(version):
    """`{name: (network, method, optimizer)}`, all that a version saves."""
    return {method: (convolutional, method, _sgd) for method in METHODS[version]} | MODELS


def feedback_kernels(model):
    """What carries errors, by a name that no counter is in."""
    found = {}
    for layer in ta.layers.feedback_layers(model):
        for connection in layer.connections:
            if layer.feedback.has_kernel:
                found[f"{layer.name}{connection.name}"] = connection.feedback_kernel()
    return found


def data(model):
    """A batch of inputs and targets."""
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal((4, *t.shape[1:])) for t in (model.inputs[0], model.outputs[0]))
    return x.astype("float32"), y.astype("float32")


def write(version: str) -> None:
    """Save all models, trained for two steps, with what they give then and after one more."""
    directory = FIXTURES / version
    directory.mkdir(parents=True)
    for name, (network, method, optimizer) in models_of(version).items():
        keras.utils.set_random_seed(1)
        model = ta.convert(network(), method)
        model.compile(optimizer(), "mse")
        x, y = data(model)
        model.fit(x, y, epochs=2, verbose=0)
        model.save(directory / f"{name}.keras")
        _compress(directory / f"{name}.keras")
        found = {f"feedback/{key}": np.asarray(b) for key, b in feedback_kernels(model).items()}
        found["outputs"] = model(x)
        model.fit(x, y, verbose=0)
        np.savez_compressed(directory / f"{name}.npz", after=model(x), **found)


def _compress(file: Path) -> None:
    """Keras stores files as they are, and HDF5 leaves much room in them."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="of the library, as 0.1.0")
    write(parser.parse_args().version)

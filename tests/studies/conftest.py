"""What tests of studies share: small data, and executors that make runs in this process."""

import sys
import zlib
from concurrent import futures

import keras
import numpy as np
import pytest

from tf_alignment.studies import child
from tf_alignment.studies.store import Store, read_json
from tf_alignment.studies.training import make


class Here(futures.Executor):
    """Makes a run where it is asked for, as `child.main` does in a process of its own."""

    def __init__(self, fails=()):
        self.made, self.fails = [], fails

    def submit(self, fn, command):
        *_, directory, name, _threads = command
        store, future = Store(directory), futures.Future()
        self.made.append(name)
        try:
            if any(part in name for part in self.fails):
                raise RuntimeError("asked for")
            self.make(store, name)
            future.set_result(child.DONE)
        except Exception as error:  # noqa: BLE001 - a row of the study
            store.keep("failed", name, {"error": f"{type(error).__name__}: {error}"})
            future.set_result(child.FAILED)
        return future

    def make(self, store, name):
        make(store, name)


class Pretends(Here):
    """Makes up results that depend on the task: for what is about which runs are made."""

    def make(self, store, name):
        run = read_json(store.file("tasks", name))["run"]
        rate = run["values"].get("learning_rate", 0.1)
        accuracy = 0.9 - abs(rate - 0.1) - 0.001 * (zlib.crc32(name.encode()) % 10)
        kept = {key: run[key] for key in ("variant", "case", "value", "seed", "kind", "values")}
        curves = {"val_accuracy": [0.1, accuracy], "hidden/gradient_angle": [90.0, 60.0]}
        store.keep("runs", name, {**kept, "status": "done", "curves": curves, "warnings": []})


@pytest.fixture
def here():
    return Here()


@pytest.fixture
def pretend():
    return Pretends


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(96, 6)).astype("float32")
    y = (x @ random.normal(size=(6, 3))).argmax(1).astype("int32")
    return (x[:64], y[:64]), (x[64:], y[64:])


@pytest.fixture
def network():
    def build():
        dense = keras.layers.Dense
        return keras.Sequential([keras.Input((6,)), dense(8, "relu"), dense(8, "relu"), dense(3)])

    return build


@pytest.fixture
def rule_file(tmp_path, request):
    """A rule of one's own, in a file outside the package."""
    name = f"rule_{zlib.crc32(request.node.name.encode())}"
    file = tmp_path / "rules" / f"{name}.py"
    file.parent.mkdir()
    file.write_text(
        "import tensorflow as tf\n"
        "import tf_alignment as ta\n"
        "SCALE = 0.1\n"
        "class HalfSign(ta.feedback.Feedback):\n"
        "    '''Sends the error through the signs.'''\n"
        "    def __init__(self, gain=1.0):\n"
        "        self.gain = gain\n"
        "    def get_config(self):\n"
        "        return {'gain': self.gain}\n"
        "    def feedback_kernel(self, c):\n"
        "        return self.gain * SCALE * tf.sign(c.kernel)\n"
    )
    yield file
    sys.modules.pop(name, None)

"""Strategies by name, and training with two workers on one machine."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment import distribute

# One worker: trains on digits, may die in the middle of an epoch, writes its weights at the end.
SCRIPT = """
import os, sys
import keras, numpy as np, tensorflow as tf
import tf_alignment as ta

output, method, backup, dies = sys.argv[1:]
strategy = ta.distribute.strategy()  # several workers where TF_CONFIG is set
keras.utils.set_random_seed(1)
with strategy.scope():
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(10)]
    model = ta.convert(keras.Sequential([keras.Input((8, 8, 1)), *layers]), method)
    model.compile(
        ta.optimizers.split(keras.optimizers.SGD(0.1, momentum=0.9)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
digits = ta.data.load("digits")
data = ta.data.EpochShuffled(*digits.train, 64, seed=1, drop_remainder=True)
test = tf.data.Dataset.from_tensor_slices(tuple(digits.test)).batch(60)

class Die(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 5):
            os._exit(7)

callbacks = [data.callback, ta.callbacks.Resume(backup, data=data)]
if dies == "dies":
    callbacks.insert(0, Die())
history = model.fit(
    data.dataset, epochs=3, shuffle=False, verbose=0, validation_data=test, callbacks=callbacks
).history
np.savez(output, *[v.numpy() for v in model.variables], history=history["loss"])
print(*ta.distribute.worker(strategy), history["val_accuracy"][-1])
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(folder, method, workers, dies=()):
    """Start so many processes of one training."""
    script = folder / "worker.py"
    script.write_text(SCRIPT)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes = []
    for i in range(workers):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
        environment = {**os.environ, "PYTHONPATH": str(Path(ta.__file__).parents[1])}
        if workers > 1:
            environment["TF_CONFIG"] = json.dumps(task)
        arguments = [str(folder / f"{method}-{workers}-{i}.npz"), method, str(folder / "backup")]
        command = [sys.executable, str(script), *arguments, "dies" if i in dies else "lives"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **pipes))
    return processes


def finished(processes):
    """Their last lines, once all have ended well."""
    found = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, found, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return [output.split("\n")[-2] for output, _ in found]


def weights(folder, method, workers, index):
    with np.load(folder / f"{method}-{workers}-{index}.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, with the same global batch."""
    folder = tmp_path_factory.mktemp("alone")
    assert finished(start(folder, "sa", 1))[0].startswith("0 1 ")
    return weights(folder, "sa", 1, 0)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_two_workers_killed_and_started_again_end_with_the_weights_of_one(tmp_path, alone):
    """One is killed in the second epoch; the other one cannot go on alone and is stopped."""
    processes = start(tmp_path, "sa", 2, dies=(1,))
    processes[1].communicate(timeout=240)
    assert processes[1].returncode == 7
    time.sleep(1.0)
    processes[0].kill()
    processes[0].communicate()
    stored = sorted(p.name for p in (tmp_path / "backup").glob("worker_*/epoch_*"))
    assert stored == ["epoch_000001", "epoch_000001"]
    lines = finished(start(tmp_path, "sa", 2))
    assert [line.split()[:2] for line in lines] == [["0", "2"], ["1", "2"]]
    assert not (tmp_path / "backup").exists()
    both = [weights(tmp_path, "sa", 2, i) for i in range(2)]
    for name, expected in alone.items():
        np.testing.assert_array_equal(both[0][name], both[1][name])
        np.testing.assert_allclose(both[0][name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["kp", "dfa", "pfa"])  # draw B alike, and learn it but for dfa
def test_two_workers_end_with_the_weights_of_one(method, tmp_path):
    for workers in (1, 2):
        finished(start(tmp_path, method, workers))
    for name, expected in weights(tmp_path, method, 1, 0).items():
        found = weights(tmp_path, method, 2, 1)[name]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_workers_that_stored_different_epochs_agree(tmp_path):
    """What the last step of a killed run leaves behind: one worker is an epoch ahead."""
    resume = ta.callbacks.Resume(tmp_path)
    resume._own, resume._workers = tmp_path, 2
    (tmp_path / "latest.json").write_text(json.dumps({"directory": "epoch_000007"}))

    class Strategy:
        def run(self, function):
            return function()

        def gather(self, value, axis):
            return tf.concat([value, [6]], axis)

    class Model:
        distribute_strategy = Strategy()

    resume._model = Model()
    assert resume._latest() == 6


@pytest.mark.slow
def test_the_package_loads_wherever_keras_has_its_trainer():
    script = """
import sys
import keras
del sys.modules["keras.src.backend.tensorflow"].trainer
sys.modules["keras.src.backend.tensorflow.trainer"] = None  # as if it had moved
import tf_alignment as ta
keras.__version__ = "3.99.0"
ta.distribute._mend_fit()
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(ta.__file__).parents[1])


# ---- names -----------------------------------------------------------------------------------


def test_default_and_mirrored(monkeypatch):
    assert distribute.strategy("default") is tf.distribute.get_strategy()
    assert distribute.strategy().num_replicas_in_sync == 1  # nothing in the environment
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    assert distribute.strategy("mirrored") == "mirrored"
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: 2 * ["a device"] * (kind == "GPU")
    )
    assert distribute.strategy("auto") == "mirrored"


@pytest.mark.parametrize(
    ("variables", "name", "expected"),
    [
        ({"TF_CONFIG": "{}"}, "auto", "tf_config"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "auto", "slurm"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "multi_worker", "slurm"),
        ({"TF_CONFIG": "{}", "SLURM_STEP_NUM_TASKS": "4"}, "multi_worker", "tf_config"),
    ],
)
def test_clusters_are_found(variables, name, expected, monkeypatch):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    resolvers = tf.distribute.cluster_resolver
    monkeypatch.setattr(resolvers, "TFConfigClusterResolver", lambda: "tf_config")
    monkeypatch.setattr(resolvers, "SlurmClusterResolver", lambda: "slurm")
    found = []
    monkeypatch.setattr(distribute, "_mend_fit", lambda: None)
    monkeypatch.setattr(
        tf.distribute,
        "MultiWorkerMirroredStrategy",
        lambda cluster_resolver: found.append(cluster_resolver),
    )
    distribute.strategy(name)
    assert found == [expected]


@pytest.mark.parametrize(
    ("name", "variables", "address"),
    [("tpu", {}, ""), ("tpu:mine", {}, "mine"), ("auto", {"TPU_NAME": "yours"}, "yours")],
)
def test_tpus_are_connected_to(name, variables, address, monkeypatch):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    steps = []
    monkeypatch.setattr(
        tf.distribute.cluster_resolver, "TPUClusterResolver", lambda tpu: f"resolver {tpu}"
    )
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", steps.append)
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", steps.append)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: ("strategy", resolver))
    assert distribute.strategy(name) == ("strategy", f"resolver {address}")
    assert steps == 2 * [f"resolver {address}"]


@pytest.mark.parametrize("name", ["gpu", "mirrored:2", "", None])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=r"Argument `name` must be one of .*Received: name="):
        distribute.strategy(name)


def test_several_workers_must_be_described():
    with pytest.raises(ValueError, match=r"TF_CONFIG.*Received: neither"):
        distribute.strategy("multi_worker")

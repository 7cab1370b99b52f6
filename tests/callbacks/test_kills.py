"""Sixty kills at random moments leave the weights as if there had been none."""

import json
import multiprocessing
import random
import signal
import zipfile
from pathlib import Path

import killed
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
KILLS = {"aligned": 17, "noisy": 16, "phase": 16, "phases": 11}
FILES = {"history.json", "latest.weights.h5", "manifest.json", "states.npz"}
FILES |= {"training_metadata.json"}


@pytest.fixture(scope="module")
def processes():
    """Processes that have TensorFlow imported, and nothing computed, before they are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tf_alignment"])
    return context


def attempt(processes, name, directory, result, kill=None):
    """Start or continue a training; whether it was killed.

    `kill` is after how many messages (of training's begin, of epochs' begins and ends) and seconds.
    """
    reader, writer = processes.Pipe(duplex=False)
    arguments = (name, str(directory), str(result), writer)
    process = processes.Process(target=killed.train, args=arguments)
    process.start()
    writer.close()
    messages, seconds = kill or (10**6, 120.0)
    with reader:
        try:
            for _ in range(messages):
                assert reader.poll(300), "the training hangs"
                reader.recv()
        except EOFError:  # it ended before
            seconds = 60.0
        process.join(seconds)
    process.kill()  # does nothing to a process that has ended
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def look_at(directory: Path):
    """What a kill left: nothing that piles up, and a backup that is whole. Was it being written?"""
    if not directory.exists():
        return False
    left = {path.name for path in directory.iterdir()}
    epochs = {name for name in left if name.startswith("epoch_")}
    assert left - epochs <= {"latest.json", "latest.json.new", "restart"}
    # the one that counts, the one being written, the one before being removed
    assert len(epochs) <= 3
    pointer = directory / "latest.json"
    current = None
    name = json.loads(pointer.read_text())["directory"] if pointer.exists() else "epoch_000000"
    if name != "epoch_000000":
        current = directory / name
        assert {path.name for path in current.iterdir()} == FILES
        assert zipfile.ZipFile(current / "states.npz").testzip() is None
        history = json.loads((current / "history.json").read_text())
        assert history["epoch"] == list(range(int(current.name.removeprefix("epoch_"))))
        assert len(history["history"]["loss"]) == len(history["epoch"])
    return bool(left - {"latest.json", current.name if current else ""})


def weights(result):
    with np.load(result) as stored:
        return [stored[name] for name in stored.files]


@pytest.mark.parametrize("name", killed.TRAININGS)
def test_killed_at_random_moments_the_weights_are_the_same_to_the_bit(
    name, processes, tmp_path, record_property
):
    assert not attempt(processes, name, tmp_path / "whole", tmp_path / "whole.npz")
    whole = weights(tmp_path / "whole.npz")
    rng, kills, writing, runs = random.Random(name), 0, 0, 0
    while True:
        directory, result = tmp_path / f"run_{runs}", tmp_path / f"run_{runs}.npz"
        # on a busy machine it can take more kills until one meets a file being written
        enough = kills >= KILLS[name] and (writing or kills >= 4 * KILLS[name])
        kill = None if enough else (rng.randint(1, 24), 0.15 * rng.random() ** 2)
        if attempt(processes, name, directory, result, kill):
            kills += 1
            writing += look_at(directory)
            continue
        for a, b in zip(weights(result), whole, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not directory.exists()
        runs += 1
        if kill is None:
            break
    record_property("kills", kills)
    record_property("while writing", writing)
    record_property("trainings", runs)
    assert kills >= KILLS[name] and writing > 0 and runs > 1

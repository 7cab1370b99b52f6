"""A killed run resumes to the same weights."""

import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import training
from training import LOSS, classifier

import tf_alignment as ta
from tf_alignment.callbacks import AlignmentMonitor, Resume

# Keras 3.15 hands variables to numpy 2 in a way that numpy 2 announces to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SGD = keras.optimizers.SGD


@pytest.fixture(scope="module")
def digits():
    return training.flat_digits()


class Crash(Exception):
    pass


def resumable(
    directory, digits, crash=None, epochs=4, feedback="sa", optimizer=None, built=True, **options
):
    """One attempt at a run with dropout, noise and shuffling; `crash` is a callback or None.

    A step that has to build its optimizer is traced twice.
    """
    keras.backend.clear_session()
    model = classifier(feedback, optimizer or ta.optimizers.split("adam"), dropout=0.3)
    if built:
        model.optimizer.build(model.trainable_variables)
    x, y = digits
    data = ta.data.EpochShuffled(x[:512], y[:512], batch_size=128, seed=5)
    callbacks = [*([crash] if crash else []), Resume(directory, data=data, **options)]
    history = model.fit(data.dataset, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
    return model, history


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A run that nothing interrupts."""
    return resumable(tmp_path_factory.mktemp("whole"), digits)


class CrashAt(keras.callbacks.Callback):
    """Raise after a batch of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.now = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == self.at:
            raise Crash


def assert_same(model, other):
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


SCHEDULED = ta.feedback.SymmetricAlignment(
    beta=keras.optimizers.schedules.ExponentialDecay(1.0, 9, 0.9)
)
NOISY = ta.feedback.WeightMirror(0.1, 0.1, noise="gaussian")


@pytest.mark.parametrize(
    ("feedback", "policy"),
    [
        ("sa", "mixed_float16"),
        pytest.param("brsf", "float32", marks=pytest.mark.slow),
        pytest.param("pfa", "float32", marks=pytest.mark.slow),
        pytest.param(SCHEDULED, "float32", marks=pytest.mark.slow),
        (NOISY, "float32"),
    ],
    ids=["mixed", "redrawn", "product", "scheduled", "noisy"],
)
def test_interrupted_anywhere_it_ends_with_the_same_weights(feedback, policy, digits, tmp_path):
    keras.config.set_dtype_policy(policy)

    def attempt(name, *crash):
        # under Adam product feedback warns
        optimizer = SGD(0.05, momentum=0.9) if feedback == "pfa" else None
        options = {"optimizer": optimizer, "built": feedback != "sa"}
        return resumable(tmp_path / name, digits, *crash, feedback=feedback, **options)

    whole, history = attempt("whole")
    for at in ((0, 3), (1, 2), (3, 0)):
        with pytest.raises(Crash):
            attempt("parts", CrashAt(*at))
    parts, resumed = attempt("parts")
    assert_same(whole, parts)
    assert resumed.history == history.history
    assert resumed.epoch == history.epoch == [0, 1, 2, 3]


def test_stock_backup_and_restore_does_not_do_that(digits, tmp_path):
    """If this fails, Keras has learned it, and `Resume` can shrink."""

    def run(crash):
        keras.backend.clear_session()
        model = classifier(dropout=0.3)
        stock = keras.callbacks.BackupAndRestore(str(tmp_path / f"stock_{crash is None}"))
        callbacks = [stock, *([crash] if crash else [])]
        data = ta.data.EpochShuffled(*digits, batch_size=128, seed=5)
        callbacks.append(data.callback)
        model.fit(data.dataset, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
        return model

    with pytest.raises(Crash):
        run(CrashAt(1, 1))
    backup = tmp_path / "stock_False"
    backup.rename(tmp_path / "stock_True")
    resumed = run(None)
    whole = run(None)
    assert not np.allclose(resumed.get_layer("top").kernel, whole.get_layer("top").kernel)


class CrashWriting:
    """Make the n-th step of writing the second epoch's backup raise, before or after it is done."""

    def __init__(self, monkeypatch, call, after):
        self.call, self.after, self.calls, self.armed = call, after, 0, False
        resume, backup = ta.callbacks.resume, ta.callbacks.backup
        of_keras = keras.callbacks.BackupAndRestore
        steps = [(resume.np, "savez"), (backup, "_flush"), (backup.os, "replace")]
        for where, name in (*steps, (backup.shutil, "rmtree"), (of_keras, "on_epoch_end")):
            monkeypatch.setattr(where, name, self.wrap(getattr(where, name)))

    def arm(self, epoch, logs):
        self.armed = epoch == 1

    def wrap(self, function):
        def step(*args, **kwargs):
            self.calls += self.armed
            hit = self.armed and self.calls == self.call
            if hit and not self.after:
                raise Crash
            result = function(*args, **kwargs)
            if hit:
                raise Crash
            return result

        return step


@pytest.mark.parametrize(
    (
        "call",
        "after",
    ),  # 1: Keras' files, 2: states, 3-8: to the disk, 9: the switch, 10: tidying up
    [(1, False), (1, True), (2, True), (8, True), (9, True), (10, False)],
)
def test_a_crash_while_writing_loses_one_epoch_at_most(
    call, after, whole, digits, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        crash = CrashWriting(patch, call, after)
        arm = keras.callbacks.LambdaCallback(on_epoch_begin=crash.arm)
        with pytest.raises(Crash):
            resumable(tmp_path, digits, arm, epochs=2)
    begun = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    parts, history = resumable(tmp_path, digits, look)
    switched = call > 9 or (call == 9 and after)
    assert begun[0] == (2 if switched else 1)
    assert history.epoch == [0, 1, 2, 3]
    assert_same(whole[0], parts)


def test_the_backup_goes_when_training_ends_and_the_model_can_train_on(digits, tmp_path):
    directory = tmp_path / "backup"
    with pytest.raises(Crash):
        resumable(directory, digits, CrashAt(2, 1))
    assert [p.name for p in directory.glob("epoch_*")] == ["epoch_000002"]
    model, _ = resumable(directory, digits)
    assert not directory.exists()
    x, y = digits
    assert model.fit(x, y, epochs=2, verbose=0).epoch == [0, 1]


def test_a_kept_backup_of_a_finished_run_finds_nothing_to_do(digits, tmp_path):
    first, history = resumable(tmp_path, digits, delete_checkpoint=False)
    again, restored = resumable(tmp_path, digits, delete_checkpoint=False)
    assert_same(first, again)
    assert restored.history == history.history
    longer, _ = resumable(tmp_path, digits, epochs=6)
    whole, _ = resumable(tmp_path / "other", digits, epochs=6)
    assert_same(longer, whole)


def test_measures_of_the_monitor_are_restored_too(digits, tmp_path):
    with pytest.raises(Crash):
        resumable(tmp_path / "b", digits, [AlignmentMonitor(), CrashAt(2, 1)])
    _, history = resumable(tmp_path / "b", digits, AlignmentMonitor())
    assert len(history.history["mean/weight_angle"]) == 4


@pytest.mark.parametrize(
    ("worker", "expected"), [((0, 1), "b"), ((0, 2), "b/worker_0"), ((1, 2), "b/worker_1")]
)
def test_each_of_several_workers_has_a_directory_of_its_own(worker, expected, monkeypatch):
    monkeypatch.setattr(ta.callbacks.resume, "worker", lambda strategy: worker)
    found = ta.callbacks.resume.own_directory(Path("b"), keras.Model().distribute_strategy)
    assert found == Path(expected)


@pytest.mark.slow
def test_two_replicas_resume(digits, tmp_path, two_replicas):
    def run(directory, crash=None):
        with two_replicas.scope():
            model = classifier("sa", dropout=0.3)
        x, y = digits
        data = ta.data.EpochShuffled(x[:512], y[:512], batch_size=128, seed=5)
        callbacks = [*([crash] if crash else []), Resume(directory, data=data)]
        model.fit(data.dataset, shuffle=False, epochs=4, verbose=0, callbacks=callbacks)
        return model

    whole = run(tmp_path / "whole")
    with pytest.raises(Crash):
        run(tmp_path / "parts", CrashAt(2, 1))
    parts = run(tmp_path / "parts")
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_wrong_arguments_of_resume(digits, tmp_path):
    with pytest.raises(ValueError, match=r"`backup_dir` must be .* Received: backup_dir=''"):
        Resume("")
    with pytest.raises(TypeError, match=r"integer attribute `epoch`.*Received: data=3"):
        Resume(tmp_path, data=3)
    model = keras.Sequential([keras.layers.Dense(10)], name="open")
    model.compile("sgd", LOSS)
    x, y = digits
    with pytest.raises(ValueError, match=r"built before `fit`.*Received: .*'open'"):
        model.fit(x, y, verbose=0, callbacks=[Resume(tmp_path)])


SCRIPT = """
import sys
import keras
import numpy as np
import tf_alignment as ta

keras.utils.set_random_seed(11)
train = ta.data.load("digits").train
data = ta.data.EpochShuffled(train.x, train.y, batch_size=64, seed=4)
model = ta.convert(
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ]
    ),
    "sa",
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(ta.optimizers.split(keras.optimizers.SGD(0.02, momentum=0.9)), loss)
say = keras.callbacks.LambdaCallback(
    on_epoch_begin=lambda epoch, logs: print("epoch", epoch, flush=True)
)
model.fit(
    data.dataset,
    epochs=int(sys.argv[3]),
    verbose=0,
    shuffle=False,
    callbacks=[say, ta.callbacks.Resume(sys.argv[1], data=data)],
)
np.savez(sys.argv[2], *[v.numpy() for v in model.variables])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    epochs, rng = 20, random.Random()
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def start(name):
        command = [sys.executable, script, tmp_path / name, tmp_path / f"{name}.npz", str(epochs)]
        root = Path(__file__).parents[2]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)

    firsts = []
    with start("whole") as whole:
        for _ in range(3):
            with start("parts") as run:
                firsts.append(int(run.stdout.readline().split()[1]))
                for _ in range(rng.randint(1, 4)):
                    run.stdout.readline()
                time.sleep(rng.uniform(0.0, 0.2))
                run.kill()
            assert run.returncode == -signal.SIGKILL, "the run ended before it was killed"
        with start("parts") as last:
            firsts.append(int(last.communicate(timeout=120)[0].split()[1]))
        whole.communicate(timeout=120)
    assert (whole.returncode, last.returncode) == (0, 0)
    assert firsts[0] == 0
    assert firsts[-1] > 0
    assert firsts == sorted(firsts)
    with np.load(tmp_path / "whole.npz") as a, np.load(tmp_path / "parts.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-6)


def test_the_epoch_of_the_data_may_be_a_numpy_number(tmp_path):
    class Data:
        epoch = np.int64(0)

    Resume(tmp_path, data=Data())
    for wrong in (True, 0.0, None):
        Data.epoch = wrong
        with pytest.raises(TypeError, match="integer attribute `epoch`"):
            Resume(tmp_path, data=Data())


def aligning(directory, crash=None, resume_first=False, epochs=4, method="wm", **options):
    """A run whose feedback two phases learn; `Resume` is not told of them."""
    keras.backend.clear_session()
    model = training.perceptron((8, 5), 6)
    model = ta.convert(model, options.pop("feedback", "fa"))
    model.compile(options.pop("optimizer", None) or keras.optimizers.SGD(0.1), "mse")
    x, y = training.toy(32, 6, 5)
    data = ta.data.EpochShuffled(x, y, batch_size=16, seed=5)
    optimizer = keras.optimizers.SGD(0.02, momentum=0.9)
    phase = ta.phases.Alignment(
        method, steps=options.pop("steps", 2), optimizer=optimizer, batch_size=8, seed=2
    )
    slow = ta.phases.Alignment("sa", steps=1, optimizer="sgd", batch_size=8, seed=3, name="slow")
    runs = [
        ta.callbacks.FeedbackCallback(phase, every_batches=options.pop("every_batches", None)),
        ta.callbacks.FeedbackCallback(slow, every=None, warmup=1),
    ]
    resume = Resume(directory, data=data, **options)
    callbacks = [resume, *runs] if resume_first else [*runs, resume]
    callbacks = [*([crash] if crash else []), *callbacks]
    history = model.fit(data.dataset, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
    return model, history


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("every", [None, 1])
def test_phases_are_found_in_the_callbacks_of_the_same_fit(every, first, tmp_path):
    whole, history = aligning(tmp_path / "whole", every_batches=every, resume_first=first)
    with pytest.raises(Crash):
        aligning(tmp_path / "parts", CrashAt(2, 0), first, every_batches=every)
    parts, resumed = aligning(tmp_path / "parts", None, first, every_batches=every)
    assert_same(whole, parts)
    if not first:  # what others log after it is not stored
        assert resumed.history == history.history


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The backup of a run that was killed in its third epoch."""
    directory = tmp_path_factory.mktemp("kept") / "backup"
    with pytest.raises(Crash):
        aligning(directory, CrashAt(2, 0))
    return directory


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"feedback": "kp"}, "FeedbackAlignment.*KolenPollack"),
        ({"feedback": "frsf"}, "FeedbackAlignment.*FixedRandomSignSymmetry"),
        ({"method": "ia"}, "phases/alignment/rule/.* was .* and is"),
        ({"steps": 3}, "phases/alignment/steps was 2 and is 3"),
        ({"every_batches": 2}, "phases/alignment/every was 1 and is None"),
        ({"optimizer": keras.optimizers.SGD(0.2)}, r"optimizer/learning_rate was 0\.1"),
        ({"optimizer": keras.optimizers.Adam(0.1)}, "optimizer/.* was .* and is"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_a_backup_of_another_method_or_other_settings_is_refused(change, what, kept, tmp_path):
    shutil.copytree(kept, tmp_path / "b")
    with pytest.raises(
        ValueError, match=rf"(?s)same model, method and settings.*{what}.*backup_dir"
    ):
        aligning(tmp_path / "b", **change)
    _, history = aligning(tmp_path / "b")  # nothing was changed
    assert history.epoch == [0, 1, 2, 3]


def _cut(file):
    file.write_bytes(file.read_bytes()[:-7])


def _garble(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)


@pytest.mark.parametrize("harm", [Path.unlink, _cut, _garble], ids=["lost", "cut", "garbled"])
@pytest.mark.parametrize(
    "name",
    [
        "latest.json",
        *(
            f"epoch_000002/{name}"
            for name in (
                *("history.json", "latest.weights.h5", "manifest.json", "states.npz"),
                "training_metadata.json",
            )
        ),
    ],
)
def test_damaged_and_lost_files_are_named(name, harm, kept, tmp_path):
    shutil.copytree(kept, tmp_path / "b")
    harm(tmp_path / "b" / name)
    with pytest.raises(ValueError, match="`backup_dir` is damaged") as caught:
        aligning(tmp_path / "b")
    assert f"'{name}'" in str(caught.value)
    assert str(caught.value).endswith(f"Received: backup_dir='{tmp_path / 'b'}'")


@pytest.mark.parametrize("target", ["../elsewhere", "/tmp", "epoch_000001/..", 3, None])
def test_the_pointer_points_into_the_backup(target, kept, tmp_path):
    shutil.copytree(kept, tmp_path / "b")
    (tmp_path / "b" / "latest.json").write_text(json.dumps({"directory": target}))
    with pytest.raises(ValueError, match=r"'latest.json' points to .*no state of this backup"):
        aligning(tmp_path / "b")


def test_a_directory_that_cannot_be_written_is_an_error_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("")
    begun = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(1))
    for directory in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(ValueError, match=r"`backup_dir` must be .* that can be written"):
            aligning(directory, look)
    assert not begun


@pytest.mark.parametrize("feedback", ["brsf", NOISY], ids=["brsf", "noisy"])
def test_a_random_stream_goes_on_after_saving_and_loading(feedback, tmp_path):
    layer = ta.layers.Dense(4, feedback=feedback)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), layer])
    model(np.ones((2, 3)), training=True)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "m.weights.h5")
    want = layer.draw_seed(True).numpy()
    for again in (loaded, other):
        np.testing.assert_array_equal(again.layers[-1].draw_seed(True).numpy(), want)

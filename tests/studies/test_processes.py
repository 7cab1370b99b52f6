"""Runs as processes: a rule from a file, Dask, kills, Ctrl-C."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tf_alignment as ta

ROOT = Path(ta.__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
RULE = """\
import tensorflow as tf
import tf_alignment as ta


class HalfSign(ta.feedback.Feedback):
    def feedback_kernel(self, c):
        scale = tf.reduce_mean(tf.abs(c.kernel))
        return 0.5 * scale * tf.sign(c.kernel)
"""
SCRIPT = """\
import functools
import sys

import keras

import tf_alignment as ta


class Mine(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def build():
    layers = [keras.layers.Flatten(), Mine(), *ta.models.perceptron((64, 16, 16, 10)).layers]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def rate(run, learning_rate):
    return keras.optimizers.SGD(learning_rate, momentum=0.9)


if __name__ == "__main__":
    study = ta.studies.Study(
        build,
        "digits",
        ["backprop", "fa"],
        compile={"optimizer": functools.partial(rate, learning_rate=0.05), "jit_compile": False},
        epochs=2,
        seeds=1,
        cost=False,
    )
    executor = None
    if "dask" in sys.argv:
        from dask.distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        client = Client(cluster)
        executor = client.get_executor()
    results = study.run(sys.argv[1], executor)
    print(results.table())
    assert not results.failures, results.failures
    if executor is not None:
        client.close()
        cluster.close()
"""


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=ENVIRONMENT,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def curves(directory):
    runs = [json.loads(file.read_text()) for file in (directory / "runs").glob("*.json")]
    return {(run["variant"], run["seed"]): run["curves"] for run in runs}


@pytest.fixture
def script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


@pytest.mark.slow
def test_a_script_with_its_own_layers_and_functions(script):
    done = command("script.py", "here", cwd=script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[2/2]" in done.stdout and "| fa" in done.stdout
    task = json.loads(next((script / "here" / "tasks").glob("*-fa-*")).read_text())
    assert task["files"] == {"script": str((script / "script.py").resolve())}


@pytest.mark.slow
def test_a_script_of_a_package_run_by_its_module(tmp_path):
    package = tmp_path / "mine" / "figures"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "import keras\n\n\ndef rate(run):\n    return keras.optimizers.SGD(0.05)\n"
    )
    imports = "from . import parts\nfrom mine.figures.parts import rate as half\n"
    first = "import tf_alignment as ta\n"
    text = SCRIPT.replace(first, first + imports, 1)
    text = text.replace("functools.partial(rate, learning_rate=0.05)", "parts.rate")
    text = text.replace('["backprop", "fa"]', '[ta.studies.Variant("fa", "fa", optimizer=half)]')
    (package / "first.py").write_text(text)
    done = command("-m", "mine.figures.first", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    task = json.loads(next((tmp_path / "out" / "tasks").glob("*-fa-*")).read_text())
    assert task["files"] == {
        f"mine.figures.{name}": str((package / f"{name}.py").resolve())
        for name in ("first", "parts")
    }
    again = command("-m", "mine.figures.first", "out", cwd=tmp_path)
    assert "1 of 1 runs were made before" in again.stdout


@pytest.mark.slow
def test_the_same_numbers_on_a_dask_cluster(script):
    pytest.importorskip("distributed")
    for name in ("here", "dask"):
        done = command("script.py", name, name, cwd=script)
        assert done.returncode == 0, done.stdout + done.stderr
    assert curves(script / "here") == curves(script / "dask")
    assert len(curves(script / "dask")) == 2


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_numbers(script):
    whole = command("script.py", "whole", cwd=script)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    dice = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "script.py", "killed"],
            env=ENVIRONMENT,
            cwd=script,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(dice.uniform(8.0, 20.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = command("script.py", "killed", cwd=script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert curves(script / "whole") == curves(script / "killed")
    table = [line for line in whole.stdout.splitlines() if line.startswith("|")]
    assert table == [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert not list((script / "killed" / "unfinished").iterdir())


@pytest.mark.slow
def test_two_processes_on_one_directory_make_each_run_once(script):
    both = [
        subprocess.Popen(
            [sys.executable, "script.py", "shared"],
            env=ENVIRONMENT,
            cwd=script,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    logs = [file.read_text() for file in (script / "shared" / "logs").iterdir()]
    assert len(logs) == 2 and all(log.count("Epoch 1/2") == 1 for log in logs)
    tables = [[line for line in text.splitlines() if line[:1] == "|"] for text in outputs]
    assert tables[0] == tables[1] and len(tables[0]) == 4


@pytest.mark.slow
def test_ctrl_c_ends_the_runs_and_says_so_in_one_line(script):
    process = subprocess.Popen(
        [sys.executable, "script.py", "interrupted"],
        env=ENVIRONMENT,
        cwd=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    logs = script / "interrupted" / "logs"
    while not logs.exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; 0 of 2 runs are done" in out
    assert "Traceback" not in out + err
    for name in (script / "interrupted" / "locks").iterdir():
        assert not ta.studies.store.Store(script / "interrupted").busy(name.name)


@pytest.mark.slow
def test_one_command_compares_a_rule_from_a_file(tmp_path):
    (tmp_path / "halfsign.py").write_text(RULE)
    arguments = ["--methods", "backprop", "halfsign.py:HalfSign", "--epochs", 1, "--seeds", 1]
    study = ["-m", "tf_alignment", "study", *arguments, "--output", "out"]
    done = command(*study, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| HalfSign" in done.stdout
    assert len(done.stderr.splitlines()) <= 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "HalfSign" in page and "http" not in page


# ---- several workers -------------------------------------------------------------------------


def cluster(kind, index, **tasks):
    return json.dumps({"cluster": tasks, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("variables", "strategy", "expected"),
    [
        ({}, "multi_worker", None),
        ({"TF_CONFIG": cluster("worker", 1, worker=["a", "b"])}, "multi_worker", 1),
        ({"TF_CONFIG": cluster("worker", 1, worker=["a", "b"])}, "auto", 1),
        ({"TF_CONFIG": cluster("worker", 1, worker=["a", "b"])}, "default", None),
        ({"TF_CONFIG": cluster("worker", 1, worker=["a", "b"]), "TPU_NAME": "t"}, "auto", None),
        ({"TF_CONFIG": cluster("chief", 0, chief=["a"], worker=["b"])}, "multi_worker", 0),
        ({"TF_CONFIG": cluster("worker", 0, chief=["a"], worker=["b"])}, "multi_worker", 1),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, "multi_worker", 3),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, "auto", None),
    ],
)
def test_the_number_of_a_worker_is_in_the_environment(variables, strategy, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ta.studies.store.worker_number(strategy) == expected


def test_workers_of_one_run_have_locks_of_their_own(tmp_path):
    first, second, alone = (ta.studies.store.Store(tmp_path) for _ in range(3))
    first.worker, second.worker = 0, 1
    with first.lock("one") as free, second.lock("one") as too:
        assert free and too and first.busy("one") and not alone.busy("one")


def test_workers_make_one_run_after_the_other(tmp_path, monkeypatch):
    study = ta.studies.Study(
        lambda: ta.models.perceptron((64, 10)), "digits", ["fa"], strategy="multi_worker"
    )
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG"):
        study.run(tmp_path)
    monkeypatch.setenv("TF_CONFIG", cluster("worker", 0, worker=["localhost:1", "localhost:2"]))
    with pytest.raises(ValueError, match=r"leave out `jobs`.*Received: strategy='multi_worker'"):
        study.run(tmp_path, jobs=2)

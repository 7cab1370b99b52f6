"""The quickstart trains, prints its table and writes what it says; what all examples share."""

import json
import os
import socket
import subprocess
import types

import keras
import numpy as np
import pytest
import scripts

import tf_alignment as ta
from examples import common, curves, networks, quickstart
from tf_alignment.studies.models import named_model

# ---- what all examples share -----------------------------------------------------------------


def test_curves_of_runs_of_several_lengths_are_stacked():
    runs = [{"curves": {"loss": [3.0, 2.0]}}, {"curves": {"loss": [1.0]}}, {"curves": {}}]
    nan = np.nan
    expected = [[3, 2], [1, nan], [nan, nan]]
    np.testing.assert_array_equal(curves.stacked(runs, "loss"), expected)


def test_a_cell_says_what_stands_behind_the_mean():
    values = np.array([1.0, 2.0, 3.0])
    assert curves.with_deviation(values) == "2.00 ± 1.00"  # with n − 1
    assert curves.with_error(values, 3) == "2.000 ± 0.577"  # 1/√3
    assert curves.with_error(values[:1]) == "1.00"
    assert curves.with_deviation(values[:1], 1) == "1.0"
    for cell in (curves.with_deviation, curves.with_error):
        assert cell(values[:0]) == "-" and cell(np.array([2.0, np.nan])) == "-"


def test_runs_are_grouped_and_their_last_values_taken():
    runs = [{"a": 1, "b": 2, "curves": {"loss": [3.0, 0.5]}}, {"a": 1, "b": 3, "curves": {}}]
    runs.append({"a": 0, "b": 2, "curves": {"loss": [2.0]}})
    assert {a: len(own) for a, own in common.grouped(runs, "a").items()} == {1: 2, 0: 1}
    assert list(common.grouped(runs, "a", "b")) == [(1, 2), (1, 3), (0, 2)]
    np.testing.assert_array_equal(curves.last(runs[:1], "loss", 100.0), [50.0])
    np.testing.assert_array_equal(curves.last(runs, "loss"), [0.5, np.nan, np.nan])


def test_numbers_versions_and_a_figure_are_written(tmp_path, capsys):
    figure, _ = common.new_figure(1, 1)
    common.write(tmp_path / "a-0.01", {"runs": [1]}, figure)
    found = json.loads((tmp_path / "a-0.01.json").read_text())
    assert found == {"versions": common.versions(), "runs": [1]}
    assert (tmp_path / "a-0.01.png").read_bytes().startswith(b"\x89PNG")
    assert f"{tmp_path / 'a-0.01'}.json and .png" in capsys.readouterr().out


def test_a_finished_run_is_found_by_its_settings(tmp_path):
    file = tmp_path / "one.json"
    assert common.finished(file, {"seed": 1}) is None
    common.write_json(file, {"seed": 1, "sizes": [2, 3], "loss": 0.5})
    assert common.finished(file, {"seed": 1, "sizes": (2, 3)})["loss"] == 0.5
    with pytest.raises(ValueError, match="other settings"):
        common.finished(file, {"seed": 2})


def test_inputs_are_normalised_by_the_training_split():
    digits = ta.data.load("digits")
    found = common.normalised(digits, flat=True)
    assert found.train.x.shape == (1437, 64) and found.test.x.dtype == np.float32
    assert found.train.x.mean() == pytest.approx(0, abs=1e-5)
    assert found.train.x.std() == pytest.approx(1, rel=1e-5)
    expected = (digits.test.x - digits.train.x.mean()) / digits.train.x.std()
    np.testing.assert_allclose(found.test.x, expected.reshape(360, 64), rtol=1e-4, atol=1e-5)
    given = common.normalised(digits, 0.5, 2.0)
    np.testing.assert_allclose(given.test.x, (digits.test.x - 0.5) / 2, rtol=1e-6)


def test_networks_of_several_folders():
    small, large = (named_model("small", (side, side, 1), 10) for side in (8, 28))
    assert small.layers[0].output.shape[1:] == (8, 8, 16)
    assert large.layers[0].output.shape[1:] == (14, 14, 16)
    names = ("low", "high")
    keras.utils.set_random_seed(1)
    model = networks.perceptron((4, 4, 1), (5, 3), names)
    keras.utils.set_random_seed(1)
    flat = ta.models.perceptron((16, 5, 3))
    assert [layer.name for layer in model.layers[1:]] == list(names)
    x = np.random.default_rng(0).random((2, 4, 4, 1), "float32")
    np.testing.assert_allclose(model(x), flat(x.reshape(2, 16)), rtol=1e-6)
    assert networks.residual(4, 8, 1).output_shape == (None, 10)


# ---- the quickstart --------------------------------------------------------------------------


def test_weight_decay_is_for_methods_that_align_by_it_and_for_a_control():
    run = types.SimpleNamespace(steps=60)
    decays, rates = {}, {}
    for name in quickstart.METHODS:
        row = quickstart.variant(name, 0.1)
        forward = max(row.optimizer(run).optimizers, key=lambda one: one.momentum)
        decays[name] = forward.weight_decay
        forward.iterations.assign(10)  # of 60: the schedule has risen for a sixth
        rates[name] = round(float(forward.learning_rate), 6)
        assert row.feedback == name.replace(", decay", "")
    assert {name for name, decay in decays.items() if decay == 0.1} == {
        *("kp", "pfa", "pfa_o", "backprop, decay")
    }
    assert set(decays.values()) == {None, 0.1}
    assert {name: rate for name, rate in rates.items() if rate != 0.1} == quickstart.SLOW


@pytest.mark.slow
def test_two_methods_on_digits(tmp_path):
    done = scripts.attempt(
        "quickstart", "--methods", "kp", "dfa", "--epochs", 2, "--seeds", 2, "--output", tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("kp", "dfa")] == ["kp", "dfa"]
    assert "[4/4]" in done.stdout
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    methods = json.loads((tmp_path / "digits.json").read_text())["methods"]
    assert list(methods) == ["kp", "dfa"]
    for found in methods.values():
        assert np.shape(found["accuracy"]) == (2, 2)
        assert np.shape(found["gradient_angle"]) == (2, 2)
    assert methods["kp"]["angle"][0][0] > 45
    assert "±" in done.stdout
    assert methods["dfa"]["angle"] == [[None, None], [None, None]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_train_each_run_together(tmp_path):
    """On one directory: each has locks and logs of its own, and both have the results."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    command = scripts.command(
        "quickstart", "--quick", "--methods", "fa", "kp", "--output", tmp_path
    )
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                [*command, "--strategy", "multi_worker"],
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.PIPE,
                text=True,
                cwd=scripts.ROOT,
            )
        )
    for worker in workers:
        printed, _ = worker.communicate(timeout=800)
        assert worker.returncode == 0 and "[2/2]" in printed, printed
    logs = sorted(
        file.name.rpartition(".worker")[2] for file in (tmp_path / "digits/logs").iterdir()
    )
    assert logs == ["0.txt", "0.txt", "1.txt", "1.txt"]
    assert not list((tmp_path / "digits/unfinished").iterdir())
    methods = json.loads((tmp_path / "digits.json").read_text())["methods"]
    assert methods["fa"]["accuracy"][0][-1] > 0.3 and methods["kp"]["accuracy"][0][-1] > 0.7


@pytest.mark.slow
def test_processes_do_not_change_the_result(tmp_path):
    for jobs in (1, 2):
        arguments = ("--methods", "fa", "brsf", "--epochs", 1, "--seeds", 1, "--jobs", jobs)
        scripts.run("quickstart", *arguments, "--output", tmp_path / str(jobs))
    one, two = (json.loads((tmp_path / j / "digits.json").read_text())["methods"] for j in "12")
    for method in ("fa", "brsf"):
        assert one[method]["accuracy"] == two[method]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "nonsense"), "--methods: must be out of"),
        (("--strategy", "multi_worker"), "needs the environment variable TF_CONFIG"),
        (("--seeds", 0), "--seeds: must be an integer of at least 1. Received: 0"),
        (("--dataset", "mnist", "--data-dir", "/nowhere"), "`data_dir` must hold"),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    line = scripts.refused("quickstart", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert message in line

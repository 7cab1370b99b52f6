"""The study of imperfect paths trains, goes on where it stopped, and draws its figure."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_alignment as ta
from examples import common
from examples.imperfect_feedback import study
from examples.own_activity import conditioning, train

PATHS = [(None, 0.0), *((d, v) for d, values in study.QUICK.items() for v in values)]


@pytest.mark.slow
def test_the_study_of_imperfect_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "QUICK", {"bits": (1,)})
    arguments = "study --quick --methods fa sa --epochs 1 --output"
    monkeypatch.setattr(sys, "argv", [*arguments.split(), str(tmp_path)])
    study.main()
    runs = json.loads((tmp_path / "digits.json").read_text("utf-8"))
    assert len(runs) == 2 * 2  # methods, paths (the ideal one too)
    assert {(r["defect"], r["value"]) for r in runs} == {(None, 0.0), ("bits", 1)}
    assert all(0 <= r["accuracy"] <= 1 and 0 < r["gradient_angle"] < 180 for r in runs)
    ideal = {r["seed"]: r["accuracy"] for r in runs if r["defect"] is None and r["method"] == "sa"}
    assert min(ideal.values()) > 0.2
    said = capsys.readouterr().out
    assert f"{100 * np.mean(list(ideal.values())):.1f}" in said
    assert (tmp_path / "digits.png").stat().st_size > 10_000
    monkeypatch.setattr(study, "train", None)  # nothing is made again
    study.main()


@pytest.mark.slow
def test_the_study_of_own_activity(tmp_path, monkeypatch, capsys):
    variants = ["backprop", "aa, covariance"]
    file = tmp_path / "digits.json"
    options = ["digits", "--seeds", "1", "--epochs", "2", "--jobs", "1", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["train", *options, "--variants", *variants])
    train.main()
    runs = json.loads(file.read_text("utf-8"))
    assert [r["variant"] for r in runs] == variants
    assert all(r["accuracy"] > 0.5 for r in runs)
    assert runs[0]["gradient_angle"] < 0.1 < runs[1]["gradient_angle"] < 60
    assert isinstance(train.VARIANTS["aa, covariance"], ta.feedback.ActivationAlignment)
    monkeypatch.setattr(common, "study", None)  # nothing is made again
    train.main()
    assert "| aa, covariance | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "options"), [(study, ["--methods", "fa", "--quick"]), (train, ["--quick"])]
)
def test_seeds_of_the_kept_file_are_not_made_again(script, options, tmp_path, monkeypatch):
    wanted, shown = [], []

    def seeds_of(given, *rest):
        wanted.append(list(rest[-1]))
        return []

    monkeypatch.setattr(script, "train", seeds_of)
    monkeypatch.setattr(script, "table", shown.extend)
    monkeypatch.setattr(study, "figure", lambda *_: None)

    def run(seeds):
        arguments = ["script", *options, "--seeds", seeds, "--output", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", arguments)
        script.main()

    run("1")
    names = {"data": "digits", "epochs": 2 if script is study else 1, "seed": 0}
    kept = (
        [{**names, "method": "fa", "defect": d, "value": v} for d, v in PATHS]
        if script is study
        else [{**names, "variant": name} for name in ("backprop", "aa, covariance")]
    )
    others = [{**run, "epochs": 12} for run in kept]  # in the same file
    if script is train:
        others += [{**run, "data": "mnist"} for run in kept]
    (tmp_path / "digits.json").write_text(json.dumps([*others, *kept]), "utf-8")
    run("1")
    run("3")
    assert wanted == [[0], [1, 2]]
    assert shown == kept * 2


def test_the_spectrum_is_that_of_the_inputs_of_a_unit():
    images = np.random.default_rng(0).standard_normal((20, 5, 5, 2)).astype("float32")
    model = keras.Sequential(
        [keras.Input((5, 5, 2)), ta.layers.Conv2D(3, 3, feedback="backprop", name="last")]
    )
    with ta.probe.probe() as seen:
        model(images)
    found = conditioning.spectrum(seen.activities[model.get_layer("last").connections[0]][0])
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (1, 2)).reshape(-1, 2, 9)
    rows = windows.transpose(0, 2, 1).reshape(-1, 18)
    values = np.linalg.eigvalsh(rows.T @ rows)
    np.testing.assert_allclose(found, values / values.sum(), rtol=1e-3)


def test_kept_runs_of_own_activity_are_read():
    file = Path(__file__).parents[2] / "docs" / "results" / "own_activity" / "digits.json"
    table = train.table(json.loads(file.read_text("utf-8")))
    assert "| aa, covariance | 3 | 96.9 ± 0.3 | 1.2 ± " in table
    assert "| aa, SGD | 3 | 10.0 ± 0.0 | - | - |" in table


def test_the_page_shows_what_the_kept_runs_say():
    results = Path(__file__).parents[2] / "docs" / "results"
    page = (results / "imperfect_feedback.md").read_text("utf-8")
    for name in ("digits", "mnist", "cifar10"):
        runs = json.loads((results / "imperfect_feedback" / f"{name}.json").read_text("utf-8"))
        assert study.table(runs) in page, name

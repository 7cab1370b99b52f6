"""Tables, and reports of made-up results."""

import re

import numpy as np
import pytest

import tf_alignment as ta
from tf_alignment.studies.report import _score
from tf_alignment.studies.store import Store, read_json, write_json

ACCURACY = {"backprop": [0.9, 0.92, 0.94], "fa": [0.8, 0.84, None], "mine": [0.85, 0.86, 0.87]}


@pytest.fixture
def results(tmp_path):
    store, names = Store(tmp_path), []
    for variant, values in ACCURACY.items():
        for seed, value in enumerate(values):
            name = f"model-{variant}-{seed}"
            names.append(name)
            task = {"run": {"variant": variant, "case": "model", "value": None, "seed": seed}}
            store.keep("tasks", name, {**task, "files": {"mine": "/home/me/mine.py"}})
            angle = 0.0 if variant == "backprop" else 60.0 + seed
            curves = {
                "val_accuracy": [0.1, 0.5, value],
                "net/a/gradient_angle": [angle, angle, angle],
                "net/b/gradient_angle": [0.0, 0.0, 0.0],
                "hidden/gradient_angle": [angle, angle, angle],
            }
            result = {
                **task["run"],
                "kind": "run",
                "values": {},
                "feedback": variant if variant != "mine" else "feedback",
                "status": "done" if value is not None else "diverged",
                "curves": curves,
                "parameters": 1234,
                "warnings": [] if value is not None else ["Training diverged <here>."],
                "weights": {"net/a": [[0.1, 0.2], [0.2, 0.1]]},
            }
            if seed == 0:
                result["cost"] = {"step_time": 1.25, "operations": None, "memory": 1.5}
            store.keep("runs", name, result)
    description = {
        "title": "Mine & others",
        "metric": "val_accuracy",
        "maximize": True,
        "baseline": "backprop",
        "variants": [{"name": name, "feedback": f"{name}()"} for name in ACCURACY],
        "cases": [{"name": "model", "value": None}],
        "seeds": [0, 1, 2],
        "settings": {"epochs": 3, "data": "digits"},
        "tuning": {
            "chosen": [{"variant": "fa", "case": "model", "values": {"rate": 0.1}}],
            "trials": [
                {"variant": "fa", "case": "model", "values": {"rate": r}, "score": s, "made": m}
                for r, s, m in ((0.1, 0.9, True), (0.2, None, True), (0.3, None, False))
            ],
        },
        "runs": [*names, "model-mine-3"],
        "versions": {"keras": "3"},
    }
    write_json(tmp_path / "study.json", description)
    return ta.studies.Results(tmp_path)


def test_means_and_differences(results):
    assert results.mean("backprop").text(1, scale=100) == "92.0 ± 2.0"
    assert results.values("fa") == {0: 0.8, 1: 0.84, 2: None}
    difference = results.difference("fa")
    assert (difference.n, difference.mean) == (2, pytest.approx(-0.09))
    assert difference.deviation == pytest.approx(np.std([-0.1, -0.08], ddof=1))
    assert results.status("fa") == "1 of 3 diverged"
    assert results.missing == ["model-mine-3"]
    np.testing.assert_array_equal(results.curves()["backprop"][:, -1], ACCURACY["backprop"])


def test_the_table(results):
    lines = results.table().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert re.match(r"\| fa +\| 2 +\| 82.00 ± 2.83 +\| -9.00 ± 1.41 +\| 60.5 ± 0.7", lines[3])
    assert "operations" not in lines[0]  # nobody could count them
    # Student's quantile for two degrees of freedom is 4.303
    assert f"92.00 ± {4.303 * 2 / 3**0.5:.2f}" in results.table("interval")


def test_the_page_loads_nothing(results, tmp_path):
    page = results.report(tmp_path / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in page and "url(" not in page
    assert page.count("<img") == 5 and page.count("data:image/png;base64,") == 5
    assert "Mine &amp; others" in page and "Training diverged &lt;here&gt;." in page
    assert "diverged or failed" in page and "chosen" in page and "/home/me/mine.py" in page
    assert page.count("not made yet</td>") == 1


def test_markdown_has_its_figures_beside_it(results, tmp_path):
    results.description["warnings"] = ["Seeds share a start."]
    text = results.report(tmp_path / "pages" / "report.md").read_text()
    assert text.count("Seeds share a start.") == 1
    files = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "pages" / file).read_bytes().startswith(b"\x89PNG")


def test_scores_are_values_of_the_metric(results):
    trial = {"made": True, "score": -0.3}
    assert _score(trial, maximize=True) == "-0.3000" and _score(trial, maximize=False) == "0.3000"
    assert _score({"score": None}, True) == "diverged or failed"


def test_seeds_of_different_lengths(results, tmp_path):
    file = tmp_path / "runs" / "model-fa-1.json"
    run = read_json(file)
    run["curves"] = {name: values[:2] for name, values in run["curves"].items()}
    write_json(file, run)
    found = ta.studies.Results(tmp_path)
    np.testing.assert_array_equal(found.curves()["fa"][1], [0.1, 0.5, np.nan])
    assert found.report(tmp_path / "report.html").read_text().count("<img") == 5


def test_files_of_numbers(results, tmp_path):
    rows = results.to_csv(tmp_path / "r.csv").read_text().splitlines()
    assert rows[0].startswith("case,variant,seed,status,val_accuracy")
    assert len(rows) == 1 + 9
    assert '"Mine & others"' in results.to_json(tmp_path / "r.json").read_text()


def test_tensorboard_gets_the_runs(results, tmp_path):
    pytest.importorskip("tensorboard")
    from tf_alignment.studies.tensorboard import write_tensorboard

    directory = write_tensorboard(results, tmp_path / "board")
    assert len(list(directory.glob("*/events*"))) == 9


def test_no_study(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no study\.json"):
        ta.studies.Results(tmp_path / "nothing")


def test_another_spread(results):
    with pytest.raises(ValueError, match="Received: spread='error'"):
        results.table("error")

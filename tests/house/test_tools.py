"""The notebook is the tutorial, and runs; what the table of coverage lets pass."""

import json
from pathlib import Path

import coverage_table
import notebook
import pytest
import yaml

import tf_alignment as ta

ROOT = Path(__file__).parents[2]


def cells(kind):
    content = json.loads(notebook.NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in content if cell["cell_type"] == kind]


def test_the_notebook_is_up_to_date():
    assert notebook.NOTEBOOK.read_text("utf-8") == notebook.render(), "run `make notebook`"


def test_prose_and_code_of_a_page_become_cells():
    page = "# One\n\nTwo [three](four.md).\n\n```python\nx = 1\n```\n\n```text\n1\n```\n\nFive.\n"
    found = notebook.notebook(page)["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in found] == [
        ("markdown", "# One"),
        ("code", notebook.SETUP),
        ("markdown", "Two three."),
        ("code", "x = 1"),
        ("markdown", "Five."),
    ]


def test_nothing_is_installed_where_the_library_is(monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("installs"))
    exec(cells("code")[0], {})


@pytest.mark.parametrize("source", ["tf_alignment-0.1.0-py3-none-any.whl", "setup.py"])
def test_the_library_is_installed_where_it_is_not(source, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("subprocess.run", lambda command, **_: calls.append(command))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="wheel"):
        exec(cells("code")[0], {})
    (tmp_path / source).touch()
    exec(cells("code")[0], {})
    found = tmp_path / source if source.endswith(".whl") else tmp_path
    assert calls[0][1:] == ["-m", "pip", "install", "--quiet", f"{found}[tensorflow,examples]"]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells("code"):
        exec(cell, names)
    assert list(names["runs"]) == ["fa", "kp", "sa"]
    assert (tmp_path / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("accuracy") == 3


def test_a_module_below_its_bound_fails(monkeypatch):
    monkeypatch.setattr(coverage_table, "JUSTIFIED", {"b": (50.0, "why"), "d": (50.0, "why")})
    assert coverage_table.failures({"a": 90.0, "b": 60.0}) == ["d: is no module."]
    assert coverage_table.failures({"a": 89.9, "b": 49.0, "d": 95.0}) == [
        "a: 89.9 % is below 90 %.",
        "b: 49.0 % is below 50 %.",
        "d: 95.0 % needs no justification.",
    ]


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == ta.__version__
    assert f"## [{ta.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")

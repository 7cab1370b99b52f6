"""Notebooks are the tutorials, and run; badges and versions agree; what coverage lets pass."""

import ast
import json
import re
import runpy
from pathlib import Path

import badges
import coverage_table
import notebook
import pytest
import redraw
import yaml

import tf_alignment as ta

ROOT = Path(__file__).parents[2]


NOTEBOOKS = [pytest.param(file, id=file.stem) for file in notebook.NOTEBOOKS]


@pytest.mark.parametrize("file", NOTEBOOKS)
def test_notebooks_are_up_to_date(file):
    assert file.read_text("utf-8") == notebook.render(file), "run `make notebook`"


def test_prose_and_code_of_a_page_become_cells():
    page = (
        "# One\n\nTwo [three](four.md).\n\n```python\nx = 1\n```\n\n```text\n1\n```\n\n"
        "![curves](figures/a.png)\n\nA caption.\n{: .caption }\n\nFive.\n"
    )
    found = notebook.notebook(page)["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in found] == [
        ("markdown", "# One"),
        ("code", notebook.SETUP),
        ("markdown", "Two three."),
        ("code", "x = 1"),
        ("markdown", "Five."),
    ]


def test_a_public_notebook_opens_in_colab():
    title = notebook.notebook("# One\n", "one.ipynb", "https://github.com/a/b")["cells"][0][
        "source"
    ]
    place = "https://colab.research.google.com/github/a/b/blob/main/examples/notebooks/one.ipynb"
    assert f"({place})" in "".join(title)


def test_nothing_is_installed_where_the_library_is(monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("installs"))
    exec(notebook.SETUP, {})


@pytest.mark.parametrize("source", ["tf_alignment-0.2.0-py3-none-any.whl", "setup.py"])
def test_the_library_is_installed_where_it_is_not(source, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("subprocess.run", lambda command, **_: calls.append(command))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="wheel"):
        exec(notebook.SETUP, {})
    (tmp_path / source).touch()
    exec(notebook.SETUP, {})
    found = tmp_path / source if source.endswith(".whl") else tmp_path
    assert calls[0][1:] == ["-m", "pip", "install", "--quiet", f"{found}[tensorflow]"]


@pytest.mark.slow
def test_a_notebook_runs_and_shows_its_figure(tmp_path):
    """As Jupyter runs it, in a kernel of its own; the code of all others runs as that of pages."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    [file] = [file for file in notebook.NOTEBOOKS if file.stem == "quickstart"]
    content = nbformat.reads(file.read_text("utf-8"), as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client(content, timeout=280, kernel_name="python3", resources=resources).execute()
    outputs = [o for cell in content.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join(o.text for o in outputs if o.get("name") == "stdout")
    assert "accuracy" in printed


@pytest.mark.parametrize("file", NOTEBOOKS)
def test_every_notebook_ends_a_cell_with_its_figure(file):
    """Jupyter shows what the last expression of a cell is worth."""
    cells = json.loads(file.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    last = [ast.unparse(ast.parse(text).body[-1]) for text in code]
    assert any(re.match(r"ta\.plots\.\w+\(", text) for text in last)


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
    footer = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert f"copyright: tf_alignment {ta.__version__}, " in footer
    pages = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/index.md"))
    assert set(re.findall(r"tf_alignment-([\d.]+)-py3", pages)) <= {ta.__version__}


def test_readme_leads_to_the_repository_where_it_has_an_address():
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    text = setup["readme"]("https://github.com/a/b")
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert all(target.startswith("https://") for target in targets)
    assert "(https://github.com/a/b/raw/main/docs/assets/at_a_glance-light.png)" in text
    assert "(https://github.com/a/b/blob/main/docs/concepts.md)" in text
    assert setup["readme"]("") == (ROOT / "README.md").read_text("utf-8")
    assert set(setup["project_urls"]("https://github.com/a/b")) >= {"Source", "Documentation"}
    assert setup["project_urls"]("") == {}


def test_badges_show_the_versions_of_the_table():
    found = {file.name: file.read_text("utf-8") for file in badges.TARGET.glob("*.svg")}
    assert found == badges.badges(), "run `python tools/badges.py`"


PICTURES = [
    str(file.relative_to(ROOT / "docs/results").with_suffix(""))
    for file in sorted((ROOT / "docs/results").rglob("*.png"))
]


def test_every_picture_is_drawn_from_its_numbers_or_it_is_said_why_not():
    datasets = ("digits", "mnist", "cifar10")
    drawn = {*redraw.PICTURES}
    drawn |= {f"imperfect_feedback/{name}{end}" for name in datasets for end in ("", "-angle")}
    drawn |= {f"rdd/cifar10-figure{part}" for part in ("3a", "4", "5")}
    drawn |= {f"rdd/{name}-figure5" for name in ("cifar10-narrow", "fashion_mnist", "mnist")}
    drawn |= {"step_time/step_time"}
    excepted = set(re.findall(r"`(\w+/[\w-]+)`", redraw.__doc__))
    assert drawn | excepted == set(PICTURES) and not drawn & excepted


# what takes a second; the others are in the slow test
@pytest.mark.parametrize("name", ["classics/akrout", "two_routes/ia-published-tuned", "sal/bias"])
def test_a_picture_is_drawn_anew(name, tmp_path):
    redraw.redraw(name, tmp_path)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*redraw.PICTURES, *redraw.SEVERAL])
def test_all_pictures_are_drawn_anew(name, tmp_path):
    redraw.redraw(name, tmp_path)
    assert all(file.stat().st_size > 10_000 for file in tmp_path.rglob("*.png"))


def test_a_picture_that_there_is_not(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["redraw.py", "classics/none"])
    with pytest.raises(SystemExit):
        redraw.main()
    assert "Received: classics/none" in capsys.readouterr().err

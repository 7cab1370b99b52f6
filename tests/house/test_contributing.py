"""The walk-throughs in CONTRIBUTING.md, followed to the letter, lead to a part of the library."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def section(what):
    """The walk-through that adds a method, a layer or a phase."""
    [found] = re.findall(rf"^## Add a {what}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return found


def changed(text, diff):
    """A file after the lines with + have been put between those without."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines(keepends=True)]
    before = "".join(rest for sign, rest in lines if sign != "+")
    assert text.count(before) == 1, before
    return text.replace(before, "".join(rest for _, rest in lines))


def follow(root, what, commands=False):
    """Do in `root` what the page says: change files, write new ones, or add to their ends."""
    fence = r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```'
    steps = re.findall(fence, section(what), re.DOTALL | re.MULTILINE)
    assert len(steps) >= 5
    for language, name, body in steps:
        if language == "sh" and commands:
            command, *arguments = body.split()
            assert command == "python"
            subprocess.run([sys.executable, *arguments], cwd=root, env=own(root), check=True)
        if not name:
            continue
        file = root / name
        there = file.read_text("utf-8") if file.exists() else ""
        if language == "diff":
            text = changed(there, body)
        else:
            text = f"{there}\n\n{body}" if there else body
        file.write_text(text, "utf-8")


def own(root):
    """An environment in which the package is the one in `root`."""
    return {**os.environ, "PYTHONPATH": str(root)}


@pytest.fixture
def copy(tmp_path):
    for name in ("tf_alignment", "tests", "docs", "tools"):
        unread = shutil.ignore_patterns("__pycache__", "*.png")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unread)
    for name in ("README.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", ["method", "layer", "phase"])
def test_every_change_still_fits(what, copy):
    follow(copy, what)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "tf_alignment", "tests"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    package = {"method": "feedback", "layer": "layers", "phase": "phases"}[what]
    new = {"method": "TernarySymmetry", "layer": "Readout", "phase": "Transport"}[what]
    registry = (copy / f"tf_alignment/{package}/__init__.py").read_text("utf-8")
    assert registry.count(new) == {"method": 3, "layer": 2, "phase": 2}[what]


def test_the_registered_method_stands_at_the_same_place_in_the_readme(copy):
    follow(copy, "method")
    registry = (copy / "tf_alignment/feedback/__init__.py").read_text("utf-8")
    ids = re.findall(r'^    "(\w+)": ', registry.partition("METHODS: ")[0], re.MULTILINE)
    listed = re.findall(r"^\| `(\w+)` \| `\w+", (copy / "README.md").read_text("utf-8"), re.M)
    assert "tsf" in ids
    assert ids == listed


# What walks through the tables, and what it must have run: {what: (files, -k, tests)}.
WALKS = {
    "method": (
        [
            *("feedback/test_methods", "layers/test_base", "callbacks/test_monitor"),
            *("optimizers/test_split", "metrics", "house/test_fixtures", "house/test_fuzz"),
            *("house/test_docs", "house/test_documentation"),
        ],
        "tsf or ternary or Ternary or readme_lists or get_accepts or a_version or reason",
        [
            "test_ternary_symmetry",
            "test_every_method_passes_the_checks[tsf]",
            "test_examples[tf_alignment.feedback.ternary]",
            "test_readme_lists_every_method[README.md]",
            "test_docstring[feedback.TernarySymmetry]",
            "test_a_version_saved_every_method_that_it_had[0.1.0]",
            "test_every_public_name_has_a_row_or_a_reason",
        ],
    ),
    "layer": (
        [
            *("layers/test_readout", "layers/test_base", "feedback/test_methods"),
            *("house/test_fuzz", "house/test_docs", "house/test_documentation"),
            "house/test_typing",
        ],
        "readout or Readout or combinations or checks[fa] or reason or the_stub",
        [
            "test_it_sends_the_error_through_its_feedback_kernel",
            "test_every_layer_passes_the_checks[readout]",
            "test_every_method_passes_the_checks[fa]",
            "test_examples[tf_alignment.layers.readout]",
            "test_the_stub_is_what_the_layers_say",
            "test_docstring[layers.Readout]",
            "test_nonsense_is_refused_by_the_name_of_its_argument[layers.Readout]",
            "test_every_public_name_has_a_row_or_a_reason",
        ],
    ),
    "phase": (
        ["phases/test_transport", "house/test_fuzz", "house/test_docs", "house/test_documentation"],
        "transport or Transport or same_part_of_the_way or reason",
        [
            "test_every_run_leaves_the_same_part_of_the_way",
            "test_examples[tf_alignment.phases.transport]",
            "test_docstring[phases.Transport]",
            "test_nonsense_is_refused_by_the_name_of_its_argument[phases.Transport]",
            "test_every_public_name_has_a_row_or_a_reason",
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("what", WALKS)
def test_what_was_added_passes_the_tests_of_its_kind(what, copy):
    follow(copy, what, commands=True)
    files, chosen, needed = WALKS[what]
    paths = [f"tests/{name}" if name == "metrics" else f"tests/{name}.py" for name in files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *paths, "-k", chosen],
        cwd=copy,
        env=own(copy),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.findall(r"^PASSED \S+?::(\S+)$", done.stdout, re.MULTILINE)
    assert set(needed) <= set(passed), set(needed) - set(passed)

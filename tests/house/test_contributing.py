"""The walk-through in CONTRIBUTING.md, followed to the letter, leads to a method of the library."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def blocks(language):
    fence = rf"^```{language}\n(.*?)^```"
    return re.findall(fence, TEXT, re.DOTALL | re.MULTILINE)


def changed(text, diff):
    """A file after the lines with + have been put between those without."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines(keepends=True)]
    before = "".join(rest for sign, rest in lines if sign != "+")
    assert text.count(before) == 1, before
    return text.replace(before, "".join(rest for _, rest in lines))


def follow(root):
    """Do in `root` what the page says."""
    method, _, test = blocks("python")
    (root / "tf_alignment/feedback/ternary.py").write_text(method, "utf-8")
    for name in ("tf_alignment/feedback/__init__.py", "README.md", "docs/api/feedback.md"):
        file = root / name
        for diff in blocks(f'diff title="{name}"'):
            file.write_text(changed(file.read_text("utf-8"), diff), "utf-8")
    with (root / "tests/feedback/test_methods.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + test)


@pytest.fixture
def copy(tmp_path):
    for name in ("tf_alignment", "tests", "docs", "tools"):
        unread = shutil.ignore_patterns("__pycache__", "*.png")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unread)
    for name in ("README.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_every_change_still_fits_and_registers_the_method(copy):
    follow(copy)
    registry = (copy / "tf_alignment/feedback/__init__.py").read_text("utf-8")
    assert registry.count("TernarySymmetry") == 3
    ids = re.findall(r'^    "(\w+)": ', registry, re.MULTILINE)
    listed = re.findall(r"^\| `(\w+)` \| `\w+", (copy / "README.md").read_text("utf-8"), re.M)
    assert "tsf" in ids
    assert ids == listed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_method_passes_the_tests_of_all_methods(copy):
    follow(copy)
    names = [
        *("feedback/test_methods", "layers/test_base", "callbacks/test_monitor"),
        *("optimizers/test_split", "metrics/test_measures"),
        *("house/test_docs", "house/test_documentation"),
    ]
    files = [f"tests/{name}.py" for name in names]
    chosen = "tsf or ternary or Ternary or readme_lists or get_accepts"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *files, "-k", chosen],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for needed in (
        "test_ternary_symmetry",
        "test_every_method_passes_the_checks[tsf]",
        "test_examples[tf_alignment.feedback.ternary]",
        "test_readme_lists_every_method[README.md]",
        "test_docstring[feedback.TernarySymmetry]",
    ):
        assert f"{needed}\n" in done.stdout

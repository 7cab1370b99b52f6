"""Editors and type checkers see the library as it is: signatures, and mistakes in calls."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import stubs

ROOT = Path(__file__).parents[2]
RIGHT = """\
import tf_alignment as ta

dense = ta.layers.Dense(10, activation="relu", feedback="kp", name="top")
conv = ta.layers.Conv2D(16, 3, padding="same", feedback=ta.feedback.KolenPollack())
attention = ta.layers.MultiHeadAttention(num_heads=2, key_dim=8, feedback="fa", dtype="float32")
method: ta.feedback.Feedback | None = ta.feedback.get("sa")
monitor = ta.callbacks.AlignmentMonitor()
"""
WRONG = {
    "missing": "ta.layers.Conv2D(16)",
    "misspelt": 'ta.layers.Dense(10, feedbak="kp")',
    "mistyped": 'ta.layers.Dense(units="ten")',
}


def test_the_stub_is_what_the_layers_say():
    assert stubs.TARGET.read_text("utf-8") == stubs.stub(), "run `python tools/stubs.py`"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as pip installs it, alone in a folder."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(ROOT)], check=True)
    return target


def mypy(installed, script):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)],
        env={**os.environ, "MYPYPATH": ""},
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def pyright(installed, script):
    config = {"extraPaths": [str(installed)], "typeCheckingMode": "standard"}
    (script.parent / "pyrightconfig.json").write_text(json.dumps(config))
    return subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, str(script)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_mistakes_in_calls_are_found_and_right_calls_pass(checker, installed, tmp_path):
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nmypy_path = {installed}\n[mypy-keras.*,tensorflow.*]\n"
        "ignore_missing_imports = true\nfollow_imports = skip\n"
        "[mypy-tf_alignment.*]\nignore_errors = true\n"
    )
    script = tmp_path / "user.py"
    script.write_text(RIGHT)
    found = checker(installed, script)
    assert found.returncode == 0, found.stdout + found.stderr
    for call in WRONG.values():
        script.write_text(f"import tf_alignment as ta\n\n{call}\n")
        found = checker(installed, script)
        assert found.returncode == 1, f"{call}: {found.stdout}{found.stderr}"
        assert "user.py:3" in found.stdout, found.stdout

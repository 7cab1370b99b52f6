"""Runs a script of `examples`, as a user does, or in this process where it is refused."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from examples import command_line

ROOT = Path(__file__).parents[2]


def command(module, *arguments):
    """`python -m examples.<module> ...`, from the directory of the project."""
    return [sys.executable, "-m", f"examples.{module}", *map(str, arguments)]


def attempt(module, *arguments):
    """What came of it, whatever that is."""
    return subprocess.run(
        command(module, *arguments), capture_output=True, text=True, check=False, cwd=ROOT
    )


def run(module, *arguments):
    """What it printed, if it came to its end."""
    done = attempt(module, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(module, *arguments, monkeypatch, capsys):
    """The line with which the script ends, in this process: that is all about such an end."""
    monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command_line.run(importlib.import_module(f"examples.{module}").main)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line

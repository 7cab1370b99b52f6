"""Runs a script of `examples`, as a user does."""

import subprocess
import sys
from pathlib import Path

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

"""The directory of a study: what is asked, what has come of it, and who is at it.

    study.json       the study that was last asked, for reports
    starts/          the model of every case and seed, as it begins
    data/            arrays that were given
    tasks/           what a run is to do, one JSON file each
    runs/            what came of it
    failed/          why nothing came of it; such runs are made again by the next call
    unfinished/      states of runs that are not done, see `ta.callbacks.Resume`
    locks/, logs/    one file a run

Files are written whole or not at all. A lock is the operating system's, so that it goes with the
process that has it, however that ends.

This module needs the standard library alone: a run looks here before it imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Store", "read_json", "write_json"]


def write_json(file: Path, content: Any) -> None:
    """Write a file whole or not at all, with null for what is no number.

    Args:
        file: Where.
        content: JSON, floats that are NaN or infinite among it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")
    os.replace(new, file)


def read_json(file: Path) -> Any:
    """The content of a file, or None if there is no such file."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


class Store:
    """The files of a study.

    Args:
        directory: Where they are; it is made when something is written.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def file(self, kind: str, name: str, ending: str = ".json") -> Path:
        """Of a kind, as `"runs"`, and a run."""
        return self.directory / kind / f"{name}{ending}"

    def result(self, name: str) -> Any:
        """The result of a run, or None."""
        return read_json(self.file("runs", name))

    def failure(self, name: str) -> Any:
        """Why nothing came of a run, or None."""
        return read_json(self.file("failed", name))

    def keep(self, kind: str, name: str, content: Any) -> None:
        """Write a JSON file of a run."""
        write_json(self.file(kind, name), content)

    def forget_failure(self, name: str) -> None:
        """Remove it, before a run is tried again."""
        self.file("failed", name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold the lock of a run.

        Args:
            name: Of the run.

        Yields:
            Whether it was free, and is now held.
        """
        file = self.file("locks", name, "")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another has it
                yield False
                return
            yield True

    def busy(self, name: str) -> bool:
        """Whether some process is at a run."""
        with self.lock(name) as free:
            return not free

"""Directory of a study: descriptions of runs, their results, and locks.

    study.json       description of the study that was last run, for reports
    starts/          initial model of every case and seed
    data/            arrays that were given as data
    tasks/           task of each run, one JSON file per run
    runs/            results of runs
    failed/          errors of runs that failed; the next call makes these runs again
    unfinished/      states of runs that are not done, see `ta.callbacks.Resume`
    locks/, logs/    one file per run

Files are written whole or not at all. Locks are locks of the operating system, which are released
when the process that holds them ends, for whatever reason.

This module uses the standard library alone, since a run needs it before it imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Store", "read_json", "unwritten", "worker_number", "write_json"]


def unwritten(file: Path) -> Path:
    """Name in the same directory to write to before the file gets its own name.

    No other process has the name, on this machine or on one that shares the directory.

    Args:
        file: File that is to be written.
    """
    return file.with_name(f".{uuid.uuid4().hex}.{file.name}")


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file whole or not at all, with null for NaN and infinite numbers.

    Args:
        file: File to write.
        content: JSON content, in which floats may be NaN or infinite.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = unwritten(file)
    new.write_text(json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")
    os.replace(new, file)


def read_json(file: Path) -> Any:
    """Content of a JSON file, or None if there is no such file."""
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


def worker_number(strategy: str) -> int | None:
    """Number of this process among the workers that train each run together.

    Args:
        strategy: Name of the study's strategy.

    Returns:
        Number, counted from 0; None if every run is trained by one process alone.
    """
    alone = strategy != "multi_worker" and (strategy != "auto" or "TPU_NAME" in os.environ)
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    if not alone and "task" in config:
        task = config["task"]
        chiefs = 0 if task["type"] == "chief" else len(config["cluster"].get("chief", ()))
        return chiefs + int(task["index"])
    if not alone and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return int(os.environ["SLURM_PROCID"])
    return None


class Store:
    """Files of a study.

    Args:
        directory: Directory of the files, which is made when something is written.

    Attributes:
        worker: Number of this process, see `worker_number`, or None. Workers that train a run
            together have locks, logs and unfinished states of their own.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.worker: int | None = None

    def own(self, name: str) -> str:
        """Name of a file of this worker that belongs to a run."""
        return name if self.worker is None else f"{name}.worker{self.worker}"

    def file(self, kind: str, name: str, ending: str = ".json") -> Path:
        """File of a kind, for instance `"runs"`, that belongs to a run."""
        return self.directory / kind / f"{name}{ending}"

    def result(self, name: str) -> Any:
        """Result of a run, or None."""
        return read_json(self.file("runs", name))

    def failure(self, name: str) -> Any:
        """Error of a run that failed, or None."""
        return read_json(self.file("failed", name))

    def keep(self, kind: str, name: str, content: Any) -> None:
        """Write a JSON file of a run."""
        write_json(self.file(kind, name), content)

    def forget_failure(self, name: str) -> None:
        """Remove the error of a run before the run is made again."""
        self.file("failed", name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold the lock of a run.

        Args:
            name: Name of the run.

        Yields:
            Whether the lock was free and is now held.
        """
        file = self.file("locks", self.own(name), "")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another has it
                yield False
                return
            yield True

    def busy(self, name: str) -> bool:
        """Whether a process is working on a run."""
        with self.lock(name) as free:
            return not free

"""The files of a backup: one directory for each epoch, and a pointer to the one that counts."""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["Backup"]

_POINTER = "latest.json"
_MANIFEST = "manifest.json"
_PREFIX = "epoch_"


class Backup:
    """States of a run after whole epochs, in a directory.

    The switch from one epoch to the next is one atomic renaming. Whatever else is found in the
    directory than what was written there is an error.

    Args:
        directory: Directory of the backup, used for nothing else.
        stated: The user's `backup_dir`, for messages.
    """

    def __init__(self, directory: Path, stated: Path) -> None:
        self.directory = directory
        self._stated = stated

    def begin(self) -> None:
        """Make the directory, or see that it can be written.

        Raises:
            ValueError: If it cannot, or has states and no pointer.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if not self._pointer.exists():
                left = sorted(self.directory.glob(f"{_PREFIX}*"))
                if left:
                    raise self._damaged(self._pointer, f"is missing beside {left[-1].name}")
                self._point(0)
            else:
                probe = self.directory / f"{_POINTER}.new"
                self._write(probe, "")
                probe.unlink()
        except OSError as error:
            raise ValueError(
                f"Argument `backup_dir` must be a directory that can be written ({error}). "
                f"Received: backup_dir='{self._stated}'"
            ) from None

    def latest(self) -> int:
        """Number of finished epochs in the current state; 0 if there is none.

        Raises:
            ValueError: If the pointer is damaged.
        """
        name = self.read(self._pointer).get("directory")
        if not isinstance(name, str) or not re.fullmatch(_PREFIX + r"\d{6,}", name):
            raise self._damaged(self._pointer, f"points to {name!r}, no state of this backup")
        return int(name.removeprefix(_PREFIX))

    def state(self, epochs: int) -> tuple[Path, dict[str, Any]]:
        """The directory of a state, whole, and the settings of its run.

        Args:
            epochs: Number of finished epochs in the state.

        Raises:
            ValueError: If a file is missing, or is not the one that was written.
        """
        directory = self._of(epochs)
        manifest = self.read(directory / _MANIFEST)
        for name, checksum in manifest.get("files", {}).items():
            if not (directory / name).is_file():
                raise self._damaged(directory / name, "is missing")
            if _checksum(directory / name) != checksum:
                raise self._damaged(directory / name, "is not what was written")
        return directory, manifest.get("settings", {})

    def store(
        self,
        epochs: int,
        write: Callable[[Path], None],
        settings: dict[str, Any],
        keep: Iterable[int] = (),
    ) -> None:
        """Write a state and let it be the one that counts.

        Args:
            epochs: Number of finished epochs in the state.
            write: Writes the files into a directory.
            settings: Of the run.
            keep: Earlier states that are not to be removed.
        """
        directory = self._of(epochs)
        if directory.exists():  # left by a run that was killed before the switch
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        write(directory)
        files = {file.name: _checksum(file) for file in sorted(directory.iterdir())}
        manifest = {"files": files, "settings": settings}
        (directory / _MANIFEST).write_text(json.dumps(manifest))
        for file in directory.iterdir():
            _flush(file)
        self._point(epochs)
        kept = {self._of(e) for e in (epochs, *keep)}
        for other in self.directory.glob(f"{_PREFIX}*"):
            if other not in kept:
                shutil.rmtree(other)

    def remove(self) -> None:
        """Remove everything. Interrupted anywhere, it leaves a backup without a state, or none."""
        if not self.directory.exists():
            return
        self._point(0)
        for directory in self.directory.glob(f"{_PREFIX}*"):
            shutil.rmtree(directory)
        shutil.rmtree(self.directory)

    def read(self, file: Path) -> dict[str, Any]:
        """The contents of a JSON file.

        Args:
            file: Of this backup.

        Raises:
            ValueError: If it is missing or damaged.
        """
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise self._damaged(file, f"cannot be read ({error.strerror})") from None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._damaged(file, "is not what was written")
        return found

    @property
    def _pointer(self) -> Path:
        return self.directory / _POINTER

    def _of(self, epochs: int) -> Path:
        return self.directory / f"{_PREFIX}{epochs:06d}"

    def _point(self, epochs: int) -> None:
        new = self.directory / f"{_POINTER}.new"
        self._write(new, json.dumps({"directory": self._of(epochs).name}))
        os.replace(new, self._pointer)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        _flush(file)

    def _damaged(self, file: Path, what: str) -> ValueError:
        return ValueError(
            f"The backup in `backup_dir` is damaged: '{file.relative_to(self._stated)}' {what}. "
            "Restore the file, or remove the directory to train from the start. "
            f"Received: backup_dir='{self._stated}'"
        )


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as f:
        while block := f.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _flush(file: Path) -> None:
    """Have the file on the disk, not in the system's memory, before anything refers to it."""
    with file.open("rb+") as f:
        os.fsync(f.fileno())

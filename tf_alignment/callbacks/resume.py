"""Training that survives being killed, to the bit."""

from __future__ import annotations

import contextlib
import json
import numbers
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import boolean, file_path
from tf_alignment.distribute import worker

__all__ = ["Resume"]

_POINTER = "latest.json"
_PREFIX = "epoch_"


class Resume(keras.callbacks.Callback):
    """Continues a killed run from the start of its epoch, to the weights of one never killed.

    At the end of each epoch it stores the weights, the optimizer's state and the number of the
    epoch (through `keras.callbacks.BackupAndRestore`) and also what that leaves out: the states of
    all random generators in the model (dropout masks, noise of feedback methods), what phases keep
    from run to run, and `History`.
    Start the same script again, and `model.fit` goes on from there.

    Each epoch is written to a directory of its own, and the switch to it is one atomic renaming:
    killed at any moment, even while writing, a run loses at most the epoch it was in.

    The result equals the uninterrupted run's if the rest of the run depends on the epoch alone:

    - *Data.* The order of the examples must be a function of a seed and the epoch. `data` is an
      object with an integer attribute `epoch`; it is set before each epoch begins, and read by the
      data when its iteration starts. Arrays with `fit(shuffle=True)` do not qualify, nor does
      `Dataset.shuffle` that reshuffles in each iteration. `ta.data.EpochShuffled` does; a
      `keras.utils.PyDataset` can, with `fit(shuffle=False)`. Leave `steps_per_epoch` unset, so
      that each epoch starts an iteration of its own.
    - *Random numbers* come from `keras.random.SeedGenerator`s held by layers, as all layers of
      Keras and of this library do. Operations on a global state (`tf.random.normal`,
      `keras.random` without a seed) start over.
    - *Other callbacks* are not restored: `EarlyStopping`'s patience, `ReduceLROnPlateau`'s best
      value and the like start afresh.
    - *Model* and optimizer are built as before, with the same seeds. Layers are matched by their
      order, not by name.

    List it last, so that what other callbacks do and log at an epoch's end is stored too.

    Args:
        backup_dir: Local directory for the backup, used by nothing else. Each worker of a
            multi-worker strategy keeps its backup in a directory of its own there; when they are
            started again, all go on from the last epoch that every one of them had stored.
        data: Object with an integer attribute `epoch`, or None.
        delete_checkpoint: Whether the backup is removed when training ends. If False, the same
            call of `fit` finds all its epochs done.
        phases: What the `FeedbackCallback`s of the same training run.

    Raises:
        ValueError: If `backup_dir` is empty; in `fit`, if the model is not built or the backup is
            another model's.
        TypeError: If `data` has no integer attribute `epoch`.

    Example:
    ```python
    digits = ta.data.load("digits").train
    data = ta.data.EpochShuffled(digits.x, digits.y, batch_size=64, seed=1)
    resume = ta.callbacks.Resume("backup", data=data)
    model.fit(data.dataset, epochs=20, shuffle=False, callbacks=[resume])
    ```
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        data: Any = None,
        delete_checkpoint: bool = True,
        phases: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        epoch = getattr(data, "epoch", None)
        counts = isinstance(epoch, numbers.Integral) and not isinstance(epoch, bool)
        if data is not None and not counts:
            raise TypeError(
                "`data` must have an integer attribute `epoch`, on which the order of its examples "
                f"depends. Received: data={data!r} with epoch={epoch!r}"
            )
        known = isinstance(phases, Sequence) and not isinstance(phases, str)
        if not known or not all(hasattr(p, "build") and hasattr(p, "variables") for p in phases):
            raise TypeError(
                "Argument `phases` must be a list of `tf_alignment.phases.Phase` objects. "
                f"Received: phases={phases!r}"
            )
        self.backup_dir = file_path("backup_dir", backup_dir)
        self.data = data
        self.delete_checkpoint = boolean("delete_checkpoint", delete_checkpoint)
        self.phases = tuple(phases)
        self._history: dict[str, list[Any]] = {}
        self._finished: list[int] = []
        self._resumed = False
        self._own, self._workers = self.backup_dir, 1

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the state of the last finished epoch, if there is one."""
        if not self.model.built:
            raise ValueError(
                "`Resume` needs a model that is built before `fit`: give it an input shape, call "
                f"it or `build` it. Received: an unbuilt model named '{self.model.name}'"
            )
        self._history, self._finished = {}, []
        for phase in self.phases:
            phase.build(self.model)
        number, self._workers = worker(self.model.distribute_strategy)
        self._own = self.backup_dir / f"worker_{number}" if self._workers > 1 else self.backup_dir
        name = self._latest()
        self._resumed = name is not None
        if name is not None:
            self._restore(self._own / name)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tell the data which epoch it is, and give `History` the epochs of earlier runs."""
        self._restore_history()
        if self.data is not None:
            self.data.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Store the state."""
        self._finished.append(epoch)
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(np.asarray(value).tolist())
        self._store(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the backup."""
        self._restore_history()
        if self._resumed:
            # Keras keeps the epoch to start from, and would apply it to the next `fit` as well.
            fresh = self._keras_backup(self._own / "restart")
            fresh.on_epoch_end(-1)
            fresh.on_train_begin()
            shutil.rmtree(fresh.backup_dir)
            self._resumed = False
        if self.delete_checkpoint and self._own.exists():
            # Without the pointer the rest is no backup, wherever the removal is interrupted.
            (self._own / _POINTER).unlink(missing_ok=True)
            shutil.rmtree(self._own)
            if self._workers > 1:
                with contextlib.suppress(OSError):  # not empty: another worker is not done
                    self.backup_dir.rmdir()

    def _latest(self) -> str | None:
        """The directory of the last epoch that was stored, by every worker if there are several."""
        pointer = self._own / _POINTER
        name = json.loads(pointer.read_text())["directory"] if pointer.exists() else _name(0)
        if self._workers > 1:
            strategy = self.model.distribute_strategy
            stored = strategy.run(lambda: tf.constant([int(name.removeprefix(_PREFIX))]))
            name = _name(int(tf.reduce_min(strategy.gather(stored, 0))))
        return None if name == _name(0) else name

    def _keras_backup(self, directory: Path) -> keras.callbacks.BackupAndRestore:
        backup = keras.callbacks.BackupAndRestore(str(directory))
        backup.set_model(self.model)
        return backup

    def _states(self) -> list[keras.Variable]:
        """What is no weight: the states of random generators, and what phases keep."""
        weights = {id(v) for v in self.model.weights}
        states = {id(v): v for v in self.model.variables if id(v) not in weights}
        return [*states.values(), *(v for phase in self.phases for v in phase.variables)]

    def _store(self, epoch: int) -> None:
        name = _name(epoch + 1)
        directory = self._own / name
        if directory.exists():  # left by a run that was killed before the switch
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        self._keras_backup(directory).on_epoch_end(epoch)
        states = {str(i): v.numpy() for i, v in enumerate(self._states())}
        np.savez(directory / "states.npz", **states)
        history = {"epoch": self._finished, "history": self._history}
        (directory / "history.json").write_text(json.dumps(history))
        for file in directory.iterdir():
            _flush(file)
        pointer = self._own / f"{_POINTER}.new"
        pointer.write_text(json.dumps({"directory": name}))
        _flush(pointer)
        os.replace(pointer, self._own / _POINTER)
        # another worker may be killed before it has stored this epoch
        kept = {name, _name(epoch)} if self._workers > 1 else {name}
        for other in self._own.glob(f"{_PREFIX}*"):
            if other.name not in kept:
                shutil.rmtree(other)

    def _restore(self, directory: Path) -> None:
        self._keras_backup(directory).on_train_begin()
        states = self._states()
        with np.load(directory / "states.npz") as stored:
            if len(stored.files) != len(states):
                raise ValueError(
                    f"The backup in `backup_dir` must be of this model, with {len(states)} states "
                    f"of random generators and phases. Received: "
                    f"backup_dir='{self.backup_dir}' with {len(stored.files)}"
                )
            for i, variable in enumerate(states):
                variable.assign(stored[str(i)])
        history = json.loads((directory / "history.json").read_text())
        self._finished, self._history = history["epoch"], history["history"]

    def _restore_history(self) -> None:
        """Write earlier epochs into `History`, which starts empty after `on_train_begin`."""
        history = self.model.history
        if self._resumed and not history.epoch:
            history.epoch = list(self._finished)
            history.history.update({name: list(v) for name, v in self._history.items()})


def _name(epochs: int) -> str:
    """The directory of the state after so many epochs."""
    return f"{_PREFIX}{epochs:06d}"


def _flush(file: Path) -> None:
    """Have the file on the disk, not in the system's memory, before anything refers to it."""
    with file.open("rb+") as f:
        os.fsync(f.fileno())

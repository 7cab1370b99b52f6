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
from tf_alignment.callbacks.backup import Backup
from tf_alignment.callbacks.feedback import running
from tf_alignment.callbacks.settings import attributes, describe, difference
from tf_alignment.distribute import worker

__all__ = ["Resume", "own_directory"]


def own_directory(backup_dir: Path, strategy: tf.distribute.Strategy) -> Path:
    """Directory of this machine's backups: `backup_dir`, or one inside for each of several workers.

    Args:
        backup_dir: Argument of `Resume`.
        strategy: Strategy of the model.
    """
    number, count = worker(strategy)
    return backup_dir / f"worker_{number}" if count > 1 else backup_dir


class Resume(keras.callbacks.Callback):
    """Continues a killed run from the start of its epoch, to the weights of one never killed.

    At the end of each epoch it stores the weights, the optimizer's state and the number of the
    epoch (through `keras.callbacks.BackupAndRestore`) and also what that leaves out: the states of
    all random generators in the model (dropout masks, noise of feedback methods), what the phases
    of all `FeedbackCallback`s of the same `fit` keep from run to run, and `History`. Start the same
    script again, and `model.fit` goes on from there.

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
        phases: Phases that no `FeedbackCallback` of the same `fit` runs: those of
            `tf_alignment.phases.interleave`, or of callbacks of one's own.

    Raises:
        ValueError: If `backup_dir` is empty; in `fit`, before the first epoch, if the model is not
            built, the directory cannot be written, the backup is of another model, method, phase or
            other settings, or a file of it is missing or damaged.
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
        self._backup, self._workers = Backup(self.backup_dir, self.backup_dir), 1
        self._settings: dict[str, Any] = {}  # of this run,
        self._described: dict[str, Any] = {}  # and of the phases of the backup's
        self._stored: dict[str, Any] = {}  # states of the backup, by group and number
        self._results: dict[str, Any] = {}  # what its phases had reported last
        self._restored: set[str] = set()  # phases

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the state of the last finished epoch, if there is one."""
        if not self.model.built:
            raise ValueError(
                "`Resume` needs a model that is built before `fit`: give it an input shape, call "
                f"it or `build` it. Received: an unbuilt model named '{self.model.name}'"
            )
        self._history, self._finished, self._restored = {}, [], set()
        self._stored, self._results, self._described = {}, {}, {}
        self._settings = describe(self.model, self.data)
        _, self._workers = worker(self.model.distribute_strategy)
        own = own_directory(self.backup_dir, self.model.distribute_strategy)
        self._backup = Backup(own, self.backup_dir)
        self._backup.begin()
        epochs = self._latest()
        self._resumed = epochs > 0
        if epochs:
            self._restore(*self._backup.state(epochs))
        self._restore_phases()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tell the data which epoch it is, and give `History` the epochs of earlier runs."""
        self._restore_phases()  # of callbacks that are listed after this one
        if self._resumed and self._described.keys() != self._settings["phases"].keys():
            self._refuse(
                difference(sorted(self._described), sorted(self._settings["phases"]), "phases")
            )
        self._restore_history()
        if self.data is not None:
            self.data.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Store the state."""
        self._finished.append(epoch)
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(np.asarray(value).tolist())
        # what a callback put into History by itself, as AlignmentMonitor does
        history = self.model.history
        for name, values in history.history.items():
            if name not in (logs or {}) and len(values) > len(history.epoch):
                self._history.setdefault(name, []).append(values[-1])
        self._store(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the backup."""
        self._restore_history()
        if self._resumed:
            # Keras keeps the epoch to start from, and would apply it to the next `fit` as well.
            fresh = self._keras_backup(self._backup.directory / "restart")
            fresh.on_epoch_end(-1)
            fresh.on_train_begin()
            shutil.rmtree(fresh.backup_dir)
            self._resumed = False
        if self.delete_checkpoint:
            self._backup.remove()
            if self._workers > 1:
                with contextlib.suppress(OSError):  # not empty: another worker is not done
                    self.backup_dir.rmdir()

    def _latest(self) -> int:
        """After how many epochs the last state is, of every worker if there are several."""
        epochs = self._backup.latest()
        if self._workers > 1:
            strategy = self.model.distribute_strategy
            stored = strategy.run(lambda: tf.constant([epochs]))
            epochs = int(tf.reduce_min(strategy.gather(stored, 0)))
        return epochs

    def _keras_backup(self, directory: Path) -> keras.callbacks.BackupAndRestore:
        backup = keras.callbacks.BackupAndRestore(str(directory))
        backup.set_model(self.model)
        return backup

    def _states(self) -> list[keras.Variable]:
        """The variables that are no weights: states of random generators."""
        weights = {id(v) for v in self.model.weights}
        return list({id(v): v for v in self.model.variables if id(v) not in weights}.values())

    def _phases(self) -> dict[str, Any]:
        """The phases of this training run, as far as they are known, by name."""
        found = {name: callback.phase for name, callback in running(self.model).items()}
        known = {id(phase) for phase in found.values()}
        others = [phase for phase in self.phases if id(phase) not in known]
        return found | {f"{phase.name}#{i}": phase for i, phase in enumerate(others)}

    def _store(self, epoch: int) -> None:
        callbacks = running(self.model)
        states = {f"model/{i}": v.numpy() for i, v in enumerate(self._states())}
        for name, phase in self._phases().items():
            phase.build(self.model)
            states |= {f"{name}/{i}": v.numpy() for i, v in enumerate(phase.variables)}
        history = {"epoch": self._finished, "history": self._history}
        history["results"] = {name: callback.results for name, callback in callbacks.items()}

        def write(directory: Path) -> None:
            self._keras_backup(directory).on_epoch_end(epoch)
            np.savez(directory / "states.npz", **states)
            (directory / "history.json").write_text(json.dumps(history, default=float))

        # another worker may be killed before it has stored this epoch
        keep = [epoch] if self._workers > 1 else []
        self._backup.store(epoch + 1, write, self._settings, keep)

    def _restore(self, directory: Path, settings: dict[str, Any]) -> None:
        self._described = settings.pop("phases", {})
        self._refuse(difference(settings, self._settings))
        self._keras_backup(directory).on_train_begin()
        with np.load(directory / "states.npz") as stored:
            self._stored = dict(stored)
        self._assign("model", self._states())
        history = self._backup.read(directory / "history.json")
        self._finished, self._history = history["epoch"], history["history"]
        self._results = history["results"]

    def _restore_phases(self) -> None:
        """Give phases that are newly known what they had."""
        callbacks = running(self.model)
        described = self._settings.setdefault("phases", {})
        for name, phase in self._phases().items():
            if name in self._restored:
                continue
            self._restored.add(name)
            described[name] = attributes(phase)
            if name in callbacks:
                described[name]["every"] = callbacks[name].every
                described[name]["every_batches"] = callbacks[name].every_batches
            if not self._resumed:
                continue
            self._refuse(difference(self._described.get(name), described[name], f"phases/{name}"))
            phase.build(self.model)
            self._assign(name, phase.variables)
            if name in callbacks:
                callbacks[name].results = self._results.get(name, {})

    def _assign(self, group: str, variables: Sequence[keras.Variable]) -> None:
        stored = {k: v for k, v in self._stored.items() if k.rpartition("/")[0] == group}
        shapes = [stored[f"{group}/{i}"].shape for i in range(len(stored))]
        present = [tuple(v.shape) for v in variables]
        if shapes != present:
            self._refuse(f"the states of '{group}' had shapes {shapes} and have {present}")
        for i, variable in enumerate(variables):
            variable.assign(stored[f"{group}/{i}"])

    def _refuse(self, what: str | None) -> None:
        """Raise if there is a difference to the run of the backup."""
        if what is not None:
            raise ValueError(
                "The backup in `backup_dir` must be of the same model, method and settings: "
                f"{what}. Give this run a directory of its own. "
                f"Received: backup_dir='{self.backup_dir}'"
            )

    def _restore_history(self) -> None:
        """Write earlier epochs into `History`, which starts empty after `on_train_begin`."""
        history = self.model.history
        if self._resumed and not history.epoch:
            history.epoch = list(self._finished)
            history.history.update({name: list(v) for name, v in self._history.items()})

"""The callback that runs phases in `fit`."""

from __future__ import annotations

import statistics
import weakref
from typing import TYPE_CHECKING, Any

import keras

from tf_alignment._support.arguments import deprecated, integer, one_of
from tf_alignment.layers.inspection import own_path

if TYPE_CHECKING:
    from tf_alignment.phases.base import Phase, Results

__all__ = ["FeedbackCallback", "running"]

# Which callback logs under the name of a phase, in the run that a `History` belongs to.
_taken: weakref.WeakKeyDictionary[Any, dict[str, weakref.ref[FeedbackCallback]]] = (
    weakref.WeakKeyDictionary()
)


def running(model: keras.Model) -> dict[str, FeedbackCallback]:
    """The callbacks with a phase in the present `fit` of a model, by the phase's name.

    Args:
        model: The model. A callback is known once its `on_train_begin` was called.
    """
    history = getattr(model, "history", None)
    found = {} if history is None else _taken.get(history, {})
    return {name: callback for name, known in found.items() if (callback := known()) is not None}


class FeedbackCallback(keras.callbacks.Callback):
    """Runs a phase before training and at the start of epochs, or every k batches.

    The phase's report goes into `logs` at the end of the epoch, and so into `History`, as
    `<phase>/<path>/<quantity>` and, averaged over connections, `<phase>/mean/<quantity>`: measured
    after the phase's last run, or, with `every_batches`, at the end of the epoch. List the callback
    before `AlignmentMonitor`, `CSVLogger` and `TensorBoard`.

    A phase that runs every k batches is alternation of task and alignment; one that only runs in
    the warm-up (`every=None`) delays the task until the feedback has aligned.

    Args:
        phase: The phase.
        every: Epochs between runs: 1 for a run at the start of every epoch, 2 for every other one
            beginning with the first, None for the warm-up alone.
        every_batches: Batches between runs, k, in place of `every`: the phase runs before batches
            0, k, 2k ... of each epoch (with `steps_per_execution`, at most once per execution).
        warmup: Runs before the first epoch. A training that `Resume` continues at a later epoch has
            no warm-up again.
        verbose: 1 for a progress bar per run, 0 for none, `"auto"` as `fit` shows its own. Runs
            every k batches show none.

    Raises:
        TypeError: If `phase` is no phase.
        ValueError: For values out of range, or if nothing would ever run; in `fit`, if another
            callback runs a phase of the same name: give one of the phases a `name`.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="fa", name="a")])
    >>> model.compile("sgd", "mse")
    >>> mirror = ta.callbacks.FeedbackCallback(ta.phases.Alignment("wm", steps=50), warmup=1)
    >>> x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    >>> history = model.fit(x, y, epochs=2, callbacks=[mirror], verbose=0)
    >>> len(history.history["alignment/mean/weight_angle"])
    2
    """

    def __init__(
        self,
        phase: Phase,
        *,
        every: int | str | None = 1,
        every_batches: int | None = None,
        warmup: int = 0,
        verbose: int | str = "auto",
    ) -> None:
        super().__init__()
        if not callable(getattr(phase, "advance", None)) or isinstance(phase, type):
            raise TypeError(
                "Argument `phase` must be a `tf_alignment.phases.Phase` object. "
                f"Received: phase={phase!r}"
            )
        if isinstance(every, str) and every == "epoch":
            every = deprecated(1, "every='epoch'", "every=1")
        self.every = None if every is None else integer("every", every)
        self.every_batches = None
        if every_batches is not None:
            self.every, self.every_batches = None, integer("every_batches", every_batches)
        self.warmup = integer("warmup", warmup, 0)
        if self.every is None and self.every_batches is None and self.warmup == 0:
            raise ValueError(
                "The phase must run at some time: give `every`, `every_batches` or `warmup`. "
                "Received: every=None, every_batches=None, warmup=0"
            )
        self.phase = phase
        self.verbose = one_of("verbose", verbose, ("auto", 0, 1))
        self.results: Results = {}
        self._next = 0
        self._extra: Results | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Make sure that no other callback logs under the same names."""
        history = getattr(self.model, "history", None)
        if history is None:
            return
        names = _taken.setdefault(history, {})
        other = names[self.phase.name]() if self.phase.name in names else None
        if other is not None and other is not self:
            raise ValueError(
                "Phases that run in one `fit` must have names that differ, since they log under "
                "them: give one the argument `name`. Received: two callbacks with phases named "
                f"'{self.phase.name}'"
            )
        names[self.phase.name] = weakref.ref(self)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Run the warm-up, or the epoch's run."""
        self._next = 0
        for _ in range(self.warmup if epoch == 0 else 0):
            self._run()
        if self.every is not None and epoch % self.every == 0:
            self._run()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Every k batches, run."""
        k = self.every_batches
        if k is not None and batch >= self._next:
            self._next = (batch // k + 1) * k
            self._extra = self.phase.advance(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the report of the last run."""
        if logs is None:
            return
        if self.every_batches is not None:
            self.results = self.phase.report(self.model, self._extra)
        means: dict[str, list[float]] = {}
        for path, measured in self.results.items():
            path = own_path(self.model, path)
            for name, value in measured.items():
                logs[f"{self.phase.name}/{path}/{name}"] = value
                means.setdefault(name, []).append(value)
        for name, values in means.items():
            logs[f"{self.phase.name}/mean/{name}"] = statistics.fmean(values)

    def _run(self) -> None:
        verbose = self.verbose
        if verbose == "auto":
            verbose = 1 if self.params.get("verbose") == 1 else 0
        self.results = self.phase.run(self.model, verbose=int(verbose))

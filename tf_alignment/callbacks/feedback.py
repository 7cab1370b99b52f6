"""When a phase runs."""

from __future__ import annotations

import numbers
import statistics
import weakref
from typing import TYPE_CHECKING, Any

import keras

from tf_alignment._support.arguments import integer, one_of

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
    """Runs a phase before training and at the start of every epoch, or every k batches.

    What the phase reports goes into `logs` at the end of the epoch, and so into `History`, as
    `<phase>/<path>/<quantity>` and, averaged over connections, `<phase>/mean/<quantity>`: measured
    after its run, or, where it runs every k batches, at the end of the epoch. List it before
    `AlignmentMonitor`, `CSVLogger` and `TensorBoard`.

    A phase that runs every k batches is alternation of task and alignment; one that only runs in
    the warm-up (`every=None`) delays the task until the feedback has aligned.

    Args:
        phase: The phase.
        every: `"epoch"`, or a number k of batches: before batches 0, k, 2k ... of each epoch (with
            `steps_per_execution`, at most once an execution), or None for the warm-up alone.
        warmup: How often the phase runs before the first epoch. A run that `Resume` continues at a
            later epoch has no warm-up again.
        verbose: 1 for a progress bar each run, 0 for none, `"auto"` as `fit` shows its own. Runs
            every k batches show none.

    Raises:
        TypeError: If `phase` is no phase.
        ValueError: For values out of range, or if nothing would ever run; in `fit`, if another of
            its callbacks runs a phase of the same name: give one of them a `name`.

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
        every: str | int | None = "epoch",
        warmup: int = 0,
        verbose: int | str = "auto",
    ) -> None:
        super().__init__()
        if not callable(getattr(phase, "advance", None)) or isinstance(phase, type):
            raise TypeError(
                "Argument `phase` must be a `tf_alignment.phases.Phase` object. "
                f"Received: phase={phase!r}"
            )
        k = isinstance(every, numbers.Integral) and not isinstance(every, bool) and every > 0
        if not (k or every is None or (isinstance(every, str) and every == "epoch")):
            raise ValueError(
                "Argument `every` must be 'epoch', a positive number of batches or None. "
                f"Received: every={every!r}"
            )
        warmup = integer("warmup", warmup, 0)
        if every is None and warmup == 0:
            raise ValueError(
                "The phase must run at some time: give `every` or `warmup`. "
                "Received: every=None, warmup=0"
            )
        self.phase = phase
        self.every = int(every) if isinstance(every, numbers.Integral) else every
        self.warmup = warmup
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
        if self.every == "epoch":
            self._run()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Every k batches, run."""
        if isinstance(self.every, int) and batch >= self._next:
            self._next = (batch // self.every + 1) * self.every
            self._extra = self.phase.advance(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log what the last run reported."""
        if logs is None:
            return
        if isinstance(self.every, int):
            self.results = self.phase.report(self.model, self._extra)
        means: dict[str, list[float]] = {}
        for path, measured in self.results.items():
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

"""Measures alignment while a model trains, and watches that it does not diverge."""

from __future__ import annotations

import csv
import math
import os
import warnings
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import metrics, optimizers
from tf_alignment._support.arguments import boolean, file_path, integer, number, one_of
from tf_alignment._support.tracing import traced_once
from tf_alignment.divergence import NormWatch, loss_of
from tf_alignment.errors import DivergenceError
from tf_alignment.feedback import ProductFeedback
from tf_alignment.layers.inspection import Kernel, kernels, own_path
from tf_alignment.metrics.gradients import GradientProbe

__all__ = ["AlignmentMonitor"]

_ACTIONS = ("stop", "warn", "raise", None)
_GRADIENT_NAMES = {"kernel": "gradient_angle", "error": "error_angle"}
_SHOWN = tuple(f"mean/{angle}" for angle in ("weight_angle", "path_angle", "gradient_angle"))


class AlignmentMonitor(keras.callbacks.Callback):
    """Measures every layer's alignment at the end of an epoch, and stops a run that diverges.

    **Measures**, under these names in `History`:

    | name | measure |
    |---|---|
    | `<path>/weight_angle` | angle between forward and feedback kernel, degrees |
    | `<path>/path_angle` | in its place for product feedback: angle of W and R B |
    | `<path>/sign_agreement` | fraction of entries with the same sign |
    | `<path>/norm_ratio` | norm of the feedback kernel (R B) over the forward kernel's |
    | `<path>/gradient_angle` | angle of the kernel's gradient to backpropagation's, degrees |
    | `<path>/error_angle` | angle of the error sent down to backpropagation's, degrees |
    | `mean/<measure>` | mean over all layers that have it |

    `<path>` is the layer's `path`, with `/depthwise` or `/pointwise` where a layer has two kernels,
    and without `sequential_3`, the name of a model that was given none.
    `gradient_angle` and `error_angle` are measured on `probe_data`, the gradient for every layer
    with a kernel: in a stock layer it shows the quality of the error that arrives from above.
    `mean/gradient_angle` is a mean over all layers with a kernel, the output's 0° among them. Where
    a layer has no gradient, because none of its units are active, the angle is NaN and is left out
    of the mean. Methods without a feedback kernel of the forward kernel's shape (DFA, brSF) have no
    other measures, and DFA has no `error_angle`. The `error_angle` of the lowest layer has no
    effect on learning.

    `logs`, and the line that `fit` prints, contain only the mean angles; with `layers=True`, all
    measures. List the callback before `keras.callbacks.CSVLogger` and `TensorBoard`: their files
    then contain what `logs` contain. `log_dir` and `csv` name files to which the monitor writes all
    its measures.

    **Watches** the loss and the norms of kernels and feedback weights: NaN or infinity, a norm
    that grew `max_growth`-fold, feedback weights `max_norm_ratio` times larger or smaller than
    their forward kernel. Messages name layer, method and what to change.

    What it measures with is compiled once, and kept from `fit` to `fit` as long as the model stays
    the same and is not compiled again.

    When training begins it also calls `ta.optimizers.check`, which warns if feedback weights that
    learn by alignment are under an optimizer with momentum.

    Args:
        probe_data: `(x, y)` or `(x, y, sample_weight)`, one batch for the gradient angles; a
            `tf.data.Dataset` of such batches, of which the first is taken; or None.
        every: Epochs between measurements. The first and the last epoch are always measured; in
            between, `History` holds NaN. Where a callback that is listed later ends training, files
            and `records` alone have the last epoch.
        on_divergence: `"stop"` (warn and end training), `"warn"` (once per weight), `"raise"`
            (`DivergenceError`), or None (no watch).
        check_every: Batches between two looks at the norms, at most; the first are after 1, 2, 4,
            8 ... batches. One look costs about as much as reading all weights once. With
            `steps_per_execution`, at most one look an execution.
        max_norm_ratio: Limit for the norm ratio of feedback weights that learn, and its inverse.
        max_growth: Limit for the growth of any norm since training began.
        log_dir: Directory for TensorBoard, or None.
        csv: Path of a CSV file with one row per measured epoch, or None. A run that starts at a
            later epoch continues the file.
        layers: Whether `logs` hold all measures of each layer, or, with False, the mean angles
            alone. `History`, `records` and the files always hold all.

    Attributes:
        records: List of `{"epoch": int, name: value}`, one per measured epoch.

    Raises:
        ValueError: For arguments out of range.
        TypeError: If `probe_data` is neither a tuple nor a dataset of tuples.
        DivergenceError: In training, with `on_divergence="raise"`.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="fa")])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    >>> monitor = ta.callbacks.AlignmentMonitor(probe_data=(x, y))
    >>> history = model.fit(x, y, epochs=2, callbacks=[monitor], verbose=0)
    >>> len(history.history["mean/weight_angle"])
    2
    """

    def __init__(
        self,
        probe_data: tuple[Any, ...] | tf.data.Dataset | None = None,
        every: int = 1,
        on_divergence: str | None = "stop",
        check_every: int = 20,
        max_norm_ratio: float = 100.0,
        max_growth: float = 1000.0,
        log_dir: str | os.PathLike[str] | None = None,
        csv: str | os.PathLike[str] | None = None,
        layers: bool = False,
    ) -> None:
        super().__init__()
        self.probe_data = _batch(probe_data)
        self.every = integer("every", every)
        self.on_divergence = one_of("on_divergence", on_divergence, _ACTIONS)
        self.check_every = integer("check_every", check_every)
        self.max_norm_ratio = number("max_norm_ratio", max_norm_ratio, above=1)
        self.max_growth = number("max_growth", max_growth, above=1)
        self.log_dir = None if log_dir is None else file_path("log_dir", log_dir)
        self.csv = None if csv is None else file_path("csv", csv)
        self.layers = boolean("layers", layers)
        self.records: list[dict[str, Any]] = []
        self._kernels: list[Kernel] = []
        self._watch: NormWatch | None = None
        self._measured: list[Any] = []  # what the compiled functions were made of

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh, and warn of an optimizer that alignment does not stand."""
        self.records = []
        self._kernels, self._watch = [], None
        self._writer = None
        self._batches, self._next_check = 0, 1  # of all epochs so far; the batch to look after
        self._earlier = 0  # batches before this epoch
        self._epoch = -1  # the last that ended
        self._reported: set[str] = set()
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(str(self.log_dir))
        if self.model.built:
            self._prepare()

    def _prepare(self) -> None:
        """Look at the built model; compile what measures it."""
        self._kernels = kernels(self.model)
        self._watch = NormWatch(self.model, self.max_norm_ratio, self.max_growth)
        parts = self._parts()
        if not _same(parts, self._measured):
            self._compile()
            self._measured = parts
        if self.model.optimizer is not None:
            optimizers.check(self.model)

    def _parts(self) -> list[Any]:
        """The objects on which the measures depend; same objects, same functions."""
        found: list[Any] = [self.model, self.probe_data, self.model.optimizer]
        found += self.model.metrics[:1]  # of the loss, made anew when the model is compiled
        for kernel in self._kernels:
            found += [kernel.variable, kernel.connection]
            found.append(None if kernel.connection is None else kernel.connection.layer.feedback)
        return found

    def _compile(self) -> None:
        self._kernel_measures = traced_once(self._measure_kernels)
        self._gradients = None
        if self.probe_data is not None and self._kernels:
            self._gradients = GradientProbe(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Now and then, look at loss and norms."""
        if self._watch is None:
            self._prepare()
        self._batches = self._earlier + batch + 1
        if self._batches >= self._next_check:
            # A bad start ruins every weight within a few steps: look often at first, to see where.
            self._next_check = self._batches + min(self._batches, self.check_every)
            self._check(logs, f"after batch {self._batches}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, log, and look at loss and norms."""
        self._earlier, self._epoch = self._batches, epoch
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if not self.records or last or epoch % self.every == 0:
            measured = self._record(epoch)
        else:
            measured = {name: math.nan for name in self.records[-1] if name != "epoch"}
        shown = {n: v for n, v in measured.items() if self.layers or n in _SHOWN}
        if logs is not None:
            logs.update(shown)
            history = getattr(self.model, "history", None)
            if history is not None:
                for name in (name for name in measured if name not in shown):  # layers in order
                    history.history.setdefault(name, []).append(measured[name])
        self._check(logs, f"at the end of epoch {epoch + 1}")

    def on_train_end(self, logs: Any = None) -> None:
        """Measure the last epoch, if no one knew that it was; close the files."""
        if self.records and self.records[-1]["epoch"] < self._epoch:
            self._record(self._epoch)
        if self._writer is not None:
            self._writer.close()

    def _record(self, epoch: int) -> dict[str, float]:
        measured = self.measure()
        self.records.append({"epoch": epoch, **measured})
        self._write(epoch, measured)
        return measured

    def measure(self) -> dict[str, float]:
        """Measure now.

        Returns:
            `{name: value}`, named as the class says.
        """
        if self._watch is None:
            self._prepare()
        found: dict[str, dict[str, float]] = {kernel.path: {} for kernel in self._kernels}
        for path, values in self._kernel_measures().items():
            found[path] |= {name: float(value) for name, value in values.items()}
        if self._gradients is not None and self.probe_data is not None:
            for path, angles in self._gradients(*self.probe_data).items():
                named = {ours: angles.get(name) for name, ours in _GRADIENT_NAMES.items()}
                found[path] |= {name: angle for name, angle in named.items() if angle is not None}
        measured = {
            f"{own_path(self.model, path)}/{name}": value
            for path, values in found.items()
            for name, value in values.items()
        }
        for name in dict.fromkeys(name for values in found.values() for name in values):
            values = [values[name] for values in found.values() if name in values]
            if name in _GRADIENT_NAMES.values():  # NaN where there is no gradient to compare
                values = [value for value in values if not math.isnan(value)]
            measured[f"mean/{name}"] = sum(values) / len(values) if values else math.nan
        return measured

    def _measure_kernels(self) -> dict[str, dict[str, tf.Tensor]]:
        measured = {}
        for path, connection in ((k.path, k.connection) for k in self._kernels):
            if connection is None or not connection.layer.feedback.has_kernel:
                continue
            feedback = connection.feedback_kernel()
            kernel = tf.convert_to_tensor(connection.kernel)
            product = isinstance(connection.layer.feedback.unwrapped, ProductFeedback)
            angle = "path_angle" if product else "weight_angle"
            measured[path] = {
                angle: metrics.weight_angle(kernel, feedback),
                "sign_agreement": metrics.sign_agreement(kernel, feedback),
                "norm_ratio": metrics.norm_ratio(kernel, feedback),
            }
        return measured

    def _check(self, logs: Any, when: str) -> None:
        """Report whatever is wrong and has not been reported."""
        if self.on_divergence is None or self._watch is None:
            return
        problems = self._watch.problems()
        loss = loss_of(logs)
        if loss is not None and not math.isfinite(loss) and not problems:
            text = f"the loss is {loss}, with the weights of all layers with feedback finite."
            problems["loss"] = text, "Lower the learning rate, or clip gradients."
        problems = {key: found for key, found in problems.items() if key not in self._reported}
        if not problems:
            return
        self._reported |= problems.keys()
        texts = [text for text, _ in problems.values()]
        if texts[3:]:
            texts[3:] = [f"({len(texts) - 3} more weights.)"]
        advice = dict.fromkeys(advice for _, advice in problems.values())
        message = " ".join([f"Training diverged, seen {when}:", *texts, *advice])
        if self.on_divergence == "raise":
            raise DivergenceError(message)
        if self.on_divergence == "stop":
            self.model.stop_training = True
            message += " Training stops here."
        warnings.warn(message, stacklevel=2)

    def _write(self, epoch: int, measured: dict[str, float]) -> None:
        if self._writer is not None:
            with self._writer.as_default(step=epoch):
                for name, value in measured.items():
                    tf.summary.scalar(name, value)
            self._writer.flush()
        if self.csv is not None:
            _append_row(self.csv, {"epoch": epoch, **measured})


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _batch(probe_data: Any) -> tuple[Any, ...] | None:
    """The data on which gradients are measured, as one batch."""
    given = probe_data
    if isinstance(probe_data, tf.data.Dataset):
        given = next(iter(probe_data.take(1)), None)
    elif probe_data is None:
        return None
    if (
        not isinstance(given, tuple | list)
        or len(given) not in (2, 3)
        or any(part is None for part in given[:2])
    ):
        raise TypeError(
            "`probe_data` must be (x, y), (x, y, sample_weight) or a dataset of such batches. "
            f"Received: probe_data of type {type(probe_data).__name__}"
        )
    return tuple(given)


def _append_row(file: Path, row: dict[str, Any]) -> None:
    """Add a row after those of earlier epochs; rows of later epochs are another run's, and go."""
    kept: list[dict[str, Any]] = []
    if row["epoch"] > 0 and file.exists():
        with file.open(newline="") as f:
            kept = [old for old in csv.DictReader(f) if int(old["epoch"]) < row["epoch"]]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(dict.fromkeys([*(k for r in kept for k in r), *row])))
        writer.writeheader()
        writer.writerows([*kept, row])

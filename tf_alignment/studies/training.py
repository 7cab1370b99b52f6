"""Execution of one run from its task."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment import distribute, phases
from tf_alignment.callbacks import AlignmentMonitor, FeedbackCallback, Resume
from tf_alignment.callbacks.resume import own_directory
from tf_alignment.conversion import convert
from tf_alignment.conversion.graph import record
from tf_alignment.layers.inspection import kernels
from tf_alignment.studies.cost import measure_cost
from tf_alignment.studies.encoding import decode, own_objects
from tf_alignment.studies.sources import hold_out, open_data
from tf_alignment.studies.store import Store, read_json, write_json
from tf_alignment.studies.variants import Run, construct

__all__ = ["make", "top_kernels"]

_SAMPLE = 400  # entries of W and B that a report shows
_DIVERGED = "Training diverged"


def make(store: Store, name: str) -> dict[str, Any]:
    """Carry out a task and write its result.

    Args:
        store: Files of the study.
        name: Name of the task.

    Returns:
        Result, as it is in the file.
    """
    content = read_json(store.file("tasks", name))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        objects = own_objects(content["files"], content["sources"])
        with keras.saving.custom_object_scope(objects):
            strategy = distribute.strategy(content["strategy"])
            backup = own_directory(store.file("unfinished", name, ""), strategy)
            notes = _Notes(backup, caught)
            result = _train(store, name, content, strategy, notes)
    texts = notes.texts()
    for text in texts:
        print("warning:", text)  # noqa: T201 - to the log
    diverged = any(text.startswith(_DIVERGED) for text in texts) or not result.pop("finite")
    result |= {"status": "diverged" if diverged else "done", "warnings": texts}
    # Workers that train together have the same result; whether they share the directory is unknown.
    store.keep("runs", name, result)
    shutil.rmtree(backup, ignore_errors=True)
    if backup != store.file("unfinished", name, ""):
        with contextlib.suppress(OSError):  # another worker is not done, or has removed it
            backup.parent.rmdir()
    return result


class _Notes(keras.callbacks.Callback):
    """Notes beside the backup, for a run that is killed: its warnings, and whether it was stopped.

    Args:
        backup: Directory of the run's backup.
        caught: Warnings of this process, to which new ones are added.
    """

    def __init__(self, backup: Path, caught: list[warnings.WarningMessage]) -> None:
        super().__init__()
        self.file, self.caught = backup / "notes.json", caught
        self.resumed = (backup / "latest.json").exists()
        kept = (read_json(self.file) if self.resumed else None) or {}
        self.before: list[str] = kept.get("warnings", [])
        self.last: int | None = kept.get("last")  # epoch after which the run was stopped

    def texts(self) -> list[str]:
        """All warnings of the run."""
        return list(dict.fromkeys([*self.before, *(str(w.message) for w in self.caught)]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the notes."""
        last = epoch + 1 if self.model.stop_training else None
        write_json(self.file, {"warnings": self.texts(), "last": last})


def _train(
    store: Store, name: str, task: dict[str, Any], strategy: tf.distribute.Strategy, notes: _Notes
) -> dict[str, Any]:
    start = time.perf_counter()
    asked, backup = task["run"], store.file("unfinished", name, "")
    run = Run(
        **{key: asked[key] for key in ("variant", "case", "value", "seed", "epochs", "batch_size")},
        feedback=task["method"],
        settings=decode(asked["settings"]),
        strategy=strategy,
        data_dir=task["data_dir"],
        directory=store.directory,
        resumed=notes.resumed,
    )
    # what draws without a seed of its own (random feedback) is the same again, resumed or not
    keras.utils.set_random_seed(run.seed)
    with strategy.scope():
        run.source = open_data(asked["data"], store.directory, run)
        if asked["held_out"] and "held_out" in run.settings:  # a function that did so took it away
            run.source = hold_out(run.source, run.settings.pop("held_out"))
        batches = run.source.batches(run.seed, run.batch_size)
        run.steps_per_epoch = len(batches)
        stock = keras.saving.load_model(
            store.file("starts", task["start"], ".keras"), compile=False
        )
        keras.utils.set_random_seed(run.seed)
        run.model = model = _converted(stock, asked)
        compile_model(model, run, asked)
    run.phases = [construct(decode(phase), run) for phase in asked["phases"]]
    # kept until the result is: what follows training can be killed too
    resume = Resume(backup, data=batches, delete_checkpoint=False, phases=run.phases)
    monitor = AlignmentMonitor(
        run.source.probe(asked["probe"]) if asked["probe"] else None,
        every=asked["measure_every"],
        on_divergence=asked["on_divergence"],
    )
    for function in asked["prepare"]:
        construct(decode(function), run)
    history = model.fit(
        batches.dataset,
        epochs=min(run.epochs, notes.last or run.epochs),
        shuffle=False,
        validation_data=run.source.validation,
        callbacks=[
            *_phase_callbacks(model, run.phases, asked["every"], asked["warmup"]),
            monitor,
            keras.callbacks.TerminateOnNaN(),
            *(construct(decode(function), run) for function in asked["callbacks"]),
            _Measures([decode(function) for function in asked["measure"]], run),
            notes,
            resume,
        ],
        verbose=2,
    ).history
    top = top_kernels(model)
    curves = {key: [float(f"{float(v):.6g}") for v in values] for key, values in history.items()}
    curves |= hidden_means(curves, top)
    result: dict[str, Any] = {
        **{key: asked[key] for key in ("variant", "case", "value", "seed", "kind", "values")},
        "feedback": task["method"],
        "epochs": len(history["loss"]),
        "parameters": int(model.count_params()),
        "steps_per_epoch": run.steps_per_epoch,
        "curves": curves,
        "top": top,
        "finite": math.isfinite(float(history["loss"][-1])),
        "weights": samples(model),
        "finish": {},
        "versions": task["versions"],
    }
    for function in asked["finish"]:
        result["finish"] |= construct(decode(function), run)
    if task["cost"] and strategy.num_replicas_in_sync == 1:
        with strategy.scope():
            result["cost"] = measure_cost(
                model, stock, lambda built: compile_model(built, run, asked), batches
            )
    return {**result, "seconds": round(time.perf_counter() - start, 1)}


def _converted(stock: keras.Model, asked: dict[str, Any]) -> keras.Model:
    feedback = decode(asked["feedback"])
    if feedback is None:
        return stock
    names = ("include", "exclude", "feedback_initializer")
    return convert(stock, feedback, **{name: decode(asked[name]) for name in names})


def compile_model(model: keras.Model, run: Run, asked: dict[str, Any]) -> None:
    """Compile a model with the settings of a run.

    Args:
        model: Model of the run, or the stock model with which its cost is compared.
        run: Run that the model belongs to.
        asked: Settings of `compile`, as JSON content.
    """
    options = decode(asked["compile"])
    optimizer = options.pop("optimizer")
    if callable(optimizer) and not isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer = construct(optimizer, run, **asked["optimizer_values"])
    for name in ("loss", "metrics"):
        options[name] = _constructed(options.get(name))
    # The loop of `fit` costs as much as a small step: leave it once for so many.
    options.setdefault("steps_per_execution", min(50, run.steps_per_epoch))
    if distribute.worker(run.strategy)[1] > 1:
        # TensorFlow has neither a loop around their steps, nor XLA for what they exchange
        options |= {"steps_per_execution": 1, "jit_compile": False}
    model.compile(optimizer, **options)


def _constructed(value: Any) -> Any:
    """Construct losses and metrics that are given as classes, anew for each model."""
    if isinstance(value, list):
        return [_constructed(entry) for entry in value]
    return value() if isinstance(value, type) else value


def _phase_callbacks(
    model: keras.Model, made: Sequence[Any], every: Any, warmup: int
) -> list[keras.callbacks.Callback]:
    if every == "step":
        for phase in made:
            phases.interleave(model, phase)
        return []
    every = 1 if every == "epoch" else every  # see `Plan`
    return [FeedbackCallback(phase, every=every, warmup=warmup, verbose=0) for phase in made]


class _Measures(keras.callbacks.Callback):
    """Callback that adds the study's own measures to `logs`.

    Args:
        functions: Functions of the run; each returns `{name: number}`.
        run: Run that is passed to the functions.
    """

    def __init__(self, functions: Iterable[Callable[[Run], dict[str, float]]], run: Run) -> None:
        super().__init__()
        self.functions, self.run = list(functions), run

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Call the functions and add their results to `logs`."""
        for function in self.functions:
            logs.update({name: float(value) for name, value in function(self.run).items()})


def top_kernels(model: keras.Model) -> list[str]:
    """Paths of the kernels whose gradient equals backpropagation's for every feedback method.

    These are the kernels with no kernel above them: the error reaches them without feedback.

    Args:
        model: Built Keras model.
    """
    found = kernels(model)
    if not found:
        return []
    try:
        calls = record(model).calls
    except ValueError:  # no graph to look at: the last one
        return [found[-1].path]
    own: dict[int, list[str]] = {}
    for call in calls:
        held = {id(weight) for weight in call.layer.weights} if call.learns else set()
        own[id(call)] = [kernel.path for kernel in found if id(kernel.variable) in held]
    below: set[Any] = set()  # tensors that a kernel further up uses
    top: list[str] = []
    for call in reversed(calls):
        used = any(ref in below for ref in keras.tree.flatten(call.outputs))
        paths = own[id(call)]
        if paths and not used:
            # of several kernels in one layer the last is nearest to the output
            top.append(paths[-1])
        if paths or used:
            below.update(call.inputs)
    return top


def hidden_means(curves: dict[str, list[float]], top: Sequence[str]) -> dict[str, list[float]]:
    """Mean gradient angle without the kernels for which it is 0 by construction.

    Args:
        curves: Curves of the monitor.
        top: Paths that `top_kernels` returned.

    Returns:
        Dict `{"hidden/gradient_angle": values}`; empty if there is no other kernel. An angle that
        is NaN, because the layer has no gradient, is left out of the mean, as in the monitor.
    """
    ending = "/gradient_angle"
    paths = [name.removesuffix(ending) for name in curves if name.endswith(ending)]
    rows = [curves[path + ending] for path in paths if path != "mean" and path not in top]
    if not rows:
        return {}
    values = np.ma.masked_invalid(np.array(rows, float)).mean(axis=0)  # NaN: no gradient
    return {"hidden" + ending: [float(f"{v:.6g}") for v in np.ma.filled(values, np.nan)]}


def samples(model: keras.Model) -> dict[str, list[list[float]]]:
    """Sample of entries of every forward kernel and its feedback kernel.

    Args:
        model: Trained Keras model.

    Returns:
        Dict `{path: [[entries of W], [entries of B]]}`.
    """
    found = {}
    for kernel in kernels(model):
        if kernel.connection is None:
            continue
        try:
            feedback = np.ravel(kernel.connection.feedback_kernel())
        except ValueError:  # the method has none
            continue
        forward = np.ravel(kernel.variable)
        rows = np.random.default_rng(0).permutation(len(forward))[:_SAMPLE]
        found[kernel.path] = [
            [float(f"{v:.4g}") for v in array[rows]] for array in (forward, feedback)
        ]
    return found

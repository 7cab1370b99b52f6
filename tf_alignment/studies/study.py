"""A study: which methods, on which models and data, how trained, over which seeds."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import boolean, file_path, integer, integers, one_of
from tf_alignment.studies.encoding import Encoder, decode
from tf_alignment.studies.executors import LocalProcesses, carry_out
from tf_alignment.studies.optimizers import sgd
from tf_alignment.studies.plan import Plan, Task, versions
from tf_alignment.studies.results import Results
from tf_alignment.studies.store import Store, write_json
from tf_alignment.studies.tuning import as_tuning
from tf_alignment.studies.variants import Case, as_variants

__all__ = ["Study"]


class Study:
    """Methods side by side on a model and data, each from several seeds.

    See `tf_alignment.studies` for the shape of it.

    Args:
        build: The stock model: a function without arguments or of the seed, `"module:function"`, or
            a Keras model, whose architecture gets new weights for each seed. Several models (a
            transfer, a depth, a noise) are `{name: build}` or a list of `Case`s.
        data: A name of `ta.data.load`, `ta.data.Arrays`, `(train, test)` with `(x, y)` or a finite
            `tf.data.Dataset` for each, or a function of the `Run` that returns one of these or a
            `tf_alignment.studies.sources.Source`.
        variants: Ids of methods, `Feedback` objects or classes, `"module:Rule"` or
            `"file.py:Rule"`, and `Variant`s.
        compile: Arguments of `model.compile`, over the defaults: the optimizer `ta.studies.sgd`,
            cross-entropy of integer labels and logits, and accuracy. The optimizer may be a
            function of the `Run`.
        epochs: Passes over the training data.
        batch_size: Examples a step.
        seeds: How many, or which.
        tuning: None, `{name: values}` for a grid, or a `Tuning`.
        data_dir: Where the TensorFlow Datasets are.
        metric: What counts, by its name in `History`; of the last epoch, never of the best one.
        maximize: Whether more of it is better; None for all but losses and errors.
        baseline: Name of the variant that others are compared with, seed by seed.
        settings: Whatever functions read from `run.settings`.
        callbacks: Functions of the `Run` that return a Keras callback, or callback classes.
        measure: Functions of the `Run` that return `{name: number}` after each epoch.
        finish: Functions of the `Run` that return JSON to be kept with the result.
        prepare: Functions of the `Run`, called before training; see `Run.resumed`.
        probe: Examples of the test split on which gradients are compared with backpropagation's; 0
            for none.
        measure_every: Epochs between measurements of alignment.
        on_divergence: See `ta.callbacks.AlignmentMonitor`.
        cost: Whether step time, operations and memory are measured, in the first seed's runs.
        strategy: See `ta.distribute.strategy`.
        title: Of reports.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If one is out of range, names clash, or variants would be tuned with different
            budgets.

    Example:
    ```python
    study = ta.studies.Study(
        build=lambda: ta.models.lenet((8, 8, 1)), data="digits", variants=["backprop", "fa", "kp"]
    )
    print(study.run("results/digits").table())
    ```
    """

    def __init__(
        self,
        build: Any,
        data: Any,
        variants: Sequence[Any],
        *,
        compile: Mapping[str, Any] | None = None,  # noqa: A002 - as Keras calls it
        epochs: int = 10,
        batch_size: int = 128,
        seeds: int | Sequence[int] = 3,
        tuning: Any = None,
        data_dir: str | None = None,
        metric: str = "val_accuracy",
        maximize: bool | None = None,
        baseline: str = "backprop",
        settings: Mapping[str, Any] | None = None,
        callbacks: Sequence[Any] = (),
        measure: Sequence[Any] = (),
        finish: Sequence[Any] = (),
        prepare: Sequence[Any] = (),
        probe: int = 128,
        measure_every: int = 1,
        on_divergence: str | None = "stop",
        cost: bool = True,
        strategy: str = "default",
        title: str = "Study",
    ) -> None:
        self.variants = as_variants(variants)
        self.cases = _as_cases(build)
        if data is None and any(case.data is None for case in self.cases):
            raise ValueError("Argument `data` must be given. Received: data=None")
        self.data = data
        self.compile = {
            "optimizer": sgd,
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "metrics": ["accuracy"],
            **(compile or {}),
        }
        self.epochs = integer("epochs", epochs)
        self.batch_size = integer("batch_size", batch_size)
        several = isinstance(seeds, Sequence) and not isinstance(seeds, str)
        self.seeds = (
            list(dict.fromkeys(integers("seeds", seeds, 0)))
            if several
            else list(range(integer("seeds", seeds)))
        )
        self.tuning = as_tuning(tuning)
        self.data_dir = data_dir
        self.metric = metric
        lowest = any(word in metric for word in ("loss", "error"))
        self.maximize = not lowest if maximize is None else boolean("maximize", maximize)
        self.baseline = baseline
        self.settings = dict(settings or {})
        self.callbacks, self.measure = list(callbacks), list(measure)
        self.finish, self.prepare = list(finish), list(prepare)
        self.probe = integer("probe", probe, 0)
        self.measure_every = integer("measure_every", measure_every)
        self.on_divergence = one_of("on_divergence", on_divergence, ("stop", "warn", None))
        self.cost = boolean("cost", cost)
        self.strategy, self.title = strategy, title
        self._check_budgets()
        self._check_encoding()

    def run(
        self,
        directory: str | os.PathLike[str],
        executor: futures.Executor | None = None,
        *,
        jobs: int | None = None,
        threads: int | None = None,
        shard: tuple[int, int] | None = None,
        verbose: int = 1,
    ) -> Results:
        """Make the runs that are missing.

        Several calls, in as many processes or machines that share the directory, divide the runs
        among them: none is made twice. On Ctrl-C the runs under way end, and one line says how to
        go on.

        Args:
            directory: Of all files.
            executor: Any `concurrent.futures.Executor`, whose workers see the directory under the
                same path and start a process for each run. None: processes of this machine.
            jobs: How many at a time, without an executor. By default one a core, or one if there is
                a GPU.
            threads: Of TensorFlow in each run. By default one where there is no GPU: then results
                do not depend on the number of cores.
            shard: `(i, n)`: make only the i-th of n parts, from 1, as a task of a job array.
            verbose: Whether a line is printed for every run that ends.

        Returns:
            What there is, runs that failed among it.

        Raises:
            SystemExit: After Ctrl-C, with exit code 130.
        """
        store = Store(file_path("directory", directory))
        part, parts = _shard(shard)
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        if jobs is None:
            jobs = 1 if has_gpu else os.cpu_count() or 1
        if threads is None and not has_gpu:
            threads = 1
        plan = Plan(self, store)
        plan.ready()
        self._describe(plan, store)
        progress = _Progress(self, plan, bool(verbose))
        local = LocalProcesses(integer("jobs", jobs)) if executor is None else None
        pool = local or executor
        assert pool is not None
        try:
            carry_out(plan, store, pool, threads, progress, (part, parts))
        except KeyboardInterrupt:
            if local is not None:
                local.shutdown()
            text = f"Interrupted; {progress.known()} runs are done. The same call makes the rest."
            print(f"\n{text}", flush=True)  # noqa: T201
            raise SystemExit(130) from None
        finally:
            if local is not None:
                with contextlib.suppress(KeyboardInterrupt):
                    local.shutdown()
        self._describe(plan, store)
        return Results(store.directory)

    def score(self, results: Sequence[Any]) -> float:
        """How good a trial was: the mean of the metric, more being better.

        Args:
            results: Of its runs; None for one that failed.
        """
        values = []
        for result in results:
            curve = (result or {}).get("curves", {}).get(self.metric) or [None]
            done = result is not None and result["status"] == "done"
            if not done or curve[-1] is None:
                return -math.inf
            values.append(curve[-1])
        mean = sum(values) / len(values)
        return mean if self.maximize else -mean

    def _check_budgets(self) -> None:
        if self.tuning is None:
            return
        budgets = {v.name: self.tuning.budget(v.tuning) for v in self.variants}
        if len(set(budgets.values())) > 1:
            raise ValueError(
                "Argument `tuning` must give every variant as many trials. "
                f"Received: trials={budgets}"
            )
        names = [case.name for case in self.cases]
        if self.tuning.on is not None:
            one_of("tuning.on", self.tuning.on, names)

    def _check_encoding(self) -> None:
        """Whether other processes can read it all; what cannot fails here."""
        encoder = Encoder()
        for name in ("compile", "settings", "callbacks", "measure", "finish", "prepare"):
            encoder.encode(name, getattr(self, name))
        for variant in self.variants:
            for name in ("phases", "callbacks", "optimizer", "compile", "settings", "include"):
                encoder.encode(name, getattr(variant, name))
            method = methods.get(variant.feedback)
            encoded = encoder.encode("feedback", method)
            own = {} if method is None else {type(method).__name__: type(method)}
            with keras.saving.custom_object_scope(own):
                decode(encoded)  # a `get_config` that lacks an argument fails here

    def _describe(self, plan: Plan, store: Store) -> None:
        """Write what a report needs to know besides the runs."""
        encoder = Encoder()
        content = {
            "title": self.title,
            "metric": self.metric,
            "maximize": self.maximize,
            "baseline": self.baseline,
            "variants": [
                {"name": v.name, "feedback": repr(methods.get(v.feedback))} for v in self.variants
            ],
            "cases": [{"name": case.name, "value": case.value} for case in self.cases],
            "seeds": self.seeds,
            "settings": {
                "epochs": self.epochs,
                "batch size": self.batch_size,
                "data": self.data if isinstance(self.data, str) else type(self.data).__name__,
                **{k: encoder.encode("compile", v) for k, v in self.compile.items()},
                **encoder.encode("settings", self.settings),
            },
            "tuning": {"chosen": plan.chosen, "trials": plan.trials},
            "runs": [task.name for task in plan.runs],
            "versions": versions(),
        }
        write_json(store.directory / "study.json", content)


class _Progress:
    """Prints a line for every run that ends.

    Args:
        study: The study.
        plan: Its plan.
        verbose: Whether to.
    """

    def __init__(self, study: Study, plan: Plan, verbose: bool) -> None:
        self.study, self.plan, self.verbose = study, plan, verbose
        self.start = time.perf_counter()
        self.ended = 0
        found, total = self._counts()
        if verbose and found:
            print(f"{found} of {total} runs were made before", file=sys.stdout, flush=True)  # noqa: T201

    def known(self) -> str:
        """`"3 of 12"`."""
        found, total = self._counts()
        return f"{found} of {total}"

    def _counts(self) -> tuple[int, int]:
        study = self.study
        total = len(study.variants) * len(study.cases) * len(study.seeds)
        return sum(self.plan.result(task) is not None for task in self.plan.runs), total

    def __call__(self, task: Task, outcome: str) -> None:
        self.ended += 1
        if not self.verbose:
            return
        found, total = self._counts()
        text = outcome
        if outcome == "failed":
            failure = self.plan.store.failure(task.name) or {}
            text = f"failed: {failure.get('error', 'unknown')}".splitlines()[0]
        else:
            result = self.plan.result(task)
            curve = result["curves"].get(self.study.metric) or [None]
            shown = "none" if curve[-1] is None else f"{curve[-1]:.4g}"
            text = f"{self.study.metric} {shown}"
            if result["status"] == "diverged":
                text += ", diverged"
        seconds = time.perf_counter() - self.start
        print(f"[{found}/{total}] {task.label}: {text}   {seconds:.0f} s", flush=True)  # noqa: T201


def _as_cases(build: Any) -> list[Case]:
    if isinstance(build, Mapping):
        build = [Case(name, each) for name, each in build.items()]
    if not isinstance(build, list | tuple):
        return [Case("model", build)]
    if not build or not all(isinstance(case, Case) for case in build):
        raise TypeError(
            "Argument `build` must be a model, a function that returns one, {name: build}, or a "
            f"list of `Case`s. Received: build={build!r}"
        )
    names = [case.name for case in build]
    if len(set(names)) < len(names):
        raise ValueError(f"Argument `build` must have different names. Received: {names}")
    return list(build)


def _shard(shard: Any) -> tuple[int, int]:
    if shard is None:
        return 1, 1
    part, parts = integers("shard", shard, length=2)
    if part > parts:
        raise ValueError(
            f"Argument `shard` must be (i, n) with 1 <= i <= n. Received: shard={shard!r}"
        )
    return part, parts

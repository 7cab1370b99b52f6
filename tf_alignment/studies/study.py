"""Study: methods, models and data, training settings, and seeds of a comparison."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import distribute
from tf_alignment._support.arguments import boolean, file_path, integer, integers, one_of
from tf_alignment.studies.encoding import Encoder, decode
from tf_alignment.studies.executors import LocalProcesses, carry_out
from tf_alignment.studies.optimizers import sgd
from tf_alignment.studies.plan import Plan, Task, unread, versions
from tf_alignment.studies.results import Results
from tf_alignment.studies.store import Store, worker_number, write_json
from tf_alignment.studies.tuning import as_tuning
from tf_alignment.studies.variants import Case, as_variants, method_of

__all__ = ["Study"]

_SMALL_IS_BETTER = re.compile(
    r"loss|error|entropy|perplexity|divergence|angle|hinge|poisson|cosh"
    r"|(?:^|[_/])(?:mae|mse|rmse|mape|msle|nll|kld|kl|bits)(?:$|[_/])"
)


class Study:
    """Comparison of methods on a model and data, each with several seeds.

    See `tf_alignment.studies` for the structure of studies.

    Args:
        build: Stock model: a function without arguments or of the seed, a reference
            `"module:function"`, or a Keras model, whose architecture gets new weights for each
            seed. Several models (for transfer, or several depths or noise levels) are given as
            `{name: build}` or as a list of `Case`s.
        data: Name of a dataset of `ta.data.load`, `ta.data.Arrays`, a pair `(train, test)` in which
            each is `(x, y)` or a finite `tf.data.Dataset`, or a function of the `Run` that returns
            one of these or a `tf_alignment.studies.sources.Source`.
        variants: List of methods: ids, `Feedback` objects or classes, references `"module:Rule"` or
            `"file.py:Rule"`, and `Variant`s.
        compile: Arguments of `model.compile` that replace the defaults: the optimizer
            `ta.studies.sgd`, cross-entropy of integer labels and logits, and accuracy. The
            optimizer may be a function of the `Run`.
        epochs: Number of passes over the training data.
        batch_size: Number of examples per step.
        seeds: Number of seeds, or a list of seeds.
        tuning: Settings to search: None, `{name: values}` for a grid, or a `Tuning`.
        data_dir: Directory of the TensorFlow Datasets.
        metric: Name in `History` of the measure by which variants are compared, always at the last
            epoch and never at the best one.
        maximize: Whether larger values of the metric are better; None means yes, except for names
            with a word such as loss, error, entropy, perplexity, divergence, angle, mae or rmse.
        baseline: Name of the variant with which others are compared, paired by seeds.
        settings: Dict of settings that functions read from `run.settings`.
        callbacks: Functions of the `Run` that return a Keras callback, or callback classes.
        measure: Functions of the `Run` that return `{name: number}` after each epoch.
        finish: Functions of the `Run` that return JSON content to be stored with the result.
        prepare: Functions of the `Run` that are called before training; see `Run.resumed`.
        probe: Number of examples of the test split on which gradients are compared with
            backpropagation; 0 for no comparison.
        measure_every: Number of epochs between measurements of alignment.
        on_divergence: Reaction to divergence, see `ta.callbacks.AlignmentMonitor`.
        cost: Whether step time, operations and memory are measured in the runs of the first seed,
            if they have one replica.
        strategy: Name of a strategy, see `ta.distribute.strategy`.
        title: Title of reports.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If an argument is out of range, names clash, variants would be tuned with
            different budgets, or a tuned value would change nothing.

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
        smaller = _SMALL_IS_BETTER.search(metric.lower()) is not None
        self.maximize = not smaller if maximize is None else boolean("maximize", maximize)
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

        Several calls at the same time, in processes or on machines that share the directory, divide
        the runs among them: no run is made twice. On Ctrl-C the present runs end, and a message of
        one line says how to continue.

        Args:
            directory: Directory for all files of the study.
            executor: A `concurrent.futures.Executor` whose workers see the directory under the same
                path and start a process for each run. None starts processes on this machine: on
                Linux, without a GPU and with the default strategy, forks of one process that has
                imported TensorFlow, otherwise new interpreters.
            jobs: Number of runs at the same time, without an executor. By default one per core, or
                one if there is a GPU or the study has a strategy.
            threads: Number of TensorFlow's threads in each run. By default one if there is no GPU,
                so that results do not depend on the number of cores.
            shard: Pair `(i, n)` to make only the i-th of n parts, counted from 1, as a task of a
                job array.
            verbose: Whether a line is printed for every run that ends.

        Returns:
            `Results` with all runs so far, including failed runs.

        Raises:
            ValueError: If an argument is out of range, or the workers of strategy `"multi_worker"`,
                each of which calls this function, are not described in the environment or would
                make several runs at the same time.
            SystemExit: After Ctrl-C, with exit code 130.
        """
        store = Store(file_path("directory", directory))
        store.worker = worker_number(self.strategy)
        if self.strategy == "multi_worker":
            distribute.cluster()  # what is missing in the environment is said here
        if store.worker is not None and (jobs not in (None, 1) or executor or shard):
            raise ValueError(
                "Workers that train each run together make one run after the other: leave out "
                f"`jobs`, `executor` and `shard`. Received: strategy={self.strategy!r} and "
                f"jobs={jobs}, executor={executor}, shard={shard}"
            )
        part, parts = _shard(shard)
        devices = {device.device_type for device in tf.config.list_physical_devices()}
        has_gpu = "GPU" in devices
        if jobs is None:
            jobs = 1 if has_gpu or self.strategy != "default" else os.cpu_count() or 1
        if threads is None and not has_gpu:
            threads = 1
        plan = Plan(self, store)
        plan.ready()
        self._describe(plan, store)
        progress = _Progress(self, plan, bool(verbose))
        # nobody has tried what the driver of an accelerator does in a fork; such runs are long
        forks = sys.platform == "linux" and self.strategy == "default" and devices == {"CPU"}
        local = LocalProcesses(integer("jobs", jobs), forks) if executor is None else None
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
        """Score of a trial: the mean of the metric, with the sign for which larger is better.

        Args:
            results: Results of the trial's runs; None for a run that failed.
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
        if lost := unread(self):
            raise ValueError(
                "Argument `tuning` must have names of arguments of an optimizer or of the function "
                "that makes it ('learning_rate'), of a method ('feedback.<argument>'), or of what "
                "functions read from `run.settings` ('settings.<name>'); otherwise all trials are "
                f"the same. Received: {lost}"
            )

    def _check_encoding(self) -> None:
        """Raise an error if another process could not read all arguments."""
        encoder = Encoder()
        for name in ("compile", "settings", "callbacks", "measure", "finish", "prepare"):
            encoder.encode(name, getattr(self, name))
        for variant in self.variants:
            for name in ("phases", "callbacks", "optimizer", "compile", "settings", "include"):
                encoder.encode(name, getattr(variant, name))
            method = method_of(variant.feedback)
            encoded = encoder.encode("feedback", method)
            each = method.values() if isinstance(method, dict) else [method]
            own = {type(one).__name__: type(one) for one in each if one is not None}
            with keras.saving.custom_object_scope(own):
                decode(encoded)  # a `get_config` that lacks an argument fails here

    def _describe(self, plan: Plan, store: Store) -> None:
        """Write the description of the study that reports need besides the runs."""
        encoder = Encoder()
        content = {
            "title": self.title,
            "metric": self.metric,
            "maximize": self.maximize,
            "baseline": self.baseline,
            "variants": [
                {"name": v.name, "feedback": repr(method_of(v.feedback))} for v in self.variants
            ],
            "cases": [{"name": case.name, "value": case.value} for case in self.cases],
            "seeds": self.seeds,
            "settings": {
                "epochs": self.epochs,
                "batch size": self.batch_size,
                "strategy": self.strategy,
                "data": self.data if isinstance(self.data, str) else type(self.data).__name__,
                **{k: encoder.encode("compile", v) for k, v in self.compile.items()},
                **encoder.encode("settings", self.settings),
            },
            "tuning": {"chosen": plan.chosen, "trials": plan.trials},
            "runs": [task.name for task in plan.runs],
            "warnings": plan.warnings,
            "versions": versions(),
        }
        write_json(store.directory / "study.json", content)


class _Progress:
    """Progress of a study: prints a line for every run that ends.

    Args:
        study: Study that is run.
        plan: Plan of the study.
        verbose: Whether lines are printed.
    """

    def __init__(self, study: Study, plan: Plan, verbose: bool) -> None:
        self.study, self.plan, self.verbose = study, plan, verbose
        self.start = time.perf_counter()
        self.ended = 0
        found, total = self._counts()
        if verbose and found:
            print(f"{found} of {total} runs were made before", file=sys.stdout, flush=True)  # noqa: T201

    def known(self) -> str:
        """Number of finished runs as text, for instance `"3 of 12"`."""
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
            store = self.plan.store
            failure = store.failure(task.name) or {}
            log = store.file("logs", store.own(task.name), ".txt")
            text = f"failed: {_in_a_line(failure.get('error', 'unknown'))} (log: {log})"
        else:
            result = self.plan.result(task)
            curve = result["curves"].get(self.study.metric) or [None]
            shown = "none" if curve[-1] is None else f"{curve[-1]:.4g}"
            text = f"{self.study.metric} {shown}"
            if result["status"] == "diverged":
                text += ", diverged"
        seconds = time.perf_counter() - self.start
        print(f"[{found}/{total}] {task.label}: {text}   {seconds:.0f} s", flush=True)  # noqa: T201


def _in_a_line(error: str) -> str:
    """Line of an error's message that says most; Keras tells first whose `call` was to blame."""
    lines = [line for line in re.sub("\x1b\\[[0-9]+m", "", error).splitlines() if line.strip()]
    if len(lines) > 1 and ": Exception encountered when calling" in lines[0]:
        return f"{lines[0].split(':')[0]}: {lines[1]}"
    return lines[0]


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

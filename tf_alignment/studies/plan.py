"""Plan of a study: the runs that it needs, and the runs that can be made now."""

from __future__ import annotations

import dataclasses
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_alignment import distribute
from tf_alignment._support.arguments import is_config
from tf_alignment._version import __version__
from tf_alignment.studies.encoding import Encoder, digest, mentions
from tf_alignment.studies.sources import encode_data
from tf_alignment.studies.starts import Start, build_model, save_start
from tf_alignment.studies.store import Store
from tf_alignment.studies.tuning import Values
from tf_alignment.studies.variants import Case, Variant, method_of

__all__ = ["Plan", "Task", "unread", "versions"]

_SETTINGS = "settings."  # prefix of tuned names
_TRIAL_SEED = 10_000  # the first of trials: none of the study's


def versions() -> dict[str, str]:
    """Versions of the libraries with which results are computed."""
    return {
        "tf_alignment": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }


@dataclasses.dataclass(frozen=True)
class Task:
    """Task: one run to be made.

    Attributes:
        name: Name of the run's files, which ends in a digest of everything that determines the
            result.
        content: JSON content that `training.make` reads.
        share: Name of the part of the study that the task belongs to, for job arrays.
    """

    name: str
    content: dict[str, Any]
    share: int

    @property
    def label(self) -> str:
        """Label of the task in lines of progress."""
        run = self.content["run"]
        case = f"{run['case']}, " if run["case"] != "model" else ""
        trial = f", trial {_shown(run['values'])}" if run["kind"] == "trial" else ""
        return f"{case}{run['variant']}, seed {run['seed']}{trial}"


class Plan:
    """Tasks of a study.

    Args:
        study: `Study` to be planned.
        store: Files of the study.

    Attributes:
        warnings: Warnings of the study as a whole.
    """

    def __init__(self, study: Any, store: Store) -> None:
        self.study, self.store = study, store
        self._starts: dict[tuple[int, int], Start] = {}
        self._tasks: dict[tuple[Any, ...], Task] = {}
        self._data: dict[int, tuple[Any, Encoder]] = {}
        self._results: dict[str, Any] = {}
        self.given_up: set[str] = set()
        self.warnings: list[str] = []
        self.chosen: list[dict[str, Any]] = []
        self.trials: list[dict[str, Any]] = []
        self.runs: list[Task] = []
        self.complete = False

    def ready(self) -> list[Task]:
        """Tasks without a result that can be made now, in the order in which to make them."""
        self.runs, self.chosen, self.trials, self.complete = [], [], [], True
        missing: list[Task] = []
        values: dict[tuple[str, str], Values] = {}
        study = self.study
        if study.tuning is not None:
            for variant in study.variants:
                for case in study.cases:
                    if study.tuning.on in (None, case.name):
                        best = self._search(variant, case, missing)
                        if best is not None:
                            values[variant.name, case.name] = best
        for seed in study.seeds:
            for case in study.cases:
                for variant in study.variants:
                    found: Values | None = {}
                    if study.tuning is not None:
                        found = values.get((variant.name, study.tuning.on or case.name))
                    if found is None:
                        self.complete = False
                        continue
                    task = self._task(variant, case, seed, found, "run")
                    self.runs.append(task)
                    if self.result(task) is None:
                        missing.append(task)
        return missing

    def result(self, task: Task) -> Any:
        """Result of a task, or None."""
        if task.name not in self._results:
            found = self.store.result(task.name)
            if found is None:
                return None
            self._results[task.name] = found
        return self._results[task.name]

    def _search(self, variant: Variant, case: Case, missing: list[Task]) -> Values | None:
        """Best values of a variant, or None and the missing trials while they are unknown."""
        tuning = self.study.tuning
        scores: list[tuple[Values, float | None]] = []
        while wanted := tuning.wanted(variant.tuning, scores):
            for values in wanted:
                tasks = [
                    self._task(variant, case, _TRIAL_SEED + i, values, "trial")
                    for i in range(tuning.seeds)
                ]
                absent = [
                    task
                    for task in tasks
                    if self.result(task) is None and task.name not in self.given_up
                ]
                missing.extend(absent)
                score = None if absent else self.study.score([self.result(t) for t in tasks])
                scores.append((values, score))
                trial = {"variant": variant.name, "case": case.name, "values": values}
                self.trials.append({**trial, "score": score, "made": not absent})
            if any(score is None for _, score in scores):
                self.complete = False
                return None
        best = tuning.best(scores)
        self.chosen.append({"variant": variant.name, "case": case.name, "values": best})
        return best

    def _task(self, variant: Variant, case: Case, seed: int, values: Values, kind: str) -> Task:
        key = (variant.name, case.name, seed, repr(values), kind)
        if key not in self._tasks:
            self._tasks[key] = self._new_task(variant, case, seed, values, kind)
        return self._tasks[key]

    def _new_task(self, variant: Variant, case: Case, seed: int, values: Values, kind: str) -> Task:
        study, encoder = self.study, Encoder()
        settings = {**study.settings, **case.settings, **variant.settings}
        method, options, chosen, others = _applied(study, case, variant, values)
        settings |= others
        trial = kind == "trial"
        epochs = variant.epochs or case.epochs or study.epochs
        if trial:
            epochs = study.tuning.epochs or epochs
            settings["held_out"] = study.tuning.held_out
        data, data_encoder = self._encoded_data(case)
        encode = encoder.encode
        run = {
            "variant": variant.name,
            "case": case.name,
            "value": case.value,
            "seed": seed,
            "kind": kind,
            "values": encode("tuning", values),
            "epochs": epochs,
            "batch_size": variant.batch_size or case.batch_size or study.batch_size,
            "settings": encode("settings", settings),
            "data": data,
            "held_out": study.tuning.held_out if trial else 0.0,
            "feedback": encode("feedback", method),
            **{
                name: encode(name, getattr(variant, name))
                for name in ("include", "exclude", "feedback_initializer", "warmup")
            },
            # what 1 was called before, so that finished runs keep their names
            "every": encode("every", "epoch" if variant.every == 1 else variant.every),
            "phases": encode("phases", variant.phases),
            "compile": encode("compile", options),
            "optimizer_values": encode("tuning", chosen),
            "callbacks": encode("callbacks", [*study.callbacks, *variant.callbacks]),
            **{
                name: encode(name, getattr(study, name))
                for name in ("measure", "finish", "prepare")
            },
            "probe": 0 if trial and "angle" not in study.metric else study.probe,
            "measure_every": study.measure_every,
            "on_divergence": study.on_divergence,
        }
        start = self._start(variant, case, seed)
        sources = {**start.sources, **data_encoder.sources, **encoder.sources}
        decided = {"run": run, "start": start.name, "sources": sources, "versions": versions()}
        kind = study.strategy.partition(":")[0]
        kind = distribute.found()[0] if kind == "auto" else kind
        if kind != "default":  # which finished runs do not name
            decided["kind of strategy"] = kind
        name = f"{case.name}-{variant.name}-{seed}"
        if trial:
            name += f"-trial-{_shown(values)[:40]}"
        name = re.sub(r"[^\w.+=-]+", "_", name)
        content = {
            **decided,
            "method": _ids(method),
            "files": {**start.files, **data_encoder.files, **encoder.files},
            "data_dir": study.data_dir,
            "strategy": study.strategy,
            "cost": bool(
                study.cost and not trial and seed == study.seeds[0] and method is not None
            ),
        }
        task = Task(f"{name}-{digest(decided)}", content, self._share(variant, case, seed))
        self.store.keep("tasks", task.name, content)
        return task

    def _share(self, variant: Variant, case: Case, seed: int) -> int:
        """Part of a task: a search and the runs that wait for it share one, other runs do not."""
        study = self.study
        row = study.variants.index(variant)
        if study.tuning is not None:
            return row
        place = study.seeds.index(seed) * len(study.cases) + study.cases.index(case)
        return place * len(study.variants) + row

    def _encoded_data(self, case: Case) -> tuple[Any, Encoder]:
        data = self.study.data if case.data is None else case.data
        if id(data) not in self._data:
            encoder = Encoder()
            self._data[id(data)] = encode_data(data, self.store.directory, encoder), encoder
        return self._data[id(data)]

    def _start(self, variant: Variant, case: Case, seed: int) -> Start:
        build = variant.build or case.build
        key = id(build), seed
        if key not in self._starts:
            self._starts[key] = save_start(build_model(build, seed), self.store)
            if seed == self.study.seeds[-1]:
                owner = f"variant '{variant.name}'" if variant.build else f"case '{case.name}'"
                self._check_starts(build, owner)
        return self._starts[key]

    def _check_starts(self, build: Any, owner: str) -> None:
        """Warn of seeds of the study whose models start from the same weights."""
        shared: dict[str, list[int]] = {}
        for seed in self.study.seeds:
            shared.setdefault(self._starts[id(build), seed].weights, []).append(seed)
        for weights, seeds in shared.items():
            if weights and len(seeds) > 1:
                text = (
                    f"The model of {owner} starts from the same weights with seeds "
                    f"{', '.join(map(str, seeds))}, whose runs differ by little more than the "
                    "order of the examples. Initializers with a seed of their own do not depend "
                    "on the seed of the run; `build` may take it as its argument."
                )
                self.warnings.append(text)
                warnings.warn(text, stacklevel=2)


def unread(study: Any) -> list[str]:
    """Tuned names that change nothing: no argument has such a name, and no function reads it.

    Args:
        study: `Study` with a search.
    """
    names = [name for name in study.tuning.space if not name.startswith(_SETTINGS)]
    functions = [study.data, *study.callbacks, *study.measure, *study.finish, *study.prepare]
    for case in study.cases:
        functions.append(case.data)
        for variant in study.variants:
            method = method_of(variant.feedback)
            methods = method.values() if isinstance(method, dict) else [method]
            optimizer = _options(study, case, variant)["optimizer"]
            known = {f"feedback.{n}" for one in methods if one for n in one.get_config()}
            known |= {*study.settings, *case.settings, *variant.settings}
            names = [n for n in names if n not in known and not _of_optimizer(optimizer, n)]
            functions += [optimizer, *variant.phases, *variant.callbacks]
    return [n for n in names if not any(mentions(f, n) for f in functions if callable(f))]


def _options(study: Any, case: Case, variant: Variant) -> dict[str, Any]:
    """Arguments of `compile`."""
    options = {**study.compile, **(variant.compile or {})}
    for given in (case.optimizer, variant.optimizer):
        if given is not None:
            options["optimizer"] = given
    return options


def _ids(method: Any) -> str | None:
    if isinstance(method, dict):
        return ", ".join(dict.fromkeys(one.id for one in method.values()))
    return getattr(method, "id", None)


def _applied(
    study: Any, case: Case, variant: Variant, values: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], Values, Values]:
    """Method, `compile`, arguments of the optimizer's function, and settings, with tuned values."""
    method = method_of(variant.feedback)
    options = _options(study, case, variant)
    optimizer = options["optimizer"]
    keywords: Values = {}
    others: Values = {}
    own: Values = {}
    for name, value in values.items():
        owner, _, argument = name.rpartition(".")
        if owner == "feedback":
            own[argument] = value
        elif _of_optimizer(optimizer, name):
            keywords[argument] = value
        else:
            others[name.removeprefix(_SETTINGS)] = value
    if isinstance(method, dict):
        method = {layers: _with(one, own) for layers, one in method.items()}
    elif method is not None:
        method = _with(method, own)
    if keywords and not callable(optimizer):
        optimizer = keras.optimizers.get(optimizer)
        config = optimizer.get_config()
        for name, value in keywords.items():
            next(part for part in _levels(config) if name in part)[name] = value
        options["optimizer"] = type(optimizer).from_config(config)
        keywords = {}
    return method, options, keywords, others


def _with(method: Any, values: Values) -> Any:
    """Method with the tuned values of arguments that it has."""
    # a method without this argument has nothing to search, and the same trial several times
    known = {name: value for name, value in values.items() if name in method.get_config()}
    return type(method).from_config({**method.get_config(), **known}) if known else method


def _of_optimizer(optimizer: Any, name: str) -> bool:
    """Whether a tuned name is an argument of an optimizer, or of the function that makes it."""
    owner, _, argument = name.rpartition(".")
    if owner not in ("", "optimizer"):
        return False
    if isinstance(optimizer, keras.optimizers.Optimizer | str | dict):
        config = keras.optimizers.get(optimizer).get_config()
        return any(argument in part for part in _levels(config))
    try:
        return argument in inspect.signature(optimizer).parameters
    except (TypeError, ValueError):
        return False


def _levels(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Config of an optimizer, then those of the optimizer of forward weights that it wraps."""
    yield config
    for name in ("inner_optimizer", "optimizer", "optimizer_map", "default_optimizer"):
        inner: Any = config.get(name)
        if is_config(inner) and isinstance(inner["config"], dict):
            yield from _levels(inner["config"])


def _shown(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )

"""What the scripts of this folder share: one training run, and many of them side by side.

A run trains one network with one method from one seed. A finished run is a JSON file in the output
directory and is not done again; a killed one goes on from its last pass over the data.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import keras

import tf_alignment as ta
from examples.common import (
    Numbers,
    add_data_dir,
    finished,
    new_parser,
    positive,
    versions,
    write_json,
)
from examples.curves import stacked, with_error

__all__ = [
    "Run",
    "Task",
    "carry_out",
    "chosen",
    "grouped",
    "kept_settings",
    "last",
    "load",
    "parser",
    "tasks",
    "train",
]

load = functools.cache(ta.data.load)


@dataclasses.dataclass
class Run:
    """A compiled network and what is to be done with it.

    Attributes:
        model: Compiled.
        measure: Called after every pass over the data; gives `{curve: value}`.
        phase: What learns the feedback in every training step, or None.
        warmup: Steps of the phase before training begins, with the forward weights at rest.
        finish: Called at the end; gives what else is to be kept.
    """

    model: keras.Model
    measure: Callable[[], dict[str, float]]
    phase: Any = None
    warmup: int = 0
    finish: Callable[[], Numbers] = dict


@dataclasses.dataclass(frozen=True)
class Task:
    """A run to be made, in whatever process.

    Attributes:
        name: File name of the result.
        settings: Everything the result depends on, kept with it, and `"data_dir"`.
        build: Makes the run: a function of a module, so that another process finds it.
        data: Makes the batches, from a seed: likewise.
        passes: Passes over the data.
    """

    name: str
    settings: Numbers
    build: Callable[[Numbers], Run]
    data: Callable[[Numbers], ta.data.EpochShuffled]
    passes: int


class _Measure(keras.callbacks.Callback):
    """Puts the run's measures into `logs`, and tells how far it is."""

    def __init__(self, run: Run, name: str) -> None:
        super().__init__()
        self.run, self.name, self.start = run, name, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = self.run.measure()
        logs.update(values)
        if not all(math.isfinite(v) for v in values.values() if v is not None):
            self.model.stop_training = True
            print(f"{self.name}  diverged", flush=True)
        total = self.params["epochs"]
        if (epoch + 1) % max(1, total // 10) == 0:
            shown = "  ".join(f"{k} {v:.3g}" for k, v in list(values.items())[:4])
            seconds = time.perf_counter() - self.start
            print(f"{self.name}  pass {epoch + 1}/{total}  {shown}  {seconds:.0f} s", flush=True)


def train(task: Task, output: Path) -> Numbers:
    """Make a run, or read what came of it before.

    Args:
        task: The run.
        output: Directory for all files.

    Returns:
        Settings, curves `{name: values over the passes}` and what the run keeps besides.

    Raises:
        ValueError: If the directory holds a run of that name with other settings.
    """
    file = output / "runs" / f"{task.name}.json"
    settings = kept_settings({**task.settings, "passes": task.passes})
    done = finished(file, settings)
    if done is not None:
        return done
    keras.utils.clear_session()
    start = time.perf_counter()
    run, batches = task.build(task.settings), task.data(task.settings)
    backup = output / "unfinished" / task.name
    phases = []
    if run.phase is not None:
        phases = [run.phase]
        if run.warmup and not (backup / "latest.json").exists():  # nothing to go on from
            steps, run.phase.steps = run.phase.steps, run.warmup
            run.phase.run(run.model)
            run.phase.steps = steps
        ta.phases.interleave(run.model, run.phase)
    history = run.model.fit(
        batches.dataset,
        epochs=task.passes,
        shuffle=False,
        callbacks=[
            _Measure(run, task.name),
            ta.callbacks.Resume(backup, data=batches, phases=phases),
        ],
        verbose=0,
    ).history
    result = {
        "settings": settings,
        "seconds": round(time.perf_counter() - start, 1),
        "steps_a_pass": len(batches),
        "curves": {k: [float(f"{x:.5g}") for x in v] for k, v in history.items()},
        **run.finish(),
    }
    write_json(file, result)
    return result


def kept_settings(settings: Numbers) -> Numbers:
    """Without where the data lie: that changes nothing."""
    return {name: value for name, value in settings.items() if name != "data_dir"}


def run_all(runs: Sequence[Task], output: Path, jobs: int) -> list[Numbers]:
    """Make all runs, several at a time.

    Args:
        runs: To be made.
        output: Directory for all files.
        jobs: Processes, of one thread each where there are several.

    Returns:
        The results, in their order.
    """
    if jobs == 1:
        return [train(task, output) for task in runs]
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    os.environ.update({name: os.environ.get(name, value) for name, value in threads.items()})
    context = multiprocessing.get_context("spawn")
    # A process for each run: what TensorFlow keeps of a finished one is never given back.
    with futures.ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        return list(pool.map(train, runs, [output] * len(runs)))


def parser(text: str, iterations: str, seeds: int) -> argparse.ArgumentParser:
    """The command line that the training scripts share.

    Args:
        text: The script's docstring.
        iterations: Says the default number of training steps.
        seeds: The default number of seeds.
    """
    new = new_parser(text, "node_perturbation")
    new.add_argument("--iterations", type=positive, help=f"training steps (default: {iterations})")
    new.add_argument("--seeds", type=positive, default=seeds, help=f"runs each ({seeds})")
    new.add_argument("--methods", nargs="+", metavar="NAME", help="some of the table's rows")
    new.add_argument("--jobs", type=positive, default=1, help="runs at a time (1)")
    add_data_dir(new)
    return new


def tasks(
    name: str,
    rows: Mapping[str, Numbers],
    seeds: int,
    build: Callable[[Numbers], Run],
    data: Callable[[Numbers], ta.data.EpochShuffled],
    passes: int,
    **settings: Any,
) -> list[Task]:
    """Runs of all rows of a table from every seed.

    Args:
        name: What their names begin with.
        rows: Names, with settings of the row's own.
        seeds: How many.
        build: See `Task`.
        data: See `Task`.
        passes: See `Task`.
        **settings: Of all runs.
    """
    return [
        Task(
            f"{name}-{row}-{seed}".replace(" ", "-"),
            {"row": row, **own, "seed": seed, **settings},
            build,
            data,
            passes,
        )
        for seed in range(seeds)
        for row, own in rows.items()
    ]


def carry_out(
    arguments: argparse.Namespace,
    name: str,
    runs: Sequence[Task],
    table: Callable[[list[Numbers]], str],
    draw: Callable[[list[Numbers], Path], None],
) -> None:
    """Make all runs, print the table, write numbers and figure.

    Args:
        arguments: Of `parser`.
        name: Of the files.
        runs: To be made.
        table: Makes the table.
        draw: Draws the figure into a file.
    """
    results = run_all(runs, arguments.output, arguments.jobs)
    print("", table(results), sep="\n")
    write_json(arguments.output / f"{name}.json", {"versions": versions(), "runs": results})
    draw(results, arguments.output / f"{name}.png")
    print(f"\nFigure and numbers: {arguments.output / name}.png and .json", flush=True)


def chosen(
    command: argparse.ArgumentParser, given: Sequence[str] | None, rows: Sequence[str]
) -> list[str]:
    """The rows of the table that the command line names; an error if there is no such row."""
    unknown = set(given or ()) - set(rows)
    if unknown:
        command.error(f"--methods must be out of {', '.join(rows)}. Received: {sorted(unknown)}")
    return list(given or rows)


def last(results: Iterable[Numbers], curve: str, scale: float = 1.0, digits: int = 2) -> str:
    """Mean and standard error over runs of a curve's last value."""
    return with_error(scale * stacked(results, curve)[:, -1], digits)


def grouped(results: Iterable[Numbers], by: str) -> Mapping[Any, list[Numbers]]:
    """Results by one of their settings, in the order in which its values appear."""
    groups: dict[Any, list[Numbers]] = {}
    for result in results:
        groups.setdefault(result["settings"][by], []).append(result)
    return groups

"""The results of a study: tables, differences, figures, reports."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_alignment import plots
from tf_alignment._support.arguments import file_path, one_of
from tf_alignment._support.statistics import Mean, mean_of, paired
from tf_alignment.studies.store import Store, read_json, write_json

__all__ = ["Results"]

_LABELS = {
    "val_accuracy": "test accuracy",
    "accuracy": "training accuracy",
    "val_loss": "test loss",
    "loss": "training loss",
    "hidden/gradient_angle": "gradient angle (degrees)",
    "mean/weight_angle": "weight angle (degrees)",
    "mean/path_angle": "weight angle (degrees)",
}


class Results:
    """The results of a study, read from its directory.

    Values are from the last epoch. The mean gradient angle is over the kernels that have
    another kernel above them: that of the output is 0° for every method, and would make a deep
    network look better than a shallow one.

    Args:
        directory: Of `Study.run`.

    Attributes:
        description: The study: title, variants, cases, seeds, settings, tuning, versions.
        runs: One dictionary a run that was made: `variant`, `case`, `seed`, `status` (`"done"` or
            `"diverged"`), `curves` `{name: values over the epochs}`, `cost`, `weights`, `warnings`,
            `finish` and more.
        failures: `{name of the run: error}`.
        missing: Names of runs that have not been made.

    Raises:
        FileNotFoundError: If there is no study in the directory.

    Example:
    ```python
    results = ta.studies.Results("results/mine")
    print(results.table())
    results.values("fa")  # {seed: test accuracy}
    ```
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = file_path("directory", directory)
        description = read_json(self.directory / "study.json")
        if description is None:
            raise FileNotFoundError(
                "Argument `directory` must hold a study. "
                f"Received: directory={str(self.directory)!r}, which has no study.json"
            )
        self.description: dict[str, Any] = description
        store = Store(self.directory)
        self.runs: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}
        self.missing: list[str] = []
        for name in description["runs"]:
            result, failure = store.result(name), store.failure(name)
            if result is not None:
                self.runs.append({"name": name, **result})
            elif failure is not None:
                task = read_json(store.file("tasks", name))
                self.failures[name] = failure["error"]
                run = {key: task["run"][key] for key in ("variant", "case", "value", "seed")}
                self.runs.append(
                    {
                        "name": name,
                        **run,
                        "status": "failed",
                        "error": failure["error"],
                        "curves": {},
                        "warnings": [],
                    }
                )
            else:
                self.missing.append(name)

    def __repr__(self) -> str:
        return f"<Results of {len(self.runs)} runs in {str(self.directory)!r}>"

    @property
    def variants(self) -> list[str]:
        """Names, in the order of the study."""
        return [variant["name"] for variant in self.description["variants"]]

    @property
    def cases(self) -> list[str]:
        """Names, in the order of the study."""
        return [case["name"] for case in self.description["cases"]]

    @property
    def metric(self) -> str:
        """The runs that count."""
        return str(self.description["metric"])

    def of(self, variant: str, case: str | None = None) -> list[dict[str, Any]]:
        """The runs of a variant on a case, one a seed, failed ones among them.

        Args:
            variant: Its name.
            case: Likewise; None for the first.

        Raises:
            ValueError: If there is no such variant or case.
        """
        one_of("variant", variant, self.variants)
        case = self.cases[0] if case is None else one_of("case", case, self.cases)
        return [r for r in self.runs if (r["variant"], r["case"]) == (variant, case)]

    def values(
        self, variant: str, metric: str | None = None, case: str | None = None
    ) -> dict[int, float | None]:
        """A measure at the end of training, by seed; None for runs that diverged or failed.

        Args:
            variant: Name of the variant.
            metric: Name in `History`, `"hidden/gradient_angle"` besides; None for the study's.
            case: Name of the case; None for the first.
        """
        metric = metric or self.metric
        found: dict[int, float | None] = {}
        for run in self.of(variant, case):
            curve = run["curves"].get(metric) or [None]
            found[run["seed"]] = curve[-1] if run["status"] == "done" else None
        return found

    def mean(self, variant: str, metric: str | None = None, case: str | None = None) -> Mean:
        """Mean, standard deviation and interval of `values`."""
        return mean_of(list(self.values(variant, metric, case).values()))

    def difference(self, variant: str, metric: str | None = None, case: str | None = None) -> Mean:
        """Of a variant to the baseline, seed by seed, see `mean`."""
        baseline = self.description["baseline"]
        if baseline not in self.variants:
            return mean_of([])
        return paired(self.values(variant, metric, case), self.values(baseline, metric, case))

    def curves(self, metric: str | None = None, case: str | None = None) -> dict[str, np.ndarray]:
        """`{variant: (seeds, epochs)}` of a measure, NaN where a run has no value.

        Args:
            metric: See `values`.
            case: Likewise.
        """
        metric = metric or self.metric
        found = {}
        for variant in self.variants:
            rows = [r["curves"].get(metric) or [] for r in self.of(variant, case)]
            length = max(map(len, rows), default=0)
            if length:
                array = [[math.nan if v is None else v for v in row] for row in rows]
                padded = [row + [math.nan] * (length - len(row)) for row in array]
                found[variant] = np.array(padded, float)
        return found

    def label(self, metric: str) -> str:
        """A measure's name on axes."""
        return _LABELS.get(metric, metric)

    def sweep(self, metric: str | None = None) -> dict[str, dict[float, list[float | None]]]:
        """Values over the cases, if these have a `value` each: what `ta.plots.sweep` draws.

        Args:
            metric: See `values`.

        Returns:
            `{variant: {value of the case: one value a seed}}`, or nothing.
        """
        places = {case["name"]: case["value"] for case in self.description["cases"]}
        if any(value is None for value in places.values()):
            return {}
        return {
            variant: {
                float(value): list(self.values(variant, metric, case).values())
                for case, value in places.items()
            }
            for variant in self.variants
        }

    def cost(self, variant: str, case: str | None = None) -> dict[str, float | None]:
        """`step_time`, `operations`, `memory` over stock Keras; empty if not measured."""
        return next((r["cost"] for r in self.of(variant, case) if r.get("cost")), {})

    def weight_angle(self, variant: str, case: str | None = None) -> Mean:
        """The angle between W and what carries the error, mean over layers, at the end."""
        angle = self.mean(variant, "mean/weight_angle", case)
        return angle if angle.n else self.mean(variant, "mean/path_angle", case)

    def status(self, variant: str, case: str | None = None) -> str:
        """`"1 of 3 diverged, 1 failed"`, or nothing."""
        runs = self.of(variant, case)
        notes = []
        for kind in ("diverged", "failed"):
            count = sum(run["status"] == kind for run in runs)
            if count:
                notes.append(f"{count} of {len(runs)} {kind}")
        wanted = len(self.description["seeds"])
        if len(runs) < wanted:
            notes.append(f"{wanted - len(runs)} of {wanted} not made")
        return ", ".join(notes)

    def rows(self, spread: str = "deviation") -> tuple[list[str], list[list[str]]]:
        """Head and rows of the table, as text.

        Args:
            spread: What stands behind ±: `"deviation"` or `"interval"`.
        """
        one_of("spread", spread, ("deviation", "interval"))
        percent = self.metric.endswith("accuracy")
        scale, digits = (100.0, 2) if percent else (1.0, 4)
        several = len(self.cases) > 1
        name = _LABELS.get(self.metric, self.metric) + (" %" if percent else "")
        head = [
            *(["model"] if several else []),
            *("method", "n", name, f"to {self.description['baseline']}"),
            *("gradient angle °", "weight angle °", "step time", "operations", "memory", "notes"),
        ]
        rows = []
        for case in self.cases:
            for variant in self.variants:
                found = self.mean(variant, case=case)
                cost = self.cost(variant, case)
                own = variant == self.description["baseline"]
                difference = self.difference(variant, case=case)
                rows.append(
                    [
                        *([case] if several else []),
                        variant,
                        str(found.n),
                        found.text(digits, spread, scale),
                        "" if own else _signed(difference, digits, spread, scale),
                        self.mean(variant, "hidden/gradient_angle", case).text(1, spread),
                        self.weight_angle(variant, case).text(1, spread),
                        *(_ratio(cost.get(k)) for k in ("step_time", "operations", "memory")),
                        self.status(variant, case),
                    ]
                )
        used = [
            i for i in range(len(head)) if i < 3 or any(row[i] not in ("", "-") for row in rows)
        ]
        return [head[i] for i in used], [[row[i] for i in used] for row in rows]

    def table(self, spread: str = "deviation") -> str:
        """The results as Markdown that is readable as it is.

        Args:
            spread: What stands behind ±: `"deviation"`, the standard deviation over seeds with n -
                1, or `"interval"`, half the 95 % interval of the mean.
        """
        head, rows = self.rows(spread)
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [head, ["-" * max(3, width) for width in widths], *rows]
        return "\n".join(
            "| "
            + " | ".join(cell.ljust(max(3, w)) for cell, w in zip(line, widths, strict=True))
            + " |"
            for line in lines
        )

    def notes(self, spread: str = "deviation") -> str:
        """The meaning of the numbers of the table, in a few lines."""
        around = {
            "deviation": "the standard deviation over seeds, with n - 1",
            "interval": "half the 95 % interval of the mean over seeds (Student)",
        }[spread]
        return (
            f"Values of the last epoch, mean over n seeds; ± {around}. Differences to "
            f"{self.description['baseline']} are taken seed by seed: the same initial forward "
            "weights and batches. Gradient angle: between the update of forward weights and "
            "backpropagation's, mean over layers but the output's, which is 0° for every method. "
            "Weight angle: between W and what carries the error back. Step time, operations and "
            "memory (all variables): over those of stock Keras."
        )

    def plot(
        self, path: str | os.PathLike[str] | None = None, metrics: Sequence[str] | None = None
    ) -> Any:
        """Draw curves over the epochs, one panel a measure and case.

        Args:
            path: File to write, or None.
            metrics: Names in `History`; by default the study's metric and the gradient angle.

        Returns:
            The matplotlib figure.
        """
        labels = {}
        results: dict[str, dict[str, Any]] = {variant: {} for variant in self.variants}
        for case in self.cases:
            for metric in metrics or (self.metric, "hidden/gradient_angle"):
                found = self.curves(metric, case)
                if not found:
                    continue
                name = f"{case}: {metric}" if len(self.cases) > 1 else metric
                label = _LABELS.get(metric, metric)
                labels[name] = f"{label}, {case}" if len(self.cases) > 1 else label
                for variant, values in found.items():
                    results[variant][name] = values
        return plots.learning_curves(results, path, labels)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write one row a run: names, seed, status, and all measures of its last epoch.

        Args:
            path: File to write.
        """
        file = file_path("path", path)
        names = list(dict.fromkeys(name for run in self.runs for name in run["curves"]))
        with file.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["case", "variant", "seed", "status", *names])
            for run in self.runs:
                last = [(run["curves"].get(name) or [None])[-1] for name in names]
                writer.writerow([run["case"], run["variant"], run["seed"], run["status"], *last])
        return file

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write the study and all its runs into one file.

        Args:
            path: File to write.
        """
        file = file_path("path", path)
        write_json(file, {**self.description, "runs": self.runs, "missing": self.missing})
        return file

    def report(self, path: str | os.PathLike[str], spread: str = "deviation") -> Path:
        """Write everything into one file that loads nothing: HTML, or Markdown if it ends in `.md`.

        Args:
            path: File to write.
            spread: See `table`.

        Returns:
            The file.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from tf_alignment.studies.report import write_report

        return write_report(self, file_path("path", path), spread)


def _signed(difference: Mean, digits: int, spread: str, scale: float) -> str:
    text = difference.text(digits, spread, scale)
    return f"+{text}" if difference.n and difference.mean > 0 else text


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

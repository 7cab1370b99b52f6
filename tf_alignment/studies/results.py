"""Results of a study: tables, differences, figures, reports."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_alignment import plots
from tf_alignment._support.arguments import file_path, one_of
from tf_alignment._support.statistics import Mean, mean_of, padded, paired
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
    """Results of a study, read from its directory.

    Values are from the last epoch. The mean gradient angle is taken over the kernels that have
    another kernel above them. The angle of the output kernel is 0° for every method, and would make
    a shallow network look better than a deep one.

    Args:
        directory: Directory that was given to `Study.run`.

    Attributes:
        description: Description of the study: title, variants, cases, seeds, settings, tuning,
            versions.
        runs: List with one dictionary per finished run: `variant`, `case`, `seed`, `status`
            (`"done"` or `"diverged"`), `curves` (`{name: values over the epochs}`), `cost`,
            `weights`, `warnings`, `finish` and more.
        failures: Errors of failed runs, `{name of the run: error}`.
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
        """Names of the variants, in the order of the study."""
        return [variant["name"] for variant in self.description["variants"]]

    @property
    def cases(self) -> list[str]:
        """Names of the cases, in the order of the study."""
        return [case["name"] for case in self.description["cases"]]

    @property
    def metric(self) -> str:
        """Name of the study's metric."""
        return str(self.description["metric"])

    def of(self, variant: str, case: str | None = None) -> list[dict[str, Any]]:
        """Runs of a variant on a case, one per seed, including failed runs.

        Args:
            variant: Name of the variant.
            case: Name of the case; None for the first case.

        Raises:
            ValueError: If there is no such variant or case.
        """
        one_of("variant", variant, self.variants)
        case = self.cases[0] if case is None else one_of("case", case, self.cases)
        return [r for r in self.runs if (r["variant"], r["case"]) == (variant, case)]

    def values(
        self, variant: str, metric: str | None = None, case: str | None = None
    ) -> dict[int, float | None]:
        """Values of a measure at the end of training, by seed; None for runs that did not finish.

        Args:
            variant: Name of the variant.
            metric: Name of the measure in `History`, or `"hidden/gradient_angle"`; None for the
                metric of the study.
            case: Name of the case; None for the first case.
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
        """Mean difference of a variant to the baseline, paired by seeds, in the form of `mean`."""
        baseline = self.description["baseline"]
        if baseline not in self.variants:
            return mean_of([])
        return paired(self.values(variant, metric, case), self.values(baseline, metric, case))

    def curves(self, metric: str | None = None, case: str | None = None) -> dict[str, np.ndarray]:
        """Curves of a measure, `{variant: (seeds, epochs)}`, NaN where a run has no value.

        Args:
            metric: Name of the measure, see `values`.
            case: Name of the case, see `values`.
        """
        metric = metric or self.metric
        found = {}
        for variant in self.variants:
            rows = [r["curves"].get(metric) or [] for r in self.of(variant, case)]
            if any(rows):
                found[variant] = padded(rows)
        return found

    def label(self, metric: str) -> str:
        """Label of a measure on the axes of figures."""
        return _LABELS.get(metric, metric)

    def sweep(self, metric: str | None = None) -> dict[str, dict[float, list[float | None]]]:
        """Values over the cases, if each case has a `value`, for `ta.plots.sweep`.

        Args:
            metric: Name of the measure, see `values`.

        Returns:
            Dict `{variant: {value of the case: [one value per seed]}}`; empty if cases have no
            values.
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
        """Costs `step_time`, `operations`, `memory` relative to stock Keras; may be empty."""
        return next((r["cost"] for r in self.of(variant, case) if r.get("cost")), {})

    def weight_angle(self, variant: str, case: str | None = None) -> Mean:
        """Angle between W and the feedback kernel, mean over layers, at the end of training."""
        angle = self.mean(variant, "mean/weight_angle", case)
        return angle if angle.n else self.mean(variant, "mean/path_angle", case)

    def status(self, variant: str, case: str | None = None) -> str:
        """Text such as `"1 of 3 diverged, 1 failed"`; empty if all runs are done."""
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
            spread: Spread behind ±, `"deviation"` or `"interval"`, see `table`.
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
        """Table of the results in Markdown, aligned so that it can be read as plain text.

        Args:
            spread: Spread behind ±: `"deviation"`, the standard deviation over seeds with n - 1, or
                `"interval"`, half the 95 % interval of the mean.
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
        """Explanation of the numbers of the table, in a few lines."""
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
        """Draw curves over the epochs, one panel per measure and case.

        Args:
            path: File to write, or None.
            metrics: Names of measures in `History`; by default the study's metric and the gradient
                angle.

        Returns:
            Figure of matplotlib.
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
        """Write one row per run: names, seed, status, and all measures of the last epoch.

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
        """Write a report on one page: HTML that loads nothing, or Markdown for `.md` files.

        Args:
            path: File to write.
            spread: Spread behind ±, see `table`.

        Returns:
            Path of the file.

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

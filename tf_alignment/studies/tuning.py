"""Search over settings, with the same number of trials for every variant."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tf_alignment._support.arguments import integer, number, one_of
from tf_alignment._support.optional import require

__all__ = ["Tuning", "as_tuning"]

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Search over settings, with the same budget for every variant, on held-out training data.

    The search does not use the test data. The runs of a variant use the values of the best trial,
    and train on all training data.

    A name may be an argument of the optimizer, or of the function that makes the optimizer
    (`"learning_rate"`), or an argument of the method (`"feedback.<argument>"`). Of
    `ta.optimizers.split` and of optimizers that wrap another, it is an argument of the optimizer of
    the forward weights. The values of other names go into `run.settings`, from where functions read
    them; the name must occur in their code, or be given as `"settings.<name>"`. A name that reaches
    no variant is an error.

    Attributes:
        space: Values to search, `{name: values}`; for "tpe" also
            `{name: {"low": 1e-3, "high": 1.0, "log": True}}`.
        sampler: Search method: `"grid"` tries all combinations, `"tpe"` uses Optuna's
            tree-structured Parzen estimator.
        trials: Number of trials of each variant, for "tpe".
        held_out: Fraction of the training data on which trials are scored.
        seeds: Number of runs of each trial, over which the score is averaged. Their seeds differ
            from the seeds of the study.
        epochs: Number of epochs of a trial; None for the same number as in the variant's runs.
        on: Name of the case that is searched, whose best values are used for all cases. None
            searches each case.

    Raises:
        ValueError: If an argument is out of range, or the space is empty.

    Example:
    >>> import tf_alignment as ta
    >>> tuning = ta.studies.Tuning({"learning_rate": (0.01, 0.1), "momentum": (0.0, 0.9)})
    >>> tuning.budget()
    4
    """

    space: Mapping[str, Any]
    sampler: str = "grid"
    trials: int = 20
    held_out: float = 0.1
    seeds: int = 1
    epochs: int | None = None
    on: str | None = None

    def __post_init__(self) -> None:
        one_of("sampler", self.sampler, ("grid", "tpe"))
        integer("trials", self.trials)
        integer("seeds", self.seeds)
        number("held_out", self.held_out, above=0, below=1)
        if self.epochs is not None:
            integer("epochs", self.epochs)
        if not isinstance(self.space, Mapping) or not self.space:
            raise ValueError(
                "Argument `space` must be {name: values} with at least one name. "
                f"Received: space={self.space!r}"
            )
        for name, values in self.space.items():
            _check_values(name, values, ranges=self.sampler == "tpe")

    def budget(self, own: Mapping[str, Any] | None = None) -> int:
        """Number of trials of a variant.

        Args:
            own: Own values of the variant, see `Variant.tuning`.
        """
        if self.sampler == "tpe":
            return self.trials
        return math.prod(len(values) for values in self.of(own).values())

    def of(self, own: Mapping[str, Any] | None) -> dict[str, Any]:
        """Search space of a variant that has values of its own.

        Args:
            own: Own values of the variant, see `Variant.tuning`.

        Raises:
            ValueError: If `own` has a name that the study does not search.
        """
        unknown = sorted(set(own or ()) - set(self.space))
        if unknown:
            raise ValueError(
                f"Argument `tuning` of a variant must have names of the study's: "
                f"{sorted(self.space)}. Received: {unknown}"
            )
        for name, values in (own or {}).items():
            _check_values(name, values, ranges=self.sampler == "tpe")
        return {**self.space, **(own or {})}

    def wanted(
        self, own: Mapping[str, Any] | None, scores: Sequence[tuple[Values, float | None]]
    ) -> list[Values]:
        """Trials to be made next.

        Args:
            own: Own values of the variant, see `Variant.tuning`.
            scores: Scores of the trials so far, in order, with None for a trial that is not done.

        Returns:
            List of trials: for a grid, all trials that have not been made; for "tpe", the next
            trial, once all trials before it are done. The next trial depends only on the earlier
            ones, so a search that was killed continues as if it had not been interrupted.
        """
        space = self.of(own)
        if self.sampler == "grid":
            made = [values for values, _ in scores]
            combinations = itertools.product(*space.values())
            grid = [dict(zip(space, entries, strict=True)) for entries in combinations]
            return [values for values in grid if values not in made]
        if len(scores) >= self.trials or any(score is None for _, score in scores):
            return []
        return [_suggested(space, scores)]

    @staticmethod
    def best(scores: Sequence[tuple[Values, float | None]]) -> Values:
        """Values of the trial with the highest score; the first one if scores are equal."""
        return max(scores, key=lambda entry: -math.inf if entry[1] is None else entry[1])[0]


def as_tuning(value: Any) -> Tuning | None:
    """`Tuning` object for the argument `tuning` of a study.

    Args:
        value: None, a `Tuning`, `{name: values}` for a grid, or `{"space": ..., ...}` with the
            arguments of `Tuning`.
    """
    if value is None or isinstance(value, Tuning):
        return value
    if isinstance(value, Mapping) and "space" in value:
        return Tuning(**value)
    return Tuning(value)


def _check_values(name: str, values: Any, ranges: bool) -> None:
    if isinstance(values, Mapping):
        low, high = values.get("low"), values.get("high")
        known = ranges and set(values) <= {"low", "high", "log"}
        bounds = [v for v in (low, high) if isinstance(v, int | float)]
        if known and len(bounds) == 2 and bounds[0] < bounds[1]:
            return
    elif isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0:
        return
    kind = "a list, or {'low': ..., 'high': ..., 'log': ...}" if ranges else "a list of values"
    raise ValueError(
        f"Argument `space` must have {kind} for each name. Received: {name}={values!r}"
    )


def _suggested(space: Mapping[str, Any], scores: Sequence[tuple[Values, float | None]]) -> Values:
    optuna = require("optuna", "A search by TPE")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {name: _distribution(optuna, values) for name, values in space.items()}
    # made anew from the results each time, so that there is no second account of them to spoil
    sampler = optuna.samplers.TPESampler(seed=len(scores))
    search = optuna.create_study(direction="maximize", sampler=sampler)
    for values, score in scores:
        search.add_trial(
            optuna.trial.create_trial(
                params=values,
                distributions=kinds,
                value=-1e30 if score is None or not math.isfinite(score) else score,
            )
        )
    return dict(search.ask(kinds).params)


def _distribution(optuna: Any, values: Any) -> Any:
    if isinstance(values, Mapping):
        low, high = float(values["low"]), float(values["high"])
        return optuna.distributions.FloatDistribution(low, high, log=bool(values.get("log")))
    return optuna.distributions.CategoricalDistribution(tuple(values))

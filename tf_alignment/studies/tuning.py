"""Settings that are searched, with the same number of trials for every variant."""

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
    """A search over settings, the same budget for every variant, on data held out from training.

    The test data play no part in it. The best trial's values are those of the variant's runs, which
    train on all of the training data.

    Names: keywords of the optimizer, or of the function that makes it (`"learning_rate"`);
    `"feedback.<argument>"` for an argument of the method; everything else goes into `run.settings`.

    Attributes:
        space: `{name: values}`, or for "tpe" also `{name: {"low": 1e-3, "high": 1.0, "log":
            True}}`.
        sampler: `"grid"`: all combinations. `"tpe"`: Optuna's tree-structured Parzen estimator.
        trials: Of each variant, for "tpe".
        held_out: Fraction of the training data that trials are scored on.
        seeds: Runs of each trial, whose mean score counts. Their seeds are others than the study's.
        epochs: Epochs of a trial; None for as many as the variant's.
        on: Name of the case that is searched; its values hold for all cases. None searches each.

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
        """Trials of a variant.

        Args:
            own: Its values, see `Variant.tuning`.
        """
        if self.sampler == "tpe":
            return self.trials
        return math.prod(len(values) for values in self.of(own).values())

    def of(self, own: Mapping[str, Any] | None) -> dict[str, Any]:
        """The space of a variant with values of its own.

        Args:
            own: See `Variant.tuning`.

        Raises:
            ValueError: If it has a name that the study does not search.
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
            own: See `Variant.tuning`.
            scores: Of the trials so far, in their order, with None for one that is not done.

        Returns:
            All that are not there yet for a grid; for "tpe" the next one, once all before it are
            done, which depends on them and on nothing else: a search that was killed goes on as if
            it had not been.
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
        """The values of the highest score; of equal ones the first."""
        return max(scores, key=lambda entry: -math.inf if entry[1] is None else entry[1])[0]


def as_tuning(value: Any) -> Tuning | None:
    """The tuning from the argument of a study.

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

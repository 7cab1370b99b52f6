r"""Search over metaparameters of "Two Routes": coefficients, noise and operations of a rule.

    python -m examples.two_routes.search --rule wm-published --trials 824 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --depth 18 --strategy tpu
    python -m examples.two_routes.search --rule ia-published --operations --trials 40 \
        --jobs 2 --depth 8 --held-out 5000 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.search --quick

A tree-structured Parzen estimator maximises the accuracy on examples held out from training. The
trials are stored in a database beside the results. A search that is started again is continued, and
a trial whose process died is repeated once. Several processes, on one machine or on a shared disk,
can search together. The script writes all trials, the best rule for `depth_sweep.py --rules FILE`,
and a figure.

Paper: Kunin et al. 2020, section 4 and appendix B.1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import optuna

import tf_alignment as ta
from examples import command_line, common
from examples.two_routes import residual
from examples.two_routes.residual import METHODS

RULES = ("wm", "ia", "aa", "sa", "wm-published", "ia-published", "aa-published")
COEFFICIENT, NOISE = (1e-5, 1.0), (0.01, 3.0)
OPERATIONS: dict[str, tuple[Any, ...]] = {
    "noise": (None, "gaussian", "uniform"),
    "batch_center": (False, True),
    "feature_center": (False, True),
    "feature_normalize": (False, True),
    "feedback_activation": (None, "relu"),
    "feedback_bias": (False, True),
    "response_bias": (False, True),
}
"""Categorical options of rules in the published search, and their values."""


def suggest(trial: optuna.Trial, base: Any, operations: bool) -> dict[str, Any]:
    """Return the arguments that a trial suggests for a rule.

    Args:
        trial: Trial of the Optuna study.
        base: Rule whose coefficients are searched for on a logarithmic scale. If the rule learns
            from noise, the standard deviation of the noise is searched for in the same way.
        operations: Whether the options in `OPERATIONS` are searched for too.

    Returns:
        `{name of the argument: value}`.
    """
    found = {name: trial.suggest_float(name, *COEFFICIENT, log=True) for name in base.coefficients}
    if operations:
        found |= {
            name: trial.suggest_categorical(name, values) for name, values in OPERATIONS.items()
        }
    if found.get("noise", base.noise) is not None:
        found["noise_stddev"] = trial.suggest_float("noise_stddev", *NOISE, log=True)
    return found


def rule(base: Any, changes: dict[str, Any]) -> Any:
    """Return a copy of a rule with some arguments changed.

    Without noise, a normalisation by the noise is replaced by one that needs none.

    Args:
        base: Rule to copy.
        changes: Arguments to change, `{name: value}`.
    """
    config = {**base.get_config(), **changes}
    if config["noise"] is None and config["normalize"] == "noise":
        config["normalize"] = "input" if base.id == "aa" else base.on_activity
    return type(base).from_config(config)


class Search:
    """Search for the arguments of one rule on one network, with one such object per process.

    Args:
        given: Parsed command line.

    Attributes:
        given: Parsed command line.
        file: JSON file of the results; the database has the same name with the ending `.db`.
        base: Rule whose arguments are searched for.
        number: Number of the process, which names its folder of runs.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.file = given.output / f"{given.rule}-tuned.json"
        self.base = ta.feedback.get(METHODS[given.rule])
        self.number = 0

    def open(self) -> optuna.Study:
        """Open the Optuna study in the database, or create it.

        Raises:
            ValueError: If the database has a study with other settings.
        """
        self.given.output.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{self.file.with_suffix('.db')}",
                heartbeat_interval=30,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(1),
            )
        study = optuna.create_study(
            storage=storage, study_name=self.given.rule, direction="maximize", load_if_exists=True
        )
        settings = residual.settings_of(self.given, method=self.file.stem)
        wanted = {"settings": repr(settings), "operations": self.given.operations}
        if study.user_attrs and study.user_attrs != wanted:
            raise ValueError(
                f"{self.file.with_suffix('.db')} is a study with other settings: remove it, or "
                f"choose another --output. Expected: {study.user_attrs}. Received: {wanted}"
            )
        for name, value in wanted.items():
            study.set_user_attr(name, value)
        return study

    def run(self, number: int = 0) -> None:
        """Run trials until the study has as many as the command line asks for.

        Args:
            number: Number of the process.
        """
        study = self.open()
        self.number = number
        # the seed depends on the number of trials, or a continued search would repeat its draws
        study.sampler = optuna.samplers.TPESampler(seed=1000 * len(study.trials) + number)
        enough = optuna.study.MaxTrialsCallback(self.given.trials)
        if len(complete(study)) < self.given.trials:
            study.optimize(self.trial, callbacks=[enough, report])

    def trial(self, trial: optuna.Trial) -> float:
        """Train with the suggested arguments, and return the accuracy as `score` does."""
        tried = rule(self.base, suggest(trial, self.base, self.given.operations))
        return score(self.given, self.file.stem, tried, self.number)

    def write(self) -> None:
        """Write all trials, the best rule, and a figure."""
        study = self.open()
        best = rule(self.base, study.best_params)
        content = {
            "settings": study.user_attrs,
            "accuracy": study.best_value,
            "rule": keras.saving.serialize_keras_object(best),
            "trials": [{**t.params, "accuracy": t.value} for t in complete(study)],
        }
        print(f"\n{100 * study.best_value:.1f} % on held-out examples:\n{best!r}")
        common.write(self.file.with_suffix(""), content, draw(content["trials"]))


def score(given: argparse.Namespace, name: str, tried: Any, number: int) -> float:
    """Train with a rule, and return the accuracy on held-out examples, 0 if training diverged.

    Args:
        given: Parsed command line.
        name: Name of the variant.
        tried: Rule.
        number: Number of the process, which names the folder of the run.
    """
    settings = residual.settings_of(given)
    [run] = residual.runs(
        argparse.Namespace(**{**vars(given), "jobs": 1}),
        [residual.case(f"depth {settings.depth}", settings, given.data_dir)],
        [residual.variant(name, keras.saving.serialize_keras_object(tried))],
        [given.seed],
        f"trials/{number}",
        finish=[],
        verbose=0,
    )
    accuracy = run["curves"].get("val_accuracy") or [0.0]
    return 0.0 if run["diverged"] else float(accuracy[-1])


def complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a study that are complete."""
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Print a line with the number, accuracy and arguments of a trial, as an Optuna callback."""
    tried = ", ".join(
        f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in trial.params.items()
    )
    print(f"trial {trial.number:>3}: {100 * (trial.value or 0):5.2f} %  {tried}", flush=True)


def draw(trials: Sequence[common.Numbers]) -> Any:
    """Draw accuracy over the trials, and against each argument that was searched for.

    Args:
        trials: Arguments of each trial, and its `accuracy`.
    """
    names = list(dict.fromkeys(name for t in trials for name in t if name != "accuracy"))
    rows = -(-(1 + len(names)) // 4)
    figure, panels = common.new_figure(rows, min(4, 1 + len(names)), height=2.2)
    accuracies = 100 * np.array([t["accuracy"] for t in trials])
    over, *rest = panels.flat
    over.plot(accuracies, ".", label="trial")
    over.plot(np.maximum.accumulate(accuracies), label="best so far")
    over.set(xlabel="trial", ylabel="held-out accuracy, %")
    figure.legend(*over.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=7)
    for panel, name in zip(rest, names, strict=False):
        having = [(t[name], 100 * t["accuracy"]) for t in trials if name in t]
        values, reached = zip(*having, strict=True)
        numbers = all(isinstance(v, float) for v in values)
        panel.plot(values if numbers else [str(v) for v in values], reached, ".")
        panel.set(xlabel=name)
        panel.tick_params(axis="x", which="both", labelsize=7)
        if numbers:
            panel.set_xscale("log")
            panel.tick_params(axis="x", which="both", rotation=45)
    for panel in rest[len(names) :]:
        panel.remove()
    common.caption(figure, "every point is one run; 0 %: it diverged")
    return figure


def parse() -> argparse.Namespace:
    """Read the command line; unless given, some training examples are held out."""
    parser = residual.arguments_of(__doc__)
    parser.add_argument(
        "--rule", type=command_line.row(RULES), default="wm-published", metavar="ID"
    )
    parser.add_argument("--operations", action="store_true", help="search for categorical options")
    parser.number("--trials", "of the whole study", 40, 3)
    parser.number("--depth", "default: 20; --quick: 8")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.held_out is None and given.dataset != residual.IMAGENET:
        given.held_out = 300 if given.quick else 5000  # the test split must not guide the search
    return given


def main() -> None:
    """Search in one or several processes, and write the results."""
    search = Search(parse())
    search.open()  # creates the database before the other processes start
    others = [
        multiprocessing.get_context("spawn").Process(target=search.run, args=(number,))
        for number in range(1, (search.given.jobs or 1))
    ]
    for process in others:
        process.start()
    search.run()
    for process in others:
        process.join()
    search.write()


if __name__ == "__main__":
    command_line.run(main)

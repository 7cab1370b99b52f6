"""Figure 4 of the paper: feedback learned while the forward weights stand still.

    python -m examples.node_perturbation.fixed_weights --data-dir ~/tensorflow_datasets
    python -m examples.node_perturbation.fixed_weights --quick

Feedback weights learn in networks of sigmoid units on MNIST: in random networks of 784-50-20-10
units with four sizes of the noise, in random networks of 784-N-50-10 units with four widths N, and
in 784-50-20-10 units after five passes of training. The estimator `published` is ridge regression
as in the paper. In `control variate`, the change of the loss that the feedback weights predict is
subtracted from the measured change. The other estimators differ from `published` in one property,
except `normalised steps`, the default solver of this library.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import keras

import tf_alignment as ta
from examples import command_line
from examples.common import (
    Numbers,
    caption,
    finished,
    markdown,
    new_figure,
    write,
    write_json,
)
from examples.curves import last, stacked, with_error
from examples.node_perturbation.experiment import parser
from examples.node_perturbation.perceptron import (
    LOWER,
    UPPER,
    compare,
    half_squared_error,
    network,
    vectors,
)

NOISE = [1e-4, 1e-3, 1e-2, 1e-1]
WIDTHS = [30, 100, 300, 1000]
INPUTS = {"mnist": 784, "digits": 64}
CHECKPOINTS = [100, 300, 1000, 3000, 10_000, 20_000, 40_000]
CELL = ("first", "second", "passes", "noise", "estimator")
PUBLISHED: Numbers = {"solver": ta.phases.Ridge(forgetting=1.0), "control_variate": False}
ESTIMATORS: dict[str, Numbers] = {
    "published": PUBLISHED,
    "control variate": {**PUBLISHED, "control_variate": True},
    "antithetic": {**PUBLISHED, "antithetic": True},
    "two draws": {**PUBLISHED, "draws": 2},
    "noise of ±c": PUBLISHED,
    "one layer at a time": {**PUBLISHED, "one_at_a_time": True},
    "normalised steps": {"solver": "nlms"},
}


QUICK = ("published", "control variate", "normalised steps")
DASHES = {"published": "-", "control variate": "--"}
PANELS = [
    (UPPER, "relative_error", "relative error of B, upper"),
    (LOWER, "angle_per_example", "angle per example (°), lower"),
    (LOWER, "gradient_angle", "gradient angle (°), lower"),
]


def run(settings: Numbers, output: Path) -> Numbers:
    """Learn the feedback weights of one network with fixed forward weights.

    If the file of the run exists, the result is read from this file.

    Args:
        settings: Settings of the run: the entries of `CELL`, `seed`, `dataset`, `data_dir` and
            `checkpoints`, the iterations at which is measured.
        output: Folder of the files.

    Returns:
        Settings, duration in seconds, and curves over the checkpoints.
    """
    name = "{estimator}-{first}-{second}-{passes}-{noise:g}-{seed}".format(**settings).replace(
        " ", "_"
    )
    file = output / "runs" / f"fixed-{settings['dataset']}-{name}.json"
    kept = {name: value for name, value in settings.items() if name != "data_dir"}
    done = finished(file, kept)
    if done is not None:
        return done
    keras.utils.clear_session()
    data = vectors(settings["dataset"], settings["data_dir"])
    keras.utils.set_random_seed(settings["seed"])
    stock = network(data[0].shape[1], (settings["first"], settings["second"]))
    if settings["passes"]:
        stock.compile(keras.optimizers.SGD(1.0), "mse")
        stock.fit(*data, batch_size=32, epochs=settings["passes"], verbose=0)
    model = ta.convert(stock, "fa", feedback_initializer=None)
    kind = "rademacher" if settings["estimator"] == "noise of ±c" else "gaussian"
    phase = ta.phases.NodePerturbation(
        half_squared_error,
        dataset=data,
        noise=ta.Noise(kind, settings["noise"]),
        seed=settings["seed"] + 1,
        **ESTIMATORS[settings["estimator"]],
    )
    probe = ta.metrics.GradientProbe(model, half_squared_error)
    x, y = vectors(settings["dataset"], settings["data_dir"], "test")
    curves: dict[str, list[float]] = {}
    seconds = 0.0
    for done_before, steps in itertools.pairwise((0, *settings["checkpoints"])):
        phase.steps = steps - done_before
        start = time.perf_counter()
        phase.advance(model)
        seconds += time.perf_counter() - start
        for curve, value in compare(model, probe(x[:1000], y[:1000])).items():
            curves.setdefault(curve, []).append(float(f"{value:.5g}"))
    result = {"settings": kept, "seconds": round(seconds, 1), "curves": curves}
    write_json(file, result)
    error = curves[f"{UPPER}/relative_error"][-1]
    print(f"{file.stem}  relative error {error:.4f}  {seconds:.0f} s", flush=True)
    return result


def cells(results: list[Numbers]) -> dict[Any, list[Numbers]]:
    """Group results by the settings in `CELL`: network, passes of training, noise and estimator."""
    found: dict[Any, list[Numbers]] = {}
    for result in results:
        found.setdefault(tuple(result["settings"][n] for n in CELL), []).append(result)
    return found


def table(results: list[Numbers]) -> str:
    """Return a Markdown table of errors and angles at the last checkpoint.

    A row has mean and standard error over the seeds for one network, noise and estimator.
    """
    measures = ("relative_error", "sign_agreement", "angle_per_example", "gradient_angle")
    columns = list(itertools.product(measures, (LOWER, UPPER)))
    heads = ["network", "trained", "noise", "estimator", "seeds"]
    heads += [f"{measure.replace('_', ' ')}, {layer}" for measure, layer in columns]
    rows = []
    for (first, second, passes, noise, estimator), runs in cells(results).items():
        inputs = INPUTS[runs[0]["settings"]["dataset"]]
        row = [f"{inputs}-{first}-{second}-10", f"{passes} passes", f"{noise:g}", estimator]
        ends = (
            with_error(last(runs, f"{layer}/{measure}"), 1 if "angle" in measure else 3)
            for measure, layer in columns
        )
        rows.append([*row, str(len(runs)), *ends])
    return markdown(heads, rows)


def draw(results: list[Numbers]) -> Any:
    """Draw errors and angles over the iterations, and at the last checkpoint against the width.

    The left panels compare sizes of the noise, the right panels compare estimators.

    Args:
        results: Results of `run`.
    """
    from matplotlib import colormaps

    groups = cells(results)
    figure, axes = new_figure(4, 2, height=2.3)
    small = {key: runs for key, runs in groups.items() if key[:3] == (50, 20, 0)}
    kinds = list(dict.fromkeys(key[-1] for key in small))
    looks = ta.plots.styles(kinds)
    for (layer, measure, label), (left, right) in zip(PANELS, axes[:3], strict=True):
        for (*_, noise, kind), runs in small.items():
            x = runs[0]["settings"]["checkpoints"]
            mean = stacked(runs, f"{layer}/{measure}").mean(0)
            if kind in DASHES:
                colour = colormaps["viridis"](NOISE.index(noise) / 3.5)
                left.loglog(x, mean, DASHES[kind], color=colour, label=f"{kind}, c = {noise:g}")
            if noise == 1e-2:
                look = looks[kind]
                right.loglog(x, mean, color=look.colour, linestyle=look.dashes, label=kind)
        for panel in (left, right):
            panel.set(xlabel="iteration", ylabel=label.replace(", ", "\n"))
            plain_ticks(panel)
    for panel, side, title in zip(
        axes[0], ("left", "right"), ("by noise", "c = 0.01"), strict=True
    ):
        handles = panel.get_legend_handles_labels()
        figure.legend(*handles, loc=f"outside upper {side}", title=title, ncols=2, fontsize=7)
    for panel, (layer, measure, label) in zip(axes[3], PANELS[:2], strict=True):
        for kind, dashes in DASHES.items():
            ends = {
                key[0]: last(runs, f"{layer}/{measure}").mean()
                for key, runs in groups.items()
                if key[1] == 50 and key[-1] == kind
            }
            if ends:
                panel.loglog(list(ends), list(ends.values()), f"o{dashes}", label=kind)
        inputs = INPUTS[results[0]["settings"]["dataset"]]
        panel.set(xlabel=f"N of {inputs}-N-50-10", ylabel=label.replace(", ", "\n"))
        panel.legend(fontsize=7)
        plain_ticks(panel)
    counts = {len(runs) for runs in groups.values()}
    caption(figure, f"means over {min(counts)} to {max(counts)} seeds")
    return figure


def plain_ticks(panel: Any) -> None:
    """Label the decades of both logarithmic axes, and on the y axis also 2 and 5 times a decade.

    Labels are plain numbers, and few enough not to overlap.

    Args:
        panel: Matplotlib axes.
    """
    from matplotlib import ticker

    panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def main() -> None:
    """Learn the feedback weights of all networks, print the table, and draw the figure."""
    command = parser(__doc__, "40000", 5, list(ESTIMATORS), jobs=False, quick=QUICK)
    command.number("--width-seeds", "runs each width (as --seeds)")
    given = command.parse_args()
    name, dataset, checkpoints = "fixed-weights", "mnist", CHECKPOINTS
    noises, widths, kinds = NOISE, WIDTHS, given.methods
    if given.quick:
        name, dataset, checkpoints = "fixed-weights-quick", "digits", [100, 1000]
        noises, widths = [1e-2, 1e-1], [30, 100]
    if given.iterations:
        before = [c for c in checkpoints if c < given.iterations]
        checkpoints = [*before, given.iterations]
    both = [kind for kind in kinds if kind in DASHES]
    jobs = [(50, 20, 0, c, kind) for c in noises for kind in (kinds if c >= 1e-2 else both)]
    jobs += [(n, 50, 0, 1e-2, kind) for n in widths for kind in both]
    some = [kind for kind in kinds if kind in (*both, "antithetic")]
    jobs += [(50, 20, 5, c, kind) for c in noises if c >= 1e-2 for kind in some]
    shared = {"dataset": dataset, "data_dir": given.data_dir, "checkpoints": checkpoints}
    results = [
        run({**dict(zip(CELL, job, strict=True)), "seed": seed, **shared}, given.output)
        for seed in range(given.seeds)
        for job in jobs
        if seed < (given.width_seeds or given.seeds) or job[:2] == (50, 20)
    ]
    print("", table(results), sep="\n")
    write(given.output / name, {"runs": results}, draw(results))


if __name__ == "__main__":
    command_line.run(main)

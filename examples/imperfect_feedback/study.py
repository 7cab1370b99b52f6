"""How good must a feedback path be? Accuracy and gradient angle against each of its defects.

    python -m examples.imperfect_feedback.study --output results/imperfect
    python -m examples.imperfect_feedback.study --data mnist --data-dir ~/tensorflow_datasets
    python -m examples.imperfect_feedback.study --data cifar10 --data-dir ~/tensorflow_datasets

One defect at a time, around every method: bits of the kernel, bits of the error, read noise, device
mismatch, density, rank. Networks: three hidden layers of 64 on handwritten digits, two of 256 on
MNIST, ResNet-8 on CIFAR-10. All methods of a seed start from the same forward weights and see the
same batches; weight decay is the same for all, since Kolen-Pollack and product feedback need it.
A method and defect is compiled once for all seeds. Runs go into one JSON file, and those that are
in it are not made again; the figure is drawn from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from tf_alignment.plots.style import caption, new_figure, save
from tf_alignment.plots.values import sweep_lines

METHODS = ("backprop", "fa", "usf", "kp", "sa", "pfa")
DEFECTS: dict[str, tuple[float, ...]] = {
    "bits": (1, 2, 3, 4, 5, 6, 8),
    "error_bits": (1, 2, 3, 4, 5, 6, 8),
    "noise": (0.1, 0.3, 1.0, 3.0),
    "mismatch": (0.1, 0.2, 0.5, 1.0),
    "density": (0.5, 0.25, 0.1, 0.03),
    "rank": (1, 2, 4, 8, 16),
}
LABELS = {
    "bits": "bits of the kernel",
    "error_bits": "bits of the error",
    "noise": "read noise / rms weight",
    "mismatch": "mismatch",
    "density": "density",
    "rank": "rank",
}
QUICK: dict[str, tuple[float, ...]] = {
    "bits": (1, 2, 4),
    "error_bits": (2, 4, 8),
    "noise": (1.0,),
    "mismatch": (0.5,),
    "density": (0.1,),
    "rank": (2,),
}


class Settings(NamedTuple):
    """What differs between the datasets."""

    rate: float
    decay: float
    epochs: int
    batch_size: int


SETTINGS = {
    "digits": Settings(0.05, 0.05, 12, 32),
    "mnist": Settings(0.05, 0.02, 3, 64),
    "cifar10": Settings(0.05, 0.01, 10, 128),
}


def network(name: str, seed: int) -> keras.Model:
    """The network of a dataset and seed, in stock Keras."""
    keras.utils.set_random_seed(seed)
    if name == "cifar10":
        return ta.models.resnet(8)
    sizes = (64, 64, 64, 64, 10) if name == "digits" else (784, 256, 256, 10)
    return ta.models.perceptron(sizes)


def load(name: str, data_dir: str | None) -> ta.data.Arrays:
    """The data, centred; flat for the perceptrons."""
    data = ta.data.load(name, data_dir)
    mean, deviation = data.train.x.mean(), data.train.x.std()
    data = data.map(lambda x: (x - mean) / deviation)
    return data if name == "cifar10" else data.map(lambda x: x.reshape(len(x), -1))


def rule(method: str, defect: str | None, value: float) -> Any:
    """The method, over a path with the defect."""
    # a step of SA goes `rate · α · gain` of the way: at the default of 1, devices with more than
    # twice the strength overshoot and run away
    inner = ta.feedback.SymmetricAlignment(0.5, 0.5) if method == "sa" else method
    if defect is None:
        return ta.feedback.get(inner)
    real = defect in ("noise", "mismatch", "density")
    given: dict[str, Any] = {defect: value if real else int(value)}
    if defect == "bits":
        given["error_bits"] = None  # one defect at a time
    return ta.feedback.Imperfect(inner, seed=1, **given)


def runs_of(
    name: str,
    method: str,
    defect: str | None,
    value: float,
    seeds: list[int],
    data: Any,
    epochs: int,
) -> list[dict[str, Any]]:
    """Train one method over one path from every seed's start."""
    settings = SETTINGS[name]
    feedback = rule(method, defect, value)
    model = ta.convert(network(name, seeds[0]), feedback)
    steps = epochs * (len(data.train.x) // settings.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 6, warmup_target=settings.rate, warmup_steps=steps // 6
    )
    sgd = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=settings.decay, clipnorm=1.0)
    model.compile(
        ta.optimizers.split(sgd),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=8,
    )
    model.optimizer.build(model.trainable_variables)
    start = [v.numpy() for v in model.optimizer.variables]
    probe = data.test.x[:256], data.test.y[:256]
    found = []
    for seed in seeds:
        new = ta.convert(network(name, seed), feedback)
        for variable, other in zip(model.variables, new.variables, strict=True):
            variable.assign(other)
        for variable, number in zip(model.optimizer.variables, start, strict=True):
            variable.assign(number)
        x, y = data.train
        train = ta.data.EpochShuffled(x, y, settings.batch_size, seed=seed, drop_remainder=True)
        model.fit(
            train.dataset, epochs=epochs, callbacks=[train.callback], verbose=0, shuffle=False
        )
        logits = model.predict(data.test.x, batch_size=500, verbose=0)
        accuracy = float(np.mean(np.argmax(logits, -1) == data.test.y))
        angles = ta.metrics.gradient_angle(model, *probe)
        hidden = [a["kernel"] for a in list(angles.values())[:-1]]  # the last is 0 in all
        found.append(
            {
                "data": name,
                "method": method,
                "defect": defect,
                "value": value,
                "seed": seed,
                "epochs": epochs,
                "accuracy": accuracy,
                "gradient_angle": float(np.mean(hidden)),
            }
        )
    return found


def figure(runs: list[dict[str, Any]], path: Path, kind: str = "accuracy") -> None:
    """One panel per defect, one line per method; dotted lines are methods over an ideal path.

    Args:
        runs: All runs of one dataset.
        path: File to write.
        kind: Which number is drawn, "accuracy" or "gradient_angle".
    """
    names = [d for d in DEFECTS if any(r["defect"] == d for r in runs)]
    methods = [m for m in METHODS if any(r["method"] == m for r in runs)]
    columns = min(len(names), 2 if len(names) == 4 else 3)
    fig, axes = new_figure(-(-len(names) // columns), columns, height=2.5)
    scale, label = {
        "accuracy": (100, "test accuracy, %"),
        "gradient_angle": (1, "gradient angle, °"),
    }[kind]
    looks = ta.plots.styles(methods)
    for axis in axes.flat[1:]:
        axis.sharey(axes[0, 0])  # before anything is drawn: the limits are then those of all
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, defect in zip(axes.flat, names, strict=False):
        values: dict[str, dict[float, list[float]]] = {m: {} for m in methods}
        for r in runs:
            if r["defect"] == defect:
                values[r["method"]].setdefault(r["value"], []).append(scale * r[kind])
        sweep_lines(axis, values, log=True)
        for method in methods:
            ideal = [scale * r[kind] for r in runs if (r["method"], r["defect"]) == (method, None)]
            if ideal:
                line = {"color": looks[method].colour, "linewidth": 0.7, "linestyle": ":"}
                axis.axhline(np.mean(ideal), **line)
        worse_left = defect in ("bits", "error_bits", "density", "rank")
        arrow = ", ← worse" if worse_left else ", worse →"
        axis.set_xlabel(LABELS[defect] + arrow, fontsize=9)
    if kind == "accuracy":
        axes[0, 0].set_ylim(0, 102)
    for row in axes:
        row[0].set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(methods), fontsize=8)
    count = len({r["seed"] for r in runs})
    caption(
        fig, f"means over {count} seeds; bars: ± 1 standard deviation (n - 1); dotted: ideal path"
    )
    save(fig, path)


def table(runs: list[dict[str, Any]]) -> str:
    """Test accuracy and gradient angle, means and standard deviations over the seeds."""
    cases = list(dict.fromkeys((r["defect"], r["value"]) for r in runs))
    order = [None, *DEFECTS]
    cases.sort(key=lambda case: (order.index(case[0]), case[1]))
    methods = [m for m in METHODS if any(r["method"] == m for r in runs)]
    lines = ["| path | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for defect, value in cases:
        cells = []
        for method in methods:
            own = [
                r for r in runs if (r["method"], r["defect"], r["value"]) == (method, defect, value)
            ]
            if not own:
                cells.append("")
                continue
            accuracy = common.mean_of([r["accuracy"] for r in own]).text(1, scale=100)
            angle = np.mean([r["gradient_angle"] for r in own])
            cells.append(f"{accuracy}, {angle:.0f}°")
        name = "ideal" if defect is None else f"{LABELS[defect]} {value:g}"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print the table and draw the figure."""
    parser = command_line.new_parser(
        __doc__, "imperfect_feedback", methods=METHODS, epochs="of the dataset", seeds=3
    )
    parser.set_defaults(methods=METHODS)
    parser.add_argument("--data", choices=list(SETTINGS), default="digits")
    parser.add_argument("--defects", nargs="+", choices=list(DEFECTS), default=list(DEFECTS))
    given = parser.parse_args()
    file = given.output / f"{given.data}.json"
    runs = common.read_json(file) or []
    data = load(given.data, given.data_dir)
    epochs = given.epochs or SETTINGS[given.data].epochs
    values = QUICK if given.quick else DEFECTS
    cases: list[tuple[str | None, float]] = [(None, 0.0)]
    cases += [(defect, value) for defect in given.defects for value in values[defect]]
    for defect, value in cases:
        for method in given.methods:
            key = (given.data, method, defect, value, epochs)
            known = {
                r["seed"]
                for r in runs
                if (r["data"], r["method"], r["defect"], r["value"], r["epochs"]) == key
            }
            seeds = [seed for seed in range(given.seeds) if seed not in known]
            if seeds:
                runs += runs_of(given.data, method, defect, value, seeds, data, epochs)
                common.write_json(file, runs)
                keras.backend.clear_session()
        print(table([r for r in runs if r["defect"] == defect and r["value"] == value]), flush=True)
    figure(runs, given.output / f"{given.data}.png")
    figure(runs, given.output / f"{given.data}-angle.png", "gradient_angle")


if __name__ == "__main__":
    command_line.run(main)

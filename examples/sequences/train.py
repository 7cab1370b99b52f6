"""Train an LSTM or a transformer to predict characters of Shakespeare, without weight transport.

Every run is stored in a file in the output directory and is not repeated. The script prints a table
of all files, and draws a figure of the network's runs with as many epochs as the command asks for.

    python -m examples.sequences.train --quick
    python -m examples.sequences.train --network lstm --methods backprop fa eprop-random
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.common import Numbers
from examples.curves import with_deviation
from examples.sequences.data import Text, shakespeare, source_text
from examples.sequences.networks import NETWORKS
from tf_alignment.plots.curves import line

__all__ = ["METHODS", "bits", "eprop", "main", "optimizer", "table", "variant"]

# Feedback method of the readout, which sends the error to the LSTM with e-prop: by the weights of
# the readout, by random weights, or by weights that learn as those of Kolen-Pollack.
EPROP = {"eprop-symmetric": "backprop", "eprop-random": "fa", "eprop-adaptive": "kp"}
# Product feedback with the path R B in one matrix, since R and B in two outgrow W under AdamW.
RULES = {"pfa-collapsed": ta.feedback.ProductFeedback(collapsed=True)}
METHODS = ("backprop", "fa", "dfa", "usf", "kp", "sa", "aa", "pfa", *RULES, *EPROP)
_SMALL = {"layers": 1, "width": 8}
QUICK = {
    "lstm": {"units": 8, "embedding": 8},
    "transformer": _SMALL,
    "hub_transformer": _SMALL,
}


def text_of(quick: bool, length: int, data_dir: str | None) -> Text:
    """Return the text to learn: Shakespeare, or with `quick` a part of Python's source code."""
    return source_text(length, windows=256) if quick else shakespeare(length, data_dir)


def data(run: Any) -> tuple[Any, Any]:
    """Return the training and the validation windows of a run, each `(x, y)`."""
    text = text_of(run.settings["quick"], run.settings["length"], run.data_dir)
    return text.train, text.validation


def eprop(stock: Any, readout: str) -> keras.Model:
    """Return an LSTM that learns by e-prop, with a feedback method in its readout.

    Args:
        stock: Function that returns the stock network.
        readout: Id of the feedback method of the readout.
    """
    made = stock()
    _, recurrent, dense = made.layers
    return ta.convert(made, {recurrent.name: "eprop", dense.name: readout})


def variant(network: str, method: str, stock: Any) -> ta.studies.Variant:
    """Return the row of a method in the study.

    Args:
        network: Name of the network in `NETWORKS`.
        method: Name of the method in `METHODS`.
        stock: Function that returns the stock network.

    Raises:
        ValueError: If the method is e-prop and the network is not recurrent.
    """
    if method not in EPROP:
        return ta.studies.Variant(method, RULES.get(method, method))
    if network != "lstm":
        raise ValueError(f"{method} needs a recurrent network. Received: --network {network}")
    return ta.studies.Variant(method, None, build=functools.partial(eprop, stock, EPROP[method]))


def optimizer(run: Any, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """Return the optimizers of a run: AdamW, and plain SGD for weights that learn by alignment.

    The rate of AdamW grows linearly over a twentieth of the steps, then falls along a cosine to a
    tenth of its maximum.

    Args:
        run: Run of the study.
        rate: Highest learning rate of AdamW.
        decay: Weight decay of AdamW.
    """
    warmup = max(1, run.steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, run.steps - warmup), alpha=0.1, warmup_target=rate, warmup_steps=warmup
    )
    forward = keras.optimizers.AdamW(schedule, weight_decay=decay, beta_2=0.99, clipnorm=1.0)
    forward.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "embedding", "vectors"])
    return ta.optimizers.split(forward)


def bits(loss: float) -> float:
    """Convert a loss in nats to bits."""
    return loss / math.log(2.0)


def finish(run: Any) -> Numbers:
    """Measure a trained network.

    Returns:
        `test_bits`, the test loss in bits per character; and `angles`, the angle in degrees between
        the gradient of each kernel and that of backpropagation, by path of the layer.
    """
    x, y = (part[:32] for part in run.source.test)
    angles = ta.metrics.gradient_angle(run.model, x, y)
    test = text_of(run.settings["quick"], run.settings["length"], run.data_dir).test
    return {
        "angles": {path: found["kernel"] for path, found in angles.items() if "kernel" in found},
        "test_bits": bits(run.model.evaluate(*test, batch_size=128, verbose=0)),
    }


def is_hidden(path: str) -> bool:
    """Whether a path is not that of the readout, whose gradient has always an angle of 0."""
    return path.split("/")[-1] != "readout"


def last(run: Numbers) -> float:
    """Return a run's last validation loss in bits per character, NaN if training diverged."""
    return float("nan") if (found := run["validation_bits"][-1]) is None else float(found)


def table(output: Path) -> str:
    """Return a Markdown table of all runs in a folder, with a row per method and setting.

    A row has the bits per character at the end, also relative to the best backpropagation run with
    the same network, decay, epochs and seed, and the range of gradient angles of hidden kernels.

    Args:
        output: Folder of the runs' files.
    """
    names = ("network", "method", "rate", "decay", "epochs")
    runs = [common.read_json(file) for file in sorted(output.glob("*.json"))]
    alike = ("network", "decay", "epochs", "seed")
    base = common.grouped([run for run in runs if run["method"] == "backprop"], *alike)
    rows = []
    for key, own in common.grouped(runs, *names).items():
        ends = with_deviation([last(run) for run in own], 3)
        test = with_deviation([run["test_bits"] for run in own], 3)
        over = [
            last(run) - min(map(last, base[tuple(run[n] for n in alike)]))
            for run in own
            if tuple(run[n] for n in alike) in base
        ]
        angles = [a for run in own for name, a in run["angles"].items() if is_hidden(name)]
        known = f"{min(angles):.0f} to {max(angles):.0f}" if angles else "-"
        rows.append((*map(str, key), str(len(own)), ends, with_deviation(over, 3), test, known))
    head = ("n", "validation bits", "over backprop, by seed", "test bits", "gradient angles °")
    return common.markdown((*names, *head), rows)


def _mean(runs: list[Numbers]) -> float:
    return float(np.mean([last(run) for run in runs]))


def draw(output: Path, network: str, epochs: int) -> Any:
    """Draw validation bits over the steps, and the gradient angle of each hidden kernel.

    Of every method, the runs with the best learning rate are drawn.

    Args:
        output: Folder of the runs' files.
        network: Name of the network in `NETWORKS`.
        epochs: Number of epochs of the runs to draw.
    """
    runs = [common.read_json(file) for file in sorted(output.glob(f"{network}-*.json"))]
    rates = common.grouped([run for run in runs if run["epochs"] == epochs], "method", "rate")
    groups: dict[str, list[Numbers]] = {}
    for (method, _), own in rates.items():  # only the best rate of each method is drawn
        if method not in groups or _mean(own) < _mean(groups[method]):
            groups[method] = own
    order = [method for method in METHODS if method in groups]
    looks = ta.plots.styles(order)
    figure, [[losses, directions]] = common.new_figure(1, 2, height=3.2)
    handles = {}
    for method in order:
        own = groups[method]
        steps = own[0]["steps"] / epochs * np.arange(1, epochs + 1)
        values = np.array([run["validation_bits"] for run in own], float)
        handles[method] = line(losses, values, looks[method], steps)
        kernels = [name for name in own[0]["angles"] if is_hidden(name)]
        if kernels and method != "backprop":
            angles = np.array([[run["angles"][name] for name in kernels] for run in own], float)
            line(directions, angles, looks[method])
    losses.set(xlabel="step", ylabel="validation bits per character")
    directions.set(xlabel="kernel, from the lowest up", ylabel="gradient angle, °")
    directions.xaxis.get_major_locator().set_params(integer=True)
    columns = min(len(order), 7)
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, fontsize=8)
    counts = {len(own) for own in groups.values()}
    common.caption(figure, common.of_seeds(counts, "; bands: ± 1 standard deviation (n - 1)"))
    return figure


def report(output: Path, network: str, epochs: int) -> None:
    """Print the table of a folder of runs, and draw the figure to a file beside the folder.

    Args:
        output: Folder of the runs' files.
        network: Name of the network in `NETWORKS`.
        epochs: Number of epochs of the runs to draw.
    """
    print(table(output))
    figure = output.with_name(f"{output.name}-{network}.png")
    common.save(draw(output, network, epochs), figure)
    print(f"\nFigure: {figure}")


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are missing, print the table, and draw the figure.

    Args:
        arguments: Arguments of the command line; by default those of the process.
    """
    parser = command_line.new_parser(
        __doc__ or "",
        "sequences",
        methods=METHODS,
        usual=("backprop", "fa", "sa"),
        epochs="6",
        seeds=1,
        jobs=True,
    )
    parser.add_argument("--network", choices=tuple(NETWORKS), default="lstm")
    parser.number("--length", "characters of a window", 64, 16)
    parser.number("--batch", "windows per step", 32)
    parser.number("--rate", "learning rate of AdamW", 0.01, kind=float)
    parser.number("--decay", "weight decay", 0.1, kind=float)
    given = parser.parse_args(arguments)
    given.epochs = given.epochs or (1 if given.quick else 6)
    settings: Numbers = {
        **{n: getattr(given, n) for n in ("network", "epochs", "rate", "decay", "batch")},
        "sizes": QUICK[given.network] if given.quick else {},
        "length": given.length,
    }
    files = {
        (method, seed): given.output
        / f"{given.network}-{method}-{given.rate:g}-{given.decay:g}-{seed}.json"
        for method in given.methods
        for seed in range(given.seeds)
    }
    missing = [
        (method, seed)
        for (method, seed), file in files.items()
        if common.finished(file, {**settings, "method": method, "seed": seed}) is None
    ]
    if missing:
        text = text_of(given.quick, given.length, given.data_dir)
        network = functools.partial(
            NETWORKS[given.network], len(text.characters), given.length, **settings["sizes"]
        )
        results = common.study(
            given,
            given.network,
            network,
            data,
            [variant(given.network, method, network) for method in dict(missing)],
            seeds=sorted({seed for _, seed in missing}),
            compile={
                "optimizer": functools.partial(optimizer, rate=given.rate, decay=given.decay),
                "metrics": [],
                "steps_per_execution": 1,
            },
            epochs=given.epochs,
            batch_size=given.batch,
            metric="val_loss",
            settings={"quick": given.quick, "length": given.length},
            finish=[finish],
            probe=0,
            on_divergence=None,
        )
        for run in common.ended(results):
            key = {"method": run["variant"], "seed": run["seed"]}
            curves = {
                new: [bits(loss) for loss in run["curves"][old]]
                for new, old in (("train_bits", "loss"), ("validation_bits", "val_loss"))
            }
            steps = run["steps_per_epoch"] * given.epochs
            content = {**settings, **key, **curves, **run["finish"], "steps": steps}
            if not files[run["variant"], run["seed"]].exists():
                common.write_json(files[run["variant"], run["seed"]], content)
    report(given.output, given.network, given.epochs)


if __name__ == "__main__":
    command_line.run(main)

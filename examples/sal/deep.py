"""Deep networks whose dense layers SAL aligns every epoch, against BP, FA and KP.

python -m examples.sal.deep --quick
python -m examples.sal.deep --network conv --dataset cifar10 --data-dir ~/tensorflow_datasets
python -m examples.sal.deep --methods backprop fa --decay-for-all

`perceptron` is 784-256-128-64-10 with ReLU. `conv` is the network of `examples/rdd`, two
convolutions and dense layers of 384, 192 and 10: with SAL the convolutions keep random feedback, as
in the paper. Kolen-Pollack needs weight decay, which changes accuracy by itself: `--decay-for-all`
adds `backprop, decay` and `fa, decay`, the controls with the same decay. `--unbalanced` takes
neurons as published. `--quick` takes the embedded digits. A killed run goes on from its last epoch
when it is started with the same arguments.

The learning rate falls to 0 along a cosine: at a constant one the noise that is left in B, another
one every epoch, makes W grow until training diverges (on MNIST after ten epochs).
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from typing import Any

import keras

import tf_alignment as ta
from examples import command_line, common, networks
from examples.curves import stacked, with_deviation
from examples.rdd import data as rdd_data
from examples.rdd import network as rdd_network
from examples.sal.files import write

BATCH = 64
METHODS = ("backprop", "fa", "kp", "sal")
CONTROLS = ("backprop", "fa")  # again with the decay of KP
DECAY = ", decay"


def perceptron(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Three hidden layers."""
    names = ("dense256", "dense128", "dense64", "top")
    return networks.perceptron(shape, (256, 128, 64, classes), names)


def conv(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Two convolutions and three dense layers."""
    _, size, channels = shape
    return rdd_network.convolutional(size, channels, classes)


NETWORKS = {"perceptron": perceptron, "conv": conv}
LOAD = {"perceptron": ta.data.load, "conv": rdd_data.load}


def data(run: Any) -> ta.data.Arrays:
    """The dataset of a run."""
    return LOAD[run.settings["network"]](run.settings["dataset"], run.data_dir)


def optimizer(run: Any, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """SGD whose rate falls along a cosine; Kolen-Pollack and its controls have weight decay."""
    falling = keras.optimizers.schedules.CosineDecay(rate, run.steps)
    decays = run.feedback == "kp" or run.variant.endswith(DECAY)
    decay = decay if decays else 0.0
    return keras.optimizers.SGD(falling, momentum=0.9, weight_decay=decay)


def variants(
    methods: Iterable[str], phase: Any, decay_for_all: bool = False
) -> list[ta.studies.Variant]:
    """Rows of the study, each control behind its method."""
    rows = []
    for method in methods:
        feedback, phases = ("fa", [phase]) if method == "sal" else (method, [])
        names = [method]
        if decay_for_all and method in CONTROLS:
            names.append(method + DECAY)
        for name in names:
            row = ta.studies.Variant(name, feedback, feedback_initializer=None, phases=phases)
            rows.append(row)
    return rows


def to_page(run: common.Numbers) -> common.Numbers:
    """A run as the files of docs/results have it."""
    curves = {n: v for n, v in run["curves"].items() if not n.startswith("hidden/")}
    first = next(name for name in curves if name.endswith("gradient_angle"))
    kept = {name: run[name] for name in ("seed", "seconds")}
    return {**kept, "first layer": first, "curves": curves}


def table(runs: dict[str, list[common.Numbers]]) -> str:
    """The last epoch of every method, as Markdown: mean and standard deviation over the seeds."""
    rows = []
    for method, own in runs.items():
        first = own[0]["first layer"]
        last = {name: stacked(own, name)[:, -1] for name in own[0]["curves"]}
        angles = last.get("mean/weight_angle")
        rows.append(
            (
                method,
                str(len(own)),
                with_deviation(100 * last["val_accuracy"]),
                with_deviation(last[first], 1),
                "-" if angles is None else with_deviation(angles, 1),
                f"{sum(run['seconds'] for run in own) / len(own):.1f}",
            )
        )
    head = ("method", "n", "test accuracy %", "gradient angle °", "weight angle °", "s")
    return common.markdown(head, rows)


def draw(runs: dict[str, list[common.Numbers]]) -> Any:
    """Accuracy, and the first layer's gradient angle, over epochs."""
    labels = {"accuracy": "test accuracy", "angle": "gradient angle, first layer (°)"}
    curves = {
        method: {
            "accuracy": stacked(own, "val_accuracy"),
            "angle": stacked(own, own[0]["first layer"]),
        }
        for method, own in runs.items()
    }
    return ta.plots.learning_curves(curves, labels=labels)


def main() -> None:
    """Train, print, draw."""
    parser = command_line.new_parser(
        __doc__,
        "sal",
        methods=METHODS,
        quick=("backprop", "sal"),
        epochs="6, or 2 with --quick",
        seeds=1,
        jobs=True,
    )
    parser.add_argument("--network", choices=list(NETWORKS), default="perceptron")
    parser.add_argument("--dataset", help="TFDS name (mnist; --quick: digits)")
    parser.number("--rate", "of W at the start", 0.01, kind=float)
    parser.number("--steps", "of SAL before an epoch", 4000, 2000)
    parser.number("--feedback-rate", "of SAL", 0.03, kind=float)
    parser.number("--decay", "weight decay of KP", 0.01, kind=float)
    parser.add_argument(
        "--decay-for-all", action="store_true", help="backprop and fa with the decay of KP too"
    )
    parser.add_argument(
        "--unbalanced", action="store_true", help="neurons as published, see the phase"
    )
    given = parser.parse_args()
    settings = {
        "network": given.network,
        "dataset": given.dataset or ("digits" if given.quick else "mnist"),
        "steps": given.steps,
        "unbalanced": given.unbalanced,
    }
    found = LOAD[given.network](settings["dataset"], given.data_dir)
    sal = functools.partial(
        ta.phases.SAL,
        steps=settings["steps"],
        rate=given.feedback_rate,
        balanced=not given.unbalanced,
    )
    name = f"deep-{given.network}-{settings['dataset']}"
    results = common.study(
        given,
        name,
        functools.partial(NETWORKS[given.network], found.train.x.shape[1:], found.classes),
        data,
        variants(given.methods, sal, given.decay_for_all),
        compile={
            "optimizer": functools.partial(optimizer, rate=given.rate, decay=given.decay),
            # XLA is slow in convolutions on a CPU
            "jit_compile": given.network == "perceptron",
        },
        epochs=given.epochs or (2 if given.quick else 6),
        batch_size=BATCH,
        seeds=range(1, 1 + given.seeds),  # the seed of the kept results is 1
        settings=settings,
        probe=256,
    )
    groups = common.grouped(common.ended(results), "variant")
    runs = {method: list(map(to_page, own)) for method, own in groups.items()}
    print("", table(runs), sep="\n")
    write(argparse.Namespace(**{**vars(given), **settings}), name, {"runs": runs}, draw(runs))


if __name__ == "__main__":
    command_line.run(main)

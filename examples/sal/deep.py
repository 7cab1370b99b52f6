"""Train deep networks whose dense layers SAL aligns every epoch, beside backprop, FA and KP.

    python -m examples.sal.deep --quick
    python -m examples.sal.deep --network conv --dataset cifar10 --data-dir ~/tensorflow_datasets
    python -m examples.sal.deep --methods backprop fa --decay-for-all

`perceptron` has 784-256-128-64-10 units with ReLU. `conv` is the network of `examples/rdd`, with
two convolutions and dense layers of 384, 192 and 10 units: with SAL, the convolutions keep random
feedback, as in the paper. Two controls for `conv` are not in the paper: `copied` sends errors
through the transposed forward weights in the dense layers and through random weights in the second
convolution; `sal+wm` is `sal` with a weight mirror in the second convolution.

Kolen-Pollack (KP) needs weight decay, which changes accuracy by itself: `--decay-for-all` adds the
controls `backprop, decay` and `fa, decay` with the same decay. `--unbalanced` uses neurons as
published. `--quick` uses the embedded digits. An interrupted run is continued after its last epoch
when it is started with the same arguments.

The learning rate falls to 0 along a cosine. At a constant rate, the noise that SAL leaves in B,
which is different in every epoch, makes W grow until training diverges (on MNIST after ten epochs).
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
# Controls of `conv`: feedback, and the learning rate of feedback weights that learn in every step.
OF_CONV = {
    "copied": (rdd_network.feedback_of("fa", "sa"), 0.5),
    "sal+wm": (rdd_network.feedback_of("wm", "fa"), 0.05),
}
CONTROLS = ("backprop", "fa")  # methods that `--decay-for-all` repeats with the decay of KP
DECAY = ", decay"


def perceptron(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return a perceptron with three hidden layers, for images of a shape."""
    names = ("dense256", "dense128", "dense64", "top")
    return networks.perceptron(shape, (256, 128, 64, classes), names)


def conv(shape: tuple[int, ...], classes: int, filters: int = 64) -> keras.Model:
    """Return a network of two convolutions and three dense layers, for images of a shape."""
    _, size, channels = shape
    return rdd_network.convolutional(size, channels, classes, filters)


NETWORKS: dict[str, Any] = {"perceptron": perceptron, "conv": conv}
LOAD = {"perceptron": ta.data.load, "conv": rdd_data.load}


def data(run: Any) -> ta.data.Arrays:
    """Return the dataset of a study's run."""
    return LOAD[run.settings["network"]](run.settings["dataset"], run.data_dir)


def optimizer(run: Any, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run: SGD with momentum, whose rate falls to 0 along a cosine.

    Args:
        run: Run of the study.
        rate: Learning rate at the start.
        decay: Weight decay of Kolen-Pollack and its controls; the other methods have none.
    """
    falling = keras.optimizers.schedules.CosineDecay(rate, run.steps)
    decays = run.feedback == "kp" or run.variant.endswith(DECAY)
    decay = decay if decays else 0.0
    forward = keras.optimizers.SGD(falling, momentum=0.9, weight_decay=decay)
    if run.variant in OF_CONV:
        return ta.optimizers.split(forward, keras.optimizers.SGD(OF_CONV[run.variant][1]))
    return forward


def variants(
    methods: Iterable[str], phase: Any, decay_for_all: bool = False
) -> list[ta.studies.Variant]:
    """Return the rows of the study, in which each control follows its method.

    Args:
        methods: Ids in `METHODS` or `OF_CONV`.
        phase: Phase of SAL, for the methods `sal` and `sal+wm`.
        decay_for_all: Whether there are controls with weight decay.
    """
    rows = []
    for method in methods:
        feedback = OF_CONV[method][0] if method in OF_CONV else "fa" if method == "sal" else method
        phases = [phase] if method.startswith("sal") else []
        names = [method]
        if decay_for_all and method in CONTROLS:
            names.append(method + DECAY)
        for name in names:
            row = ta.studies.Variant(name, feedback, feedback_initializer=None, phases=phases)
            rows.append(row)
    return rows


def to_page(run: common.Numbers) -> common.Numbers:
    """Convert a run of a study to the form of the files in docs/results."""
    curves = {n: v for n, v in run["curves"].items() if not n.startswith("hidden/")}
    first = next(name for name in curves if name.endswith("gradient_angle"))
    kept = {name: run[name] for name in ("seed", "seconds")}
    return {**kept, "first layer": first, "curves": curves}


def table(runs: dict[str, list[common.Numbers]]) -> str:
    """Return a Markdown table of the last epoch, with a row per method.

    A row has mean and standard deviation over the seeds.

    Args:
        runs: Runs of `to_page`, by method.
    """
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
    """Draw accuracy and the gradient angle of the first layer over the epochs.

    Args:
        runs: Runs of `to_page`, by method.
    """
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
    """Train the network with all methods, print the table, and write numbers and figure."""
    parser = command_line.new_parser(
        __doc__,
        "sal",
        methods=(*METHODS, *OF_CONV),
        usual=METHODS,
        quick=("backprop", "sal"),
        epochs="6, or 2 with --quick",
        seeds=1,
        jobs=True,
    )
    parser.add_argument("--network", choices=list(NETWORKS), default="perceptron")
    parser.add_argument("--dataset", help="TFDS name (mnist; --quick: digits)")
    parser.number("--filters", "of each convolution of conv (64)")
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
    if given.network != "conv" and (wrong := [m for m in given.methods if m in OF_CONV]):
        parser.error(f"argument --methods: needs --network conv. Received: {', '.join(wrong)}")
    if given.network != "conv" and given.filters:
        parser.error(f"argument --filters: needs --network conv. Received: {given.filters}")
    build = NETWORKS[given.network]
    if given.filters:
        build = functools.partial(build, filters=given.filters)
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
        functools.partial(build, found.train.x.shape[1:], found.classes),
        data,
        variants(given.methods, sal, given.decay_for_all),
        compile={
            "optimizer": functools.partial(optimizer, rate=given.rate, decay=given.decay),
            # XLA is slow in convolutions on a CPU
            "jit_compile": given.network == "perceptron",
        },
        epochs=given.epochs or (2 if given.quick else 6),
        batch_size=BATCH,
        seeds=range(1, 1 + given.seeds),  # the results in docs/results were made with seed 1
        settings=settings,
        probe=256,
    )
    groups = common.grouped(common.ended(results), "variant")
    runs = {method: list(map(to_page, own)) for method, own in groups.items()}
    print("", table(runs), sep="\n")
    write(argparse.Namespace(**{**vars(given), **settings}), name, {"runs": runs}, draw(runs))


if __name__ == "__main__":
    command_line.run(main)

"""Store and recall: a recurrent network sees a value, and has to recall it after a delay.

e-prop sends no error along the recurrent kernel, so that the influence of the first step on
learning fades with the memory of the single unit. If the recurrent kernel is small at the start,
the value fades from the activity during the delay, and the kernel has to learn to hold it.
Backpropagation through time can learn this, with any feedback weights, and e-prop cannot. The cell
of an LSTM has a memory of its own, which the traces of e-prop follow. If the kernel starts
orthogonal with gain 1, even the untrained network holds the value: a trained readout suffices, and
the task does not distinguish the methods.

    python -m examples.sequences.delay
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

import tf_alignment as ta
from examples import command_line, common
from examples.sequences.data import store_recall

__all__ = ["METHODS", "NETWORKS", "build", "main"]


class Network(NamedTuple):
    """Recurrent network and the length of its task.

    Attributes:
        cell: Class of the network's cell in `ta.layers`.
        gain: Gain of the orthogonal recurrent kernel at the start.
        length: Number of time steps of a sequence, from the value to the cue.
    """

    cell: Any
    gain: float
    length: int


NETWORKS = {
    "simple-12": Network(ta.layers.SimpleRNNCell, 0.5, 12),
    "simple-20": Network(ta.layers.SimpleRNNCell, 0.7, 20),
    "lstm-20": Network(ta.layers.LSTMCell, 0.7, 20),
}
# name: (feedback method of the cell, feedback method of the readout)
METHODS = {
    "backprop": (None, None),
    "fa": ("fa", "fa"),
    "eprop, symmetric": ("eprop", None),
    "eprop, random": ("eprop", "fa"),
}
BATCH = 64


def build(network: str, method: str, units: int = 32) -> keras.Model:
    """Return a model with recurrent units and a readout of two classes.

    Args:
        network: Name of the network in `NETWORKS`.
        method: Name of the method in `METHODS`.
        units: Number of recurrent units.
    """
    cell, gain, length = NETWORKS[network]
    recurrent, readout = METHODS[method]
    made = cell(
        units, recurrent_initializer=keras.initializers.Orthogonal(gain), feedback=recurrent
    )
    layers = [keras.layers.RNN(made), ta.layers.Dense(2, feedback=readout)]
    return keras.Sequential([keras.Input((length, 3)), *layers])


def data(run: Any) -> tuple[Any, Any]:
    """Return the data of a run: new training sequences for every step, and 1024 test sequences."""
    _, _, length = NETWORKS[run.settings["network"]]
    train = store_recall(BATCH * run.settings["steps"], length, run.seed + 1)
    return train, store_recall(1024, length, run.seed + 2)


def train(
    given: argparse.Namespace, network: str, steps: int, missing: Iterable[tuple[str, int]]
) -> list[common.Numbers]:
    """Train a network with the methods of missing runs.

    Args:
        given: Parsed command line.
        network: Name of the network in `NETWORKS`.
        steps: Number of training steps.
        missing: Methods and seeds of the runs; each method is trained with all seeds.

    Returns:
        One dict per run, with its settings and test accuracy.
    """
    results = common.study(
        given,
        network,
        None,
        data,
        [
            ta.studies.Variant(method, None, build=functools.partial(build, network, method))
            for method in dict.fromkeys(method for method, _ in missing)
        ],
        compile={
            "optimizer": keras.optimizers.Adam(2e-3, clipnorm=1.0),
            "steps_per_execution": 1,
        },
        epochs=1,
        batch_size=BATCH,
        settings={"network": network, "steps": steps},
        probe=0,
        on_divergence=None,
    )
    return [
        {
            "network": network,
            "method": run["variant"],
            "seed": run["seed"],
            "steps": steps,
            "accuracy": run["curves"]["val_accuracy"][-1],
        }
        for run in common.ended(results)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are missing, and print the table.

    Args:
        arguments: Arguments of the command line; by default those of the process.
    """
    parser = command_line.new_parser(
        __doc__ or "", "sequences/delay", seeds=3, data=False, jobs=True
    )
    given = parser.parse_args(arguments)
    steps, networks = (4, ["simple-12"]) if given.quick else (600, list(NETWORKS))
    rows = []
    for network in networks:
        runs = common.completed(
            given.output / "delay.json",
            {"network": network, "steps": steps},
            ("method", "seed"),
            [(method, seed) for method in METHODS for seed in range(given.seeds)],
            functools.partial(train, given, network, steps),
        )
        groups = common.grouped(runs, "method")
        found = [[run["accuracy"] for run in groups[m]] for m in METHODS]
        cell, gain, length = NETWORKS[network]
        cells = (common.mean_of(values).text(2) for values in found)
        rows.append((cell.__name__, f"{gain:g}", str(length), *cells))
    print(common.markdown(("cell", "gain", "length", *METHODS), rows))


if __name__ == "__main__":
    command_line.run(main)

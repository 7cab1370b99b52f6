"""Store and recall: a value is shown, and asked for after a delay.

e-prop sends no error along the recurrent kernel, so that what a unit learns from the first step
fades with the unit's own memory. Where the recurrent kernel starts small, the shown value fades
from the activity within the delay, and the kernel has to learn to hold it: backpropagation through
time can, with any feedback weights, and e-prop cannot. An LSTM's cell is a memory of its own,
which e-prop's traces follow. With a kernel that starts orthogonal with gain 1 the untrained
network holds the value, a readout is enough, and the task tells nothing.

    python -m examples.sequences.delay
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

import tf_alignment as ta
from examples import command_line
from examples.common import Numbers, markdown, mean_of, read_json, write_json
from examples.sequences.data import store_recall

__all__ = ["METHODS", "NETWORKS", "accuracy", "main"]


class Network(NamedTuple):
    """A recurrent network and its task.

    Attributes:
        cell: Its cell, of `ta.layers`.
        gain: Gain of the orthogonal recurrent kernel at the start.
        length: Time steps from the value to the question.
    """

    cell: Any
    gain: float
    length: int


NETWORKS = {
    "simple-12": Network(ta.layers.SimpleRNNCell, 0.5, 12),
    "simple-20": Network(ta.layers.SimpleRNNCell, 0.7, 20),
    "lstm-20": Network(ta.layers.LSTMCell, 0.7, 20),
}
METHODS = {"backprop": None, "fa": "fa", "eprop, symmetric": "eprop", "eprop, random": "eprop"}


def accuracy(network: str, method: str, seed: int, steps: int = 600, units: int = 32) -> float:
    """Part of new sequences whose value is recalled, after training.

    Args:
        network: Out of `NETWORKS`.
        method: Out of `METHODS`.
        seed: Of weights and data.
        steps: Training steps, each on 64 new sequences.
        units: Of the network.
    """
    cell, gain, length = NETWORKS[network]
    keras.utils.set_random_seed(seed)
    readout = "fa" if method in ("fa", "eprop, random") else None
    made = cell(
        units,
        recurrent_initializer=keras.initializers.Orthogonal(gain),
        feedback=METHODS[method],
    )
    model = keras.Sequential(
        [
            keras.Input((length, 3)),
            keras.layers.RNN(made),
            ta.layers.Dense(2, feedback=readout),
        ]
    )
    model.compile(
        keras.optimizers.Adam(2e-3, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    x, y = store_recall(64 * steps, length, seed + 1)
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    return float(model.evaluate(*store_recall(1024, length, seed + 2), verbose=0)[1])


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are missing, and print the table."""
    parser = command_line.new_parser(__doc__ or "", "sequences/delay", seeds=3, data=False)
    given = parser.parse_args(arguments)
    steps, seeds = (4, 1) if given.quick else (600, given.seeds)
    file = given.output / "delay.json"
    runs: list[Numbers] = read_json(file) or []
    rows = []
    for network, (cell, gain, length) in NETWORKS.items():
        row = [cell.__name__, f"{gain:g}", str(length)]
        for method in METHODS:
            for seed in range(seeds):
                run: Numbers = {"network": network, "method": method, "seed": seed, "steps": steps}
                if not any(run.items() <= done.items() for done in runs):
                    runs.append({**run, "accuracy": accuracy(**run)})
                    write_json(file, runs)
            values = [
                done["accuracy"]
                for done in runs
                if (done["network"], done["method"], done["steps"]) == (network, method, steps)
            ]
            row.append(mean_of(values).text(2))
        rows.append(row)
    print(markdown(("cell", "gain", "length", *METHODS), rows))


if __name__ == "__main__":
    command_line.run(main)

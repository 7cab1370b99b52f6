"""Store and recall: a value is shown, and asked for after a delay.

e-prop sends no error along the recurrent kernel, so that what a unit learns from the first step
fades with the unit's own memory. An untrained recurrent kernel may hold the value all the same:
then a readout is enough, and all methods recall it.

    python -m examples.sequences.delay
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.command_line import positive
from examples.common import Numbers, finished, markdown, write_json
from examples.sequences.data import store_recall

__all__ = ["CELLS", "METHODS", "accuracy", "main"]

CELLS: dict[str, Any] = {
    "simple": ta.layers.SimpleRNNCell,
    "leaky": ta.layers.LeakyRNNCell,
    "lstm": ta.layers.LSTMCell,
}
METHODS = {"backprop": None, "fa": "fa", "eprop, symmetric": "eprop", "eprop, random": "eprop"}


def accuracy(
    cell: str, method: str, length: int, seed: int, steps: int = 600, units: int = 24
) -> float:
    """Part of new sequences whose value is recalled, after training.

    Args:
        cell: Out of `CELLS`.
        method: Out of `METHODS`.
        length: Time steps from the value to the question.
        seed: Of weights and data.
        steps: Training steps, each on 64 new sequences.
        units: Of the network.
    """
    keras.utils.set_random_seed(seed)
    readout = "fa" if method in ("fa", "eprop, random") else None
    made = CELLS[cell](units, feedback=METHODS[method])
    model = keras.Sequential(
        [
            keras.Input((length, 3)),
            keras.layers.RNN(made),
            ta.layers.Dense(2, feedback=readout),
        ]
    )
    model.compile(
        keras.optimizers.Adam(5e-3, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    x, y = store_recall(64 * steps, length, seed + 1)
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    return float(model.evaluate(*store_recall(1024, length, seed + 2), verbose=0)[1])


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are missing, and print the table."""
    parser = command_line.new_parser(__doc__ or "", "sequences/delay", seeds=3, data=False)
    parser.add_argument("--length", type=positive, default=12)
    given = parser.parse_args(arguments)
    steps = 4 if given.quick else 600
    seeds, length = (1, 4) if given.quick else (given.seeds, given.length)
    rows = []
    for cell in CELLS:
        row = [cell]
        for method in METHODS:
            values = []
            for seed in range(seeds):
                settings: Numbers = {
                    "cell": cell,
                    "method": method,
                    "length": length,
                    "seed": seed,
                    "steps": steps,
                }
                name = f"{cell}-{method}-{length}-{seed}".replace(", ", "-")
                file = given.output / f"{name}.json"
                done = finished(file, settings)
                if done is None:
                    done = {**settings, "accuracy": accuracy(**settings)}
                    write_json(file, done)
                values.append(done["accuracy"])
            row.append(f"{np.mean(values):.2f}" + (f" ± {np.std(values):.2f}" if seeds > 1 else ""))
        rows.append(row)
    print(markdown(("cell", *METHODS), rows))


if __name__ == "__main__":
    command_line.run(main)

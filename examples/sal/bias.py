"""Where SAL brings the feedback weight of two neurons whose biases differ, for W = 1.

python -m examples.sal.bias --quick

The lower neuron has no bias, the upper one that of the table. B starts at W and learns; given is
the mean over the second half of the run, and the standard error of ten parts of it. A bias moves
the point where B comes to rest; how far depends on whether PSPs are balanced around one half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from examples import command_line
from examples.sal.files import common, new_parser, write
from tf_alignment.spiking.sampling import (
    FeedbackLearning,
    LayeredNetwork,
    Neuron,
    SpikeAlignment,
)

BIASES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
TAU, CHAINS, BLOCK, PARTS = 5, 1000, 50, 20


def rests(balanced: bool, biases: list[float], blocks: int, seed: int) -> list[list[float]]:
    """B, mean and standard error, for each bias of the upper neuron."""
    learning = FeedbackLearning(
        LayeredNetwork([1, 1]),
        Neuron(TAU),
        SpikeAlignment(TAU),
        rate=0.2,
        chains=CHAINS,
        block=BLOCK,
        seed=seed,
        balanced=balanced,
        jit_compile=True,
    )
    found = []
    for bias in biases:
        state, values = learning.start([tf.ones((1, 1))]), []
        for part in range(PARTS):
            state = learning.run(
                state,
                [tf.ones((1, 1))],
                [tf.zeros(1), tf.fill([1], bias)],
                blocks // PARTS,
                part * (blocks // PARTS),
            )
            values.append(float(state.feedback[0][0, 0]))
        half = np.array(values[PARTS // 2 :])
        found.append([float(half.mean()), float(half.std(ddof=1) / np.sqrt(len(half)))])
    return found


def report(results: dict[str, list[list[float]]], biases: list[float]) -> str:
    """The table."""
    rows = [
        (f"{bias:g}", *(f"{mean:.2f} ± {error:.2f}" for mean, error in rests))
        for bias, *rests in zip(biases, *results.values(), strict=True)
    ]
    return common.markdown(("bias of the upper neuron", *results), rows)


def figure(results: dict[str, list[list[float]]], biases: list[float]) -> Any:
    """B at rest against the bias."""
    drawing, [[axes]] = common.new_figure(1, 1, height=3.0)
    for name, values in results.items():
        means, errors = np.array(values).T
        axes.errorbar(biases, means, errors, marker="o", label=name)
    axes.axhline(1.0, color="gray", linestyle="--", label="W")
    axes.set(xlabel="bias of the upper neuron", ylabel="B at rest")
    axes.legend()
    common.caption(drawing, "one seed; bars, within the points: ± standard error over time")
    return drawing


def main() -> None:
    """Measure; write numbers and figure; print the table."""
    given = new_parser(__doc__).parse_args()
    biases = [0.0, 3.0] if given.quick else list(BIASES)
    blocks = 40 if given.quick else 800
    results = {
        name: rests(balanced, biases, blocks, given.seed)
        for name, balanced in (("balanced", True), ("plain PSPs", False))
    }
    print(report(results, biases))
    write(given, "bias", {"biases": biases, "B": results}, figure(results, biases))


if __name__ == "__main__":
    command_line.run(main)

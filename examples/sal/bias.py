"""Measure where SAL brings the feedback weight B of two neurons with different biases, for W = 1.

python -m examples.sal.bias --quick

The lower neuron has no bias, and the upper neuron has the bias in the table. B starts at W and
learns. The table gives the mean of B over ten points of time in the second half of the run, and its
standard error. A bias shifts the value at which B comes to rest; how far depends on whether
postsynaptic potentials (PSPs) are balanced around one half.
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
    """Learn B with each bias of the upper neuron.

    Args:
        balanced: Whether PSPs are balanced around one half.
        biases: Biases of the upper neuron.
        blocks: Number of blocks of the run.
        seed: Seed of the spikes.

    Returns:
        Mean and standard error of B for each bias.
    """
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
    """Return a Markdown table with a row per bias and a column per kind of PSP.

    Args:
        results: Mean and standard error of B for each bias, by kind of PSP.
        biases: Biases of the upper neuron.
    """
    rows = [
        (f"{bias:g}", *(f"{mean:.2f} ± {error:.2f}" for mean, error in rests))
        for bias, *rests in zip(biases, *results.values(), strict=True)
    ]
    return common.markdown(("bias of the upper neuron", *results), rows)


def figure(results: dict[str, list[list[float]]], biases: list[float]) -> Any:
    """Draw B at rest against the bias of the upper neuron.

    Args:
        results: Mean and standard error of B for each bias, by kind of PSP.
        biases: Biases of the upper neuron.
    """
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
    """Learn B with balanced and with plain PSPs, print the table, and write numbers and figure."""
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

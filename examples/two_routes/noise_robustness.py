r"""Figure 5 of "Two Routes": noise on the updates of feedback weights, and on the gradients.

    python -m examples.two_routes.noise_robustness --depth 18 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --strategy tpu
    python -m examples.two_routes.noise_robustness --depth 8 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.noise_robustness --quick

After every update of the feedback weights, Gaussian noise times their learning rate is added to
them. The control is backpropagation with the same noise on all its gradients. Runs are stored, and
only missing runs are made, as in depth_sweep.py.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from examples import command_line, common
from examples.two_routes import sweep
from tf_alignment.plots.values import sweep_lines

VARIANCES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def draw(found: list[common.Numbers]) -> Any:
    """Draw accuracy against the variance of the noise: absolute, and relative to the least noise.

    Args:
        found: Runs of `sweep.runs`.
    """
    values = sweep.accuracies(found, "noise")
    figure, [[absolute, relative]] = common.new_figure(1, 2, height=3.0)
    sweep_lines(absolute, values, log=True)
    first = min(level for own in values.values() for level in own)
    parts = {
        method: {level: [100 * np.mean(v) / np.mean(own[first])] for level, v in own.items()}
        for method, own in values.items()
    }
    sweep_lines(relative, parts, log=True)
    for panel, label in (
        (absolute, "test accuracy, %"),
        (relative, f"% of that at variance {first:g}"),
    ):
        panel.set(xlabel="variance of the noise", ylabel=label)
    absolute.legend(fontsize=8)
    counts = {len(own) for of in values.values() for own in of.values()}
    common.caption(figure, common.of_seeds(counts, ", ± 1 standard deviation"))
    return figure


def main() -> None:
    """Make the runs that are missing, print the table, and draw the figure."""
    parser = sweep.arguments(__doc__, ("backprop", "sa", "aa"))
    parser.add_argument("--depth", type=int, help="default: 20; --quick: 8")
    parser.add_argument("--variances", nargs="+", type=float, help=f"default: {VARIANCES}")
    given = parser.parse_args()
    found = sweep.runs(
        given, "noise", given.variances or ([0.0, 1e-2] if given.quick else VARIANCES)
    )
    print("", sweep.table(found, "noise"), sep="\n")
    sweep.write(given.output, "noise", found, draw(found))


if __name__ == "__main__":
    command_line.run(main)

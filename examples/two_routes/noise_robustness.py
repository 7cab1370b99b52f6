r"""Figure 5 of "Two Routes": noise on what the feedback weights learn, and on the gradients.

    python -m examples.two_routes.noise_robustness --depth 18 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --strategy tpu
    python -m examples.two_routes.noise_robustness --depth 8 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.noise_robustness --quick

After every step of the feedback weights, Gaussian noise times their rate is added to them; the
control is backpropagation with the same noise on all its gradients. Runs are kept as by
depth_sweep.py.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples import command_line, common
from examples.two_routes import sweep

VARIANCES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def draw(found: list[common.Numbers], file: Path) -> None:
    """Accuracy against the noise, and what is left of what there is without it."""
    levels = sorted({r["settings"]["noise"] for r in found})
    figure, [[absolute, relative]] = common.new_figure(1, 2, width=4.2)
    for method in sweep.methods_of(found):
        values = [sweep.accuracy(found, method, "noise", level) for level in levels]
        means = np.array([v.mean() for v in values])
        absolute.errorbar(
            range(len(levels)), means, [v.std() for v in values], label=method, marker="o"
        )
        relative.plot(range(len(levels)), 100 * means / means[0], "o-", label=method)
    for panel, label in ((absolute, "test accuracy, %"), (relative, "of that without noise, %")):
        panel.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        panel.set(xlabel="variance of the noise", ylabel=label)
    absolute.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Train what is missing, print and draw."""
    parser = sweep.arguments(__doc__, ("backprop", "sa", "aa"))
    parser.add_argument("--depth", type=int, help="default: 20; --quick: 8")
    parser.add_argument("--variances", nargs="+", type=float, help=f"default: {VARIANCES}")
    given = parser.parse_args()
    variances = given.variances or ([0.0, 1e-2] if given.quick else VARIANCES)
    found = sweep.runs(given, sweep.chosen(given), "noise", variances)
    print("", sweep.table(found, "noise"), sep="\n")
    sweep.write(given.output, "noise", found, draw)


if __name__ == "__main__":
    command_line.run(main)

r"""Table 4 and figure 3 of "Two Routes": the same metaparameters in ever deeper networks.

    python -m examples.two_routes.depth_sweep --depths 18 34 50 101 152 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --strategy tpu
    python -m examples.two_routes.depth_sweep --depths 8 14 20 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.depth_sweep --quick

Every method trains networks of every depth with the same metaparameters. A run is stored when it
ends, and a sweep that is started again makes only the runs that are missing. `--rules FILE` adds a
rule that search.py has found.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

from typing import Any

import tf_alignment as ta
from examples import command_line, common
from examples.curves import stacked
from examples.two_routes import sweep
from tf_alignment.plots.curves import line, over_epochs
from tf_alignment.plots.values import sweep_lines

PAPER = ("backprop", "fa", "kp", "sa", "aa", "wm", "ia", "pfa")
CURVES = {
    "val_accuracy": ("test accuracy, %", 100),
    "mean/gradient_angle": ("gradient angle, °", 1),
}


def draw(found: list[common.Numbers]) -> Any:
    """Draw accuracy against depth, and two curves over the epochs at the largest depth.

    The curves are test accuracy and the angle between the gradient and that of backpropagation.

    Args:
        found: Runs of `sweep.runs`.
    """
    values = sweep.accuracies(found, "depth")
    deepest, looks = max(run["settings"]["depth"] for run in found), ta.plots.styles(values)
    figure, [[against, *others]] = common.new_figure(1, 3, height=3.0)
    sweep_lines(against, values, log=False)
    against.set(xlabel="depth", ylabel="test accuracy, %", title="all depths")
    for panel, (curve, (label, scale)) in zip(others, CURVES.items(), strict=True):
        for method in values:
            own = [
                run
                for run in found
                if (run["settings"]["method"], run["settings"]["depth"]) == (method, deepest)
            ]
            line(panel, scale * stacked(own, curve), looks[method])
        over_epochs(panel, label)
        panel.set_title(f"depth {deepest}")
    figure.legend(*against.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    counts = {len(own) for of in values.values() for own in of.values()}
    common.caption(figure, common.of_seeds(counts, ", ± 1 standard deviation"))
    return figure


def main() -> None:
    """Make the runs that are missing, print the tables, and draw the figure."""
    parser = sweep.arguments(__doc__, PAPER)
    parser.add_argument("--depths", nargs="+", type=int, help="default: 20 32 56; --quick: 8 14")
    given = parser.parse_args()
    found = sweep.runs(given, "depth", given.depths or ([8, 14] if given.quick else [20, 32, 56]))
    print("", sweep.table(found, "depth"), sep="\n")
    if all("val_top_5" in run["curves"] for run in found):
        print("\nTop 5:", sweep.table(found, "depth", "val_top_5"), sep="\n")
    sweep.write(given.output, "depth", found, draw(found))


if __name__ == "__main__":
    command_line.run(main)

r"""Table 4 and figure 3 of "Two Routes": the same metaparameters in ever deeper networks.

    python -m examples.two_routes.depth_sweep --depths 18 34 50 101 152 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --strategy tpu
    python -m examples.two_routes.depth_sweep --depths 8 14 20 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.depth_sweep --quick

All methods at all depths with what is given for the shallowest; every run is kept as it ends, and
a sweep that is started again does what is missing. `--rules FILE` adds what search.py found.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

from pathlib import Path

from examples import command_line, common
from examples.two_routes import sweep

PAPER = ("backprop", "fa", "kp", "sa", "aa", "wm", "ia", "pfa")


def draw(found: list[common.Numbers], file: Path) -> None:
    """Accuracy against depth; over the epochs, and angle of the gradient, at the largest depth."""
    depths = sorted({r["settings"]["depth"] for r in found})
    figure, [[against, over, angle]] = common.new_figure(1, 3, width=4.0)
    for number, method in enumerate(sweep.methods_of(found)):
        style = {"color": f"C{number % 10}", "linestyle": "--" if number >= 10 else "-"}
        values = [sweep.accuracy(found, method, "depth", d) for d in depths]
        against.errorbar(
            depths,
            [v.mean() for v in values],
            [v.std() for v in values],
            label=method,
            marker="o",
            markersize=4,
            **style,
        )
        for run in sweep.of(found, method, "depth", depths[-1]):
            curves = run["curves"]
            epochs = range(1, 1 + len(curves["val_accuracy"]))
            over.plot(epochs, [100 * a for a in curves["val_accuracy"]], **style)
            if method != "backprop":
                angle.plot(epochs, curves["mean/gradient_angle"], **style)
    against.set(xlabel="depth", ylabel="test accuracy, %", xticks=depths)
    over.set(xlabel="epoch", ylabel="test accuracy, %", title=f"depth {depths[-1]}")
    angle.set(xlabel="epoch", ylabel="angle of the gradient, °", title=f"depth {depths[-1]}")
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Train what is missing, print and draw."""
    parser = sweep.arguments(__doc__, PAPER)
    parser.add_argument("--depths", nargs="+", type=int, help="default: 20 32 56; --quick: 8 14")
    given = parser.parse_args()
    depths = given.depths or ([8, 14] if given.quick else [20, 32, 56])
    found = sweep.runs(given, sweep.chosen(given), "depth", depths)
    print("", sweep.table(found, "depth"), sep="\n")
    sweep.write(given.output, "depth", found, draw)


if __name__ == "__main__":
    command_line.run(main)

r"""Table 4 and figure 3 of "Two Routes": the same metaparameters in ever deeper networks.

    python examples/two_routes/depth_sweep.py --depths 18 34 50 101 152 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --strategy tpu
    python examples/two_routes/depth_sweep.py --depths 8 14 20 --data-dir ~/tensorflow_datasets
    python examples/two_routes/depth_sweep.py --quick

All methods at all depths with what is given for the shallowest; every run is kept as it ends, and
a sweep that is started again does what is missing.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from residual import METHODS, arguments_of, common, run, settings_of

PAPER = ("backprop", "fa", "kp", "sa", "aa", "wm", "ia", "pfa")


def table(runs: list[common.Numbers]) -> str:
    """Test accuracy by method and depth, in percent; the mean over seeds and its standard error."""
    depths = sorted({r["settings"]["depth"] for r in runs})
    rows = [("method", *map(str, depths)), ("---",) * (1 + len(depths))]
    rows += [
        (f"`{method}`", *(cell(runs, method, depth) for depth in depths))
        for method in dict.fromkeys(r["settings"]["method"] for r in runs)
    ]
    return common.markdown(rows)


def cell(runs: list[common.Numbers], method: str, depth: int) -> str:
    """What the table says of a method at a depth."""
    chosen = of(runs, method, depth)
    if not chosen:
        return "-"
    found = [100 * r["curves"]["val_accuracy"][-1] for r in chosen]
    text = f"{np.mean(found):.1f}"
    if len(found) > 1:
        text += f" ± {np.std(found, ddof=1) / len(found) ** 0.5:.1f}"
    diverged = sum(r["diverged"] for r in chosen)
    return text + (f" ({diverged} of {len(found)} diverged)" if diverged else "")


def of(runs: list[common.Numbers], method: str, depth: int) -> list[common.Numbers]:
    """The runs of a method at a depth."""
    return [r for r in runs if (r["settings"]["method"], r["settings"]["depth"]) == (method, depth)]


def draw(runs: list[common.Numbers], file: Path) -> None:
    """Accuracy against depth, and over the epochs at the largest depth."""
    depths = sorted({r["settings"]["depth"] for r in runs})
    figure, [[against, over]] = common.new_figure(1, 2, width=4.4)
    for method in dict.fromkeys(r["settings"]["method"] for r in runs):
        chosen = {d: of(runs, method, d) for d in depths}
        means = [np.mean([r["curves"]["val_accuracy"][-1] for r in chosen[d]]) for d in depths]
        against.plot(depths, 100 * np.array(means), "o-", label=method, markersize=4)
        curves = [r["curves"]["val_accuracy"] for r in chosen[depths[-1]]]
        length = min(map(len, curves))
        mean = 100 * np.mean([c[:length] for c in curves], 0)
        over.plot(range(1, length + 1), mean, label=method)
    against.set(xlabel="depth", ylabel="test accuracy, %", xticks=depths)
    over.set(xlabel="epoch", ylabel="test accuracy, %", title=f"depth {depths[-1]}")
    against.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments_of(__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=PAPER, metavar="ID")
    parser.add_argument("--depths", nargs="+", type=int, help="default: 20 32 56; --quick: 8 14")
    parser.add_argument("--seeds", type=common.positive, default=1, help="runs of each (1)")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.methods = [m for m in arguments.methods if m in ("backprop", "sa")]
    arguments.depths = arguments.depths or ([8, 14] if arguments.quick else [20, 32, 56])
    return arguments


def main() -> None:
    """Train what is missing, print and draw."""
    arguments = parse()
    runs: list[Any] = []
    for seed, depth, method in itertools.product(
        range(arguments.seeds), arguments.depths, arguments.methods
    ):
        settings = settings_of(arguments, method=method, depth=depth, seed=seed)
        runs.append(
            run(
                settings,
                arguments.output,
                arguments.data_dir,
                arguments.strategy,
                arguments.tensorboard,
            )
        )
    print("", table(runs), sep="\n")
    stem = f"depth-{runs[0]['settings']['dataset']}-v{runs[0]['settings']['version']}"
    content = {"versions": common.versions(), "runs": runs}
    common.write_json(arguments.output / f"{stem}.json", content)
    draw(runs, arguments.output / f"{stem}.png")
    print(f"\nNumbers and figure: {arguments.output / stem}.json and .png")


if __name__ == "__main__":
    main()

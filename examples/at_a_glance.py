"""Draw the figure of the first page: five ways to send the error down, on handwritten digits.

    python -m examples.at_a_glance

A perceptron with three hidden layers learns the 8x8 digits that come with the package. Every method
starts from the same forward weights, sees the same batches and has its learning rate chosen from
the same three values on data held out from training. The script writes the numbers and the figure
in a light and a dark colour scheme, and prints the table of README.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

import tf_alignment as ta
from examples import command_line, common, networks

KNOWS = {
    "backprop": "the forward weights W",
    "fa": "nothing",
    "usf": "the sign of W",
    "kp": "the updates of W",
    "wm": "its layer's response to noise",
}
"""Information that the feedback weights of each method need, as the table names it."""

NAMES = {
    "backprop": "backprop: B is W",
    "fa": "fa: random",
    "usf": "usf: signs",
    "kp": "kp: Kolen-Pollack",
    "wm": "wm: weight mirror",
}
COLOURS = {
    "backprop": "#808080",
    "fa": "#d55e00",
    "usf": "#cc79a7",
    "kp": "#0072b2",
    "wm": "#009e73",
}
PANELS = {
    "val_accuracy": ("Test accuracy (%)", 100.0),
    "hidden/gradient_angle": ("Gradient angle to backprop (°)", 1.0),
}
SCHEMES = {"light": ("#ffffff", "#222222"), "dark": ("#1e2129", "#d5d8e2")}


def draw(results: Any, path: Path, scheme: str) -> None:
    """Draw test accuracy and gradient angle over the epochs: mean and range over the seeds.

    Args:
        results: Results of the study.
        path: File of the figure.
        scheme: Name of a colour scheme in `SCHEMES`.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    paper, ink = SCHEMES[scheme]
    style = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
    style |= {"axes.edgecolor": ink, "axes.facecolor": paper, "figure.facecolor": paper}
    with mpl.rc_context(style):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for ax, (metric, (label, scale)) in zip(axes, PANELS.items(), strict=True):
            for variant, values in results.curves(metric).items():
                curves = scale * values
                epochs = np.arange(1, curves.shape[1] + 1)
                ax.plot(epochs, curves.mean(0), color=COLOURS[variant], label=NAMES[variant], lw=2)
                ax.fill_between(
                    epochs, curves.min(0), curves.max(0), color=COLOURS[variant], alpha=0.2, lw=0
                )
            ax.set(xlabel="Epoch", title=label, xlim=(1, max(2, curves.shape[1])))
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylim(60, 100)
        axes[1].set(ylim=(-2, 90), yticks=range(0, 91, 30))
        axes[1].axhline(90, color=ink, lw=0.8, ls=":")
        legend = axes[0].legend(frameon=False, loc="lower right")
        for text in legend.get_texts():
            text.set_color(ink)
        figure.savefig(path, dpi=160)
        plt.close(figure)


def table(results: Any) -> str:
    """Return the table of README: one row per method, with means over the seeds."""
    lines = [
        "| method | its feedback weights know | test accuracy | gradient angle | operations |",
        "|---|---|---|---|---|",
    ]
    for variant, known in KNOWS.items():
        if variant not in results.variants:
            continue
        angle = results.mean(variant, "hidden/gradient_angle").text(0)
        accuracy = results.mean(variant).text(1, scale=100.0)
        operations = results.cost(variant).get("operations")
        lines.append(
            f"| `{variant}` | {known} | {accuracy} % | {angle}° | × {operations or 1:.2f} |"
        )
    return "\n".join(lines)


def numbers(results: Any) -> dict[str, Any]:
    """Return the curves of the figure, with the settings, tuning and versions of the study."""
    kept = {name: results.description[name] for name in ("settings", "tuning", "versions")}
    curves = {
        metric: {v: values.round(5).tolist() for v, values in results.curves(metric).items()}
        for metric in PANELS
    }
    return kept | {"curves": curves}


def main() -> None:
    """Make the runs that are missing, draw the figures, and print the table."""
    parser = command_line.new_parser(
        __doc__,
        "at_a_glance",
        seeds=5,
        epochs="20",
        data=False,
        jobs=True,
        methods=KNOWS,
        quick=("backprop", "kp"),
    )
    given = parser.parse_args()
    results = common.study(
        given,
        "",
        functools.partial(networks.perceptron, (8, 8, 1), (100, 100, 100, 10)),
        "digits",
        given.methods,
        compile={
            "optimizer": functools.partial(ta.studies.sgd, weight_decay=0.1),
            "steps_per_execution": 4,
        },
        epochs=given.epochs or (2 if given.quick else 20),
        batch_size=32,
        tuning=None if given.quick else {"learning_rate": (0.02, 0.05, 0.1)},
        cost=True,
        probe=256,
        title="At a glance: five methods on handwritten digits",
    )
    common.ended(results)
    common.write_json(given.output / "at_a_glance.json", numbers(results))
    for scheme in SCHEMES:
        draw(results, given.output / f"at_a_glance-{scheme}.png", scheme)
    print(results.table(), table(results), results.notes(), sep="\n\n")


if __name__ == "__main__":
    command_line.run(main)

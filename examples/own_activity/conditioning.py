"""How badly conditioned is the activity from which feedback weights could learn?

    python -m examples.own_activity.conditioning --data-dir ~/tensorflow_datasets
    python -m examples.own_activity.conditioning --quick

The networks of `examples.own_activity.train` are trained by backpropagation, with the settings of
that script. Then, for each layer above the lowest, the second moments xᵀx of the layer's inputs are
measured on 256 test images; the inputs of a convolution are the patches that one unit sees. The
table has the share of their trace in the first direction, and the median eigenvalue in units of the
trace; the figure has all eigenvalues.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.own_activity.train import SETTINGS, load, study
from tf_alignment.maps.patches import patches_of

NETWORKS = ("digits", "mnist", "resnet8")
SMALLEST = 1e-8  # of the figure; eigenvalues below this are rounding
HEAD = ("network", "seed", "layer", "first direction", "median eigenvalue / trace")


def spectrum(activity: Any) -> np.ndarray:
    """Return the eigenvalues of xᵀx of a layer's inputs, in units of their sum, in rising order.

    Args:
        activity: Forward pass of a connection.
    """
    patches = patches_of(activity.map)
    assert patches is not None  # dense layers and convolutions have them
    rows = np.asarray(patches.inputs(activity.x, activity.kernel.shape))
    [x] = rows.astype(float)  # one group of inputs, seen by all units
    values = np.linalg.eigvalsh(x.T @ x)
    return values / values.sum()


def spectra(run: Any) -> common.Numbers:
    """Return all eigenvalues of each layer above the lowest, from the largest to the smallest."""
    images = load(run.settings["network"], run.data_dir).test.x[:256]
    with ta.probe.probe() as seen:
        run.model(images)
    layers = [layer for layer in run.model.layers if getattr(layer, "connections", None)]
    found = {}
    for layer in layers[1:]:
        values = spectrum(seen.activities[layer.connections[0]][0])
        found[layer.name] = [float(f"{value:.4g}") for value in values[::-1]]
    return {"spectra": found}


def draw(rows: list[common.Numbers]) -> Any:
    """Draw the eigenvalues of each layer against their rank, with a panel per network.

    Args:
        rows: Layers, each with the names of `network` and `layer`, and its `eigenvalues`.
    """
    groups = common.grouped(rows, "network")
    figure, [panels] = common.new_figure(1, len(groups), height=3.0)
    for panel, (network, own) in zip(panels, groups.items(), strict=True):
        for row in own:
            values = row["eigenvalues"]
            panel.loglog(np.arange(1, len(values) + 1), values, label=row["layer"])
        panel.set(title=network, xlabel="rank of the eigenvalue", ylim=(SMALLEST, 1.5))
        panel.legend(fontsize=6, loc="lower left")
    panels[0].set_ylabel("eigenvalue of xᵀx / trace")
    common.caption(figure, common.of_seeds({len({row["seed"] for row in rows})}))
    return figure


def main() -> None:
    """Make the runs that are missing, print the table, and write numbers and figure."""
    parser = command_line.new_parser(
        __doc__, "own_activity", epochs="of the network", seeds=1, jobs=True
    )
    given = parser.parse_args()
    rows = []
    for name in NETWORKS[:1] if given.quick else NETWORKS:
        results = study(
            given,
            f"conditioning-{name}",
            name,
            [ta.studies.Variant("backprop", "backprop", include=".*")],
            seeds=range(given.seeds),
            epochs=given.epochs or SETTINGS[name].epochs,
            probe=0,
            finish=[spectra],
        )
        rows += [
            {"network": name, "seed": run["seed"], "layer": layer, "eigenvalues": values}
            for run in common.ended(results)
            for layer, values in run["finish"]["spectra"].items()
        ]
    shown = [
        (*map(str, names), f"{values[0]:.2f}", f"{np.median(values):.1e}")
        for *names, values in map(dict.values, rows)
    ]
    print(common.markdown(HEAD, shown))
    common.write(given.output / "conditioning", {"layers": rows}, draw(rows))


if __name__ == "__main__":
    command_line.run(main)

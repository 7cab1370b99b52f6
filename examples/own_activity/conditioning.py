"""How badly conditioned is the activity from which feedback weights could learn?

    python -m examples.own_activity.conditioning --data-dir ~/tensorflow_datasets
    python -m examples.own_activity.conditioning --quick

The networks of `examples.own_activity.train` are trained by backpropagation, with the settings and
the seed of the first run of that script. Then, for each layer that learns from activity in the
layer below (all but the lowest), the second moments xᵀx of the layer's inputs are measured on 256
test images; inputs of a convolution are the patches that one unit sees. The table has the share of
their trace in the first direction, and the median eigenvalue in units of the trace.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.own_activity.train import SETTINGS, load, network
from tf_alignment.maps.patches import patches_of

NETWORKS = ("digits", "mnist", "resnet8")
HEAD = ("network", "layer", "first direction", "median eigenvalue / trace")


def spectrum(activity: Any) -> np.ndarray:
    """Return the eigenvalues of xᵀx of a layer's inputs, in units of their sum, rising.

    Args:
        activity: Forward pass of a connection.
    """
    rows = np.asarray(patches_of(activity.map).inputs(activity.x, activity.kernel.shape))
    [x] = rows.astype(float)  # one group of inputs, seen by all units
    values = np.linalg.eigvalsh(x.T @ x)
    return values / values.sum()


def measure(name: str, data_dir: str | None, epochs: int | None) -> list[common.Numbers]:
    """Train a network, and return a dict per layer above the lowest: its place and spectrum.

    Args:
        name: Name of the network in `SETTINGS` of `examples.own_activity.train`.
        data_dir: Directory of the TensorFlow Datasets.
        epochs: Number of epochs, by default those of that script.
    """
    keras.utils.set_random_seed(0)
    settings, data = SETTINGS[name], load(name, data_dir)
    model = ta.convert(network(name), "backprop", include=".*")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(settings.rate, momentum=0.9), loss)
    model.fit(
        *data.train, batch_size=settings.batch_size, epochs=epochs or settings.epochs, verbose=0
    )
    with ta.probe.probe() as seen:
        model(data.test.x[:256])
    layers = [layer for layer in model.layers if getattr(layer, "connections", None)]
    found = []
    for layer in layers[1:]:
        values = spectrum(seen.activities[layer.connections[0]][0])
        found.append(
            {
                "network": name,
                "layer": layer.name,
                "first": float(values[-1]),
                "median": float(np.median(values)),
            }
        )
    return found


def main() -> None:
    """Measure all networks, print the table, and write the numbers."""
    parser = command_line.new_parser(__doc__, "own_activity", epochs="of the network")
    given = parser.parse_args()
    names = NETWORKS[:1] if given.quick else NETWORKS
    rows = [row for name in names for row in measure(name, given.data_dir, given.epochs)]
    cells = [(r["network"], r["layer"], f"{r['first']:.2f}", f"{r['median']:.1e}") for r in rows]
    print(common.markdown(HEAD, cells))
    common.write_json(
        given.output / "conditioning.json", {"versions": common.versions(), "layers": rows}
    )


if __name__ == "__main__":
    command_line.run(main)

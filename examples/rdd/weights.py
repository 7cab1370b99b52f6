"""Measure how well each estimator of regression discontinuity finds Gaussian weights.

python -m examples.rdd.weights --quick

The network has dense layers of 1600, 384, 192 and 10 units, as the paper's network for CIFAR-10,
with untrained weights. The script measures sign agreement and correlation of B and W after one run
of `ta.phases.RDD`. A row of the table is a setting: the estimator, the simulated time, and whether
the drive u runs freely, as printed in the paper, or starts from the voltage in each window, as in
the authors' code.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.curves import with_deviation
from tf_alignment.spiking.lif import Drive, Window, estimators

SIZES = (1600, 384, 192, 10)
LINES = "two lines of a textbook"
# name of the row: (estimator, simulated seconds per layer, whether u runs freely)
SETTINGS: dict[str, tuple[Any, float, bool]] = {
    "pooled": ("pooled", 30.0, False),
    "pooled, free drive": ("pooled", 30.0, True),
    "line": ("line", 30.0, False),
    "sgd": ("sgd", 30.0, False),
    "sgd, free drive": ("sgd", 30.0, True),
    "mirror": ("mirror", 30.0, False),
    LINES: (estimators.Line(ridge=0.0, shared_left=False), 30.0, False),
    "pooled, 300 s": ("pooled", 300.0, False),
}


def measure(setting: tuple[Any, float, bool], sizes: tuple[int, ...], seed: int) -> Any:
    """Align the feedback weights of untrained layers once, and compare B with W.

    Args:
        setting: Estimator, simulated seconds per layer, and whether u runs freely.
        sizes: Numbers of units, from the input to the output.
        seed: Seed of weights and simulation.

    Returns:
        Sign agreement in percent and correlation of each layer.
    """
    estimator, duration, free = setting
    layers = [
        ta.layers.Dense(
            n,
            feedback="fa",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.05, seed=seed + 10 * i),
            feedback_initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=seed + 10 * i + 1
            ),
        )
        for i, n in enumerate(sizes[1:])
    ]
    model = keras.Sequential([keras.Input((sizes[0],)), *layers])
    ta.phases.RDD(
        duration=duration if sizes == SIZES else 1.0,
        estimator=estimator,
        drive=Drive() if sizes == SIZES else Drive(psi=2.0),
        window=Window(free_drive=free),
        jit_compile=False,
        seed=seed,
    ).run(model)
    pairs = [(x.kernel, x.feedback_weights["feedback_kernel"]) for x in layers]
    return [
        [100 * float(ta.metrics.sign_agreement(*p)), float(ta.metrics.correlation(*p))]
        for p in pairs
    ]


def main() -> None:
    """Make the measurements that the file lacks, add them to the file, and print the table."""
    given = command_line.new_parser(__doc__, "rdd", seeds=3, data=False).parse_args()
    sizes = (20, 10, 5) if given.quick else SIZES
    # other layers, simulated for a second: numbers of their own
    file = given.output / ("weights-quick.json" if given.quick else "weights.json")
    results: dict[str, dict[str, Any]] = common.read_json(file) or {}
    found = results.setdefault("signs and correlations", {})
    for name, setting in SETTINGS.items():
        for seed in range(given.seeds):
            if str(seed) not in found.setdefault(name, {}):
                found[name][str(seed)] = measure(setting, sizes, seed)
                common.write_json(file, {"versions": common.versions(), **results})
        layers = np.array(list(found[name].values())).transpose(1, 2, 0)  # (signs, r), seeds
        cells = (f"{with_deviation(signs, 1)}, {r.mean():.3f}" for signs, r in layers)
        print(common.markdown_row((name, *cells)), flush=True)


if __name__ == "__main__":
    command_line.run(main)

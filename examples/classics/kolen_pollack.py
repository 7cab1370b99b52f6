"""Kolen & Pollack 1994: W - B decays as the product of (1 - rate · decay) in any task.

    python -m examples.classics.kolen_pollack --output docs/results/classics
    python -m examples.classics.kolen_pollack --quick

The network has 64-50-10 units with ReLU and learns handwritten digits in batches of 32. Weight
decay acts beside the gradient step, on W and on B, and the learning rate falls along a cosine. W
and B get the same gradient step from SGD, with momentum or without, and from Adam, which computes
the same moments from the same gradients for both. In every step, their difference is therefore
multiplied by 1 - rate · decay and not changed otherwise: the prediction has no free parameter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common

BATCH = 32


class Setting(NamedTuple):
    """Setting of the optimizer.

    Attributes:
        kind: Class of the Keras optimizer.
        rate: Learning rate at the start.
        decay: Weight decay.
        options: Further arguments of the optimizer.
    """

    kind: type[keras.optimizers.Optimizer]
    rate: float
    decay: float
    options: dict[str, Any]


SETTINGS = {
    "SGD": Setting(keras.optimizers.SGD, 0.1, 0.06, {}),
    "SGD, momentum 0.9": Setting(keras.optimizers.SGD, 0.02, 0.3, {"momentum": 0.9}),
    "AdamW": Setting(keras.optimizers.AdamW, 0.003, 2.0, {}),
    "SGD, no decay": Setting(keras.optimizers.SGD, 0.1, 0.0, {}),
}


def network() -> keras.Model:
    """Return a stock perceptron with one hidden layer."""
    return ta.models.perceptron((64, 50, 10))


def data(run: Any) -> ta.data.Arrays:
    """Return the digits, as centred vectors."""
    return common.centred(ta.data.load("digits"), flat=True)


def schedule(name: str, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate of a setting, which falls to 0 along a cosine.

    Args:
        name: Name of the setting in `SETTINGS`.
        steps: Number of steps of the whole training.
    """
    return keras.optimizers.schedules.CosineDecay(SETTINGS[name].rate, steps)


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run."""
    kind, _, decay, options = SETTINGS[run.variant]
    return kind(schedule(run.variant, run.steps), weight_decay=decay, **options)


def predicted(name: str, steps: int) -> np.ndarray:
    """Return the product of 1 - rate · decay after each step, `(steps,)`.

    Args:
        name: Name of the setting in `SETTINGS`.
        steps: Number of steps of the whole training.
    """
    rates = np.array([float(schedule(name, steps)(step)) for step in range(steps)])
    return np.cumprod(1 - SETTINGS[name].decay * rates)


def pair(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return W and B of the output layer in double precision."""
    layer = model.get_layer("output")
    kernels = layer.kernel, layer.feedback_weights["feedback_kernel"]
    return tuple(np.asarray(kernel, np.float64) for kernel in kernels)  # type: ignore[return-value]


def start(run: Any) -> None:
    """Store W - B, and the angle between W and B, before the first step of a run."""
    w, b = pair(run.model)
    run.settings |= {"start": w - b, "start angle": float(ta.metrics.weight_angle(w, b))}


def measure(run: Any) -> dict[str, float]:
    """Compare W and B with the start of a run.

    Returns:
        `measured`, the norm of W - B divided by its norm at the start; `turned`, the angle between
        W - B and W - B at the start; and `angle`, the angle between W and B. Angles are in degrees.
    """
    w, b = pair(run.model)
    before, now = run.settings["start"], w - b
    return {
        "measured": float(np.linalg.norm(now) / np.linalg.norm(before)),
        "turned": float(ta.metrics.weight_angle(before, now)),
        "angle": float(ta.metrics.weight_angle(w, b)),
    }


def finish(run: Any) -> common.Numbers:
    """Return the angle between W and B before the first step, and the number of steps per epoch."""
    return {"angle": run.settings["start angle"], "steps": run.steps_per_epoch}


def to_page(run: common.Numbers) -> common.Numbers:
    """Convert a run to the form of the JSON file, with the prediction after each epoch."""
    found, steps = run["curves"], run["finish"]["steps"]
    factors = predicted(run["variant"], steps * len(found["measured"]))
    return {
        "variant": run["variant"],
        "seed": run["seed"],
        "angle at the start": run["finish"]["angle"],
        "predicted": factors[steps - 1 :: steps].tolist(),
        **{name: found[name] for name in ("measured", "turned", "angle")},
        "accuracy": found["val_accuracy"],
    }


def table(runs: list[common.Numbers]) -> str:
    """Return a Markdown table of predicted and measured numbers, with a row per optimizer."""
    rows = []
    for name, own in common.grouped(runs, "variant").items():
        measured = np.array([run["measured"] for run in own])
        predictions = np.array([run["predicted"] for run in own])
        cells = [f"{predictions[0, -1]:.6f}", common.mean_of(measured[:, -1].tolist()).text(6)]
        cells.append(f"{np.abs(measured / predictions - 1).max():.0e}")
        before, after = (
            [run["angle at the start"] for run in own],
            [run["angle"][-1] for run in own],
        )
        cells += [common.mean_of(angles).text(1) for angles in (before, after)]
        rows.append((name, str(len(own)), *cells))
    head = ("optimizer", "n", "predicted", "measured", "off by at most")
    return common.markdown((*head, "angle at the start °", "at the end °"), rows)


def main() -> None:
    """Train the network with all optimizers, print the table, and write the numbers."""
    parser = command_line.new_parser(
        __doc__, "classics", seeds=3, epochs="20; --quick: 2", data=False, jobs=True
    )
    given = parser.parse_args()
    results = common.study(
        given,
        "kolen_pollack",
        network,
        data,
        [ta.studies.Variant(name, "kp") for name in SETTINGS],
        compile={"optimizer": optimizer},
        epochs=given.epochs or (2 if given.quick else 20),
        batch_size=BATCH,
        measure=[measure],
        prepare=[start],
        finish=[finish],
        probe=0,
    )
    runs = [to_page(run) for run in common.ended(results)]
    print("", table(runs), sep="\n")
    file = given.output / "kolen_pollack.json"
    common.write_json(file, {"versions": common.versions(), "runs": runs})
    print(f"\nNumbers: {file}", flush=True)


if __name__ == "__main__":
    command_line.run(main)

"""Kolen & Pollack 1994: W - B decays as the product of (1 - rate · decay), whatever is learned.

    python -m examples.classics.kolen_pollack --output docs/results/classics
    python -m examples.classics.kolen_pollack --quick

64-50-10 with ReLU on handwritten digits, batch 32, weight decay beside the step, on W and on B, a
rate that falls along a cosine. W and B get the same step from SGD, with momentum or without, and
from Adam too, which has the same moments of the same gradients for both. So their difference is
multiplied by 1 - rate · decay in every step, and by nothing else: the prediction has no parameter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, common

BATCH = 32


class Setting(NamedTuple):
    """An optimizer, the rate at which it begins, and its weight decay."""

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
    """One hidden layer."""
    return ta.models.perceptron((64, 50, 10))


def data(run: Any) -> ta.data.Arrays:
    """Digits, flat and centred."""
    return common.centred(ta.data.load("digits"), flat=True)


def schedule(name: str, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate of a setting, which goes to 0."""
    return keras.optimizers.schedules.CosineDecay(SETTINGS[name].rate, steps)


def optimizer(run: Any) -> keras.optimizers.Optimizer:
    """The optimizer of a row."""
    kind, _, decay, options = SETTINGS[run.variant]
    return kind(schedule(run.variant, run.steps), weight_decay=decay, **options)


def predicted(name: str, steps: int) -> np.ndarray:
    """The product of 1 - rate · decay after each step."""
    rates = np.array([float(schedule(name, steps)(step)) for step in range(steps)])
    return np.cumprod(1 - SETTINGS[name].decay * rates)


def pair(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """W and B of the output layer."""
    layer = model.get_layer("output")
    kernels = layer.kernel, layer.feedback_weights["feedback_kernel"]
    return tuple(np.asarray(kernel, np.float64) for kernel in kernels)  # type: ignore[return-value]


def start(run: Any) -> None:
    """Keep W - B before the first step."""
    w, b = pair(run.model)
    run.settings |= {"start": w - b, "start angle": float(ta.metrics.weight_angle(w, b))}


def measure(run: Any) -> dict[str, float]:
    """Norm of W - B over that at the start, how far W - B points elsewhere, and W's angle to B."""
    w, b = pair(run.model)
    before, now = run.settings["start"], w - b
    return {
        "measured": float(np.linalg.norm(now) / np.linalg.norm(before)),
        "turned": float(ta.metrics.weight_angle(before, now)),
        "angle": float(ta.metrics.weight_angle(w, b)),
    }


def finish(run: Any) -> common.Numbers:
    """The angle before the first step, and how many steps there are."""
    return {"angle": run.settings["start angle"], "steps": run.steps_per_epoch}


def to_page(run: common.Numbers) -> common.Numbers:
    """A run as the file has it, with what is predicted after each epoch."""
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
    """What was predicted and measured, as Markdown."""
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
    """Train and print."""
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

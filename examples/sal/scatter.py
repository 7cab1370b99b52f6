"""SAL between two neurons and between two layers of 50: values of B, and effects of imperfections.

python -m examples.sal.scatter --quick

For two neurons with W = 1, the script measures the drift of B against B. For two layers of 50
neurons with W ~ U(±√(3/50)), it measures B against W after learning, and the angle between B and W
over time: with the published settings, with four times the published learning rate, and with the
defaults of `ta.phases.SAL`; then with imperfect synapses and with delays.

For comparison, regression discontinuity (`ta.phases.RDD`) learns the same weights for the same
time, with 10 ms per refractory time. It learns B up to a factor, so that its slope has no meaning.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line
from examples.sal.files import common, new_parser, write
from tf_alignment._support.seeds import derived_seed
from tf_alignment.spiking.sampling import (
    FeedbackLearning,
    LayeredNetwork,
    Neuron,
    SpikeAlignment,
)
from tf_alignment.spiking.sampling.alignment import mismatched

SIZE = 50
RDD = "regression discontinuity"
TOTAL = 100_000  # refractory times of a run, over all chains
REFRACTORY = 0.01  # seconds per refractory time, for regression discontinuity

# τ in steps, learning rate, chains, steps per block, whether PSPs are balanced
Setting = tuple[int, float, int, int, bool]
SETTINGS: dict[str, Setting] = {
    "published": (10, 0.0025, 8, 1250, False),
    "published, 4 × rate": (10, 0.01, 8, 1250, False),
    "defaults of the phase": (5, 0.07, 64, 50, True),
}
IMPERFECT: dict[str, dict[str, Any]] = {
    "ideal": {},
    "lobes 10 % unequal": {"lobe_mismatch": 0.1},
    "the same, rates not subtracted": {"lobe_mismatch": 0.1, "subtract_rates": False},
    "gains of lobes ± 20 %": {"synapse_mismatch": 0.2},
    "gains of neurons ± 20 %": {"neuron_mismatch": 0.2},
    "delay of 1 step": {"delay": 1},
    "delay of 2 steps": {"delay": 2},
    "delay of 5 steps": {"delay": 5},
}


def drifts(feedback: np.ndarray, steps: int, seed: int) -> list[float]:
    """Measure the drift of B between two neurons with W = 1.

    Args:
        feedback: Values of B, each of which stays fixed.
        steps: Number of time steps.
        seed: Seed of the spikes.

    Returns:
        Sum of the kernel κ over pairs of spikes, per refractory time, for each B.
    """
    neurons, rule, chains = Neuron(10), SpikeAlignment(10), 2000

    @tf.function(jit_compile=True)
    def run(b: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:  # XLA complains of a constant seed
        draws = ta.spiking.sampling.uniforms((steps, chains, 2), seed, compiled=True)
        weights = tf.stack([tf.stack([0.0, 1.0]), tf.stack([b, 0.0])])
        state = ta.spiking.sampling.initial_state((chains, 2), neurons)
        spikes, _ = ta.spiking.sampling.sample(lambda p: p @ weights, state, draws, neurons)
        return rule.sums(spikes[:, :, :1], spikes[:, :, 1:])[0, 0] * (10 / (chains * steps))

    return [float(run(tf.constant(b, tf.float32), tf.constant([seed, 0]))) for b in feedback]


def learn(
    setting: Setting,
    total: int,
    seed: int,
    delay: int = 0,
    neuron_mismatch: float = 0.0,
    **rule: Any,
) -> dict[str, Any]:
    """Align two layers of 50 neurons by SAL.

    Args:
        setting: Settings of SAL.
        total: Duration in refractory times, over all chains.
        seed: Seed of weights and spikes.
        delay: Delay of the synapses, in steps.
        neuron_mismatch: Spread of the gains of the neurons.
        **rule: Further arguments of `SpikeAlignment`.

    Returns:
        Numbers of `outcome`; with unequal gains also the angle between the effective weights.
    """
    tau, rate, chains, block, balanced = setting
    w, b = weights(seed)
    learning = FeedbackLearning(
        LayeredNetwork([SIZE, SIZE]),
        Neuron(tau, delay=delay),
        SpikeAlignment(tau, **rule),
        rate,
        chains,
        block,
        seed,
        jit_compile=True,
        balanced=balanced,
        neuron_mismatch=neuron_mismatch,
    )
    blocks = round(total * tau / (chains * block))
    part = max(1, blocks // 20)
    state, time, angles = learning.start([b]), [0.0], [angle(w, b)]
    for first in range(0, blocks, part):
        count = min(part, blocks - first)
        state = learning.run(state, [w], [np.zeros(SIZE)] * 2, count, first)
        time.append((first + count) * chains * block / tau)
        angles.append(angle(w, state.feedback[0]))
    found = outcome(w, state.feedback[0], time, angles)
    if neuron_mismatch:
        # effective weights: W times the gain of the upper neuron, B times that of the lower neuron
        lower, upper = (gains(neuron_mismatch, seed, layer) for layer in (0, 1))
        found["effective angle"] = angle(w * upper, state.feedback[0] * lower[:, None])
    return found


def gains(spread: float, seed: int, layer: int) -> np.ndarray:
    """Return the gains of the neurons of a layer, as `FeedbackLearning` draws them.

    Args:
        spread: Spread of the gains.
        seed: Seed of the run.
        layer: Number of the layer, from below.
    """
    return mismatched((SIZE,), spread, derived_seed(seed, "gains", layer))


def regression(total: int, seed: int) -> dict[str, Any]:
    """Align the weights of `learn` by regression discontinuity.

    Args:
        total: Duration in refractory times.
        seed: Seed of weights and spikes.

    Returns:
        Numbers of `outcome`.
    """
    w, b = weights(seed)
    layer = ta.layers.Dense(SIZE, feedback="fa", use_bias=False)
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    layer.kernel.assign(w)
    layer.feedback_weights["feedback_kernel"].assign(b)
    part = total // 20
    estimator = ta.spiking.lif.estimators.Pooled(forgetting=1.0)
    phase = ta.phases.RDD(duration=part * REFRACTORY, estimator=estimator, seed=seed)
    time, angles = [0.0], [angle(w, b)]
    for number in range(1, 21):
        phase.run(model)
        found = layer.feedback_weights["feedback_kernel"]
        time.append(number * part)
        angles.append(angle(w, found))
    return outcome(w, found, time, angles)


def weights(seed: int) -> np.ndarray:
    """Return the initial W and B of two layers of 50 neurons, `(2, 50, 50)`."""
    return np.random.default_rng(seed).uniform(
        -((3 / SIZE) ** 0.5), (3 / SIZE) ** 0.5, (2, SIZE, SIZE)
    )


def outcome(w: np.ndarray, b: Any, time: list[float], angles: list[float]) -> dict[str, Any]:
    """Return the numbers of a run with two layers of 50 neurons for the JSON file.

    Args:
        w: Forward weights W, `(50, 50)`.
        b: Feedback weights B after learning, `(50, 50)`.
        time: Times of measurement, in refractory times.
        angles: Angle between W and B at these times, in degrees.
    """
    found = np.ravel(b)
    return {
        "angle": angles[-1],
        "correlation": float(np.corrcoef(np.ravel(w), found)[0, 1]),
        "slope": float(np.polyfit(np.ravel(w), found, 1)[0]),
        "refractory times": time,
        "angles": angles,
        "W": np.ravel(w).round(4).tolist(),
        "B": found.round(4).astype(float).tolist(),
    }


def angle(w: Any, b: Any) -> float:
    """Return the angle between W and B, in degrees."""
    return float(ta.metrics.weight_angle(w, b))


def draw(results: dict[str, Any]) -> Any:
    """Draw drift, B against W, the angle over time, and the angle with imperfections.

    Args:
        results: Numbers of the JSON file.
    """
    figure, axes = common.new_figure(3, 2)
    drift, over_time, scatter, other, bars, empty = axes.flat
    empty.remove()
    drift.axhline(0, color="grey", lw=0.5)
    drift.plot(results["two neurons"]["B"], results["two neurons"]["drift"], "o-")
    drift.set(xlabel="B (W = 1)", ylabel="drift of B / η, per refractory time", title="two neurons")
    shown = results["settings"]["published"]
    scatter.plot(shown["W"], shown["B"], ".", ms=2)
    ends = [min(shown["W"]), max(shown["W"])]
    scatter.plot(ends, ends, color="grey", lw=0.8)
    scatter.set(xlabel="W", ylabel="B", title=f"50 → 50, SAL as published: {shown['angle']:.1f}°")
    shown = results["settings"][RDD]
    other.plot(shown["W"], shown["B"], ".", ms=2, color="C3")
    other.set(xlabel="W", ylabel="B", title=f"50 → 50, RDD: {shown['angle']:.1f}°")
    for name, run in results["settings"].items():
        thousands = [time / 1000 for time in run["refractory times"]]
        over_time.plot(thousands, run["angles"], label=name)
    over_time.set(
        xlabel="thousands of refractory times",
        ylabel="angle, degrees",
        ylim=(0, 95),
        title="two layers of 50",
    )
    over_time.legend(fontsize=7)
    names = list(results["imperfect"])
    bars.barh(names[::-1], [results["imperfect"][n]["angle"] for n in names[::-1]])
    bars.set(xlabel="angle, degrees", title="defaults, imperfect")
    bars.tick_params(labelsize=7)
    common.caption(figure, "one seed; every dot is a synapse")
    return figure


def main() -> None:
    """Simulate all settings, print the table, and write numbers and figure."""
    arguments = new_parser(__doc__).parse_args()
    total = TOTAL // 5 if arguments.quick else TOTAL
    feedback = np.linspace(-0.5, 2.5, 7)
    steps = 500 if arguments.quick else 2000
    results: dict[str, Any] = {
        "two neurons": {
            "B": feedback.tolist(),
            "drift": drifts(feedback, steps, arguments.seed),
        },
        "settings": {},
        "imperfect": {},
    }
    print(common.markdown(("50 → 50", "angle", "correlation", "slope")))

    def report(group: str, name: str, run: dict[str, Any]) -> None:
        drawn = name in ("published", RDD)  # other weights are not stored, to keep the file small
        results[group][name] = {k: v for k, v in run.items() if drawn or k not in ("W", "B")}
        found = f"{run['angle']:.1f}°", f"{run['correlation']:.3f}", f"{run['slope']:.2f}"
        print(common.markdown_row((name, *found)), flush=True)

    for name, setting in SETTINGS.items():
        report("settings", name, learn(setting, total, arguments.seed))
    report("settings", RDD, regression(total, arguments.seed))
    for name, options in IMPERFECT.items():
        run = learn(SETTINGS["defaults of the phase"], total, arguments.seed, **options)
        report("imperfect", name, run)
    write(arguments, "scatter", results, draw(results))


if __name__ == "__main__":
    command_line.run(main)

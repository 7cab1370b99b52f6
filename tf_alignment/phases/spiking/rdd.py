"""Regression discontinuity: feedback weights from what spikes cause in the layer above."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_alignment import metrics
from tf_alignment._support.arguments import number
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.base import Results
from tf_alignment.phases.spiking.base import DensePhase
from tf_alignment.phases.state import state_variable
from tf_alignment.spiking.lif import Drive, Neuron, Paradigm, Window, estimators
from tf_alignment.spiking.lif.plan import Plan, mean

__all__ = ["RDD"]

FEW_INPUTS = 50  # below, `scaled_kernel` leaves little input at its default scale


@dataclasses.dataclass
class _Result:
    """Result of a simulation for one connection."""

    sums: estimators.Sums
    gamma: float
    feedback: tf.Tensor | None  # None if no effect was found
    quantities: dict[str, float]


class RDD(DensePhase):
    r"""Learns B from spikes alone, by regression discontinuity design.

    For each dense layer W, a network of two layers of leaky integrate-and-fire units is simulated,
    connected by W at a scale of their own, the lower one driven by noise. Where a unit's voltage
    comes close to the threshold a window opens, and the spikes that come back from above in it are
    compared between windows in which the unit just spiked and windows in which it just did not (see
    `tf_alignment.spiking.lif.Paradigm`). The difference \(\beta\) is in proportion to
    the causal effect of a spike, in which the weight shows: two to three times as large, since
    windows hold several spikes. Then

    $$ B = \beta \gamma / \sigma_\beta $$

    with \(\sigma_\beta\) the standard deviation of all entries that have an estimate, and
    \(\gamma\) the standard deviation of B before the first run. Entries without an estimate stay as
    they are.

    Estimates get better with simulated time: the correlation of B and W grows like
    \(1 / \sqrt{1 + k / T}\). The sums behind them are kept from run to run. Sign agreement in per
    cent and correlation in dense layers of 1600, 384, 192 and 10 units with Gaussian weights, means
    of three seeds (*: of two, or, without a ridge, of one; docs/results/rdd.md):

    | estimator | seconds | 1600 to 384 | 384 to 192 | 192 to 10 |
    |---|---|---|---|---|
    | `"pooled"` | 30 | 63.5, 0.410 | 74.1, 0.673 | 79.9, 0.788 |
    | `"pooled"`* | 300 | 80.5, 0.819 | 89.4, 0.943 | 92.9, 0.967 |
    | `"line"` | 30 | 62.5, 0.381 | 72.7, 0.643 | 78.1, 0.765 |
    | `"sgd"` | 30 | 61.8, 0.365 | 71.4, 0.624 | 77.7, 0.749 |
    | `"mirror"` | 30 | 60.5, 0.323 | 69.7, 0.568 | 76.6, 0.693 |
    | lines without a ridge* | 30 | 52.2, 0.066 | 55.1, 0.137 | 57.0, 0.191 |

    Estimators, classes in `tf_alignment.spiking.lif.estimators`:

    - `"pooled"`, the default: means instead of lines; the means without a spike are shared by all
      units of a layer.
    - `"line"`: the two lines in closed form, with a ridge on their slopes. Plain least squares, the
      last row, is nearly useless at this amount of data.
    - `"sgd"`: the paper's estimator, the two lines by gradient descent.
    - `"mirror"`: no spikes but firing rates, the weight mirror in the same paradigm; about its own
      mean, without which every product of rates is positive (50.1, 50.2, 50.0 %).

    Departs from the paper in the estimator; in how time is cut into rounds (see `Paradigm`); in the
    drive u of a unit, which the paper never resets and which here starts from the voltage in each
    window, as in the authors' implementation (the paper's is `window=Window(free_drive=True)`, of
    `tf_alignment.spiking.lif`); and in that estimates fade: the sums of `"pooled"` and `"line"` are
    multiplied by 0.9 before each run, so that what was seen under weights of ten runs ago counts
    for a third. In the paper fits go on from run to run, as with `"sgd"`. How often the phase runs
    is up to `tf_alignment.callbacks.FeedbackCallback`; in the authors' implementation it is before
    every epoch.

    Arguments are read once: attributes that are set after a run change nothing.

    Args:
        duration: Simulated seconds per layer and run, rounded up to whole rounds (see `Paradigm`).
        estimator: Id or `Estimator` object.
        gamma: \(\gamma\), or None for the standard deviation of B when the phase first runs.
        neuron, drive, window: Constants, by default the paper's.
        jit_compile: Whether XLA compiles the simulation: a few seconds at the first run, and later
            runs take half the time.
        layers: See `Phase`. By default all layers that act by one matrix product and store a
            feedback kernel; convolutions keep theirs.
        seed: See `Phase`. The same seed gives the same drive; with XLA a large layer is simulated
            in other parts than without, and draws other numbers.
        name: See `Phase`.

    Raises:
        ValueError: For values out of range; when it runs, for a model without dense layers with
            feedback kernels, for layers named that are not dense, for kernels whose entries are all
            the same, and if no unit spikes at all.
        DivergenceError: When it runs, if W or B contains NaN or infinity. As for other errors, no
            feedback kernel has changed then.

    Warns:
        UserWarning: When it runs, of layers most of whose units are silent, or many saturated, and
            of layers of which there is nothing to estimate from, which keep their feedback kernel.

    A run reports for every connection, besides what every phase does, of the units that feed it
    ("below") and of its own ("above") the mean spike rate while a set is driven,
    `spike_rate_below_hz` and `spike_rate_above_hz`, and the parts that are silent and saturated in
    that time, `silent_below`, `saturated_below` and so on; how many windows a unit had,
    `windows_with_spike` and `windows_without_spike`; the part of B that has an estimate,
    `estimated`; `simulated_seconds`; `weight_angle_before`, `sign_agreement_before`,
    `sign_agreement` and `correlation`.

    Reference: Guerguiev, Kording and Richards 2020, "Spike-based causal inference for weight
    alignment".

    Example:
    >>> import keras, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> layer = ta.layers.Dense(5, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((20,)), layer], name="net")
    >>> phase = ta.phases.RDD(duration=30.0, seed=1)
    >>> bool(phase.run(model)["net/top"]["correlation"] > 0.7)
    True
    """

    name = "rdd"

    def __init__(
        self,
        *,
        duration: float = 30.0,
        estimator: str | estimators.Estimator = "pooled",
        gamma: float | None = None,
        neuron: Neuron | None = None,
        drive: Drive | None = None,
        window: Window | None = None,
        jit_compile: bool = True,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(jit_compile=jit_compile, layers=layers, seed=seed, name=name)
        self.duration = number("duration", duration, above=0)
        self.estimator = estimators.get(estimator)
        self.gamma = None if gamma is None else number("gamma", gamma, above=0)
        self.paradigm = Paradigm(
            Neuron() if neuron is None else neuron,
            Drive() if drive is None else drive,
            Window() if window is None else window,
        )

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Make the sums of the estimates, and compile one simulation per layer."""
        self._plans: dict[str, Plan] = {}
        self._sums: dict[str, dict[str, keras.Variable]] = {}
        self._gammas: dict[str, keras.Variable] = {}
        for path, connection in connections.items():
            units, above = connection.kernel.shape
            shapes = self.estimator.shapes(units, above)
            self._sums[path] = {name: state_variable(shape, name) for name, shape in shapes.items()}
            self._gammas[path] = state_variable((), "gamma")
            self._plans[path] = Plan(
                self.paradigm,
                self.estimator,
                units,
                above,
                self.duration,
                self._seeds[path],
                self.jit_compile,
            )
        return [*self._gammas.values(), *self._all_sums()]

    def _all_sums(self) -> list[keras.Variable]:
        return [v for values in self._sums.values() for v in values.values()]

    def reset(self) -> None:
        """Forget all estimates. γ is kept."""
        for variable in self._all_sums():
            variable.assign(tf.zeros(variable.shape))

    def update(
        self, model: keras.Model, connections: dict[str, Receiver], verbose: int = 0
    ) -> Results:
        """Simulate all layers; then set their feedback kernels."""
        kernels = {path: self._forward(path, c) for path, c in connections.items()}
        gammas = {path: self._scale(path, c) for path, c in connections.items()}
        total = sum(self._plans[path].parts for path in connections)
        bar = keras.utils.Progbar(total, unit_name="part") if verbose else None
        found = {
            path: self._simulate(path, c, kernels[path], gammas[path], bar)
            for path, c in connections.items()
        }
        if not any(result.quantities["spike_rate_below_hz"] for result in found.values()):
            raise ValueError(
                f"Phase '{self.name}': not one unit spiked, of those that feed {list(found)}. "
                "Raise the drive's `weight` or `rate`"
            )
        for path, result in found.items():
            self._warn(path, kernels[path].shape[0], result)
            if result.feedback is not None:
                connections[path].weights["feedback_kernel"].assign(result.feedback)
            self._gammas[path].assign(result.gamma)
            for name, variable in self._sums[path].items():
                variable.assign(result.sums[name])
        self._count.assign_add(1)
        return {path: result.quantities for path, result in found.items()}

    def _forward(self, path: str, connection: Receiver) -> tf.Tensor:
        feedback = connection.weights["feedback_kernel"]
        self.check_finite(path, kernel=connection.kernel, feedback_kernel=feedback)
        kernel = tf.cast(tf.convert_to_tensor(connection.kernel), tf.float32)
        spread = float(tf.math.reduce_std(kernel))
        if not 0 < spread < math.inf:
            raise ValueError(
                f"Phase '{self.name}' scales a forward kernel by the standard deviation of its "
                f"entries, which must be finite and not 0. Received: '{path}' with equal or huge "
                "entries; initialise it with random numbers"
            )
        return kernel

    def _scale(self, path: str, connection: Receiver) -> float:
        """γ: as given, as kept, or as B has it now."""
        kept = float(tf.convert_to_tensor(self._gammas[path]))
        feedback = tf.convert_to_tensor(connection.weights["feedback_kernel"])
        spread = float(tf.math.reduce_std(tf.cast(feedback, tf.float32)))
        gamma = self.gamma or kept or spread
        if not 0 < gamma < math.inf:
            raise ValueError(
                f"Phase '{self.name}' keeps the scale that a feedback kernel has when the phase "
                f"first runs. Received: '{path}', whose entries have the standard deviation "
                f"{gamma}; give the phase the argument `gamma`, or initialise the feedback kernel "
                "with random numbers"
            )
        return gamma

    def _simulate(
        self,
        path: str,
        connection: Receiver,
        kernel: tf.Tensor,
        gamma: float,
        bar: keras.utils.Progbar | None,
    ) -> _Result:
        plan, statistics = self._plans[path], []
        kept = {name: tf.convert_to_tensor(v) for name, v in self._sums[path].items()}
        sums = self.estimator.forget(kept)
        for part in range(plan.parts):
            index = int(tf.convert_to_tensor(self._count)) * plan.parts + part
            sums, new = plan.advance(kernel, sums, index)
            statistics.append(new)
            if bar is not None:
                bar.add(1)
        beta, seen = self.estimator.effect(sums, self.paradigm.neuron.threshold)
        before = tf.cast(tf.convert_to_tensor(connection.weights["feedback_kernel"]), tf.float32)
        spread = tf.math.reduce_std(tf.boolean_mask(beta, seen)) if tf.reduce_any(seen) else 0.0
        feedback = tf.where(seen, beta * (gamma / spread), before) if spread > 0 else None
        after = before if feedback is None else feedback
        quantities = {
            "simulated_seconds": plan.seconds,
            **{name: float(value) for name, value in mean(statistics).items()},
            "estimated": float(tf.reduce_mean(tf.cast(seen, tf.float32))),
            "weight_angle_before": float(metrics.weight_angle(kernel, before)),
            "sign_agreement_before": float(metrics.sign_agreement(kernel, before)),
            "sign_agreement": float(metrics.sign_agreement(kernel, after)),
            "correlation": float(metrics.correlation(kernel, after)),
        }
        return _Result(sums, gamma, feedback, quantities)

    def _warn(self, path: str, inputs: int, result: _Result) -> None:
        """Warn of layers that leave nothing, or little, to estimate from."""
        found = result.quantities
        self.warn_of_rates(
            f"units that feed '{path}'",
            found["silent_below"],
            found["saturated_below"],
            "{} the drive's `weight` or `rate`",
        )
        few = inputs < FEW_INPUTS and found["silent_above"] > found["saturated_above"]
        self.warn_of_rates(
            f"units of '{path}'",
            found["silent_above"],
            found["saturated_above"],
            f"it has only {inputs} inputs: {{}} the drive's `psi`"
            if few
            else "{} the drive's `psi`, or look whether columns of its kernel have one sign alone",
        )
        if self.estimator.uses_windows and found["spike_rate_below_hz"] > 0:
            if not found["windows_without_spike"]:
                self.warn(
                    f"no voltage came close to the threshold without a spike in what feeds '{path}'"
                    "; change the drive's `weight` or `rate`, or raise the window's `alpha`"
                )
            if not found["windows_with_spike"]:
                self.warn(
                    f"no window holds a spike in what feeds '{path}'; raise the drive's `weight` "
                    "or `rate`, or the window's `alpha`"
                )
        if result.feedback is None:
            self.warn(
                f"no effect of a spike was found in '{path}', which keeps its feedback kernel; "
                "simulate longer (`duration`)"
            )

"""Regression discontinuity: feedback weights from what spikes cause in the layer above."""

from __future__ import annotations

import dataclasses
import math
import random
import warnings
import weakref
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tf_alignment import metrics
from tf_alignment.callbacks.divergence import DivergenceError
from tf_alignment.initializers import derived_seed
from tf_alignment.layers.base import Connection
from tf_alignment.linear_maps import Matmul
from tf_alignment.phases.base import Phase, Results
from tf_alignment.phases.side_by_side import Plan
from tf_alignment.spiking import LIF, Drive, Paradigm, Window, estimators
from tf_alignment.spiking.arguments import number

__all__ = ["RDD"]

SATURATED = 0.9  # of the highest rate that the refractory period allows


@dataclasses.dataclass
class _Found:
    """What a simulation gave for one connection."""

    sums: estimators.Sums
    gamma: float
    feedback: tf.Tensor
    quantities: dict[str, float]


class RDD(Phase):
    r"""Learns B from spikes alone, by regression discontinuity design.

    For each dense layer W, a network of two layers of leaky integrate-and-fire units is simulated,
    connected by W at a scale of their own, the lower one driven by noise. Where a unit's voltage
    comes close to the threshold a window opens, and the spikes that come back from above in it are
    compared between windows in which the unit just spiked and windows in which it just did not (see
    `tf_alignment.spiking.Paradigm`). The difference \(\beta\) is the causal effect of the spike,
    in which the weight shows, and

    $$ B = \beta \gamma / \sigma_\beta $$

    with \(\sigma_\beta\) the standard deviation of all entries that have an estimate, and
    \(\gamma\) that of B before the first run. Entries without an estimate stay as they are.

    Estimates get better with simulated time: the correlation of B and W grows like
    \(1 / \sqrt{1 + k / T}\). The sums behind them are kept from run to run. Sign agreement in per
    cent and correlation in dense layers of 1600, 384, 192 and 10 units with Gaussian weights, means
    of three seeds (*: of one):

    | estimator | seconds | 1600 to 384 | 384 to 192 | 192 to 10 |
    |---|---|---|---|---|
    | `"pooled"` | 30 | 63.5, .409 | 74.1, .675 | 80.8, .791 |
    | `"pooled"` | 300 | 80.4, .817 | 89.4, .943 | 92.3, .969 |
    | `"line"` | 30 | 62.5, .381 | 72.7, .644 | 79.6, .769 |
    | `"sgd"`* | 30 | 61.8, .366 | 71.5, .626 | 77.8, .754 |
    | `"mirror"` | 30 | 60.5, .323 | 69.7, .568 | 76.6, .693 |
    | lines without a ridge* | 30 | 52.2, .066 | 55.1, .137 | 57.0, .191 |

    Estimators, classes in `tf_alignment.spiking.estimators`:

    - `"pooled"`, the default: means instead of lines, and those without a spike shared by all units
      of a layer.
    - `"line"`: the two lines in closed form, with a ridge on their slopes. Plain least squares, the
      last row, is nearly useless at this amount of data.
    - `"sgd"`: the paper's own, the two lines by gradient descent.
    - `"mirror"`: no spikes but firing rates, the weight mirror in the same paradigm; about its own
      mean, without which every product of rates is positive (50.1, 50.2, 50.0 %).

    Args:
        duration: Simulated seconds a layer and run, rounded up to whole rounds (see `Paradigm`).
        layers: See `Phase`. By default all that act by one matrix product and store a feedback
            kernel; convolutions keep theirs.
        estimator: Id or `Estimator` object.
        seed: Integer, or None for a random one. The same seed gives the same drive; with XLA a
            large layer is simulated in other parts than without, and draws other numbers.
        gamma: \(\gamma\), or None for the standard deviation of B when the phase first runs.
        neuron, drive, window: Constants, by default the paper's.
        jit_compile: Whether XLA compiles the simulation: a few seconds at the first run, and later
            runs take half the time.

    Raises:
        ValueError: For values out of range; when it runs, for a model without dense layers with
            feedback kernels, for layers named that are not dense, and for kernels whose entries
            are all the same.
        DivergenceError: When it runs, if a forward kernel contains NaN or infinity. As for other
            errors, no feedback kernel has changed then.

    Warns:
        UserWarning: When it runs, of layers that are silent or saturated, and of layers of which
            there is nothing to estimate from, which keep their feedback kernel.

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
        duration: float = 30.0,
        layers: Sequence[str] | None = None,
        estimator: str | estimators.Estimator = "pooled",
        seed: int | None = None,
        *,
        gamma: float | None = None,
        neuron: LIF | None = None,
        drive: Drive | None = None,
        window: Window | None = None,
        jit_compile: bool = False,
    ) -> None:
        super().__init__(layers)
        self.duration = number("duration", duration, above=0)
        self.estimator = estimators.get(estimator)
        self.seed = random.randint(1, 10**9) if seed is None else int(seed)
        self.gamma = None if gamma is None else number("gamma", gamma, above=0)
        self.paradigm = Paradigm(neuron or LIF(), drive or Drive(), window or Window())
        self.jit_compile = jit_compile
        self._model: Callable[[], keras.Model | None] = lambda: None

    def connections(self, model: keras.Model) -> dict[str, Connection]:
        """The dense layers among the connections that have a feedback kernel."""
        found = super().connections(model)
        dense = {path: c for path, c in found.items() if isinstance(c.map, Matmul)}
        if len(dense) < (1 if self.layers is None else len(found)):
            others = {
                path: type(c.layer).__name__ for path, c in found.items() if path not in dense
            }
            raise ValueError(
                f"Phase '{self.name}' aligns dense layers, which act by one matrix product. "
                f"Received: {others}"
            )
        return dense

    def build(self, model: keras.Model) -> None:
        """Make the sums of the estimates, and compile one simulation a layer."""
        if self._model() is model:
            return
        self._plans: dict[str, Plan] = {}
        self._sums: dict[str, dict[str, keras.Variable]] = {}
        self._gammas: dict[str, keras.Variable] = {}
        with model.distribute_strategy.scope():
            self._runs = _variable((), "int32")
            for i, (path, connection) in enumerate(self.connections(model).items()):
                shapes = self.estimator.shapes(*connection.kernel.shape)
                self._sums[path] = {name: _variable(shape) for name, shape in shapes.items()}
                self._gammas[path] = _variable(())
                # by order, not by path: Keras counts up the names of equal models
                self._plans[path] = Plan(
                    self.paradigm,
                    self.estimator,
                    connection.kernel.shape[0],
                    self.duration,
                    derived_seed(self.seed, i),
                    self.jit_compile,
                )
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The count of runs, γ and the sums; empty before the phase is built."""
        if self._model() is None:
            return []
        sums = [v for values in self._sums.values() for v in values.values()]
        return [self._runs, *self._gammas.values(), *sums]

    def reset(self) -> None:
        """Forget all estimates. γ is kept."""
        for variable in [v for values in self._sums.values() for v in values.values()]:
            variable.assign(tf.zeros(variable.shape))

    def update(
        self, model: keras.Model, connections: dict[str, Connection], verbose: int = 0
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
        for path, result in found.items():
            connections[path].weights["feedback_kernel"].assign(result.feedback)
            self._gammas[path].assign(result.gamma)
            for name, variable in self._sums[path].items():
                variable.assign(result.sums[name])
        self._runs.assign_add(1)
        return {path: result.quantities for path, result in found.items()}

    def _forward(self, path: str, connection: Connection) -> tf.Tensor:
        kernel = tf.cast(tf.convert_to_tensor(connection.kernel), tf.float32)
        spread = float(tf.math.reduce_std(kernel))
        if not math.isfinite(spread):
            raise DivergenceError(
                f"Phase '{self.name}' cannot simulate '{path}': its forward kernel contains NaN or "
                "infinity, or entries whose squares overflow. Lower the learning rate of the task."
            )
        if spread == 0:
            raise ValueError(
                f"Phase '{self.name}' scales a forward kernel by the standard deviation of its "
                f"entries, which must not be 0. Received: '{path}' with equal entries; initialise "
                "it with random numbers"
            )
        return kernel

    def _scale(self, path: str, connection: Connection) -> float:
        """γ: as given, as kept, or as B has it now."""
        kept = float(tf.convert_to_tensor(self._gammas[path]))
        feedback = tf.convert_to_tensor(connection.weights["feedback_kernel"])
        gamma = self.gamma or kept or float(tf.math.reduce_std(feedback))
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
        connection: Connection,
        kernel: tf.Tensor,
        gamma: float,
        bar: keras.utils.Progbar | None,
    ) -> _Found:
        plan, statistics = self._plans[path], tf.zeros(4)
        kept = {name: tf.convert_to_tensor(v) for name, v in self._sums[path].items()}
        sums = self.estimator.forget(kept)
        for part in range(plan.parts):
            number = int(tf.convert_to_tensor(self._runs)) * plan.parts + part
            sums, new = plan.advance(kernel, sums, number)
            statistics += new / plan.parts
            if bar is not None:
                bar.add(1)
        rate, above = statistics.numpy()[:2]
        right, left = plan.parts * statistics.numpy()[2:] / kernel.shape[0]
        self._look(path, rate, above, right, left)
        beta, seen = self.estimator.effect(sums, self.paradigm.neuron.threshold)
        before = tf.cast(tf.convert_to_tensor(connection.weights["feedback_kernel"]), tf.float32)
        spread = tf.math.reduce_std(tf.boolean_mask(beta, seen)) if tf.reduce_any(seen) else 0.0
        if spread > 0:
            after = tf.where(seen, beta * (gamma / spread), before)
        else:
            after = before
            warnings.warn(
                f"Phase '{self.name}' found no effect of a spike in '{path}', which keeps its "
                "feedback kernel. Simulate longer (`duration`).",
                stacklevel=2,
            )
        quantities = {
            "simulated_seconds": plan.seconds,
            "spike_rate": float(rate),
            "spike_rate_above": float(above),
            "windows_with_spike": float(right),
            "windows_without_spike": float(left),
            "estimated": float(tf.reduce_mean(tf.cast(seen, tf.float32))),
            "weight_angle_before": float(metrics.weight_angle(kernel, before)),
            "sign_agreement_before": float(metrics.sign_agreement(kernel, before)),
            "sign_agreement": float(metrics.sign_agreement(kernel, after)),
            "correlation": float(metrics.correlation(kernel, after)),
        }
        return _Found(sums, gamma, after, quantities)

    def _look(self, path: str, rate: float, above: float, right: float, left: float) -> None:
        """Warn of what leaves nothing to estimate from, or little."""
        highest = SATURATED * self.paradigm.neuron.highest_rate
        problems = {
            f"no unit that feeds '{path}' spiked; raise the drive's `weight` or `rate`": rate == 0,
            f"no unit of '{path}' spiked; raise the drive's `psi`, or look whether its forward "
            "kernel has hardly a positive entry": rate > 0 and above == 0,
            f"the units that feed '{path}' are saturated, at {rate:.0f} Hz; lower the drive's "
            "`weight` or `rate`": rate > highest,
            f"the units of '{path}' are saturated, at {above:.0f} Hz; lower the drive's `psi`, or "
            "look whether its forward kernel has hardly a negative entry": above > highest,
            f"no voltage came close to the threshold without a spike in what feeds '{path}'; "
            "change the drive's `weight` or `rate`, or raise the window's `alpha`": rate > 0
            and left == 0,
            f"no window holds a spike in what feeds '{path}'; raise the drive's `weight` or "
            "`rate`, or the window's `alpha`": rate > 0 and right == 0,
        }
        for text, found in problems.items():
            if found:
                warnings.warn(f"Phase '{self.name}': {text}.", stacklevel=2)


def _variable(shape: tuple[int, ...], dtype: str = "float32") -> keras.Variable:
    return keras.Variable(
        tf.zeros(shape, dtype), dtype=dtype, trainable=False, aggregation="only_first_replica"
    )

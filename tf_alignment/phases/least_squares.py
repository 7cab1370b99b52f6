"""How feedback kernels are fitted to estimated gradients: `min_B Σ ‖δ Bᵀ − λ̂‖²`.

A solver sees one step's errors and estimates and moves every feedback kernel. `Descent` takes a
step of a Keras optimizer down the squared distance, `NormalizedLMS` a step whose length it finds
itself; `Ridge` solves the normal equations of all steps, or of the recent ones.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

__all__ = ["Descent", "Fit", "NormalizedLMS", "Ridge", "Solver", "over_replicas"]

# Solving for more coefficients a channel than this costs more than the passes through a network.
_MOST_REGRESSORS = 1152


class Fit(NamedTuple):
    """What one step tells of the kernels that send errors to the same site.

    Attributes:
        errors: `{connection path: δ}`.
        predicted: `Σ δ Bᵀ`, shaped like the site, float32.
        target: λ̂, likewise.
        units: Over how many units of an example λ̂ collects noise; 0 if it is exact.
    """

    errors: dict[str, tf.Tensor]
    predicted: tf.Tensor
    target: tf.Tensor
    units: float = 0.0


def half_gradients(connections: dict[str, Any], fits: list[Fit]) -> dict[str, tf.Tensor]:
    """`{connection path: (δ Bᵀ − λ̂)ᵀ δ}`, summed over the batch."""
    found: dict[str, tf.Tensor] = {}
    for fit in fits:
        residual = fit.predicted - fit.target
        for path, error in fit.errors.items():
            connection = connections[path]
            kernel = tf.convert_to_tensor(connection.weights["feedback_kernel"])
            gradient = connection.map.outer(residual, tf.cast(error, tf.float32), kernel)
            found[path] = found[path] + gradient if path in found else gradient
    return found


class Solver(abc.ABC):
    """Moves feedback kernels; its variables are in float32 and stand from run to run."""

    @abc.abstractmethod
    def build(self, connections: dict[str, Any], groups: list[list[str]]) -> list[keras.Variable]:
        """Create what is kept from step to step.

        Args:
            connections: `{path: connection}`.
            groups: Paths of the connections that send errors to the same site.
        """

    @abc.abstractmethod
    def solve(self, fits: list[Fit]) -> None:
        """Move the kernels, once a step."""

    def reset(self) -> None:
        """Forget what earlier steps have told."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable.value))

    variables: list[keras.Variable] = []


class Descent(Solver):
    """Steps of a Keras optimizer.

    Args:
        apply: `f(gradients, variables)`, the optimizer's.
    """

    def __init__(self, apply: Callable[[list[tf.Tensor], list[keras.Variable]], None]) -> None:
        self.apply = apply

    def build(self, connections: dict[str, Any], groups: list[list[str]]) -> list[keras.Variable]:
        """Create nothing: the phase keeps the optimizer's variables."""
        self.connections = connections
        return []

    def solve(self, fits: list[Fit]) -> None:
        """Go down the gradient that is summed over the batch."""
        gradients = half_gradients(self.connections, fits)
        kernels = [c.weights["feedback_kernel"] for c in self.connections.values()]
        self.apply([gradients[path] for path in self.connections], kernels)


class NormalizedLMS(Solver):
    """Steps along the same direction whose length needs no tuning (normalised least mean squares).

    Let P be the sum of the squared regressors over the batch, N the number of examples and d the
    number of units behind λ̂. Of all rates about `1 / (P (1 + d / N))` brings B nearest to its goal
    in one step, in the mean over the noise and whatever the scale of the errors; a part of it
    leaves less noise in B. P is the mean over about a hundred steps, or this step's where that is
    larger.

    Args:
        gain: Which part.
    """

    def __init__(self, gain: float) -> None:
        if not 0 < gain <= 1:
            raise ValueError(
                f"Argument `gain` must be above 0 and at most 1. Received: gain={gain!r}"
            )
        self.gain = float(gain)

    def build(self, connections: dict[str, Any], groups: list[list[str]]) -> list[keras.Variable]:
        """Create the mean P of every connection."""
        self.connections = connections
        self.powers = {path: _state((), "power") for path in connections}
        self.variables = list(self.powers.values())
        return self.variables

    def solve(self, fits: list[Fit]) -> None:
        """Move every kernel by its own rate."""
        paths = list(self.connections)
        gradients = half_gradients(self.connections, fits)
        powers, units = dict.fromkeys(paths, tf.zeros(())), dict.fromkeys(paths, 0.0)
        for fit in fits:
            for path, error in fit.errors.items():
                overlap = self.connections[path].map.overlap()
                powers[path] += overlap * tf.reduce_sum(tf.cast(error, tf.float32) ** 2)
                units[path] = max(units[path], fit.units)
        examples = tf.cast(tf.shape(fits[0].target)[0], tf.float32)
        sums = ([gradients[path] for path in paths], [powers[path] for path in paths], examples)
        all_gradients, all_powers, examples = over_replicas(sums)
        for path, gradient, power in zip(paths, all_gradients, all_powers, strict=True):
            mean = tf.convert_to_tensor(self.powers[path])
            mean = tf.where(mean > 0.0, 0.99 * mean + 0.01 * power, power)
            self.powers[path].assign(mean)
            length = tf.maximum(mean, power) * (1.0 + units[path] / examples)
            kernel = self.connections[path].weights["feedback_kernel"]
            rate = tf.math.divide_no_nan(self.gain, length)
            kernel.value.assign_sub(rate * gradient)  # in place


class Ridge(Solver):
    """`C = (γI + Σ eᵀe)⁻¹ Σ eᵀλ̂`, with the sums over all batches and replicas in float32.

    `C` holds the coefficients of the regression: the feedback kernels that send errors to a site,
    side by side, as `(regressors, channels)`.

    Args:
        gamma: γ, added once to the sum.
        forgetting: Factor on the sums at every step.
    """

    def __init__(self, gamma: float, forgetting: float) -> None:
        if not gamma > 0:
            raise ValueError(f"Argument `gamma` must be above 0. Received: gamma={gamma!r}")
        if not 0 < forgetting <= 1:
            raise ValueError(
                "Argument `forgetting` must be above 0 and at most 1. "
                f"Received: forgetting={forgetting!r}"
            )
        self.gamma, self.forgetting = float(gamma), float(forgetting)

    def build(self, connections: dict[str, Any], groups: list[list[str]]) -> list[keras.Variable]:
        """Create the sums.

        Raises:
            ValueError: For a connection on which `transpose` is no regression, or a large one.
        """
        self.connections = connections
        self.sums: dict[str, tuple[keras.Variable, keras.Variable]] = {}
        for group in groups:
            size = sum(self._regressors(connections[path]) for path in group)
            first = connections[group[0]]
            kernel = first.weights["feedback_kernel"]
            channels = first.map.coefficients(tf.zeros(kernel.shape)).shape[1]
            self.sums[group[0]] = (
                _state((size, size), "errors"),
                _state((size, channels), "products"),
            )
        self.variables = [v for pair in self.sums.values() for v in pair]
        return self.variables

    def solve(self, fits: list[Fit]) -> None:
        """Add a step to the sums and assign the solutions."""
        groups: dict[tuple[str, ...], list[Fit]] = {}
        for fit in fits:
            groups.setdefault(tuple(fit.errors), []).append(fit)
        for paths, same in groups.items():
            self._assign(paths, self._solution(self.sums[paths[0]], same))

    def _solution(self, variables: tuple[keras.Variable, keras.Variable], fits: list[Fit]) -> Any:
        rows = tf.concat([self._rows(fit) for fit in fits], 0)
        channels = variables[1].shape[1]
        target = tf.concat([self._target(fit, channels) for fit in fits], 0)
        new = tf.matmul(rows, rows, transpose_a=True), tf.matmul(rows, target, transpose_a=True)
        sums = []
        for variable, value in zip(variables, over_replicas(new), strict=True):
            value = self.forgetting * tf.convert_to_tensor(variable) + value
            variable.assign(value)
            sums.append(value)
        errors, products = sums
        factor = tf.linalg.cholesky(errors + self.gamma * tf.eye(errors.shape[0]))
        return tf.linalg.cholesky_solve(factor, products)

    def _assign(self, paths: Sequence[str], solution: tf.Tensor) -> None:
        start = 0
        for path in paths:
            connection = self.connections[path]
            kernel = connection.weights["feedback_kernel"]
            count = connection.map.regressors(kernel.shape)
            part = solution[start : start + count]
            kernel.assign(connection.map.from_coefficients(part, kernel.shape))
            start += count

    def _rows(self, fit: Fit) -> tf.Tensor:
        rows = []
        for path, error in fit.errors.items():
            connection = self.connections[path]
            shape = connection.weights["feedback_kernel"].shape
            error = tf.cast(error, tf.float32)
            rows.append(connection.map.error_rows(error, shape, fit.target))
        return tf.concat(rows, 1)

    def _target(self, fit: Fit, channels: int) -> tf.Tensor:
        linear_map = self.connections[next(iter(fit.errors))].map
        return tf.reshape(linear_map.channels_last(fit.target), (-1, channels))

    @staticmethod
    def _regressors(connection: Any) -> int:
        kernel = connection.weights["feedback_kernel"]
        count = connection.map.regressors(kernel.shape)
        if count is None or count > _MOST_REGRESSORS:
            why = "" if count is None else f" with {count} regressors"
            raise ValueError(
                "The solver 'ridge' serves dense layers and convolutions without groups in which "
                f"at most {_MOST_REGRESSORS} entries of the error reach one of the input. "
                f"Received: '{connection.path}', a {type(connection.layer).__name__}{why}; take "
                "`solver='nlms'`, or leave it out with `layers`"
            )
        return count


def _state(shape: tuple[int, ...], name: str) -> keras.Variable:
    return keras.Variable(
        tf.zeros(shape), trainable=False, aggregation="only_first_replica", name=name
    )


def over_replicas(values: Any) -> Any:
    """Tensors, in a structure, summed over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce("sum", values)

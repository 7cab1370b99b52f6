"""Solvers that fit feedback kernels to estimated gradients: `min_B Σ ‖δ Bᵀ − λ̂‖²`.

A solver sees one step's errors and estimates and moves every feedback kernel. `NormalizedLMS` takes
a step whose length it finds itself; `Ridge` solves the normal equations of all steps, or of the
recent ones; `Descent` takes a step of a Keras optimizer down the squared distance.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_alignment._support.arguments import number, optimizer_of
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.regression.rows import Rows, rows_of
from tf_alignment.phases.state import state_variable

__all__ = ["Descent", "Fit", "NormalizedLMS", "Ridge", "Solver", "over_replicas", "solver_of"]

# The solution takes K³ operations: for these, as many as a forward product of 1152 examples with
# a kernel of 1152 by 1152.
_MOST_REGRESSORS = 1152


class Fit(NamedTuple):
    """The data of one step for the kernels that send errors to the same site.

    Attributes:
        errors: `{connection path: δ}`.
        predicted: `Σ δ Bᵀ`, shaped like the site, float32.
        target: λ̂, shaped like the site, float32.
        units: Number of units of an example over which λ̂ collects noise; 0 if λ̂ is exact.
    """

    errors: dict[str, tf.Tensor]
    predicted: tf.Tensor
    target: tf.Tensor
    units: float = 0.0


def half_gradients(
    connections: Mapping[str, Receiver], fits: list[Fit], rates: dict[str, tf.Tensor] | None = None
) -> dict[str, tf.Tensor]:
    """`{connection path: (δ Bᵀ − λ̂)ᵀ δ}`, summed over the batch; times `rates`, if given."""
    found: dict[str, tf.Tensor] = {}
    for fit in fits:
        residual = fit.predicted - fit.target
        for path, error in fit.errors.items():
            connection = connections[path]
            kernel = tf.convert_to_tensor(connection.weights["feedback_kernel"])
            # the residual is smaller than the kernel
            scaled = residual if rates is None else rates[path] * residual
            gradient = connection.map.outer(scaled, tf.cast(error, tf.float32), kernel)
            found[path] = found[path] + gradient if path in found else gradient
    return found


class Solver(abc.ABC):
    """Moves feedback kernels; its variables are in float32 and stand from run to run.

    A phase makes its own copy of the solver that it is given.
    """

    @abc.abstractmethod
    def build(
        self, connections: Mapping[str, Receiver], groups: list[list[str]]
    ) -> list[keras.Variable]:
        """Create the variables that are kept from step to step.

        Args:
            connections: `{path: connection}`.
            groups: Paths of the connections that send errors to the same site.
        """

    @abc.abstractmethod
    def solve(self, fits: list[Fit]) -> None:
        """Move the kernels, once per step."""

    def reset(self) -> None:
        """Forget the data of earlier steps."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable.value))

    def __init__(self) -> None:
        self.variables: list[keras.Variable] = []


class Descent(Solver):
    """Steps of a Keras optimizer.

    Args:
        apply: `f(gradients, variables)`, the optimizer's.
    """

    def __init__(self, apply: Callable[[list[tf.Tensor], list[keras.Variable]], None]) -> None:
        super().__init__()
        self.apply = apply

    def build(
        self, connections: Mapping[str, Receiver], groups: list[list[str]]
    ) -> list[keras.Variable]:
        """Create nothing: the phase keeps the optimizer's variables."""
        self.connections = connections
        return []

    def solve(self, fits: list[Fit]) -> None:
        """Go down the gradient that is summed over the batch."""
        gradients = half_gradients(self.connections, fits)
        kernels = [self.connections[path].weights["feedback_kernel"] for path in gradients]
        self.apply(list(gradients.values()), kernels)


def solver_of(name: str, value: Any) -> Solver | keras.optimizers.Optimizer:
    """The solver that an argument asks for.

    Args:
        name: Name of the argument, for the message.
        value: `"nlms"`, `"ridge"`, `"sgd"`, a solver or a Keras optimizer.

    Returns:
        A solver that nobody else has, or an optimizer.

    Raises:
        TypeError: If it is none of these.
        ValueError: For an unknown string, or an optimizer that wraps others.
    """
    short: dict[str, Callable[[], Any]] = {
        "nlms": NormalizedLMS,
        "ridge": Ridge,
        "sgd": lambda: keras.optimizers.SGD(5e-4),
    }
    if isinstance(value, str) and value in short:
        return short[value]()
    if isinstance(value, Solver):
        return copy.copy(value)
    what = "'nlms', 'ridge', 'sgd', `NormalizedLMS(...)`, `Ridge(...)` or a Keras optimizer"
    return optimizer_of(name, value, what, single=True)


class NormalizedLMS(Solver):
    """Normalised least mean squares: steps down the squared distance of the right length.

    Let P be the sum of the squared regressors over the batch, N the number of examples, T the
    number of positions at which a kernel acts, and d the number of units behind λ̂. Of all rates
    about `1 / (P (1 + d / (N T)))` brings B nearest to its goal in one step, in the mean over the
    noise and whatever the scale of the errors, if all units matter alike to the loss; a part of it
    leaves less noise in B. P is the mean over about a hundred steps, or this step's where that is
    larger.

    Args:
        gain: Part of the longest useful step that is taken, above 0 and at most 1.

    Raises:
        ValueError: If `gain` is out of range.

    Reference: Widrow and Hoff 1960; Haykin, "Adaptive filter theory", chapter 7.

    Example:
    >>> import keras, tf_alignment as ta
    >>> loss = keras.losses.MeanSquaredError(reduction=None)
    >>> ta.phases.NodePerturbation(loss, solver=ta.phases.NormalizedLMS(gain=0.5)).solver
    NormalizedLMS(gain=0.5)
    """

    def __init__(self, gain: float = 0.1) -> None:
        super().__init__()
        self.gain = number("gain", gain, above=0, most=1)

    def __repr__(self) -> str:
        return f"NormalizedLMS(gain={self.gain})"

    def build(
        self, connections: Mapping[str, Receiver], groups: list[list[str]]
    ) -> list[keras.Variable]:
        """Create the mean P of every connection."""
        self.connections = connections
        self.powers = state_variable((len(connections),), "powers")
        self.variables = [self.powers]
        return self.variables

    def solve(self, fits: list[Fit]) -> None:
        """Move every kernel by its own rate."""
        powers, crowding = (dict.fromkeys(self.connections, tf.zeros(())) for _ in range(2))
        examples = tf.cast(tf.shape(fits[0].target)[0], tf.float32)
        for fit in fits:
            for path, error in fit.errors.items():
                connection = self.connections[path]
                linear_map = connection.map
                shape = tuple(connection.weights["feedback_kernel"].shape)
                square = tf.reduce_sum(tf.cast(error, tf.float32) ** 2)
                powers[path] += linear_map.overlap() * square
                positions = linear_map.pairs(fit.target, error, shape) / examples
                crowding[path] = tf.maximum(crowding[path], fit.units / positions)
        now, examples = over_replicas((tf.stack(list(powers.values())), examples))
        mean = tf.convert_to_tensor(self.powers)
        mean = tf.where(mean > 0.0, 0.99 * mean + 0.01 * now, now)
        self.powers.assign(mean)
        lengths = tf.maximum(mean, now) * (1.0 + tf.stack(list(crowding.values())) / examples)
        rates = tf.unstack(tf.math.divide_no_nan(self.gain, lengths))
        by_path = dict(zip(self.connections, rates, strict=True))
        for path, step in over_replicas(half_gradients(self.connections, fits, by_path)).items():
            kernel = self.connections[path].weights["feedback_kernel"]
            value = kernel.value
            step = tf.cast(step, value.dtype)
            if hasattr(value, "assign_sub"):  # `assign` would make the difference, and then copy it
                value.assign_sub(step)
            else:  # a tensor, in a `keras.StatelessScope`
                kernel.assign(value - step)
            _constrain(kernel)


class Ridge(Solver):
    """Ridge regression: `C = (γI + Σ eᵀe)⁻¹ Σ eᵀλ̂`, the sums over all batches and replicas.

    `C` holds the coefficients of the regression: the feedback kernels that send errors to a site,
    side by side, as `(regressors, channels)`.

    It serves dense layers and convolutions without groups in which K, the number of entries of the
    error that reach one entry of the input, is at most 1152 (128 filters of 3x3), and costs about
    K³ operations per layer. Sums are in float32. γ is forgotten as the sums are; a millionth of the
    sum's trace stays in its place, since errors that have no full rank (the errors of a softmax sum
    to zero) would make the solution NaN.

    Args:
        gamma: γ, added once to the sum, above 0.
        forgetting: Factor on the sums at every step, above 0 and at most 1, which never forgets.

    Raises:
        ValueError: If an argument is out of range.

    Reference: Lansdell, Prakash and Kording 2020, "Learning to solve the credit assignment
    problem", equation 6 (with `forgetting=1`).

    Example:
    >>> import keras, tf_alignment as ta
    >>> loss = keras.losses.MeanSquaredError(reduction=None)
    >>> ta.phases.NodePerturbation(loss, solver=ta.phases.Ridge(forgetting=1.0)).solver
    Ridge(gamma=0.1, forgetting=1.0)
    """

    def __init__(self, gamma: float = 0.1, forgetting: float = 0.999) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, above=0)
        self.forgetting = number("forgetting", forgetting, above=0, most=1)

    def __repr__(self) -> str:
        return f"Ridge(gamma={self.gamma}, forgetting={self.forgetting})"

    def build(
        self, connections: Mapping[str, Receiver], groups: list[list[str]]
    ) -> list[keras.Variable]:
        """Create the sums.

        Raises:
            ValueError: For a connection on which `transpose` is no regression, or a large one.
        """
        self.connections = connections
        self.sums: dict[str, tuple[keras.Variable, keras.Variable]] = {}
        self.prior = state_variable((), "gamma")
        for group in groups:
            size = sum(self._regressors(path, connections[path]) for path in group)
            first = connections[group[0]]
            kernel = first.weights["feedback_kernel"]
            channels = self._rows_of(first).coefficients(tf.zeros(kernel.shape)).shape[1]
            self.sums[group[0]] = (
                state_variable((size, size), "errors"),
                state_variable((size, channels), "products"),
            )
        self.variables = [self.prior, *(v for pair in self.sums.values() for v in pair)]
        return self.variables

    def solve(self, fits: list[Fit]) -> None:
        """Add a step to the sums and assign the solutions."""
        groups: dict[tuple[str, ...], list[Fit]] = {}
        for fit in fits:
            groups.setdefault(tuple(fit.errors), []).append(fit)
        prior = tf.convert_to_tensor(self.prior)
        prior = tf.where(prior > 0.0, tf.maximum(self.forgetting * prior, 1e-30), self.gamma)
        self.prior.assign(prior)
        for paths, same in groups.items():
            self._assign(paths, self._solution(self.sums[paths[0]], same, prior))

    def _solution(
        self,
        variables: tuple[keras.Variable, keras.Variable],
        fits: list[Fit],
        prior: tf.Tensor,
    ) -> tf.Tensor:
        rows = tf.concat([self._rows(fit) for fit in fits], 0)
        target = tf.concat([self._target(fit) for fit in fits], 0)
        new = tf.matmul(rows, rows, transpose_a=True), tf.matmul(rows, target, transpose_a=True)
        sums = []
        for variable, value in zip(variables, over_replicas(new), strict=True):
            value = self.forgetting * tf.convert_to_tensor(variable) + value
            variable.assign(value)
            sums.append(value)
        errors, products = sums
        prior = tf.maximum(prior, 1e-6 * tf.linalg.trace(errors))
        factor = tf.linalg.cholesky(errors + prior * tf.eye(errors.shape[0]))
        return tf.linalg.cholesky_solve(factor, products)

    def _assign(self, paths: Sequence[str], solution: tf.Tensor) -> None:
        start = 0
        for path in paths:
            connection = self.connections[path]
            kernel = connection.weights["feedback_kernel"]
            rows = self._rows_of(connection)
            count = rows.count(kernel.shape)
            kernel.assign(rows.kernel(solution[start : start + count], kernel.shape))
            _constrain(kernel)
            start += count

    def _rows(self, fit: Fit) -> tf.Tensor:
        rows = []
        for path, error in fit.errors.items():
            connection = self.connections[path]
            shape = connection.weights["feedback_kernel"].shape
            error = tf.cast(error, tf.float32)
            rows.append(self._rows_of(connection).error_rows(error, shape, fit.target))
        return tf.concat(rows, 1)

    def _target(self, fit: Fit) -> tf.Tensor:
        connection = self.connections[next(iter(fit.errors))]
        shape = connection.weights["feedback_kernel"].shape
        return self._rows_of(connection).input_rows(fit.target, shape)

    @staticmethod
    def _rows_of(connection: Any) -> Rows:
        rows = rows_of(connection.map)
        assert rows is not None  # `build` has refused the others
        return rows

    @staticmethod
    def _regressors(path: str, connection: Any) -> int:
        kernel, rows = connection.weights["feedback_kernel"], rows_of(connection.map)
        count = None if rows is None else rows.count(kernel.shape)
        if count is None or count > _MOST_REGRESSORS:
            why = "" if count is None else f" with {count} regressors"
            raise ValueError(
                "The solver 'ridge' serves dense layers and convolutions without groups in which "
                f"at most {_MOST_REGRESSORS} entries of the error reach one of the input. "
                f"Received: '{path}', a {type(connection.layer).__name__}{why}; take "
                "`solver='nlms'`, or leave it out with `layers`"
            )
        return count


def _constrain(kernel: keras.Variable) -> None:
    if kernel.constraint is not None:
        kernel.assign(kernel.constraint(kernel))


def over_replicas(values: Any) -> Any:
    """Tensors, in a structure, summed over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce("sum", values)

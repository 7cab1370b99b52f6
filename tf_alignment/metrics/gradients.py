"""Comparison of a model's own gradients with true backpropagation on the same batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import boolean
from tf_alignment._support.tracing import traced_once
from tf_alignment.layers.inspection import kernels
from tf_alignment.metrics.geometry import angle, norm, pair, ratio
from tf_alignment.probe import probe

__all__ = ["GradientProbe", "gradient_angle"]

# Of one pass: {path: gradient of the kernel}, {path: [(input, error sent to it) of each call]}.
_Gradients = dict[str, tf.Tensor]
_Errors = dict[str, list[tuple[tf.Tensor, tf.Tensor]]]


def _loss(loss: Any) -> Any:
    """Loss as a function of targets and outputs, or None."""
    try:
        found = keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        found = "unknown"
    if not (found is None or (callable(found) and not isinstance(found, type))):
        raise ValueError(
            "Argument `loss` must be a loss by name, a `keras.losses.Loss`, a function of "
            f"(y_true, y_pred) or None. Received: loss={loss!r}"
        )
    return found


class GradientProbe:
    """Compiled comparison of a model's gradients with backpropagation, for each kernel.

    The batch passes the model twice in one compiled function: once with errors sent through the
    feedback weights of the model, once with errors sent through the transpose of the forward
    weights. Both passes use the same weights, read when the probe is called, and the same random
    numbers (dropout masks). Neither pass changes weights, metrics, moving statistics or random
    states. Under a distribution strategy every replica does the same work.

    The loss is the compiled loss and the losses that layers add, without the regularizers of
    weights. Gradients of regularizers need no feedback; they are equal in both passes and would
    make every angle look smaller.

    Args:
        model: Built Keras model. Kernels of stock layers are measured too: below a layer with
            feedback, their gradients differ from backpropagation.
        loss: Loss: `None` for the model's own (`model.compute_loss`), the name of a loss, a
            `keras.losses.Loss`, or a function `f(y_true, y_pred)`, whose mean is taken.
        training: Whether the model is called in training mode.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model has no kernels (is not built), or if it has not been compiled and
            `loss` is not given.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="low"),
    ...                           ta.layers.Dense(3, feedback="fa", name="top")], name="net")
    >>> model.compile(loss="mse")
    >>> probe = ta.metrics.GradientProbe(model)
    >>> measured = probe(np.ones((2, 4), "float32"), np.ones((2, 3), "float32"))
    >>> list(measured)
    ['net/low', 'net/top']
    >>> print(f"{measured['net/top']['kernel']:.1f}")  # the error at the top is exact
    0.0
    """

    def __init__(self, model: keras.Model, loss: Any = None, training: bool = False) -> None:
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a Keras model. Received: model={model!r}")
        if loss is None and not model.compiled:
            raise ValueError(
                "`loss` must be given for a model that has not been compiled. Received: loss=None"
            )
        found = kernels(model)
        self.kernels = {kernel.path: kernel.variable for kernel in found}
        self._paths = {kernel.connection: kernel.path for kernel in found if kernel.connection}
        if not self.kernels:
            raise ValueError(
                "`model` must be built and have layers with kernels. "
                f"Received: a model named '{model.name}' with built={model.built} and no kernel"
            )
        self.model = model
        self.training = boolean("training", training)
        self._loss = _loss(loss)
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, dict[str, float]]:
        """Compare the gradients on one batch.

        Args:
            x: Inputs `(batch, ...)`, or a structure of such arrays.
            y: Targets, as in `model.fit`.
            sample_weight: Weights of the examples, as in `model.fit`.

        Returns:
            Dict `{path: {quantity: value}}` with an entry for every kernel, by the path of its
            layer or connection. The quantities are

            - `"kernel"`: angle between the two gradients of the kernel, in degrees;
            - `"error"`: angle between the two errors sent down, the batch as one vector, degrees;
            - `"error_per_example"`: mean over examples, without zero errors, of their angles;
            - `"kernel_norm_ratio"`, `"error_norm_ratio"`: norm divided by backpropagation's norm;
            - `"input_norm"`: mean over examples of the norm of the layer's input.

            Two zero gradients, as in a network whose units are all inactive, have neither an angle
            nor a ratio: the values are NaN, and so is the mean over no examples.

            Stock layers have only the quantities of the kernel. The same holds for a model under
            direct feedback alignment, where the layers send no error down.

        Raises:
            ValueError: If an input has no axes, or if the weights of the examples do not fit the
                values of a loss that is a function.
        """
        batch = keras.tree.map_structure(
            lambda a: None if a is None else tf.convert_to_tensor(a), (x, y, sample_weight)
        )
        if any(a.shape.rank == 0 for a in keras.tree.flatten(batch[0])):
            raise ValueError(
                "Argument `x` must have examples along its first axis. Received: an array without "
                "axes"
            )
        measured = self._function_for(batch)(*batch)
        return {
            path: {name: float(value) for name, value in measured[path].items()}
            for path in self.kernels
        }

    def _function_for(self, batch: Any) -> Callable[..., Any]:
        """Function that measures batches of these shapes, compiled at the first such batch."""
        if self.model.run_eagerly:
            return self._on_replicas
        key = str(keras.tree.map_structure(lambda a: a if a is None else (a.shape, a.dtype), batch))
        if key not in self._compiled:
            self._compiled[key] = traced_once(self._on_replicas)
        return self._compiled[key]

    def _on_replicas(self, x: Any, y: Any, sample_weight: Any) -> dict[str, dict[str, tf.Tensor]]:
        """Result of `_compare` on the devices of the variables, from the first replica."""
        strategy = self.model.distribute_strategy
        measured = strategy.run(self._compare, args=(x, y, sample_weight))
        return tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], measured
        )

    def _compare(self, x: Any, y: Any, sample_weight: Any) -> dict[str, dict[str, tf.Tensor]]:
        gradients, errors = self._gradients(x, y, sample_weight, backprop=False)
        true_gradients, true_errors = self._gradients(x, y, sample_weight, backprop=True)
        measured: dict[str, dict[str, tf.Tensor]] = {}
        for path in self.kernels:
            found = measured[path] = {}
            if path in gradients and path in true_gradients:
                a, b = pair(gradients[path], true_gradients[path])
                found["kernel"] = _angle(a, b)
                found["kernel_norm_ratio"] = ratio(norm(a), norm(b), math.nan)
            if path in errors and path in true_errors:
                found |= _compare_errors(errors[path], true_errors[path])
        return measured

    def _gradients(
        self, x: Any, y: Any, sample_weight: Any, backprop: bool
    ) -> tuple[_Gradients, _Errors]:
        """Gradients of one pass, in stateless scopes, which keep every update from happening."""
        variables = list({id(v): v for v in self.model.variables}.values())
        with tf.GradientTape() as tape:
            values = [tf.convert_to_tensor(v) for v in variables]
            # Plain tensors stand in for the variables: the gradient with respect to a distributed
            # variable is refused in some contexts.
            value_of = {id(v): value for v, value in zip(variables, values, strict=True)}
            own = {path: value_of[id(kernel)] for path, kernel in self.kernels.items()}
            tape.watch(own)
            tape.watch([a for a in keras.tree.flatten(x) if a.dtype.is_floating])
            current = zip(variables, values, strict=True)
            with probe(backprop) as seen, keras.StatelessScope(current, collect_losses=True) as now:
                y_pred = self.model(x, **_accepted(self.model.call, training=self.training))
            # Regularizers see the variables' values cut off from the tape.
            cut = [(v, tf.stop_gradient(value)) for v, value in zip(variables, values, strict=True)]
            with keras.StatelessScope(cut, collect_losses=True) as scope:
                for added in now.losses:
                    scope.add_loss(added)
                loss = self._compute_loss(x, y, y_pred, sample_weight)
        paths = self._paths
        inputs = {paths[c]: xs for c, xs in seen.inputs.items() if c in paths}
        gradients, errors = tape.gradient(loss, (own, inputs))
        return (
            {path: gradient for path, gradient in gradients.items() if gradient is not None},
            {
                path: list(zip(inputs[path], errors[path], strict=True))
                for path in inputs
                if all(error is not None for error in errors[path])
            },
        )

    def _compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        """Scalar loss to differentiate, scaled as in training against underflow in float16."""
        if self._loss is None:
            arguments = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": sample_weight}
            arguments |= _accepted(self.model.compute_loss, training=self.training)
            loss = self.model.compute_loss(**arguments)
        elif isinstance(self._loss, keras.losses.Loss):
            loss = self._loss(y, y_pred, sample_weight)
        else:
            loss = self._loss(y, y_pred)
            if sample_weight is not None:
                loss *= _aligned(tf.cast(sample_weight, loss.dtype), loss)
        loss = tf.reduce_mean(loss)
        optimizer = getattr(self.model, "optimizer", None)
        return loss if optimizer is None else optimizer.scale_loss(loss)


def _accepted(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Keyword arguments that `function` takes."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


def _aligned(weight: tf.Tensor, loss: tf.Tensor) -> tf.Tensor:
    """Weights of examples with the axes of a loss, as Keras adds and removes axes of length 1."""
    fitted, rank = weight, loss.shape.rank or 0
    while fitted.shape.rank > rank and fitted.shape[-1] == 1:
        fitted = tf.squeeze(fitted, -1)
    while fitted.shape.rank < rank:
        fitted = fitted[..., None]
    axes = zip(fitted.shape, loss.shape if rank else (), strict=False)
    if fitted.shape.rank > rank or any(a != 1 and b not in (None, a) for a, b in axes):
        raise ValueError(
            "Argument `sample_weight` must have one value per example, or per value of the loss, "
            f"and the loss one value per example. Received: sample_weight of shape {weight.shape}, "
            f"loss of shape {loss.shape}"
        )
    return fitted


def _angle(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Angle in degrees of two gradients; NaN if both are zero, for nothing is aligned then."""
    some = tf.reduce_any(tf.not_equal(a, 0)) | tf.reduce_any(tf.not_equal(b, 0))
    return tf.where(some, angle(a, b), tf.constant(math.nan, a.dtype))


def _rows(tensors: Iterable[tf.Tensor]) -> list[tf.Tensor]:
    """Convert each tensor to float32 (float64 stays) with one example per row."""
    rows = [tf.reshape(t, (tf.shape(t)[0], -1)) for t in tensors]
    return [t if t.dtype == tf.float64 else tf.cast(t, tf.float32) for t in rows]


def _compare_errors(
    own: list[tuple[tf.Tensor, tf.Tensor]], true: list[tuple[tf.Tensor, tf.Tensor]]
) -> dict[str, tf.Tensor]:
    """Angles and norms of the errors that a connection sends down, over all of its calls."""
    inputs = _rows(x for x, _ in own)
    rows, true_rows = _rows(error for _, error in own), _rows(error for _, error in true)
    a = tf.concat([tf.reshape(r, (-1,)) for r in rows], 0)
    b = tf.concat([tf.reshape(r, (-1,)) for r in true_rows], 0)
    angles = tf.concat([angle(r, t, 1) for r, t in zip(rows, true_rows, strict=True)], 0)
    counts = tf.concat([tf.reduce_any(tf.not_equal(t, 0), 1) for t in true_rows], 0)
    counted = tf.where(counts, angles, tf.zeros_like(angles))
    number = tf.cast(tf.math.count_nonzero(counts), angles.dtype)
    return {
        "error": _angle(a, b),
        "error_per_example": tf.reduce_sum(counted) / number,
        "error_norm_ratio": ratio(norm(a), norm(b), math.nan),
        "input_norm": tf.reduce_mean(tf.concat([norm(x, 1) for x in inputs], 0)),
    }


def gradient_angle(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Any = None,
    sample_weight: Any = None,
    training: bool = False,
) -> dict[str, dict[str, float]]:
    r"""Angle between a model's own gradients and true backpropagation, on one batch.

    $$ \angle(g_l, g_l^{BP}), \qquad \angle(\delta_l B_l^T, \delta_l^{BP} W_l^T) $$

    Every call builds and compiles a `GradientProbe`; for repeated use make one `GradientProbe` and
    call it.

    Args:
        model: Built Keras model.
        x: Inputs `(batch, ...)`, or a structure of such arrays.
        y: Targets, as in `model.fit`.
        loss: Loss function, by default the model's own loss; see `GradientProbe`.
        sample_weight: Weights of the examples, as in `model.fit`.
        training: Whether the model is called in training mode; both passes then have the same
            dropout masks.

    Returns:
        Dict `{path: {"kernel": degrees, "error": degrees}}` with an entry for every kernel, by the
        path of its layer or connection. `"kernel"` is the angle between the gradients of the
        kernel; `"error"` is the angle between the errors sent down, the whole batch as one vector.
        `"error"` is missing in stock layers and under direct feedback alignment. An angle is NaN
        if both gradients, or both errors, are zero.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model has no kernels (is not built), or if it has not been compiled and
            `loss` is not given.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="backprop")])
    >>> angles = ta.metrics.gradient_angle(model, np.ones((2, 4)), np.ones((2, 3)), loss="mse")
    >>> [{name: round(value, 3) for name, value in found.items()} for found in angles.values()]
    [{'kernel': 0.0, 'error': 0.0}]

    Source: Lillicrap et al. (2016), "Random synaptic feedback weights support error
    backpropagation for deep learning".
    """
    measured = GradientProbe(model, loss, training)(x, y, sample_weight)
    return {
        path: {name: found[name] for name in ("kernel", "error") if name in found}
        for path, found in measured.items()
    }

"""The only place where gradients are replaced: four small ops with backward passes of their own.

`send_error`      identity on z forward; backward sends the error down as the method says
`copy_gradient`   identity on W forward; backward hands W's gradient to B too (Kolen-Pollack)
`alignment_loss`  zero forward; backward hands each feedback weight its closed-form gradient
`broadcast_error` identity on the logits; backward hands the output error to every hidden layer

The kernel's own gradient is never touched: a layer computes `z = stop_gradient(x) · W` with stock
operations, so TensorFlow differentiates the kernel, and `send_error(z, x)` adds the path to `x`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

__all__ = ["alignment_loss", "broadcast_error", "copy_gradient", "send_error"]

Tensors = Mapping[str, tf.Tensor]
Gradients = Mapping[str, tf.Tensor]


def send_error(
    z: tf.Tensor,
    x: tf.Tensor,
    weights: Tensors,
    send: Callable[[tf.Tensor, tf.Tensor, Tensors], tuple[tf.Tensor, Gradients]],
) -> tf.Tensor:
    """Return `z`; in the backward pass, `send` turns `δ = ∂L/∂z` into the error for `x`.

    Args:
        z: Pre-activation before the bias, computed from `stop_gradient(x)`.
        x: Input of the layer.
        weights: Tensors that `send` uses; tensors named in its result get gradients.
        send: Function `f(δ, x, weights) -> (dx, {name: gradient})`, which is run in the backward
            pass only.

    Returns:
        Tensor equal to `z`.
    """
    names = list(weights)

    @tf.custom_gradient
    def op(z: tf.Tensor, x: tf.Tensor, *values: tf.Tensor):  # type: ignore[no-untyped-def]
        def grad(dz: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            dx, found = send(dz, x, dict(zip(names, values, strict=True)))
            found = {name: _after(values, gradient) for name, gradient in found.items()}
            return (dz, dx, *(found.get(name) for name in names))

        return z, grad

    return op(z, x, *weights.values())


def copy_gradient(
    kernel: tf.Tensor,
    follower: tf.Tensor,
    change: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Return `kernel`; in the backward pass, its gradient goes to the kernel and to the follower.

    Args:
        kernel: Forward kernel.
        follower: Tensor that also receives the gradient, possibly of higher precision. It has the
            shape of the kernel, or the shape that `change` returns.
        change: Function of the follower's copy of the gradient, in the follower's precision.

    Returns:
        Tensor equal to `kernel`.
    """

    @tf.custom_gradient
    def op(kernel: tf.Tensor, follower: tf.Tensor):  # type: ignore[no-untyped-def]
        def grad(dkernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dkernel = tf.convert_to_tensor(dkernel)  # of rows that are looked up: all rows
            copy = tf.cast(dkernel, follower.dtype)
            return dkernel, _after([follower], copy if change is None else change(copy))

        return kernel, grad

    return op(kernel, follower)


def alignment_loss(weights: Tensors, gradient: Callable[[Tensors], Gradients]) -> tf.Tensor:
    """Loss of value zero whose gradient for each weight is the gradient of the alignment rule.

    As part of the loss, it takes part in everything that training does to a loss (loss scaling,
    division by the number of replicas, gradient accumulation) and does not change the loss's value.

    Args:
        weights: Feedback weights that learn by alignment.
        gradient: Function `f(weights) -> {name: gradient}`, which is run in the backward pass only.

    Returns:
        Scalar 0, of the type of Keras' losses (`keras.config.floatx()`).
    """
    names = list(weights)

    @tf.custom_gradient
    def op(*values: tf.Tensor):  # type: ignore[no-untyped-def]
        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            found = gradient(dict(zip(names, values, strict=True)))
            return tuple(
                _after(values, tf.cast(upstream, value.dtype) * tf.cast(found[name], value.dtype))
                for name, value in zip(names, values, strict=True)
            )

        return tf.zeros((), keras.config.floatx()), grad

    return op(*weights.values())


def _after(reads: Sequence[tf.Tensor], gradient: tf.Tensor) -> tf.Tensor:
    """Gradient of a weight, computed only after the weight has been read.

    TensorFlow orders a read and the optimizer's update by a control edge. Its graph optimizer drops
    the edge if there is a path of data from the read to the update. The path through a custom
    gradient counts as one, but may be optimised away later; the update could then come first.
    """
    graph = tf.compat.v1.get_default_graph()
    here = [read for read in reads if not tf.executing_eagerly() and read.graph is graph]
    with tf.control_dependencies(here):
        return tf.identity(gradient)


def broadcast_error(
    logits: tf.Tensor,
    hidden: Sequence[tf.Tensor],
    kernels: Sequence[tf.Tensor],
    shared: bool = False,
) -> tf.Tensor:
    """Return `logits`; in the backward pass, each hidden activity gets `e Bᵀ`, `e = ∂L/∂logits`.

    Args:
        logits: Logits `(batch, ...)`.
        hidden: Hidden activities, each `(batch, ...)`.
        kernels: Feedback kernels `B`, one for each activity, of shape `(units, outputs)`. The units
            are the entries of a flattened example, or of each position that the activity shares
            with the logits. A `B` with fewer units, `(channels, outputs)`, sends every place the
            same error, divided by the number of places.
        shared: Whether a `B` may have fewer units.

    Returns:
        Tensor equal to `logits`.
    """
    count = len(hidden)

    @tf.custom_gradient
    def op(logits: tf.Tensor, *rest: tf.Tensor):  # type: ignore[no-untyped-def]
        activities, feedback = rest[:count], rest[count:]

        def grad(e: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            errors = []
            for h, b in zip(activities, feedback, strict=True):
                flat = tf.reshape(e, [-1, b.shape[1]])
                error = tf.matmul(flat, tf.cast(b, e.dtype), transpose_b=True)
                error = tf.cast(error, h.dtype)
                errors.append(_spread(error, h) if shared else tf.reshape(error, tf.shape(h)))
            return (e, *errors, *(None for _ in feedback))

        return logits, grad

    return op(logits, *hidden, *kernels)


def _spread(error: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshape rows of errors to an activity; too short rows are repeated at every place."""
    places = tf.size(like) // tf.maximum(tf.size(error), 1)  # 1, unless one kernel is for all
    rows = tf.repeat((error / tf.cast(places, error.dtype))[:, None], places, axis=1)
    return tf.reshape(rows, tf.shape(like))

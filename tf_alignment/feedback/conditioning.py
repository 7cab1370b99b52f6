"""Alignment on a layer's own activity: gradients times a damped inverse of the covariance.

Real activity has most of its power in one direction. Plain gradient steps are unstable in this
direction, or slow in all others. Multiplied by the inverse of the batch's covariance, a step is
equally long in every direction in which the activity of the batch varies. It is a damped
least-squares step (a block Kaczmarz step if there are fewer rows than inputs per unit).
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_alignment.feedback.base import Activity
from tf_alignment.maps.patches import Patches, patches_of
from tf_alignment.primitives import Gradient, Local

__all__ = ["conditioned", "first_examples"]

ROWS = 1024  # what a step looks at: more cost more than they tell
EXAMPLES = 4  # at the least: positions of one image are alike
ITERATIONS = 4  # of conjugate gradients
GOLDEN = 0.5 * (5.0**0.5 - 1.0)  # its multiples spread evenly over a unit interval, modulo 1


def first_examples(activity: Activity) -> Activity:
    """Activity of the first examples of a batch, as many as a step uses.

    Args:
        activity: Forward pass of the connection.
    """
    found = patches_of(activity.map)
    known = found.positions(activity.z) if found is not None else None
    if isinstance(known, int):
        count: int | tf.Tensor = _examples(known)
    else:
        one = activity.x[:1], activity.z[:1]
        positions = activity.map.pairs(*one, tuple(activity.kernel.shape))
        needed = tf.cast(tf.math.ceil(ROWS / positions), tf.int32)
        count = tf.maximum(EXAMPLES, needed)
    return dataclasses.replace(activity, x=activity.x[:count], z=activity.z[:count])


def conditioned(local: Local, gradient: Gradient, damping: float) -> tf.Tensor:
    r"""Step for B: `(PᵀP + λ I)⁻¹ Pᵀ R`, plus the unchanged gradient of terms in weights alone.

    P has one row per example and position. R is the gradient of the rule with respect to `x B` in
    these rows: `β P B - α y` for α amp + β sparse. `λ = damping · tr(PᵀP) / d`, with d inputs per
    unit. If there are fewer rows than d, `Pᵀ (P Pᵀ + λ I)⁻¹ R` gives the same. Maps without such
    rows take some steps of conjugate gradients.

    Args:
        local: Quantities from which the primitives were computed.
        gradient: Gradient of the rule.
        damping: Damping λ in units of the mean eigenvalue of the covariance.

    Raises:
        ValueError: If the rule has a part that goes through `y Bᵀ`.
    """
    if gradient.to_reconstruction is not None:
        raise ValueError(
            "`normalize` must not be 'covariance' for rules with terms that go through y Bᵀ, as "
            "null does: the covariance of the input does not condition them. "
            "Received: normalize='covariance'"
        )
    found = patches_of(local.map)
    step = (
        _iterated(local, gradient, damping)
        if found is None
        else _solved(found, local, gradient, damping)
    )
    step = tf.cast(step, local.feedback.dtype)
    return step if gradient.direct is None else step + gradient.direct


def _solved(patches: Patches, local: Local, gradient: Gradient, damping: float) -> tf.Tensor:
    shape = tuple(local.feedback.shape)
    p = tf.cast(patches.inputs(local.x, shape), tf.float32)
    y = tf.cast(patches.responses(local.y), tf.float32)
    r = -_number(gradient.hebb) * y
    if gradient.to_projection is not None:
        r += tf.cast(patches.responses(gradient.to_projection), tf.float32)
    p, r = (_thinned(a, patches.positions(local.y)) for a in (p, r))
    if gradient.projected is not None:
        r += tf.matmul(p, tf.cast(patches.matrix(gradient.projected), tf.float32))
    inputs = p.shape[-1]
    power = tf.reduce_sum(tf.square(p), [1, 2], keepdims=True) / inputs
    shift = tf.maximum(damping * power, 1e-12)

    def narrow() -> tf.Tensor:
        gram = tf.matmul(p, p, transpose_b=True)
        return tf.matmul(p, _solution(gram, shift, r), transpose_a=True)

    def wide() -> tf.Tensor:
        covariance = tf.matmul(p, p, transpose_a=True)
        return _solution(covariance, shift, tf.matmul(p, r, transpose_a=True))

    rows = p.shape[1]
    if rows is None:  # of an unknown batch
        step = tf.cond(tf.shape(p)[1] < inputs, narrow, wide)
    else:
        step = narrow() if rows < inputs else wide()
    return patches.kernel(step, shape)


def _thinned(rows: tf.Tensor, positions: int | tf.Tensor) -> tf.Tensor:
    """One row out of every k, with k such that about `ROWS` rows are left.

    The row is another one in each run of k rows: every k-th row would be of the same column of an
    image where the width divides k.
    """
    known = rows.shape[1]
    count = tf.shape(rows)[1] if known is None else known
    most = known
    if most is None and isinstance(positions, int):  # of an unknown batch
        most = positions * _examples(positions)
    apart = tf.maximum(1, count // ROWS) if most is None else max(1, most // ROWS)
    if isinstance(apart, int) and apart == 1:
        return rows
    first = tf.range(0, count, apart)
    among = tf.math.floormod(GOLDEN * tf.range(tf.size(first), dtype=tf.float32), 1.0)
    within = tf.cast(among * tf.cast(apart, tf.float32), first.dtype)
    thinned = tf.gather(rows, tf.minimum(first + within, count - 1), axis=1)
    left = None if known is None else -(-known // apart)
    return tf.ensure_shape(thinned, [rows.shape[0], left, rows.shape[2]])


def _examples(positions: int) -> int:
    return max(EXAMPLES, -(-ROWS // positions))


def _solution(square: tf.Tensor, shift: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The x of `(square + shift I) x = right`."""
    factor = tf.linalg.cholesky(square + shift * tf.eye(tf.shape(square)[-1]))
    found = tf.linalg.cholesky_solve(factor, right)
    # If all rows have one direction and many inputs, float32 may have no factor. The only
    # eigenvalue is then the trace.
    trace = shift + tf.linalg.trace(square)[..., tf.newaxis, tf.newaxis]
    is_found = tf.reduce_all(tf.math.is_finite(found), [-2, -1], keepdims=True)
    return tf.where(is_found, found, right / trace)


def _iterated(local: Local, gradient: Gradient, damping: float) -> tf.Tensor:
    x, linear_map = tf.cast(local.x, tf.float32), local.map
    like = tf.cast(local.feedback, tf.float32)

    def covariance(kernel: tf.Tensor) -> tf.Tensor:
        return linear_map.outer(x, linear_map.apply(x, kernel), like)

    right = tf.zeros_like(like)
    if gradient.projected is not None:
        right += covariance(tf.cast(gradient.projected, tf.float32))
    rest = -_number(gradient.hebb) * tf.cast(local.y, tf.float32)
    if gradient.to_projection is not None:
        rest += tf.cast(gradient.to_projection, tf.float32)
    right += linear_map.outer(x, rest, like)
    diagonal = linear_map.outer(tf.square(x), tf.ones_like(rest), like)
    shift = tf.maximum(damping * tf.reduce_mean(diagonal), 1e-12)
    step, left, direction = tf.zeros_like(right), right, right
    size = tf.reduce_sum(tf.square(left))
    for _ in range(ITERATIONS):
        along = covariance(direction) + shift * direction
        far = tf.math.divide_no_nan(size, tf.reduce_sum(direction * along))
        step, left = step + far * direction, left - far * along
        before, size = size, tf.reduce_sum(tf.square(left))
        direction = left + tf.math.divide_no_nan(size, before) * direction
    return step


def _number(value: float | tf.Tensor) -> float | tf.Tensor:
    return tf.cast(value, tf.float32) if tf.is_tensor(value) else value

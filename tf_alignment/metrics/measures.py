r"""Measures of alignment between a forward and a feedback kernel.

Every function takes the forward kernel `W` and the kernel `B` that carries the error back. Both
have the same shape (perfect symmetry is `B == W`). The result is a scalar tensor:

| function | measure |
|---|---|
| `weight_angle` | angle between `W` and `B`, degrees |
| `path_angle` | angle between `W` and a product of feedback weights, degrees |
| `sign_agreement` | fraction of entries with the same sign |
| `norm_ratio` | `‖B‖ / ‖W‖` |
| `relative_error` | `‖B - W‖ / ‖W‖` |
| `correlation` | Pearson's r between the entries |
| `alignment_cost` | `R_decay`, `R_self` and `R_SA` |

The functions use TensorFlow alone, run inside `tf.function` with or without XLA, and compute in
float32 (in float64 if an argument is float64). NaN in a kernel gives NaN. Zero kernels do not give
NaN: the docstring of each function states the value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tf_alignment.metrics.geometry import angle, norm, pair, ratio

__all__ = [
    "alignment_cost",
    "correlation",
    "norm_ratio",
    "path_angle",
    "relative_error",
    "sign_agreement",
    "weight_angle",
]


def weight_angle(kernel: Any, feedback_kernel: Any) -> tf.Tensor:
    r"""Angle between the forward and the feedback kernel, both taken as one long vector.

    $$ \angle(W, B) = \arccos \frac{\langle W, B \rangle}{\|W\| \|B\|} $$

    0° means weight transport; independent random kernels have an angle near 90°.

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Scalar, degrees from 0 to 180. 90 if one kernel is zero, 0 if both are.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> kernel = [[1.0, 0.0], [0.0, 1.0]]
    >>> print(f"{weight_angle(kernel, [[1.0, 0.0], [0.0, 0.0]]):.1f}")
    45.0

    Source: Lillicrap et al. (2016), "Random synaptic feedback weights support error
    backpropagation for deep learning".
    """
    return angle(*pair(kernel, feedback_kernel))


def path_angle(kernel: Any, path_kernel: Any) -> tf.Tensor:
    r"""Angle between the forward kernel and the product of feedback weights that carries the error.

    $$ \angle(W, R B) $$

    The measure is the same as `weight_angle`; the name is for methods with more than one weight on
    the way back. The theory of product feedback gives \(\arccos (1 / \sqrt{1 + \lambda})\) at
    expansion \(1/\lambda\).

    Args:
        kernel: Forward kernel, any shape.
        path_kernel: Effective feedback kernel `R B`, same shape
            (`layer.effective_feedback_kernel()`).

    Returns:
        Scalar, degrees from 0 to 180. 90 if one kernel is zero, 0 if both are.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> R, B = tf.constant([[1.0, 1.0]]), tf.constant([[1.0, 0.0], [0.0, 1.0]])
    >>> print(f"{path_angle([[1.0, 0.0]], R @ B):.1f}")
    45.0

    Source: Ji-An & Benna, "Deep Learning without Weight Symmetry", figure 2.
    """
    return angle(*pair(kernel, path_kernel, "path_kernel"))


def sign_agreement(kernel: Any, feedback_kernel: Any) -> tf.Tensor:
    """Fraction of entries whose signs agree.

    A zero agrees only with a zero. The chance level is 0.5.

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Scalar from 0 to 1.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> print(f"{sign_agreement([1.0, -2.0, 3.0, 4.0], [0.1, -0.1, 0.1, -0.1]):.2f}")
    0.75

    Source: Guerguiev et al. (2020), "Spike-based causal inference for weight alignment".
    """
    kernel, feedback_kernel = pair(kernel, feedback_kernel)
    same = tf.equal(tf.sign(kernel), tf.sign(feedback_kernel))
    return tf.reduce_mean(tf.cast(same, kernel.dtype))


def norm_ratio(kernel: Any, feedback_kernel: Any) -> tf.Tensor:
    r"""Norm of the feedback kernel divided by the norm of the forward kernel.

    $$ \|B\| / \|W\| $$

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Scalar. Infinite if only `kernel` is zero, 1 if both are.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> print(f"{norm_ratio([3.0, 4.0], [0.0, 10.0]):.1f}")
    2.0

    Source: Ji-An & Benna, "Deep Learning without Weight Symmetry", figure 2.
    """
    kernel, feedback_kernel = pair(kernel, feedback_kernel)
    return ratio(norm(feedback_kernel), norm(kernel), neither=1.0)


def relative_error(kernel: Any, feedback_kernel: Any) -> tf.Tensor:
    r"""Distance between the kernels divided by the norm of the forward kernel.

    $$ \|B - W\| / \|W\| $$

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Scalar. Infinite if only `kernel` is zero, 0 if both are.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> print(f"{relative_error([3.0, 4.0], [3.0, 3.0]):.1f}")
    0.2

    Source: Lansdell et al. (2020), "Learning to solve the credit assignment problem".
    """
    kernel, feedback_kernel = pair(kernel, feedback_kernel)
    return ratio(norm(feedback_kernel - kernel), norm(kernel), neither=0.0)


def correlation(kernel: Any, feedback_kernel: Any) -> tf.Tensor:
    r"""Pearson's correlation between the entries of the forward and the feedback kernel.

    $$ r = \cos \angle(W - \bar W, B - \bar B) $$

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Scalar from -1 to 1. 0 if all entries of a kernel are equal (to rounding).

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> print(f"{correlation([1.0, 2.0, 3.0], [5.0, 7.0, 9.0]):.2f}")
    1.00

    Source: Guerguiev et al. (2020), "Spike-based causal inference for weight alignment".
    """
    kernel, feedback_kernel = pair(kernel, feedback_kernel)
    kernel, feedback_kernel = _centred(kernel), _centred(feedback_kernel)
    constant = tf.equal(norm(kernel), 0) | tf.equal(norm(feedback_kernel), 0)
    r = tf.cos(angle(kernel, feedback_kernel) * (math.pi / 180.0))
    return tf.where(constant, tf.zeros_like(r), r)


def _centred(a: tf.Tensor) -> tf.Tensor:
    """Subtract the mean of `a`; the result is exactly zero if only rounding is left."""
    centred = a - tf.reduce_mean(a)
    rounding = 8 * np.finfo(a.dtype.as_numpy_dtype).eps
    only_rounding = tf.reduce_max(tf.abs(centred)) <= rounding * tf.reduce_max(tf.abs(a))
    return tf.where(only_rounding, tf.zeros_like(a), centred)


def alignment_cost(kernel: Any, feedback_kernel: Any) -> dict[str, tf.Tensor]:
    r"""Costs that symmetric alignment minimises, each as a sum over entries.

    $$ R_{decay} = \|W\|^2 + \|B\|^2, \quad R_{self} = -2 \sum W \circ B, \quad
       R_{SA} = \|W - B\|^2 = R_{decay} + R_{self} $$

    Args:
        kernel: Forward kernel, any shape.
        feedback_kernel: Feedback kernel, same shape.

    Returns:
        Dict of the costs, `{"R_decay": scalar, "R_self": scalar, "R_SA": scalar}`.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> cost = alignment_cost([1.0, 2.0], [1.0, -1.0])
    >>> {name: float(value) for name, value in cost.items()}
    {'R_decay': 7.0, 'R_self': 2.0, 'R_SA': 9.0}

    Source: Guerguiev et al. (2020), "Spike-based causal inference for weight alignment".
    """
    kernel, feedback_kernel = pair(kernel, feedback_kernel)
    return {
        "R_decay": tf.reduce_sum(tf.square(kernel)) + tf.reduce_sum(tf.square(feedback_kernel)),
        "R_self": -2 * tf.reduce_sum(kernel * feedback_kernel),
        "R_SA": tf.reduce_sum(tf.square(kernel - feedback_kernel)),
    }

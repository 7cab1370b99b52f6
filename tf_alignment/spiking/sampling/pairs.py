r"""Sums over pairs of spikes, and the traces through which synapses see them.

A kernel \(\kappa(\Delta t)\), \(\Delta t = t_\mathrm{post} - t_\mathrm{pre}\), says what a pair
of a postsynaptic and a presynaptic spike weighs. It is an array of odd length \(2m + 1\), the
weights of \(\Delta t = -m, \dots, m\). The sum over all pairs needs no pair to be looked at: at
every spike a synapse reads the other neuron's trace of earlier spikes,

$$ \sum_\mathrm{pairs} \kappa = \sum_t \big( y(t) \, S_\mathrm{pre}(t)
   - S_\mathrm{post}(t) \, x(t) \big), \qquad
   y(t) = \sum_{d=1}^{m} \kappa(-d) \, S_\mathrm{post}(t - d), \quad
   x(t) = -\sum_{d=1}^{m} \kappa(d) \, S_\mathrm{pre}(t - d) $$

and for a whole window of time both terms are one matrix product, of the postsynaptic spikes
and the filtered presynaptic ones.

Windows follow each other: each begins with the last m steps of the one before, its `history`, and
counts the pairs whose later spike is new.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_alignment._support.arguments import integer, number

__all__ = ["chance", "exponential", "hebbian", "pair_sums", "triangular"]

# Steps that one matrix filters: their square is what it holds.
_LONGEST = 512


def exponential(tau: float, cut: float = 2.0) -> np.ndarray:
    r"""The SAL kernel \(-\mathrm{sign}(\Delta t) \, e^{-|\Delta t| / \tau}\), up to `cut` times τ.

    Args:
        tau: Time constant in steps; published: the refractory time.
        cut: Length at which traces are cut off, in units of `tau`; published: 2.

    Returns:
        The weights of Δt = −m, ..., m, `(2m + 1,)`, float32.

    Reference: Gierlich et al. 2026, "Spike-based alignment learning".

    Example:
    >>> from tf_alignment.spiking.sampling import exponential
    >>> print(exponential(1.0).round(2))
    [ 0.14  0.37  0.   -0.37 -0.14]
    """
    tau, cut = number("tau", tau, above=0), number("cut", cut, above=0)
    lags = _lags(int(cut * tau + 1e-9), f"cut={cut!r}, tau={tau!r}")
    return (-np.sign(lags) * np.exp(-np.abs(lags) / tau)).astype(np.float32)


def triangular(tau: int) -> np.ndarray:
    r"""The SAL kernel \(-\mathrm{sign}(\Delta t) (1 - |\Delta t| / \tau)\), 0 from τ on.

    Where neurons are refractory for `tau` steps, it pairs every spike with at most one on each
    side: the nearest.

    Args:
        tau: Width in steps; published: the refractory time.

    Returns:
        The weights of Δt = −m, ..., m, `(2m + 1,)`, float32.

    Reference: Gierlich et al. 2026, "Spike-based alignment learning" (sampling network).

    Example:
    >>> from tf_alignment.spiking.sampling import triangular
    >>> triangular(2).tolist()
    [0.5, 0.0, -0.5]
    """
    tau = integer("tau", tau)
    lags = _lags(tau - 1, f"tau={tau!r}")
    return (-np.sign(lags) * (1 - np.abs(lags) / tau)).astype(np.float32)


def hebbian(tau: int) -> np.ndarray:
    r"""The Hebbian kernel \(1 - |\Delta t| / \tau\), 0 from τ on.

    Where neurons are refractory for `tau` steps, τ times the sum over pairs is the number of steps
    in which both are refractory: the statistic ⟨z_i z_j⟩ of wake-sleep learning.

    Args:
        tau: Width in steps; published: the refractory time.

    Returns:
        The weights of Δt = −m, ..., m, `(2m + 1,)`, float32.

    Example:
    >>> from tf_alignment.spiking.sampling import hebbian
    >>> hebbian(2).tolist()
    [0.5, 1.0, 0.5]
    """
    tau = integer("tau", tau)
    lags = _lags(tau - 1, f"tau={tau!r}")
    return (1 - np.abs(lags) / tau).astype(np.float32)


def pair_sums(post: tf.Tensor, pre: tf.Tensor, kernel: np.ndarray, history: int = 0) -> tf.Tensor:
    r"""\(\sum \kappa(t_\mathrm{post} - t_\mathrm{pre})\) over all pairs of spikes and all networks.

    Args:
        post: Spikes of postsynaptic neurons, `(history + steps, networks, n)`.
        pre: Spikes of presynaptic neurons, `(history + steps, networks, k)`.
        kernel: Weights of Δt = −m, ..., m.
        history: Number of initial steps that belong to the window before; pairs with both spikes in
            these steps are not counted.

    Returns:
        `(n, k)`.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import exponential, pair_sums
    >>> up = tf.reshape([0.0, 1.0, 0.0], (3, 1, 1))
    >>> down = tf.reshape([0.0, 0.0, 1.0], (3, 1, 1))
    >>> print(f"{float(pair_sums(down, up, exponential(1.0))[0, 0]):.2f}")
    -0.37
    """
    seen = _filter(pre, kernel, history)
    return tf.matmul(
        tf.reshape(post, (-1, post.shape[-1])), tf.reshape(seen, (-1, pre.shape[-1])), True
    )


def chance(post: tf.Tensor, pre: tf.Tensor, kernel: np.ndarray, history: int = 0) -> tf.Tensor:
    """Expectation of `pair_sums` for independent neurons with these mean rates.

    Args:
        post: Spikes of postsynaptic neurons, `(history + steps, networks, n)`.
        pre: Spikes of presynaptic neurons, `(history + steps, networks, k)`.
        kernel: Weights of Δt = −m, ..., m.
        history: So many first steps are old and do not count.

    Returns:
        `(n, k)`: product of mean rates, times steps, networks and the sum of the kernel's weights.

    Example:
    >>> import tensorflow as tf
    >>> from tf_alignment.spiking.sampling import chance, hebbian
    >>> spikes = tf.tile(tf.reshape([1.0, 0.0], (2, 1, 1)), (50, 1, 1))
    >>> chance(spikes, spikes, hebbian(2)).numpy().tolist()
    [[50.0]]
    """
    pairs = (post.shape[0] - history) * np.prod(post.shape[1:-1]) * float(np.sum(kernel))
    own, other = (
        tf.reduce_mean(tf.reshape(s[history:], (-1, s.shape[-1])), 0) for s in (post, pre)
    )
    return pairs * own[:, None] * other[None, :]


def _filter(spikes: tf.Tensor, kernel: np.ndarray, history: int) -> tf.Tensor:
    r"""Presynaptic spikes as seen from a postsynaptic spike, \(\sum_{t'} \kappa(t - t') S(t')\).

    A banded matrix over time, applied to all neurons at once; block by block where time is long.

    Args:
        spikes: `(time, ...)`.
        kernel: Weights of Δt = −m, ..., m.
        history: So many first steps are old.
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 1 or len(kernel) % 2 == 0:
        raise ValueError(
            "Argument `kernel` must be an array of odd length, the weights of Δt = −m, ..., m. "
            f"Received: shape {kernel.shape}"
        )
    steps, reach = spikes.shape[0], len(kernel) // 2
    flat, found = tf.reshape(spikes, (steps, -1)), []
    for start in range(0, steps, _LONGEST):
        stop = min(start + _LONGEST, steps)
        first, last = max(start - reach, 0), min(stop + reach, steps)
        t, other = np.ogrid[start:stop, first:last]
        lag = t - other
        counts = (np.abs(lag) <= reach) & (np.maximum(t, other) >= history)
        weights = np.where(counts, kernel[np.clip(lag, -reach, reach) + reach], 0.0)
        found.append(tf.matmul(tf.constant(weights, tf.float32), flat[first:last]))
    return tf.reshape(tf.concat(found, 0) if len(found) > 1 else found[0], spikes.shape)


def _lags(reach: int, received: str) -> np.ndarray:
    if reach < 1:
        raise ValueError(
            f"Argument `tau` must be so long that the kernel reaches a step. Received: {received}"
        )
    return np.arange(-reach, reach + 1)

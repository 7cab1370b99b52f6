"""Recurrent learning with local eligibility traces: e-prop and RFLO."""

from __future__ import annotations

import keras

from tf_alignment.feedback.fixed import FeedbackAlignment

__all__ = ["EligibilityPropagation", "RandomFeedbackLocalOnline"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class EligibilityPropagation(FeedbackAlignment):
    r"""e-prop: no error travels back in time along a recurrent kernel.

    A synapse learns from an eligibility trace, which it computes forward in time from what it has
    itself, and from the error that reaches its unit at the moment:

    $$ \frac{dE}{dW_{ji}} = \sum_t L_j(t) \, e_{ji}(t) $$

    The trace follows the unit's own memory: the carry of an LSTM, `ε ← f ε + d x`, the leak of
    `tf_alignment.layers.LeakyRNNCell`, the potential and threshold of
    `tf_alignment.layers.ALIFCell`. The layer computes the same sum by differentiating backwards
    with the state cut off from the recurrent kernel, which costs what backpropagation through time
    costs and stores no trace; it has to see the whole sequence, as `fit` does.

    What the learning signal L is says the layer above. With a readout `Dense` that is stock,
    `L = W (y − y*)`: symmetric e-prop; with `feedback="fa"` random e-prop, with `"kp"`, and a decay
    of weights, adaptive e-prop. To a layer below the error goes through a random, fixed B.

    It belongs to recurrent layers and cells. There is no feedback for the recurrent kernel.

    References: Bellec et al. 2020, "A solution to the learning dilemma for recurrent networks of
    spiking neurons", equations 1 to 4 and, for the LSTM, the supplement.

    Example:
    >>> import keras, tf_alignment as ta
    >>> recurrent = ta.layers.LSTM(8, return_sequences=True, feedback="eprop")
    >>> readout = ta.layers.Dense(3, feedback="fa")
    >>> model = keras.Sequential([keras.Input((None, 5)), recurrent, readout])
    >>> sorted(recurrent.feedback_weights)
    ['input_feedback_kernel']
    """

    id = "eprop"
    through_time = False


@_package
class RandomFeedbackLocalOnline(EligibilityPropagation):
    """RFLO: e-prop's rule for rate units with a leak, `tf_alignment.layers.LeakyRNNCell`.

    With `u(t) = h(t−1) U + x(t) W`, `h(t) = (1 − α) h(t−1) + α φ(u)`, the traces are
    `p ← (1 − α) p + α φ'(u_a) h_b(t−1)` and likewise with `x_b(t)`, and the weights learn from
    `Σ (ε B)_a p_ab` of the output error ε. Use a readout with `feedback="fa"`: B is its feedback
    kernel. The same gradient as `"eprop"` under the name that it has there.

    Reference: Murray 2019, "Local online learning in recurrent networks with random feedback",
    equations 3 to 5.

    Example:
    >>> import keras, tf_alignment as ta
    >>> cell = ta.layers.LeakyRNNCell(8, leak=0.1, feedback="rflo")
    >>> layer = keras.layers.RNN(cell, return_sequences=True)
    """

    id = "rflo"

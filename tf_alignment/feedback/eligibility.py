"""Recurrent learning with local eligibility traces: e-prop and RFLO."""

from __future__ import annotations

import keras

from tf_alignment.feedback.fixed import FeedbackAlignment

__all__ = ["EligibilityPropagation", "RandomFeedbackLocalOnline"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class EligibilityPropagation(FeedbackAlignment):
    r"""e-prop: no error travels back in time along a recurrent kernel.

    A synapse computes an eligibility trace e forward in time, from the activity of its two units.
    It learns from the product of the trace and the error L that reaches its unit at the same time:

    $$ \frac{dE}{dW_{ji}} = \sum_t L_j(t) \, e_{ji}(t) $$

    The trace follows the memory of the unit: the carry of an LSTM, `ε ← f ε + d x`, the leak of
    `tf_alignment.layers.LeakyRNNCell`, or the potential and threshold of
    `tf_alignment.layers.ALIFCell`. The layer computes the same sum without stored traces: it
    differentiates backwards in time, with the state cut off from the recurrent kernel. This costs
    as much as backpropagation through time and needs the whole sequence, which `fit` provides.

    The learning signal L depends on the layer above. A stock readout `Dense` sends
    `L = (y − y*) Wᵀ`, which is symmetric e-prop; a readout with `feedback="fa"` gives random
    e-prop, and a readout with `"kp"` and weight decay gives adaptive e-prop. The error for the
    layer below passes a random, fixed B.

    The method belongs to recurrent layers and cells. The recurrent kernel has no feedback weights.

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
    """RFLO: the rule of e-prop for leaky rate units, `tf_alignment.layers.LeakyRNNCell`.

    With `u(t) = h(t−1) U + x(t) W`, `h(t) = (1 − α) h(t−1) + α φ(u)`, the traces are
    `p ← (1 − α) p + α φ'(u_a) h_b(t−1)` for U, and likewise with `x_b(t)` for W. The weights learn
    from `Σ (ε Bᵀ)_a p_ab`, with the output error ε. Use a readout with `feedback="fa"`, whose
    feedback kernel is B. The gradient is the same as with `"eprop"`; only the name differs.

    Reference: Murray 2019, "Local online learning in recurrent networks with random feedback",
    equations 3 to 5.

    Example:
    >>> import keras, tf_alignment as ta
    >>> cell = ta.layers.LeakyRNNCell(8, leak=0.1, feedback="rflo")
    >>> layer = keras.layers.RNN(cell, return_sequences=True)
    """

    id = "rflo"

"""Direct feedback alignment: a property of a network, not of a layer."""

from __future__ import annotations

import keras

from tf_alignment.feedback.base import Feedback

__all__ = ["DirectFeedback"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class DirectFeedback(Feedback):
    """DFA: the output error goes straight to every layer, `e_out B_lᵀ`; the path below is cut.

    DFA belongs to a network. `tf_alignment.convert(model, "dfa")` builds it: one layer at the
    output takes the logits and every hidden layer's output, passes the logits on, and in the
    backward pass gives `e_out = ∂L/∂logits` to the logits and `e_out B_lᵀ` to every hidden layer's
    output.

    Reference: Nøkland 2016, "Direct feedback alignment provides learning in deep neural networks".

    Example:
    >>> import keras, tf_alignment as ta
    >>> hidden = [keras.layers.Dense(8, "relu"), keras.layers.Dense(6, "relu")]
    >>> stock = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(3)])
    >>> model = ta.convert(stock, "dfa")
    >>> sorted(tuple(b.shape) for b in model.non_trainable_weights)  # (units, outputs) each
    [(6, 3), (8, 3)]
    """

    id = "dfa"

    def no_kernel_because(self) -> str:
        """The end of the error message of a method without an effective feedback kernel."""
        return ": the error comes straight from the output, through a kernel (units, outputs)"

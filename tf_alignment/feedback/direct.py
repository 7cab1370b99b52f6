"""Direct feedback alignment: a property of a network, not of a layer."""

from __future__ import annotations

from typing import Any

import keras

from tf_alignment.feedback.base import Feedback

__all__ = ["DirectFeedback"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class DirectFeedback(Feedback):
    """DFA: the output error goes straight to every layer, `e_out B_lᵀ`; the path below is cut.

    DFA belongs to a network. `tf_alignment.convert(model, "dfa")` builds it: one layer at the
    output takes the logits and every hidden layer's output, passes the logits on, and in the
    backward pass gives `e_out = ∂L/∂logits` to the logits and `e_out B_lᵀ` to every hidden layer's
    output. Where logits and layer share axes of positions, as in networks over sequences, the error
    of each position goes to the same position, with one `B_l` for all of them.

    Args:
        over_space: `"each"`, the method of the paper, in which every unit of a feature map has
            coefficients of its own; or `"shared"`, another method: one small `B_l` of shape
            (channels, outputs), whose error, divided by the number of places, is the same at each
            place of the map, as convolutions of BioTorch have it. A feature map of 112 x 112 x 64
            and a thousand outputs need 3.2 GB with the first and 256 kB with the second.

    Raises:
        ValueError: If `over_space` is neither.

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

    def __init__(self, over_space: str = "each") -> None:
        if over_space not in ("each", "shared"):
            raise ValueError(
                "Argument `over_space` must be 'each' or 'shared'. "
                f"Received: over_space={over_space!r}"
            )
        self.over_space = over_space

    def get_config(self) -> dict[str, Any]:
        return {"over_space": self.over_space}

    def no_kernel_because(self) -> str:
        """The end of the error message of a method without an effective feedback kernel."""
        return ": the error comes straight from the output, through a kernel (units, outputs)"

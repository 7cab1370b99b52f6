"""Direct feedback alignment, a method of a whole network and not of single layers."""

from __future__ import annotations

from typing import Any

import keras

from tf_alignment.feedback.base import Feedback

__all__ = ["DirectFeedback"]


@keras.saving.register_keras_serializable(package="tf_alignment")
class DirectFeedback(Feedback):
    """DFA: the output error goes directly to every layer, `e_out B_lᵀ`; the path below is cut.

    DFA is a method of a whole network. `tf_alignment.convert(model, "dfa")` builds the network: one
    layer at the output takes the logits and every hidden layer's output, passes the logits on, and
    in the backward pass gives `e_out = ∂L/∂logits` to the logits and `e_out B_lᵀ` to every hidden
    layer's output. If logits and hidden layer share axes of positions, as in networks over
    sequences, the error of each position goes to the same position, with one `B_l` for all
    positions.

    Args:
        over_space: Form of the feedback to feature maps. `"each"` is the method of the paper: every
            unit of the map has its own coefficients. `"shared"` is another method, that of
            convolutions in BioTorch: one small `B_l` of shape (channels, outputs) sends the same
            error, divided by the number of places, to each place of the map. For a feature map of
            112 x 112 x 64 and a thousand outputs, `"each"` needs 3.2 GB and `"shared"` 256 kB.
            Channels must be the last axis; `convert` refuses `data_format="channels_first"`.

    Raises:
        ValueError: If `over_space` is neither `"each"` nor `"shared"`.

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
        """End of the error message of a method that has no effective feedback kernel."""
        return ": the error comes straight from the output, through a kernel (units, outputs)"

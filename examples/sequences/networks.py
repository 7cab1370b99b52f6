"""Stock Keras networks for characters of a text, which `ta.convert` can convert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tf_alignment._support.optional import require

__all__ = ["NETWORKS", "Positions", "hub_transformer", "lstm", "transformer"]

_package = keras.saving.register_keras_serializable(package="sequences")


@_package
class Positions(keras.layers.Layer):
    """Layer that adds a learned vector to each position of a sequence."""

    def build(self, input_shape: Any) -> None:
        """Create the vectors, for sequences of the input's length."""
        self.vectors = self.add_weight(
            name="vectors",
            shape=tuple(input_shape[1:]),
            initializer=keras.initializers.RandomNormal(0.0, 0.02),
        )

    def call(self, inputs: Any) -> Any:
        """Add the vectors to inputs `(batch, length, width)`."""
        return inputs + self.vectors


def lstm(characters: int, length: int, units: int = 128, embedding: int = 64) -> keras.Model:
    """Return a network of embedding, LSTM, and dense readout at every position.

    Args:
        characters: Number of different characters.
        length: Number of characters per window.
        units: Number of units of the LSTM.
        embedding: Number of dimensions of the embedding.
    """
    return keras.Sequential(
        [
            keras.Input((length,), dtype="int32"),
            keras.layers.Embedding(characters, embedding, name="embedding"),
            keras.layers.LSTM(units, return_sequences=True, name="lstm"),
            keras.layers.Dense(characters, name="readout"),
        ],
        name="characters",
    )


def transformer(
    characters: int, length: int, layers: int = 3, width: int = 64, heads: int = 4
) -> keras.Model:
    """Return a decoder-only transformer, with normalisation before attention and before the MLP.

    Args:
        characters: Number of different characters.
        length: Number of characters per window.
        layers: Number of blocks.
        width: Number of units of the embedding and of every block.
        heads: Number of attention heads per block.
    """

    def block(x: Any, i: int) -> Any:
        normal = keras.layers.LayerNormalization(name=f"norm_attention_{i}")(x)
        attention = keras.layers.MultiHeadAttention(heads, width // heads, name=f"attention_{i}")
        x = keras.layers.Add()([x, attention(normal, normal, use_causal_mask=True)])
        hidden = keras.layers.LayerNormalization(name=f"norm_mlp_{i}")(x)
        hidden = keras.layers.Dense(4 * width, "gelu", name=f"up_{i}")(hidden)
        return keras.layers.Add()([x, keras.layers.Dense(width, name=f"down_{i}")(hidden)])

    return _decoder(characters, length, layers, width, block)


def hub_transformer(
    characters: int, length: int, layers: int = 3, width: int = 64, heads: int = 4
) -> keras.Model:
    """Return the transformer made of KerasHub's decoder blocks, layers of another library.

    Args:
        characters: Number of different characters.
        length: Number of characters per window.
        layers: Number of blocks.
        width: Number of units of the embedding and of every block.
        heads: Number of attention heads per block.
    """
    hub = require("keras_hub", "The network of KerasHub's blocks")

    def block(x: Any, i: int) -> Any:
        options = {"activation": "gelu", "normalize_first": True, "name": f"block_{i}"}
        return hub.layers.TransformerDecoder(4 * width, heads, **options)(x)

    return _decoder(characters, length, layers, width, block)


def _decoder(
    characters: int, length: int, layers: int, width: int, block: Callable[[Any, int], Any]
) -> keras.Model:
    """Return a network of embedding, positions, a stack of blocks, and readout at every position.

    Args:
        characters: Number of different characters.
        length: Number of characters per window.
        layers: Number of blocks.
        width: Number of units of the embedding and of every block.
        block: Function of an input tensor and the block's number that returns the block's output.
    """
    inputs = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(characters, width, name="embedding")(inputs)
    x = Positions(name="positions")(x)
    for i in range(layers):
        x = block(x, i)
    x = keras.layers.LayerNormalization(name="norm")(x)
    return keras.Model(inputs, keras.layers.Dense(characters, name="readout")(x), name="decoder")


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "lstm": lstm,
    "transformer": transformer,
    "hub_transformer": hub_transformer,
}

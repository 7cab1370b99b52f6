"""Networks that `peers.py` and `peers_biotorch.py` compare, and their initial numbers.

Both scripts import this file in different environments, so that it needs only numpy. Shapes are
those of Keras: images `(height, width, channels)`, dense kernels `(in, out)`, kernels of
convolutions `(height, width, in, out)`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

__all__ = [
    "METHODS",
    "NETWORKS",
    "VARIANTS",
    "Arrays",
    "Layer",
    "Network",
    "draw",
]

METHODS = ("backprop", "fa", "dfa", "usf", "brsf", "frsf")
"""Ids of the methods that both libraries have under the same name; backprop is the control."""

VARIANTS = {
    "tf_alignment": ("one_pass_sgd", "one_pass_sgd_xla"),
    "biotorch": ("channels_last", "compiled", "compiled_channels_last"),
}
"""Other ways of backpropagation in each library; the fastest way is the best reference."""

WAYS = {library: METHODS + variants for library, variants in VARIANTS.items()}

Arrays = dict[str, np.ndarray]
"""Arrays by name: `"x"`, `"y"`, and `"layer.quantity"` for every layer."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """Description of a dense layer, or of a convolution of stride 1.

    Attributes:
        name: Name of the layer.
        units: Number of units or filters.
        size: Height and width of the kernel of a convolution; 0 for a dense layer.
        same: Whether a convolution is padded to keep the size of its input.
        pool: Whether 2x2 max pooling follows the layer.
        last: Whether this is the output layer, which has no ReLU.
    """

    name: str
    units: int
    size: int = 0
    same: bool = False
    pool: bool = False
    last: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """Description of a network: layers in sequence, and the size of its batches.

    Attributes:
        input_shape: Shape of an input, `(features,)` or `(height, width, channels)`.
        layers: Layers from the lowest one to the output. An empty tuple stands for ResNet-20, which
            is only timed, with different initial weights in the two libraries.
        batch: Number of examples per batch.
        ways: Methods and variants with which each library is timed, `{library: names}`; empty for a
            network whose gradients are only compared.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    batch: int
    ways: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Number of units of the output layer."""
        return self.layers[-1].units if self.layers else 10

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Return `{layer: shape of its input}`, before a dense layer flattens this input."""
        shapes: dict[str, tuple[int, ...]] = {}
        shape = self.input_shape
        for layer in self.layers:
            shapes[layer.name] = shape
            if layer.size:
                lost = 0 if layer.same else layer.size - 1
                sides = [(side - lost) // (2 if layer.pool else 1) for side in shape[:2]]
                shape = (*sides, layer.units)
            else:
                shape = (layer.units,)
        return shapes

    def kernel_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return `{layer: shape of its kernel}`."""
        return {
            layer.name: (layer.size, layer.size, shape[-1], layer.units)
            if layer.size
            else (math.prod(shape), layer.units)
            for layer, shape in zip(self.layers, self.inputs().values(), strict=True)
        }


NETWORKS = {
    "mlp": Network(
        (784,),
        (Layer("hidden1", 512), Layer("hidden2", 512), Layer("output", 10, last=True)),
        batch=64,
        ways=WAYS,
    ),
    "lenet": Network(
        (28, 28, 1),
        (
            Layer("conv1", 6, size=5, same=True, pool=True),
            Layer("conv2", 16, size=5, pool=True),
            Layer("dense1", 120),
            Layer("dense2", 84),
            Layer("output", 10, last=True),
        ),
        batch=64,
        ways=WAYS,
    ),
    "resnet20": Network(
        (32, 32, 3),
        (),
        batch=128,
        # words joined by `_`: `fused` stands for fused batch normalisation, then comes a method
        ways={
            "tf_alignment": ("backprop", "fused", "fused_kp", "fused_sa", "fused_bfloat16"),
            "biotorch": (
                "backprop",
                *VARIANTS["biotorch"],
                "compiled_channels_last_bfloat16",
            ),
        },
    ),
    "tiny_dense": Network((5,), (Layer("hidden", 4), Layer("output", 3, last=True)), batch=6),
    "tiny_deep": Network(
        (6,),
        (Layer("hidden1", 5), Layer("hidden2", 4), Layer("output", 3, last=True)),
        batch=6,
    ),
    "tiny_conv": Network(
        (6, 6, 2),
        (
            Layer("conv1", 3, size=3, same=True, pool=True),
            Layer("conv2", 4, size=2),
            Layer("output", 3, last=True),
        ),
        batch=4,
    ),
}
"""Networks by name: those with `ways` are timed, the tiny ones give the numbers of `tests/`."""


def draw(network: Network, seed: int) -> Arrays:
    """Draw the numbers of a comparison, with the standard deviation of Glorot's initializer.

    Args:
        network: Description of the network.
        seed: Seed of numpy's generator.

    Returns:
        A batch `x`, its labels `y`, and for every layer `kernel`, `bias`, and `feedback` with the
        shape of the kernel. All layers except the first also have `direct`, the kernel of
        BioTorch's direct feedback, whose last axis has the network's outputs in place of the
        layer's units.
    """
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...]) -> np.ndarray:
        field = math.prod(shape[:-2])
        deviation = math.sqrt(2.0 / (field * (shape[-2] + shape[-1])))
        return rng.normal(0.0, deviation, shape).astype(np.float32)

    arrays: Arrays = {
        "x": rng.standard_normal((network.batch, *network.input_shape), dtype=np.float32),
        "y": rng.integers(0, network.outputs, network.batch),
    }
    for i, (name, shape) in enumerate(network.kernel_shapes().items()):
        arrays[f"{name}.kernel"] = normal(shape)
        arrays[f"{name}.bias"] = rng.normal(0.0, 0.1, shape[-1]).astype(np.float32)
        arrays[f"{name}.feedback"] = normal(shape)
        if i:
            arrays[f"{name}.direct"] = normal((*shape[:-1], network.outputs))
    return arrays

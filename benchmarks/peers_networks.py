"""What `peers.py` and `peers_biotorch.py` compare: networks and the numbers they start from.

Both sides import this file, each in an environment of its own: it needs nothing but numpy. Shapes
are those of Keras: images `(height, width, channels)`, dense kernels `(in, out)`, kernels of
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
"""The methods that both libraries have, by the name that both give them; backprop the control."""

VARIANTS = {
    "tf_alignment": ("one_pass_sgd", "one_pass_sgd_xla"),
    "biotorch": ("channels_last", "compiled", "compiled_channels_last"),
}
"""Backprop in other ways than the default: whichever is fastest is the best peer."""

WAYS = {library: METHODS + variants for library, variants in VARIANTS.items()}

Arrays = dict[str, np.ndarray]
"""`"x"`, `"y"`, and `"layer.quantity"` of every layer."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A dense layer, or a convolution of stride 1.

    Attributes:
        name: Its name.
        units: Units or filters.
        size: Side of the kernel of a convolution; 0 for a dense layer.
        same: Whether a convolution is padded to keep its input's size.
        pool: Whether 2x2 max pooling follows.
        last: Whether this is the output, which has no ReLU.
    """

    name: str
    units: int
    size: int = 0
    same: bool = False
    pool: bool = False
    last: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """Layers one after the other, on batches of a fixed size.

    Attributes:
        input_shape: `(features,)` or `(height, width, channels)`.
        layers: From the lowest to the output. None: ResNet-20, which is timed only, each library
            from a start of its own.
        batch: Examples in a batch.
        ways: What each library is timed with; nothing for a network that is only compared.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    batch: int
    ways: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Units of the output."""
        return self.layers[-1].units if self.layers else 10

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """`{layer: shape of its input}`, before a dense layer flattens it."""
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
        """`{layer: shape of its kernel}`."""
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
        # words joined by `_`: `fused` is of normalisation, a method comes after it
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
"""What has ways is measured; the tiny ones make the numbers of `tests/`."""


def draw(network: Network, seed: int) -> Arrays:
    """Numbers for a comparison, of the spread of Glorot's initializer.

    Args:
        network: The network.
        seed: Of numpy's generator.

    Returns:
        A batch `x`, its labels `y`, and of every layer `kernel`, `bias`, `feedback` (of the
        kernel's shape) and, but for the first, `direct`: the kernel that BioTorch's direct feedback
        uses, of the kernel's shape with the network's outputs in place of the layer's units.
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

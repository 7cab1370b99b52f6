"""Answer the requests of `peers.py` with BioTorch, in an interpreter that `peers.py` starts.

Each request is a line of JSON on the standard input, and each answer is a line of JSON on the
standard output. Arrays are exchanged as `.npz` files with the shapes of Keras (see
`peers_networks.py`), which this file converts to those of torch. Only the part of BioTorch that
builds layers is imported, so that torchvision is not needed.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.metadata
import itertools
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import peers_networks as networks
import torch
from biotorch.module.biomodule import BioModule
from torch import nn

loss_function = nn.CrossEntropyLoss()


def build(network: networks.Network, method: str) -> nn.Module:
    """Build a network in torch, and convert it by BioTorch unless the method is `"backprop"`.

    Args:
        network: Description of the network.
        method: Method id.
    """
    if not network.layers:
        return residual()
    stack: list[tuple[str, nn.Module]] = []
    for layer, shape in zip(network.layers, network.inputs().values(), strict=True):
        if layer.size:
            padding = layer.size // 2 if layer.same else 0
            convolution = nn.Conv2d(shape[-1], layer.units, layer.size, padding=padding)
            stack.append((layer.name, convolution))
        else:
            if len(shape) > 1:
                stack.append(("features", nn.Flatten()))
            stack.append((layer.name, nn.Linear(int(np.prod(shape)), layer.units)))
        if not layer.last:
            stack.append((f"{layer.name}_relu", nn.ReLU()))
        if layer.pool:
            stack.append((f"{layer.name}_pool", nn.MaxPool2d(2)))
    stock = nn.Sequential(collections.OrderedDict(stack))
    if method == "backprop":
        return stock
    with contextlib.redirect_stdout(None):  # BioTorch prints what it has converted
        return BioModule(stock, mode=method, output_dim=network.outputs)


class Block(nn.Module):
    """Residual block of two convolutions, whose shortcut to more filters is padded with zeros.

    Args:
        inputs: Number of input channels.
        filters: Number of output channels.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.step = filters // inputs
        self.added = filters - inputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, filters, 3, self.step, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(batch, inputs, height, width)` to `(batch, filters, ...)`."""
        short = x
        if self.added:
            short = nn.functional.pad(x[:, :, :: self.step, :: self.step], (0,) * 5 + (self.added,))
        return torch.relu(short + self.body(x))


def residual() -> nn.Module:
    """Build ResNet-20 for images of 32x32 pixels with three channels."""
    filters = [16] * 4 + [32] * 3 + [64] * 3
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block(*pair) for pair in itertools.pairwise(filters)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*stem, *blocks, *head)


def layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers of a model that have a kernel, `{name of the layer: module}`."""
    stack = model.module if isinstance(model, BioModule) else model
    return {name: module for name, module in stack.named_children() if hasattr(module, "weight")}


def to_torch(kernel: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    """Convert a kernel from the shape of Keras to that of torch.

    Args:
        kernel: Kernel in the shape of Keras.
        shape: Shape of the layer's input in Keras, before a dense layer flattens it.
    """
    if kernel.ndim == 4:
        return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    if len(shape) > 1:  # torch flattens images with channels first, so that rows change their order
        kernel = kernel.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return torch.from_numpy(kernel.T.copy())


def to_keras(kernel: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Convert a kernel from the shape of torch to that of Keras: the inverse of `to_torch`."""
    array = kernel.detach().numpy()
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T
    if len(shape) > 1:
        height, width, channels = shape
        images = array.reshape(channels, height, width, -1)
        array = images.transpose(1, 2, 0, 3).reshape(array.shape)
    return array


def load(model: nn.Module, network: networks.Network, method: str, arrays: networks.Arrays) -> None:
    """Set the forward weights of a model, and its stored feedback weights.

    Args:
        model: Model of `build`.
        network: Description of the network.
        method: Method of the model.
        arrays: Numbers of `peers_networks.draw`.
    """
    shapes = network.inputs()
    with torch.no_grad():
        for name, module in layers(model).items():
            module.weight.copy_(to_torch(arrays[f"{name}.kernel"], shapes[name]))
            module.bias.copy_(torch.from_numpy(arrays[f"{name}.bias"]))
            if method == "fa":
                feedback = to_torch(arrays[f"{name}.feedback"], shapes[name])
                module.weight_backward.copy_(feedback)
            elif method == "frsf":  # BioTorch stores the magnitudes of these feedback weights
                feedback = to_torch(arrays[f"{name}.feedback"], shapes[name])
                module.weight_backward.copy_(feedback.abs())
            elif method == "dfa" and f"{name}.direct" in arrays:
                feedback = to_torch(arrays[f"{name}.direct"], shapes[name])
                module.weight_backward.copy_(feedback)


def batch(arrays: networks.Arrays) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and labels as tensors, images with channels first."""
    x = arrays["x"]
    x = x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x
    return torch.from_numpy(x), torch.from_numpy(arrays["y"])


def forward(model: nn.Module, method: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch; direct feedback computes it in the forward pass too."""
    outputs = model(x, y, loss_function) if method == "dfa" else model(x)
    return loss_function(outputs, y)


def gradients(network: networks.Network, method: str, arrays: networks.Arrays) -> networks.Arrays:
    """Return the gradients of kernels and biases, and numbers that BioTorch chose itself.

    Args:
        network: Description of the network.
        method: Method id.
        arrays: Numbers of `peers_networks.draw`.

    Returns:
        Gradients `"layer.kernel"` and `"layer.bias"`; for brsf also `"layer.draw"`, the feedback
        kernel that the forward pass drew; for usf also `"layer.scale"`.
    """
    model = build(network, method).train()
    load(model, network, method, arrays)
    forward(model, method, *batch(arrays)).backward()
    shapes = network.inputs()
    found: networks.Arrays = {}
    for name, module in layers(model).items():
        found[f"{name}.kernel"] = to_keras(module.weight.grad, shapes[name])
        found[f"{name}.bias"] = module.bias.grad.numpy()
        if method == "brsf":
            found[f"{name}.draw"] = to_keras(module.weight_backward, shapes[name])
        elif method == "usf":
            found[f"{name}.scale"] = np.array(module.scaling_factor, np.float32)
    return found


def stepper(
    network: networks.Network, method: str, arrays: networks.Arrays
) -> Callable[[int], tuple[float, float]]:
    """Return a function that runs and times training steps in a plain loop.

    Args:
        network: Description of the network.
        method: Method in `peers_networks.METHODS`; or options of plain torch, joined by `_`:
            `channels_last`, `compiled`, `bfloat16`.
        arrays: Numbers of `peers_networks.draw`.

    Returns:
        `f(steps)`, which returns elapsed seconds and seconds of processor time per step.
    """
    variant = "" if method in networks.METHODS else method
    method = "backprop" if variant else method
    model = build(network, method).train()
    x, y = batch(arrays)
    if "channels_last" in variant:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    if "compiled" in variant:
        model = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, fused=bool(variant))

    def run(steps: int) -> tuple[float, float]:
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in variant):
                loss = forward(model, method, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not np.isfinite(loss.item()):
            raise RuntimeError(f"The loss of {method} is not finite: not a normal step.")
        seconds = time.perf_counter() - start, time.process_time() - processor
        return seconds[0] / steps, seconds[1] / steps

    return run


def read(path: str) -> networks.Arrays:
    """Read the arrays of an `.npz` file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def versions() -> dict[str, str]:
    """Return the versions of BioTorch, torch, numpy and Python."""
    return {
        "biotorch": importlib.metadata.version("biotorch"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # BioTorch uses backward hooks of a kind that torch deprecates.
    warnings.filterwarnings("ignore", "Using a non-full backward hook", FutureWarning)
    answers = sys.stdout
    steppers: dict[tuple[str, str], Callable[[int], tuple[float, float]]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if request["what"] == "versions":
            answer = versions()
        else:
            name, method = request["network"], request["method"]
            network = networks.NETWORKS[name]
            if request["what"] == "gradients":
                found = gradients(network, method, read(request["arrays"]))
                np.savez(request["output"], allow_pickle=False, **found)
                answer = request["output"]
            else:
                if (name, method) not in steppers:
                    steppers[name, method] = stepper(network, method, read(request["arrays"]))
                answer = steppers[name, method](request["steps"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

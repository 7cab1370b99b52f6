"""Time of two parts of a training step against what they replace: input gradients and noise.

    python benchmarks/parts.py --output docs/results/step_time/parts.json

The error that a convolution sends down, computed as a forward convolution with the kernel reversed,
over the time of TensorFlow's own input gradient; and the noise of alignment rules over normal
numbers. Both take turns, so that drifts fall on both alike; ratios of processor time, medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import files
import tensorflow as tf

from tf_alignment._support.noise import signs

# window, image, channels in and out
CONVOLUTIONS = (
    *((3, 32, i, o) for i, o in ((3, 16), (8, 16), (16, 8), (16, 16), (16, 32), (32, 16))),
    *((3, 16, i, o) for i, o in ((16, 32), (32, 32), (32, 64), (64, 32))),
    *((3, 8, i, o) for i, o in ((32, 64), (64, 64), (64, 128), (128, 64), (128, 128))),
    *((5, 32, i, o) for i, o in ((3, 16), (16, 16), (32, 16))),
    *((5, 8, i, o) for i, o in ((32, 64), (64, 64), (128, 128))),
)
NUMBERS = 2_000_000


def ratio(new: Callable[[], Any], old: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Processor time of one function over that of another, in turns."""
    found = []
    for _ in range(rounds + 1):  # the first compiles
        seconds = []
        for function in (new, old):
            start = time.process_time()
            function()
            seconds.append(time.process_time() - start)
        found.append(seconds)
    ratios = [a / b for a, b in found[1:]]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "ms": 1000.0 * statistics.median(a for a, _ in found[1:]),
    }


def input_gradient(window: int, image: int, inputs: int, outputs: int, rounds: int) -> Any:
    """A row for one convolution, batch 32."""
    kernel = tf.random.normal((window, window, inputs, outputs))
    error = tf.random.normal((32, image, image, outputs))
    shape = (32, image, image, inputs)

    @tf.function(autograph=False)
    def forward() -> tf.Tensor:
        turned = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
        return tf.nn.conv2d(error, turned, 1, "SAME")

    @tf.function(autograph=False)
    def gradient() -> tf.Tensor:
        return tf.nn.conv2d_transpose(error, kernel, shape, 1, "SAME")

    row = {"window": window, "image": image, "inputs": inputs, "outputs": outputs}
    return row | ratio(forward, gradient, rounds)


def noise(rounds: int) -> Any:
    """The row of ±1 over normal numbers."""
    seed = tf.constant([1, 2])
    drawn = tf.function(lambda: signs(1.0, tf.constant([NUMBERS]), seed), autograph=False)
    normal = tf.function(lambda: tf.random.stateless_normal((NUMBERS,), seed), autograph=False)
    return {"numbers": NUMBERS} | ratio(drawn, normal, rounds)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("results/bench/parts.json"))
    given = parser.parse_args()
    rows = [input_gradient(*one, given.rounds) for one in CONVOLUTIONS]
    for row in rows:
        print("{window}×{window}, {image}×{image}, {inputs}→{outputs}: {ratio:.2f}".format(**row))
    found = noise(given.rounds)
    print("signs over normal numbers: {ratio:.2f} ({ms:.1f} ms)".format(**found))
    content = {**files.circumstances(), "input_gradient": rows, "noise": found}
    files.write(given.output, content)


if __name__ == "__main__":
    main()

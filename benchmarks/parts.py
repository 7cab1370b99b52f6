"""Compare the time of input gradients and of noise with that of the operations they replace.

    python benchmarks/parts.py --output docs/results/step_time/parts.json

The first comparison is for the error that a convolution sends down: a forward convolution with the
reversed kernel, against TensorFlow's own input gradient. The second one is for the noise of
alignment rules: random signs against normal numbers. The two operations of a comparison take turns,
so that slow drifts of the machine affect both equally. Results are ratios of processor time, as
medians over the rounds.
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

# (side of the kernel, side of the image, input channels, output channels)
CONVOLUTIONS = (
    *((3, 32, i, o) for i, o in ((3, 16), (8, 16), (16, 8), (16, 16), (16, 32), (32, 16))),
    *((3, 16, i, o) for i, o in ((16, 32), (32, 32), (32, 64), (64, 32))),
    *((3, 8, i, o) for i, o in ((32, 64), (64, 64), (64, 128), (128, 64), (128, 128))),
    *((5, 32, i, o) for i, o in ((3, 16), (16, 16), (32, 16))),
    *((5, 8, i, o) for i, o in ((32, 64), (64, 64), (128, 128))),
)
NUMBERS = 2_000_000


def ratio(new: Callable[[], Any], old: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Measure the ratio of two functions' processor times, in turns.

    Args:
        new: Function whose time is in the numerator.
        old: Function whose time is in the denominator.
        rounds: Number of turns of each function.

    Returns:
        Median, `lowest` and `highest` ratio, and the median time `ms` of `new` in milliseconds.
    """
    found = []
    for _ in range(rounds + 1):  # in the first round TensorFlow compiles; it is not counted
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
    """Measure the input gradient of one convolution, with a batch size of 32.

    Args:
        window: Height and width of the kernel.
        image: Height and width of the images.
        inputs: Number of input channels.
        outputs: Number of output channels.
        rounds: Number of turns.

    Returns:
        Row with the sizes of the convolution and the numbers of `ratio`.
    """
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
    """Measure the time of random signs ±1 relative to that of normal random numbers.

    Args:
        rounds: Number of turns.

    Returns:
        Row with the count of random numbers and the numbers of `ratio`.
    """
    seed = tf.constant([1, 2])
    drawn = tf.function(lambda: signs(1.0, tf.constant([NUMBERS]), seed), autograph=False)
    normal = tf.function(lambda: tf.random.stateless_normal((NUMBERS,), seed), autograph=False)
    return {"numbers": NUMBERS} | ratio(drawn, normal, rounds)


def main() -> None:
    """Measure all convolutions and the noise, print the rows, and write them to a file."""
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

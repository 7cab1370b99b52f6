"""Deep networks whose dense layers SAL aligns every epoch, against BP, FA and KP.

python -m examples.sal.deep --quick
python -m examples.sal.deep --network conv --dataset cifar10 --data-dir ~/tensorflow_datasets

`perceptron` is 784-256-128-64-10 with ReLU. `conv` is the network of `examples/rdd`, two
convolutions and dense layers of 384, 192 and 10: with SAL the convolutions keep random feedback, as
in the paper. `--unbalanced` takes neurons as published. `--quick` takes the embedded digits. A
killed run goes on from its last epoch when it is started with the same arguments.

The learning rate falls to 0 along a cosine: at a constant one the noise that is left in B, another
one every epoch, makes W grow until training diverges (on MNIST after ten epochs).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line, networks
from examples.rdd import data as rdd_data
from examples.rdd import network as rdd_network
from examples.sal.files import common, new_parser, unfinished, write

BATCH = 64
METHODS = ("backprop", "fa", "kp", "sal")


def perceptron(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Three hidden layers."""
    names = ("dense256", "dense128", "dense64", "top")
    return networks.perceptron(shape, (256, 128, 64, classes), names)


def conv(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Two convolutions and three dense layers."""
    _, size, channels = shape
    return rdd_network.convolutional(size, channels, classes)


NETWORKS = {"perceptron": perceptron, "conv": conv}
LOAD = {"perceptron": ta.data.load, "conv": rdd_data.load}


def train(method: str, data: ta.data.Arrays, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with one method; its curves over the epochs."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(arguments.seed)
    stock = NETWORKS[arguments.network](data.train.x.shape[1:], data.classes)
    model = ta.convert(stock, "fa" if method == "sal" else method, feedback_initializer=None)
    decay = arguments.decay if method == "kp" else 0.0
    steps = arguments.epochs * (len(data.train.x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(arguments.rate, steps)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=decay),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=arguments.network == "perceptron",  # XLA is slow in convolutions on a CPU
    )
    batches = ta.data.EpochShuffled(*data.train, BATCH, seed=arguments.seed, drop_remainder=True)
    callbacks = [ta.callbacks.AlignmentMonitor(probe_data=probe(data))]
    phases = [phase(arguments)] if method == "sal" else []
    callbacks = [*(ta.callbacks.FeedbackCallback(p) for p in phases), *callbacks]
    callbacks.append(
        ta.callbacks.Resume(unfinished(arguments, method), data=batches, phases=phases)
    )
    start = time.perf_counter()
    history = model.fit(
        batches.dataset,
        epochs=arguments.epochs,
        validation_data=tuple(data.test),
        validation_batch_size=500,
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    ).history
    curves = {name: [round(float(v), 5) for v in values] for name, values in history.items()}
    first = next(name for name in curves if name.endswith("gradient_angle"))
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "first layer": first,
        "curves": curves,
    }


def phase(arguments: argparse.Namespace) -> ta.phases.SAL:
    """SAL before every epoch."""
    return ta.phases.SAL(
        steps=arguments.steps,
        seed=arguments.seed,
        rate=arguments.feedback_rate,
        balanced=not arguments.unbalanced,
    )


def probe(data: ta.data.Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Examples on which gradients are compared."""
    return data.test.x[:256], data.test.y[:256]


def draw(runs: dict[str, dict[str, Any]]) -> Any:
    """Accuracy, and the first layer's gradient angle, over epochs."""
    figure, [[accuracy, angle]] = common.new_figure(1, 2)
    for method, run in runs.items():
        curves = run["curves"]
        epochs = range(1, len(curves["val_accuracy"]) + 1)
        accuracy.plot(epochs, [100 * a for a in curves["val_accuracy"]], label=method)
        angle.plot(epochs, curves[run["first layer"]], label=method)
    accuracy.set(xlabel="epoch", ylabel="test accuracy, %")
    angle.set(xlabel="epoch", ylabel="gradient angle, first layer (°)")
    accuracy.legend()
    return figure


def parse() -> argparse.Namespace:
    """The command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), default="perceptron")
    parser.add_argument("--dataset", help="TFDS name (mnist; --quick: digits)")
    common.add_data_dir(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="ID")
    parser.add_argument("--epochs", type=common.positive, help="6, or 4 with --quick")
    parser.add_argument(
        "--rate", type=float, default=0.01, help="of the forward weights at the start (0.01)"
    )
    parser.add_argument(
        "--steps", type=common.positive, help="of SAL before an epoch (4000; --quick: 2000)"
    )
    parser.add_argument("--feedback-rate", type=float, default=0.03, help="of SAL (0.03)")
    parser.add_argument("--decay", type=float, default=0.01, help="weight decay of KP (0.01)")
    parser.add_argument(
        "--unbalanced", action="store_true", help="neurons as published, see the phase"
    )
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or ("digits" if arguments.quick else "mnist")
    arguments.steps = arguments.steps or (2000 if arguments.quick else 4000)
    arguments.epochs = arguments.epochs or (4 if arguments.quick else 6)
    return arguments


def main(arguments: argparse.Namespace) -> None:
    """Train, print, draw."""
    data = LOAD[arguments.network](arguments.dataset, arguments.data_dir)
    runs: dict[str, dict[str, Any]] = {}
    print(common.markdown(("method", "test accuracy", "gradient angle", "weight angle", "s")))
    for method in arguments.methods:
        run = runs[method] = train(method, data, arguments)
        curves = run["curves"]
        row = (
            method,
            f"{100 * curves['val_accuracy'][-1]:.2f} %",
            f"{curves[run['first layer']][-1]:.1f}°",
            f"{curves['mean/weight_angle'][-1]:.1f}°" if "mean/weight_angle" in curves else "-",
            f"{run['seconds']:.1f}",
        )
        print(common.markdown_row(row), flush=True)
    write(arguments, f"deep-{arguments.network}-{arguments.dataset}", {"runs": runs}, draw(runs))


if __name__ == "__main__":
    command_line.run(lambda: main(parse()))

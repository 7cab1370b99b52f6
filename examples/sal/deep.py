"""Deep networks whose dense layers SAL aligns every epoch, against BP, FA and KP.

python examples/sal/deep.py --quick
python examples/sal/deep.py --network conv --dataset cifar10 --data-dir ~/tensorflow_datasets

`perceptron` is 784-256-128-64-10 with ReLU. `conv` has two convolutions 5×5×64 with batch
normalisation and pooling and dense layers of 384, 192 and 10: with SAL the convolutions keep
random feedback, as in the paper. `--unbalanced` takes neurons as published. `--quick` takes the
embedded digits.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from sal_files import new_parser, write

import tf_alignment as ta

METHODS = ("backprop", "fa", "kp", "sal")
layers = keras.layers


def perceptron(shape: tuple[int, ...]) -> keras.Model:
    """Three hidden layers."""
    hidden = [layers.Dense(n, "relu", name=f"dense{n}") for n in (256, 128, 64)]
    return keras.Sequential(
        [keras.Input(shape), layers.Flatten(), *hidden, layers.Dense(10, name="top")]
    )


def conv(shape: tuple[int, ...]) -> keras.Model:
    """Two convolutions and three dense layers."""
    stack: list[Any] = [keras.Input(shape)]
    for i in (1, 2):
        stack += [
            layers.Conv2D(64, 5, padding="same", use_bias=False, name=f"conv{i}"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
        ]
    stack += [layers.Flatten(), *(layers.Dense(n, "relu", name=f"dense{n}") for n in (384, 192))]
    return keras.Sequential([*stack, layers.Dense(10, name="top")])


NETWORKS = {"perceptron": perceptron, "conv": conv}


def train(method: str, data: ta.data.Arrays, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with one method; its curves over the epochs."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(arguments.seed)
    stock = NETWORKS[arguments.network](data.train.x.shape[1:])
    model = ta.convert(stock, "fa" if method == "sal" else method)
    decay = arguments.decay if method == "kp" else 0.0
    model.compile(
        keras.optimizers.SGD(arguments.rate, momentum=0.9, weight_decay=decay),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=True,
    )
    batches = ta.data.EpochShuffled(*data.train, 64, seed=arguments.seed, drop_remainder=True)
    callbacks = [ta.callbacks.AlignmentMonitor(probe_data=probe(data))]
    if method == "sal":
        callbacks.insert(0, ta.callbacks.FeedbackCallback(phase(arguments)))
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
    """SAL whose rate decays from epoch to epoch."""
    steps = 2000 if arguments.quick else 4000
    return ta.phases.SAL(
        steps,
        seed=arguments.seed,
        rate=keras.optimizers.schedules.InverseTimeDecay(0.07, steps // 50, 0.5, staircase=True),
        balanced=not arguments.unbalanced,
    )


def probe(data: ta.data.Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Examples on which gradients are compared."""
    return data.test.x[:256], data.test.y[:256]


def draw(runs: dict[str, dict[str, Any]]) -> Figure:
    """Accuracy, and the first layer's gradient angle, over epochs."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    accuracy, angle = figure.subplots(1, 2)
    for method, run in runs.items():
        curves = run["curves"]
        epochs = range(1, len(curves["val_accuracy"]) + 1)
        accuracy.plot(epochs, [100 * a for a in curves["val_accuracy"]], label=method)
        angle.plot(epochs, curves[run["first layer"]], label=method)
    accuracy.set(xlabel="epoch", ylabel="test accuracy, %")
    angle.set(xlabel="epoch", ylabel="gradient angle of the first layer, degrees")
    accuracy.legend()
    return figure


def parse() -> argparse.Namespace:
    """The command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), default="perceptron")
    parser.add_argument("--dataset", help="TFDS name (mnist; --quick: digits)")
    parser.add_argument("--data-dir", help="where the TensorFlow Datasets are")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="ID")
    parser.add_argument("--epochs", type=int, help="6, or 4 with --quick")
    parser.add_argument("--rate", type=float, default=0.01, help="of the forward weights (0.01)")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay of KP (0.05)")
    parser.add_argument(
        "--unbalanced", action="store_true", help="neurons as published, see the phase"
    )
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or ("digits" if arguments.quick else "mnist")
    arguments.epochs = arguments.epochs or (4 if arguments.quick else 6)
    return arguments


def main(arguments: argparse.Namespace) -> None:
    """Train, print, draw."""
    data = ta.data.load(arguments.dataset, arguments.data_dir)
    runs: dict[str, dict[str, Any]] = {}
    print(f"{'':<10}{'test accuracy':>15}{'gradient angle':>16}{'weight angle':>14}{'s':>8}")
    for method in arguments.methods:
        run = runs[method] = train(method, data, arguments)
        curves = run["curves"]
        weights = curves.get("mean/weight_angle", [0.0])
        print(
            f"{method:<10}{100 * curves['val_accuracy'][-1]:>13.2f} %"
            f"{curves[run['first layer']][-1]:>15.1f}°{weights[-1]:>13.1f}°{run['seconds']:>8.1f}",
            flush=True,
        )
    write(arguments, f"deep-{arguments.network}-{arguments.dataset}", {"runs": runs}, draw(runs))


if __name__ == "__main__":
    main(parse())

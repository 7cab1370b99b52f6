"""Compare this library with BioTorch: gradients for the same numbers, and time of a training step.

    make peers
    make peers ARGS="--networks mlp --rounds 3"

BioTorch runs in an interpreter of its own (`peers_biotorch.py`), since it needs torch. Both sides
build the networks of `peers_networks.py` with the same forward weights, feedback weights and batch,
and the gradients of all kernels and biases are compared. Then both libraries train in the way of
their users: this library through the function that `fit` compiles, BioTorch in a plain loop. The
libraries and methods take turns of a few steps, with one thread. The ratio is that to plain
backpropagation in the same library and round.

`docs/results/biotorch.md` says where the libraries agree and where they do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import files
import keras
import numpy as np
import peers_networks as networks
import step_time
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.layers.direct import OutputTap
from tf_alignment.plots.style import caption, new_figure, save

LIBRARIES = tuple(networks.VARIANTS)
MEASURED = [name for name, network in networks.NETWORKS.items() if network.ways]
FEEDBACK = networks.METHODS[1:]  # all but backpropagation
SEED = 0
Report = dict[str, Any]
Turn = Callable[[int], tuple[float, float]]


class Peer:
    """BioTorch in another interpreter.

    Args:
        python: Path of the interpreter.
        directory: Directory of the files in which arrays are exchanged.

    Raises:
        RuntimeError: From `ask`, if the other interpreter has ended without an answer.
    """

    def __init__(self, python: str, directory: Path) -> None:
        script = Path(__file__).with_name("peers_biotorch.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [python, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._directory = directory

    def ask(self, **request: Any) -> Any:
        """Send a request as JSON, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"BioTorch's side has ended; its message is above. {request=}")
        return json.loads(answer)

    def gradients(self, name: str, method: str, arrays: networks.Arrays) -> networks.Arrays:
        """Return the gradients of BioTorch, see `peers_biotorch.gradients`.

        Args:
            name: Name in `peers_networks.NETWORKS`.
            method: Method id.
            arrays: Numbers of `peers_networks.draw`.
        """
        answer = self.ask(
            what="gradients",
            network=name,
            method=method,
            arrays=self._send(name, arrays),
            output=str(self._directory / f"{name}_{method}_gradients.npz"),
        )
        with np.load(answer, allow_pickle=False) as file:
            return dict(file)

    def stepper(self, name: str, method: str, arrays: networks.Arrays) -> Turn:
        """Return a function that runs and times training steps of BioTorch.

        The function is like that of `step_time.stepper`.

        Args:
            name: Name in `peers_networks.NETWORKS`.
            method: Method id, or a variant of backpropagation.
            arrays: Numbers of `peers_networks.draw`.
        """
        path = self._send(name, arrays)

        def run(steps: int) -> tuple[float, float]:
            wall, processor = self.ask(
                what="steps", network=name, method=method, arrays=path, steps=steps
            )
            return wall, processor

        return run

    def close(self) -> None:
        """End the other interpreter."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _send(self, name: str, arrays: networks.Arrays) -> str:
        path = self._directory / f"{name}.npz"
        np.savez(path, allow_pickle=False, **arrays)
        return str(path)


def build(network: networks.Network, feedback: Any) -> keras.Model:
    """Build a network of stock Keras layers, and convert it unless `feedback` is `"backprop"`.

    Args:
        network: Description of the network.
        feedback: Method for `ta.convert`; for ResNet-20, a way of `residual`.
    """
    if not network.layers:
        return residual(feedback)
    model = keras.Sequential([keras.Input(network.input_shape)])
    for layer, shape in zip(network.layers, network.inputs().values(), strict=True):
        activation = None if layer.last else "relu"
        if layer.size:
            padding = "same" if layer.same else "valid"
            model.add(
                keras.layers.Conv2D(
                    layer.units,
                    layer.size,
                    padding=padding,
                    activation=activation,
                    name=layer.name,
                )
            )
        else:
            if len(shape) > 1:
                model.add(keras.layers.Flatten())
            model.add(keras.layers.Dense(layer.units, activation, name=layer.name))
        if layer.pool:
            model.add(keras.layers.MaxPooling2D())
    return model if feedback == "backprop" else ta.convert(model, feedback)


def load(
    model: keras.Model,
    network: networks.Network,
    method: str,
    arrays: networks.Arrays,
    decided: networks.Arrays,
) -> None:
    """Set the forward weights of a model, and its stored feedback weights.

    Args:
        model: Model of `build`.
        network: Description of the network.
        method: Method of the model.
        arrays: Numbers of `peers_networks.draw`.
        decided: Numbers that BioTorch chose itself: the scale of usf.
    """
    for layer in network.layers:
        ours = model.get_layer(layer.name)
        ours.kernel.assign(arrays[f"{layer.name}.kernel"])
        ours.bias.assign(arrays[f"{layer.name}.bias"])
        stored = getattr(ours, "feedback_weights", {})
        if "feedback_kernel" in stored:
            stored["feedback_kernel"].assign(arrays[f"{layer.name}.feedback"])
        if method == "usf" and stored:
            stored["feedback_scale"].assign(decided[f"{layer.name}.scale"])
        if method == "brsf" and stored:
            stored["feedback_scale"].assign(1.0)
    if method == "dfa":
        [tap] = [layer for layer in model.layers if isinstance(layer, OutputTap)]
        for below, layer in zip(network.layers, network.layers[1:], strict=False):
            matrix = direct_matrix(network, layer, arrays[f"{layer.name}.direct"])
            tap.feedback_weights[below.name].assign(matrix)


def direct_matrix(
    network: networks.Network, layer: networks.Layer, kernel: np.ndarray
) -> np.ndarray:
    """Return the matrix that is equivalent to BioTorch's direct feedback to a layer.

    BioTorch sends the output error to the input of a layer, which is the output of the block below.
    For a dense layer, the feedback weights are this matrix. For a convolution, the error of each
    output is spread evenly over the output positions of the convolution, and sent through a kernel
    as if the convolution had this kernel.

    Args:
        network: Description of the network.
        layer: Layer whose input receives the error.
        kernel: Feedback weights of BioTorch, `(in, outputs)`, or `(height, width, in, outputs)` for
            a convolution.

    Returns:
        Matrix, `(units below, outputs)`.
    """
    if not layer.size:
        return kernel
    height, width, channels = network.inputs()[layer.name]
    lost = 0 if layer.same else layer.size - 1
    one_a_row = np.eye(network.outputs, dtype=np.float32)[:, None, None, :]
    spread = np.tile(one_a_row, (1, height - lost, width - lost, 1))
    sent = tf.nn.conv2d_transpose(
        spread,
        kernel,
        (network.outputs, height, width, channels),
        strides=1,
        padding="SAME" if layer.same else "VALID",
    )
    return np.reshape(sent, (network.outputs, -1)).T


def gradients(
    network: networks.Network, method: str, arrays: networks.Arrays, decided: networks.Arrays
) -> networks.Arrays:
    """Return the gradients of kernels and biases in this library.

    Args:
        network: Description of the network.
        method: Method id.
        arrays: Numbers of `peers_networks.draw`.
        decided: Numbers that BioTorch chose itself: scales of usf, draws of brsf.

    Returns:
        Gradients, `{"layer.kernel": array, "layer.bias": array}`.
    """
    # With normal magnitudes, brsf draws with one call, which `given_draws` replaces.
    feedback = ta.feedback.BatchRandomSignSymmetry("normal") if method == "brsf" else method
    model = build(network, feedback)
    load(model, network, method, arrays, decided)
    names = [layer.name for layer in network.layers]
    trained = [(n, w) for n in names for w in model.get_layer(n).trainable_variables]
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    drawn = [decided[f"{name}.draw"] for name in names if method == "brsf"]
    with given_draws(drawn), tf.GradientTape() as tape:
        loss = loss_function(arrays["y"], model(arrays["x"], training=True))
        found = tape.gradient(loss, [weight.value for _, weight in trained])
    return {f"{n}.{w.name}": g.numpy() for (n, w), g in zip(trained, found, strict=True)}


@contextlib.contextmanager
def given_draws(draws: Iterable[np.ndarray]) -> Iterator[None]:
    """Replace the normal random numbers of TensorFlow by given arrays, chosen by their shape."""
    by_shape = {draw.shape: tf.constant(draw) for draw in draws}

    def given(shape: Any, seed: Any, stddev: float) -> tf.Tensor:
        return stddev * by_shape[tuple(shape)]

    with mock.patch.object(tf.random, "stateless_normal", given):
        yield


def differences(ours: networks.Arrays, theirs: networks.Arrays) -> dict[str, float]:
    """Return the relative difference of each array in `ours`.

    Args:
        ours: Gradients of this library.
        theirs: Gradients of BioTorch.

    Returns:
        `{name of the array: largest difference divided by the largest entry}`.
    """
    return {
        key: float(np.max(np.abs(value - theirs[key])) / np.max(np.abs(theirs[key])))
        for key, value in ours.items()
    }


def magnitudes(network: networks.Network, drawn: networks.Arrays) -> list[Report]:
    """Return statistics of the magnitudes |R| that brsf draws, in units of Glorot's bound.

    In these units, the magnitudes should be uniform from 0 to 1.

    Args:
        network: Description of the network.
        drawn: Draws of BioTorch, and the kernels for which they were drawn.

    Returns:
        One row per library, for the layer with the largest kernel.
    """
    name, shape = max(network.kernel_shapes().items(), key=lambda item: math.prod(item[1]))
    bound = math.sqrt(6.0 / sum(shape))
    layer = ta.layers.Dense(shape[1], feedback="brsf", name=name)
    layer.build((None, shape[0]))
    x = tf.zeros((shape[1], shape[0]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    ours = np.transpose(tape.gradient(y, x, tf.eye(shape[1])))  # the error of one unit per row
    kernels = {"tf_alignment": layer.kernel.numpy(), "biotorch": drawn[f"{name}.kernel"]}
    draws = {"tf_alignment": ours, "biotorch": drawn[f"{name}.draw"]}
    return [
        {
            "library": library,
            "layer": name,
            "signs": float(np.mean(np.sign(draws[library]) == np.sign(kernels[library]))),
            "mean": float(np.mean(np.abs(draws[library])) / bound),
            "deviation": float(np.std(np.abs(draws[library])) / bound),
            "largest": float(np.max(np.abs(draws[library])) / bound),
        }
        for library in LIBRARIES
    ]


def scales(network: networks.Network, decided: networks.Arrays) -> list[Report]:
    """Return the default scale of usf in both libraries, a row per layer that sends errors down.

    Args:
        network: Description of the network.
        decided: Numbers that BioTorch chose itself.
    """
    fresh = build(network, "usf")
    return [
        {
            "layer": layer.name,
            "tf_alignment": float(fresh.get_layer(layer.name).feedback_weights["feedback_scale"]),
            "biotorch": float(decided[f"{layer.name}.scale"]),
        }
        for layer in network.layers[1:]
    ]


def compare(peer: Peer, name: str) -> Report:
    """Compare the gradients of one network with every method.

    Args:
        peer: BioTorch.
        name: Name in `peers_networks.NETWORKS`.

    Returns:
        Name of the `network`, `differences`, `{method: {array: relative difference}}`, and the rows
        of `scales` and `magnitudes`.
    """
    network = networks.NETWORKS[name]
    arrays = networks.draw(network, SEED)
    found: dict[str, dict[str, float]] = {}
    report: Report = {"network": name, "differences": found, "scales": [], "magnitudes": []}
    for method in networks.METHODS:
        theirs = peer.gradients(name, method, arrays)
        found[method] = differences(gradients(network, method, arrays, theirs), theirs)
        if method == "usf":
            report["scales"] = scales(network, theirs)
        if method == "brsf" and name == "mlp":
            kernels = {key: arrays[key] for key in arrays if key.endswith(".kernel")}
            report["magnitudes"] = magnitudes(network, {**theirs, **kernels})
    return report


def residual(way: str) -> keras.Model:
    """Build ResNet-20 in one of the ways in `peers_networks.NETWORKS`.

    Args:
        way: Words joined by `_`: `fused` for the normalisation, a method, `bfloat16` for the dtype.
    """
    normalisation = "fused" if "fused" in way else "keras"
    method = way.removeprefix("fused").removesuffix("bfloat16").strip("_")
    policy = "mixed_bfloat16" if "bfloat16" in way else "float32"
    keras.config.set_dtype_policy(policy)
    try:
        return ta.models.resnet(20, batch_normalization=normalisation, feedback=method or None)
    finally:
        keras.config.set_dtype_policy("float32")


def stepper(name: str, method: str, arrays: networks.Arrays) -> Turn:
    """Return a function that runs and times training steps of this library.

    The function is that of `step_time.stepper`.

    Args:
        name: Name in `peers_networks.NETWORKS`.
        method: Method id, or another way to train the network.
        arrays: Numbers of `peers_networks.draw`.
    """
    own = method in networks.VARIANTS["tf_alignment"]
    model = build(networks.NETWORKS[name], "backprop" if own else method)
    # the learning rate is so small that the weights stay near their start with every method
    sgd = (ta.optimizers.SGD if own else keras.optimizers.SGD)(1e-6, momentum=0.9)
    model.compile(
        ta.optimizers.split(sgd) if method.endswith("sa") else sgd,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=method.endswith("xla"),
    )
    return step_time.stepper(model, tf.constant(arrays["x"]), tf.constant(arrays["y"]))


def measure(peer: Peer, name: str, rounds: int, seconds: float) -> list[Report]:
    """Time one network with every method in both libraries.

    Args:
        peer: BioTorch.
        name: Name in `peers_networks.NETWORKS`.
        rounds: Number of turns per library and method.
        seconds: Approximate processor time of a turn, in seconds.

    Returns:
        One row per library and method: elapsed time and processor time per step in milliseconds,
        and their ratios to backpropagation in the same library.
    """
    network = networks.NETWORKS[name]
    arrays = networks.draw(network, SEED)
    sides = {"tf_alignment": stepper, "biotorch": peer.stepper}
    turns: dict[tuple[str, str], Turn] = {}
    for library, side in sides.items():
        for method in network.ways[library]:
            step_time.progress(f"{name}: {library}, {method}")
            turns[library, method] = side(name, method, arrays)
            turns[library, method](3)  # tracing and warm-up
    steps = {
        library: max(1, round(seconds / turns[library, "backprop"](5)[1])) for library in LIBRARIES
    }
    times: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in turns}
    order = list(turns)
    for turn in range(rounds):
        step_time.progress(f"{name}: round {turn + 1} of {rounds}")
        order = order[1:] + order[:1]
        for key in order if turn % 2 else order[::-1]:
            times[key].append(turns[key](steps[key[0]]))
    step_time.progress("")
    return [
        {"network": name, "library": library, "method": method}
        | _summary(times[library, method], times[library, "backprop"])
        for library in LIBRARIES
        for method in network.ways[library]
    ]


def _summary(times: list[tuple[float, float]], plain: list[tuple[float, float]]) -> Report:
    wall, processor = (
        [one[i] / other[i] for one, other in zip(times, plain, strict=True)] for i in (0, 1)
    )
    return {
        "milliseconds": 1000 * statistics.median(time for time, _ in times),
        "processor_milliseconds": 1000 * statistics.median(time for _, time in times),
        "time_ratio": statistics.median(wall),
        "processor_ratio": statistics.median(processor),
        "processor_ratio_range": [min(processor), max(processor)],
    }


def gradient_table(compared: list[Report]) -> str:
    """Return a Markdown table of the largest relative differences, with a row per method.

    Args:
        compared: Reports of `compare`; each network has a column for kernels and one for biases.
    """
    names = [report["network"] for report in compared]
    lines = [
        "| method | " + " | ".join(f"{name}: kernels | biases" for name in names) + " |",
        "|---" * (1 + 2 * len(names)) + "|",
    ]
    for method in networks.METHODS:
        cells = [f"`{method}`"]
        for report in compared:
            found = report["differences"][method]
            cells += [
                f"{max(value for key, value in found.items() if key.endswith(kind)):.1e}"
                for kind in ("kernel", "bias")
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scale_table(compared: list[Report]) -> str:
    """Return a Markdown table of the scale of usf in both libraries, with a row per layer."""
    lines = [
        "| network | layer | tf_alignment, measured | biotorch, formula |",
        "|---|---|---|---|",
    ]
    for report in compared:
        lines += [
            f"| {report['network']} | {row['layer']} | {row['tf_alignment']:.4f} "
            f"| {row['biotorch']:.4f} |"
            for row in report["scales"]
        ]
    return "\n".join(lines)


def magnitude_table(compared: list[Report]) -> str:
    """Return a Markdown table of the magnitudes that brsf draws, with a row per library."""
    lines = [
        "| library | signs as the kernel's | mean | standard deviation | largest |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['library']} | {100 * row['signs']:.0f} % | {row['mean']:.4f} "
        f"| {row['deviation']:.4f} | {row['largest']:.4f} |"
        for report in compared
        for row in report["magnitudes"]
    ]
    return "\n".join(lines)


def time_table(rows: list[Report]) -> str:
    """Return a Markdown table of processor times, with a column per network and library.

    A cell has the ratio to backpropagation, its range, and the time per step in milliseconds.

    Args:
        rows: Rows of `measure`.
    """
    names = list(dict.fromkeys(row["network"] for row in rows))
    cell = {(row["network"], row["library"], row["method"]): row for row in rows}
    columns = [(name, library) for name in names for library in LIBRARIES]
    lines = [
        "| method | " + " | ".join(f"{n}: {library}" for n, library in columns) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    measured = {row["method"] for row in rows}
    ways = [ways for network in networks.NETWORKS.values() for ways in network.ways.values()]
    order = dict.fromkeys(way for each in ways for way in each)
    for method in (name for name in order if name in measured):
        cells = [f"`{method}`"]
        for column in columns:
            row = cell.get((*column, method))
            if row is None:
                cells.append("–")
                continue
            low, high = row["processor_ratio_range"]
            cells.append(
                f"{row['processor_ratio']:.2f} ({low:.2f}-{high:.2f}), "
                f"{row['processor_milliseconds']:.1f} ms"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(report: Report) -> list[str]:
    """Return all tables of a report, in the form of `docs/results/biotorch.md`."""
    compared = report["compared"]
    found = [gradient_table(compared), scale_table(compared), magnitude_table(compared)]
    timed_only = [row for row in report["rows"] if not networks.NETWORKS[row["network"]].layers]
    others = [row for row in report["rows"] if row not in timed_only]
    return [*found, *(time_table(rows) for rows in (others, timed_only) if rows)]


def draw(report: Report) -> Any:
    """Draw the processor time of each method over backpropagation's, with a panel per network.

    Networks that were timed with backpropagation alone are left out.

    Args:
        report: Content of the JSON file.
    """
    rows = [row for row in report["rows"] if row["method"] in FEEDBACK]
    names = [name for name in MEASURED if any(row["network"] == name for row in rows)]
    figure, [panels] = new_figure(1, len(names), height=3.0)
    for panel, name in zip(panels, names, strict=True):
        for shift, library in zip((-0.18, 0.18), LIBRARIES, strict=True):
            own = {
                row["method"]: (row["processor_ratio"], *row["processor_ratio_range"])
                for row in rows
                if (row["network"], row["library"]) == (name, library)
            }
            middle, low, high = np.transpose([*own.values()])
            places = np.arange(len(own)) + shift
            error = [middle - low, high - middle]
            panel.bar(places, middle, 0.36, yerr=error, label=library, capsize=2)
            panel.set_xticks(range(len(own)), own)
        panel.axhline(1.0, color="gray", lw=0.5)
        panel.grid(visible=False, axis="x")
        panel.set(title=name, ylabel="time of a step over backprop's")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    caption(figure, f"processor time: median and range of {report['rounds']} rounds")
    return figure


def write_fixture(peer: Peer, path: Path) -> None:
    """Write the gradients of BioTorch in tiny networks, with which tests compare this library.

    Args:
        peer: BioTorch.
        path: JSON file to write.
    """

    def numbers(array: np.ndarray) -> Any:
        if array.dtype == np.float32:  # nine digits determine a number of float32
            return [float(f"{value:.9g}") for value in np.ravel(array)]
        return np.ravel(array).tolist()

    content: Report = {"versions": peer.ask(what="versions"), "networks": {}}
    for name, network in networks.NETWORKS.items():
        if network.ways:
            continue
        arrays = networks.draw(network, SEED)
        content["networks"][name] = {
            "shapes": {key: list(value.shape) for key, value in arrays.items()},
            "arrays": {key: numbers(value) for key, value in arrays.items()},
            "biotorch": {
                method: {k: numbers(v) for k, v in peer.gradients(name, method, arrays).items()}
                for method in networks.METHODS
            },
        }
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="an interpreter that has BioTorch")
    parser.add_argument("--networks", nargs="+", choices=MEASURED, default=MEASURED)
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of every method (default: 7); 0: do not time"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="processor time of a turn, about (default: 0.5)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/peers.json"),
        help="JSON file to write, with a figure of the times beside it",
    )
    parser.add_argument(
        "--fixture", type=Path, help="write the gradients that the tests compare with, and stop"
    )
    return parser.parse_args()


def main() -> None:
    """Compare gradients, time training steps, print the tables, and write report and figure."""
    arguments = parse()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces: there is one per model
    keras.utils.set_random_seed(SEED)
    with tempfile.TemporaryDirectory() as directory:
        peer = Peer(arguments.python, Path(directory))
        try:
            if arguments.fixture:
                write_fixture(peer, arguments.fixture)
                print(f"written: {arguments.fixture}")
                return
            report: Report = {
                "processor": files.processor(),
                "versions": {
                    "tensorflow": tf.__version__,
                    "keras": keras.__version__,
                    **peer.ask(what="versions"),
                },
                "rounds": arguments.rounds,
                "compared": [
                    compare(peer, name)
                    for name in arguments.networks
                    if networks.NETWORKS[name].layers
                ],
                "rows": [
                    row
                    for name in arguments.networks
                    if arguments.rounds
                    for row in measure(peer, name, arguments.rounds, arguments.seconds)
                ],
            }
        finally:
            peer.close()
    print("\n\n".join(tables(report)))
    print()
    files.write(arguments.output, report)
    if any(row["method"] in FEEDBACK for row in report["rows"]):
        save(draw(report), arguments.output.with_suffix(".png"))


if __name__ == "__main__":
    main()

r"""Count operations, memory and traffic of a training step with each method, and bound its time.

    python benchmarks/scale.py                       # ResNet-50v2 at 299 pixels, 8 to 512 TPU cores
    python benchmarks/scale.py --depth 18 --version 1 --size 224 --cores 8 128
    python benchmarks/scale.py --check               # the counts against graphs and two devices

All numbers are computed from the shapes of a stock network's layers. Times are bounds, not
predictions. Products run at a fraction of the peak rate. Weights and optimizer states pass through
memory once. An all-reduce has the bandwidth of the interconnect and no latency. None of these
overlap in time.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import files
import keras
import models
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.feedback import conditioning
from tf_alignment.studies import operations as flops

FLOAT = 4  # bytes per number
POPULATION = 10  # neurons of product feedback per output
NOISE_PRODUCTS = {"wm": 2, "ia": 3}
"""Number of products of a layer's size in addition to those of backpropagation, by method."""
FIXED, COPIED = ("fa", "frsf"), ("kp",)
ALIGNED = ("wm", "ia", "sa", "aa")
PRODUCT = ("pfa", "pfa_o")


@dataclasses.dataclass(frozen=True)
class Connection:
    """Sizes of a forward kernel.

    Attributes:
        size: Number of entries of the kernel.
        outputs: Number of output channels or units.
        positions: Number of positions per example at which the kernel is applied.
        spatial: Whether the kernel is that of a convolution.
    """

    size: int
    outputs: int
    positions: int
    spatial: bool

    @property
    def operations(self) -> int:
        """Operations of one product per example; a multiplication and an addition count as two."""
        return 2 * self.size * self.positions


@dataclasses.dataclass(frozen=True)
class Chip:
    """Properties of an accelerator chip; the defaults are the published ones of TPU v3.

    Attributes:
        cores: Number of cores, each with the whole batch of a replica.
        rate: Peak rate in operations per second.
        memory: Bandwidth of the memory in bytes per second.
        links: Bandwidth to other chips in an all-reduce, in bytes per second.
        used: Fraction of the peak rate that training reaches, an assumption.
    """

    cores: int = 2
    rate: float = 123e12
    memory: float = 900e9
    links: float = 340e12 / 1024
    used: float = 0.4


@dataclasses.dataclass(frozen=True)
class Cost:
    """Operations and bytes of a training step with a method.

    Attributes:
        method: Id of the method.
        operations: Operations of the products of a step, for the batch of a core.
        weights: Bytes of the weights that backpropagation trains.
        feedback: Bytes of the feedback weights.
        trained: Bytes of the feedback weights that are trained.
        states: Bytes of the optimizer's momenta.
        alike: Bytes of trained feedback weights whose gradient needs no all-reduce of its own: all
            replicas compute the same gradient (SA), or compute it from the reduced gradient of W
            (KP, most of PFA).
    """

    method: str
    operations: int
    weights: int
    feedback: int
    trained: int
    states: int
    alike: int

    @property
    def reduced(self) -> int:
        """Bytes that a replica gives to the all-reduce: gradients of all trained weights."""
        return self.weights + self.trained

    def arithmetic(self, chip: Chip) -> float:
        """Return the time of the products, in seconds."""
        return chip.cores * self.operations / (chip.rate * chip.used)

    def update(self, chip: Chip) -> float:
        """Return the time of the update, in seconds.

        An update reads gradients, weights and optimizer states, and writes weights and states.
        """
        moved = 3 * (self.weights + self.trained) + 2 * self.states
        return chip.cores * moved / chip.memory

    def all_reduce(self, chip: Chip, cores: int, spared: bool = False) -> float:
        """Return the time of the all-reduce, in seconds.

        Args:
            chip: Accelerator chip.
            cores: Number of cores that take part.
            spared: Whether gradients that need no all-reduce of their own are left out.
        """
        chips = max(1, cores // chip.cores)
        given = self.reduced - (self.alike if spared else 0)
        return 2 * (chips - 1) / chips * given / chip.links


def connections(model: keras.Model) -> list[Connection]:
    """Return the kernels of a stock model, from the input to the output.

    The first kernel sends no error down.
    """
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            shape, positions = layer.kernel.shape, math.prod(layer.output.shape[1:-1])
            found.append(Connection(math.prod(shape), shape[-1], positions, len(shape) > 2))
    return found


def cost(model: keras.Model, method: str, batch: int) -> Cost:
    """Return the cost of a training step with a method.

    Args:
        model: Stock model.
        method: Method id.
        batch: Number of examples per core.
    """
    kernels = connections(model)
    weights = FLOAT * sum(math.prod(v.shape) for v in model.trainable_variables)
    feedback, trained = _feedback(kernels, method)
    return Cost(
        method=method,
        operations=_operations(kernels, method, batch),
        weights=weights,
        feedback=feedback,
        trained=trained,
        # feedback weights that learn by alignment have no momentum
        states=weights + (trained if method in (*COPIED, *PRODUCT) else 0),
        alike=_alike(kernels, method),
    )


def _operations(kernels: Sequence[Connection], method: str, batch: int) -> int:
    once = batch * sum(k.operations for k in kernels)
    above = kernels[1:]
    sent = batch * sum(k.operations for k in above)
    if method == "dfa":
        return 2 * once + batch * 2 * _direct(kernels)
    added = NOISE_PRODUCTS.get(method, 0) * sent
    if method in PRODUCT:
        added = sum(_population(k, batch) for k in above)
    if method == "aa":
        added = sum(_least_squares(k, batch) for k in above)
    return 2 * once + sent + added


def _least_squares(k: Connection, batch: int) -> int:
    """Return the operations of AA for one kernel, from some examples of the batch.

    AA solves the smaller one of two linear systems, whose size is the number of rows or of inputs.
    """
    inputs, examples = k.size // k.outputs, -(-conditioning.ROWS // k.positions)
    rows = k.positions * min(batch, max(conditioning.EXAMPLES, examples))
    rows = -(-rows // max(1, rows // conditioning.ROWS))
    small, large = sorted((rows, inputs))
    solved = 2 * small**2 * large + small**3 // 3 + 2 * small**2 * k.outputs
    return solved + 2 * (2 * rows * inputs * k.outputs)  # the products x B and with xᵀ are added


def _population(k: Connection, batch: int) -> int:
    """Return the operations of product feedback in addition to backpropagation, for one kernel."""
    neurons, inputs = POPULATION * k.outputs, k.size // k.outputs
    if _composed(k):
        return 2 * (2 * inputs * neurons * k.outputs)
    # the error of every example passes the population, whose activity gives the gradient of R
    return batch * (2 * neurons * k.outputs + 2 * (2 * inputs * neurons) - k.operations)


def _direct(kernels: Sequence[Connection]) -> int:
    """Return the number of entries of the matrices from the outputs to the hidden layers."""
    return kernels[-1].outputs * sum(k.outputs * k.positions for k in kernels[:-1])


def _feedback(kernels: Sequence[Connection], method: str) -> tuple[int, int]:
    """Return the bytes of all feedback weights, and of those that are trained.

    The scale of some methods, one number per layer, is left out.
    """
    above = FLOAT * sum(k.size for k in kernels[1:])
    if method in FIXED:
        return above, 0
    if method in (*COPIED, *ALIGNED):
        return above, above
    if method in PRODUCT:
        fixed = FLOAT * sum(k.outputs**2 for k in kernels[1:])
        return POPULATION * (above + fixed), POPULATION * above
    return (FLOAT * _direct(kernels), 0) if method == "dfa" else (0, 0)


def _alike(kernels: Sequence[Connection], method: str) -> int:
    above = kernels[1:]
    if method in PRODUCT:
        return FLOAT * POPULATION * sum(k.size for k in above if _composed(k))
    return FLOAT * sum(k.size for k in above) if method in ("sa", *COPIED) else 0


def _composed(k: Connection) -> bool:
    """Whether product feedback computes the matrix R B, and the gradient of R from that of W."""
    return k.spatial or k.outputs <= 32


def table(costs: Sequence[Cost], chip: Chip, batch: int, cores: Sequence[int]) -> str:
    """Return a Markdown table with a row per method.

    Args:
        costs: Costs of the methods, backpropagation first.
        chip: Accelerator chip.
        batch: Number of examples per core.
        cores: Numbers of cores, each of which has a column for the all-reduce.
    """
    head = ["method", "operations", "feedback", "weights, feedback, momenta", "all-reduce"]
    head += ["products", "update", *(f"all-reduce, {n} cores" for n in cores), "spared"]
    rows = []
    stock = costs[0].operations
    for c in costs:
        stored = c.weights + c.feedback + c.states
        times = [c.arithmetic(chip), c.update(chip), *(c.all_reduce(chip, n) for n in cores)]
        spared = c.all_reduce(chip, cores[-1], spared=True)
        cells = [f"`{c.method}`", f"{c.operations / stock:.2f}"]
        cells += [_bytes(n) for n in (c.feedback, stored, c.reduced)]
        cells += [f"{1e3 * t:.2f}" for t in times]
        cells.append(f"{1e3 * spared:.2f}" if c.alike else "–")
        rows.append(cells)
    note = f"`backprop`: {stock / batch / 1e9:.1f} GFLOP an example. Times in milliseconds."
    return f"{files.markdown(head, rows)}\n\n{note}"


def _bytes(number: int) -> str:
    if not number:
        return "–"
    return f"{number / 1e6:.0f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


def draw(model: keras.Model, chip: Chip, cores: int, file: Path) -> None:
    """Draw the bound on the time of a step, relative to backpropagation, against the batch size.

    Args:
        model: Stock model.
        chip: Accelerator chip.
        cores: Number of cores.
        file: File of the figure.
    """
    from matplotlib.figure import Figure

    def bound(method: str, batch: int, spared: bool = False) -> float:
        c = cost(model, method, batch)
        return c.arithmetic(chip) + c.update(chip) + c.all_reduce(chip, cores, spared)

    batches = [1, 2, 4, 8, 16, 32, 64, 128]
    stock = [bound("backprop", batch) for batch in batches]
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    panel = figure.subplots()
    lines = [(m, False) for m in ("fa", "sa", "kp", "wm", "ia", "pfa")]
    order = [method for method, _ in lines]
    lines += [("sa", True), ("pfa", True)]
    for method, spared in lines:
        ratio = [bound(method, b, spared) / s for b, s in zip(batches, stock, strict=True)]
        label = f"{method}, all-reduce spared" if spared else method
        colour = f"C{order.index(method)}"
        panel.plot(
            batches, ratio, "--" if spared else "o-", label=label, markersize=3, color=colour
        )
    panel.set(xlabel="examples per core", ylabel="step over backpropagation's", xscale="log")
    panel.set_xticks(batches, [str(b) for b in batches])
    panel.set_yscale("log")
    panel.set_title(f"{cores} cores", size=10)
    panel.legend(fontsize=7)
    panel.grid(alpha=0.25)
    figure.savefig(file, dpi=130)


class Counting(tf.distribute.ReductionToOneDevice):
    """All-reduce that counts the bytes that a replica gives to it.

    Attributes:
        bytes: Number of bytes since the count was set to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def reduce_implementation(
        self, reduce_op: Any, per_replica_value: Any, destinations: Any, options: Any
    ) -> Any:
        """Count the bytes of the first replica's value, and reduce the values."""
        value = per_replica_value.values[0]
        self.bytes += value.dtype.size * math.prod(value.shape)
        return super().reduce_implementation(reduce_op, per_replica_value, destinations, options)


def check(names: Sequence[str], batch: int) -> float:
    """Compare the computed numbers with those of graphs, variables and all-reduces; print both.

    Args:
        names: Names in `models.MODELS`.
        batch: Number of examples per step.

    Returns:
        Largest relative difference, without that of direct feedback, whose matrices are smaller if
        pooling follows a layer.
    """
    [cpu] = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    counting, worst = Counting(), 0.0
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=counting)
    print(f"{'':<22}{'operations':>22}{'feedback bytes':>22}{'all-reduced bytes':>22}")
    for name in names:
        stock = models.MODELS[name][0]()
        x, y = tf.zeros((batch, *stock.input_shape[1:])), tf.zeros((batch,), tf.int32)
        for method in ta.feedback.METHODS:
            expected = cost(stock, method, batch)
            keras.utils.clear_session()
            model = compiled(name, method)
            feedback = _kernel_bytes(model) - _kernel_bytes(stock)
            with strategy.scope():
                _trace(compiled(name, method), x, y, counting)
            pairs = [
                (expected.operations, flops.step_flops(model, x, y)),
                (expected.feedback, feedback),
                (expected.reduced, counting.bytes),
            ]
            cells = "".join(f"{a:>11.4g}{b:>11.4g}" for a, b in pairs)
            print(f"{name:<12}{method:<10}{cells}", flush=True)
            if method != "dfa":
                worst = max(worst, *(abs(a - b) / max(a, b, 1) for a, b in pairs))
    return worst


def _kernel_bytes(model: keras.Model) -> int:
    """Return the bytes of a model's arrays of float32, without scalars and generator states."""
    shapes = [v.shape for v in model.variables if v.dtype == "float32"]
    return FLOAT * sum(math.prod(shape) for shape in shapes if len(shape))


def compiled(name: str, method: str) -> keras.Model:
    """Return a compiled model whose optimizer states have been created.

    Args:
        name: Name in `models.MODELS`.
        method: Method id.
    """
    model = ta.convert(models.MODELS[name][0](), method)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = ta.optimizers.split(keras.optimizers.SGD(0.1, momentum=0.9))
    model.compile(optimizer, loss, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def _trace(model: keras.Model, x: tf.Tensor, y: tf.Tensor, counting: Counting) -> None:
    """Build the graph of a training step of all replicas, and count the bytes it reduces.

    Args:
        model: Compiled model, made in the scope of the strategy.
        x: Batch of inputs.
        y: Labels of the batch.
        counting: All-reduce of the strategy, which counts the bytes.
    """
    strategy = tf.distribute.get_strategy()

    @tf.function(autograph=False)
    def step() -> None:
        counting.bytes = 0  # a step that creates variables is traced twice, but counted once
        strategy.run(lambda: model.train_step((x, y)))

    step.get_concrete_function()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="of the residual network (50)")
    parser.add_argument("--version", type=int, default=2, help="of the residual network (2)")
    parser.add_argument("--size", type=int, default=299, help="side of the images (299)")
    parser.add_argument("--batch", type=int, default=32, help="examples per core (32)")
    parser.add_argument("--cores", type=int, nargs="+", default=[8, 32, 128, 512])
    for field in dataclasses.fields(Chip):
        parser.add_argument(
            f"--{field.name}-of-chip" if field.name == "cores" else f"--{field.name}",
            type=type(field.default),
            default=field.default,
            help=f"of a chip ({field.default:g})",
        )
    parser.add_argument("--check", action="store_true", help="hold the counts against graphs")
    parser.add_argument("--models", nargs="+", choices=models.MODELS, default=list(models.MODELS))
    parser.add_argument("--output", type=Path, default=Path("results/scale"))
    return parser.parse_args()


def main() -> None:
    """Check the computed numbers; or print them, write them to a file, and draw the figure."""
    given = parse()
    if given.check:
        worst = check(given.models, batch=8)
        print(f"\nLargest difference (without dfa): {100 * worst:.2f} %")
        return
    chip = Chip(given.cores_of_chip, given.rate, given.memory, given.links, given.used)
    shape = (given.size, given.size, 3)
    model = ta.models.resnet(given.depth, given.version, input_shape=shape, classes=1000)
    costs = [cost(model, method, given.batch) for method in ta.feedback.METHODS]
    print(table(costs, chip, given.batch, given.cores))
    content = {"chip": dataclasses.asdict(chip), "costs": [dataclasses.asdict(c) for c in costs]}
    print()
    files.write(given.output / "scale.json", content)
    draw(model, chip, given.cores[-1], given.output / "scale.png")
    print(f"Figure: {given.output / 'scale.png'}")


if __name__ == "__main__":
    main()

"""Characters of Shakespeare: an LSTM or a transformer, without weight transport.

Every run writes a file of its own and is not made again; one that was killed goes on from its last
epoch. Then a table of all files.

    python -m examples.sequences.train --quick
    python -m examples.sequences.train --network lstm --methods backprop fa eprop-random
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_alignment as ta
from examples import command_line
from examples.command_line import positive
from examples.common import Numbers, finished, markdown, write_json
from examples.sequences.data import Text, shakespeare, source_text
from examples.sequences.networks import NETWORKS

__all__ = ["METHODS", "bits", "build", "main", "optimizer", "train"]

# e-prop by what tells the units of the error: readout's own weights, random ones, Kolen-Pollack's
EPROP = {"eprop-symmetric": "backprop", "eprop-random": "fa", "eprop-adaptive": "kp"}
METHODS = ("backprop", "fa", "dfa", "usf", "kp", "sa", "aa", "pfa", *EPROP)


def build(network: str, method: str, text: Text, **sizes: int) -> keras.Model:
    """A network for a text, with the method in every layer that can have it.

    Args:
        network: Out of `NETWORKS`.
        method: Out of `METHODS`; e-prop's are for the LSTM.
        text: What it is to learn.
        **sizes: Of the network.
    """
    length = text.train[0].shape[1]
    stock = NETWORKS[network](len(text.characters), length, **sizes)
    if method not in EPROP:
        return ta.convert(stock, method)
    if network != "lstm":
        raise ValueError(f"{method} needs a recurrent network. Received: --network {network}")
    [entry] = stock.inputs
    embedding, recurrent, readout = stock.layers
    layers = [
        keras.Input(tuple(entry.shape[1:]), dtype="int32"),
        type(embedding).from_config(embedding.get_config()),
        ta.layers.LSTM.from_config(recurrent.get_config() | {"feedback": "eprop"}),
        ta.layers.Dense.from_config(readout.get_config() | {"feedback": EPROP[method]}),
    ]
    model = keras.Sequential(layers, name=stock.name)
    own = [w for w in model.weights if "feedback" not in w.path]
    for target, source in zip(own, stock.weights, strict=True):
        target.assign(source)
    return model


def optimizer(rate: float, decay: float, steps: int) -> keras.optimizers.Optimizer:
    """AdamW after a warm-up, falling to a tenth; what learns by alignment has plain SGD.

    Args:
        rate: Highest learning rate.
        decay: Weight decay of kernels and of the feedback weights that follow them.
        steps: Of the whole training.
    """
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), alpha=0.1, warmup_target=rate, warmup_steps=warmup
    )
    forward = keras.optimizers.AdamW(schedule, weight_decay=decay, beta_2=0.99, clipnorm=1.0)
    forward.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "embedding", "vectors"])
    return ta.optimizers.split(forward)


def bits(loss: float) -> float:
    """Nats as bits."""
    return loss / math.log(2.0)


class _Shuffled(keras.utils.PyDataset):
    """Windows in an order that the seed and the epoch alone decide, as `Resume` needs it."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch: int, seed: int) -> None:
        super().__init__()
        self.x, self.y, self.batch, self.seed, self.epoch = x, y, batch, seed, 0

    def __len__(self) -> int:
        return len(self.x) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.x))
        chosen = order[index * self.batch : (index + 1) * self.batch]
        return self.x[chosen], self.y[chosen]


def train(text: Text, settings: Numbers, backup: Path) -> Numbers:
    """One run.

    Args:
        text: What is learned.
        settings: `network, method, seed, epochs, rate, decay, batch, sizes`.
        backup: Where a killed run left what it had.

    Returns:
        Bits per character after every epoch, training and validation, and the angles of gradients
        to backpropagation's at the end, by path.
    """
    keras.utils.set_random_seed(settings["seed"])
    model = build(settings["network"], settings["method"], text, **settings["sizes"])
    data = _Shuffled(*text.train, settings["batch"], settings["seed"])
    steps = settings["epochs"] * len(data)
    model.compile(
        optimizer(settings["rate"], settings["decay"], steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(
        data,
        epochs=settings["epochs"],
        validation_data=text.validation,
        validation_batch_size=128,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            ta.callbacks.Resume(str(backup), data=data),
        ],
    ).history
    x, y = (part[:32] for part in text.validation)
    angles = {} if settings["method"] == "dfa" else ta.metrics.gradient_angle(model, x, y)
    test = model.evaluate(*text.test, batch_size=128, verbose=0)
    return {
        "train_bits": [bits(v) for v in history["loss"]],
        "validation_bits": [bits(v) for v in history["val_loss"]],
        "angles": {path: found["kernel"] for path, found in angles.items() if "kernel" in found},
        "test_bits": bits(test),
        "steps": steps,
    }


def table(output: Path) -> str:
    """All runs in a folder: validation bits per character at the end."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for file in sorted(output.glob("*.json")):
        run = json.loads(file.read_text())
        key = run["network"], run["method"], run["rate"], run["decay"], run["epochs"]
        groups.setdefault(key, []).append(run["validation_bits"][-1])
    rows = [
        [
            *map(str, key),
            str(len(v)),
            f"{np.mean(v):.3f}",
            f"{np.std(v, ddof=1):.3f}" if v[1:] else "",
        ]
        for key, v in groups.items()
    ]
    head = ("network", "method", "rate", "decay", "epochs", "n", "bits per character", "s.d.")
    return markdown(head, rows)


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are missing, and print the table."""
    parser = command_line.new_parser(
        __doc__ or "", "sequences", methods=METHODS, epochs="6", seeds=1
    )
    parser.set_defaults(methods=["backprop", "fa", "sa"], epochs=6)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="lstm")
    parser.add_argument("--length", type=positive, default=64)
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of AdamW")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    given = parser.parse_args(arguments)
    sizes: dict[str, int] = {}
    if given.quick:
        given.epochs, given.length = 1, 16
        lstm = {"units": 8, "embedding": 8}
        sizes = lstm if given.network == "lstm" else {"layers": 1, "width": 8}
    text = (
        source_text(given.length, windows=256)
        if given.quick
        else shakespeare(given.length, given.data_dir)
    )
    for seed in range(given.seeds):
        for method in given.methods:
            settings = {
                **{n: getattr(given, n) for n in ("network", "epochs", "rate", "decay", "batch")},
                "method": method,
                "seed": seed,
                "sizes": sizes,
                "length": given.length,
            }
            name = f"{given.network}-{method}-{given.rate:g}-{given.decay:g}-{seed}"
            file = given.output / f"{name}.json"
            if finished(file, settings) is None:
                result = train(text, settings, given.output / "backup" / name)
                write_json(file, {**settings, **result})
                print(f"{name}: {result['validation_bits'][-1]:.3f} bits per character")
    print(table(given.output))


if __name__ == "__main__":
    command_line.run(main)

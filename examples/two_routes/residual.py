"""One residual network trained with one method by the recipe of "Two Routes".

A run is a JSON file once it is finished, and is not done again; a killed one goes on from its last
epoch.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import common
from examples.decay import FORGETTING, DecaySGD

__all__ = [
    "METHODS",
    "Settings",
    "arguments_of",
    "common",
    "run",
    "settings_of",
    "source_of",
    "train",
]

METHODS: dict[str, Any] = {
    **{name: name for name in ta.feedback.METHODS},
    # as published: nothing is divided by a layer's scale; the local rules learn from noise
    "wm-published": ta.feedback.WeightMirror(1e-3, 1e-3, noise="gaussian", normalize=None),
    "ia-published": ta.feedback.InformationAlignment(
        1e-3, 1e-3, 1e-4, noise="gaussian", normalize=None
    ),
    "aa-published": ta.feedback.ActivationAlignment(
        2e-3, 2e-3, noise=None, normalize=None, response_bias=True
    ),
}
"""What `ta.convert` gets for each; backpropagation trains the stock network."""
IMAGENET = "imagenet2012"
MOMENTUM = 0.9
QUICK = {"dataset": "digits", "depth": 8, "width": 4, "epochs": 3, "batch_size": 32}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides what a run becomes.

    Attributes:
        method: One of `METHODS`.
        depth: See `ta.models.resnet`.
        version: Likewise.
        width: Likewise; None for the published one.
        dataset: A name of `ta.data.load`, or `"imagenet2012"`.
        epochs: Passes over the training split; 90 in the paper.
        batch_size: Examples a step, on all replicas together.
        rate: Learning rate of SGD with Nesterov momentum .9 at a batch of 256; it grows with the
            batch. The paper does not state it.
        feedback_rate: Of the feedback weights that learn by alignment, at its highest.
        decay: L2 of all kernels, and of feedback kernels that go with them: ½ decay ‖W‖². Keras'
            own weight decay, which momentum does not amplify, is set to decay / (1 - momentum).
        forgetting: In the first epoch kernels decay so strongly that what they began with shrinks
            by exp(-forgetting). None for 3 with the methods whose feedback forgets its start by
            decay alone (`kp`, `pfa`, `pfa_o`), and for no such epoch with the others.
        seed: Of weights, crops, noise, and the order of the examples.
        size: Side of the images, averaged over squares of pixels; None for all pixels.
        held_out: How many examples of the training split take the place of the test split, for a
            search over metaparameters. ImageNet's own held-out split is what it is tested on.
        noise: Variance of the noise of figure 5, on the updates of feedback weights that learn by
            alignment; for backpropagation, on all gradients.
        rule: A feedback rule as Keras saves it, in place of what `METHODS` has.
    """

    method: str = "sa"
    depth: int = 20
    version: int = 1
    width: int | None = None
    dataset: str = "cifar10"
    epochs: int = 90
    batch_size: int = 256
    rate: float = 0.1
    feedback_rate: float = 0.5
    decay: float = 1e-4
    forgetting: float | None = None
    seed: int = 0
    size: int | None = None
    held_out: int = 0
    noise: float = 0.0
    rule: Any = None

    @property
    def name(self) -> str:
        """Of the run's files."""
        noise = f"-noise{self.noise:g}" if self.noise else ""
        return f"{self.dataset}-v{self.version}-{self.depth}-{self.method}{noise}-{self.seed}"

    @property
    def nats(self) -> float:
        """`forgetting`, or what stands for None with this method."""
        if self.forgetting is None:
            return 3.0 if self.method in FORGETTING else 0.0
        return self.forgetting

    @property
    def kept(self) -> common.Numbers:
        """What a file has of it."""
        return {**dataclasses.asdict(self), "forgetting": self.nats}

    @property
    def data(self) -> Settings:
        """What of it decides the data, all else as by default."""
        names = ("version", "dataset", "batch_size", "seed", "size", "held_out")
        return Settings(**{name: getattr(self, name) for name in names})


@keras.saving.register_keras_serializable(package="two_routes")
class WarmUpAndSteps(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that grows from 0 over 5 of 90 parts, and falls tenfold after 30, 60 and 80 of them.

    Args:
        rate: The highest.
        steps: Of the whole training.
        warm_up: Whether it grows, or begins with the highest.
    """

    def __init__(self, rate: float, steps: int, warm_up: bool = True) -> None:
        self.rate, self.steps, self.warm_up = rate, steps, warm_up

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate of a step."""
        part = 90.0 * tf.cast(step, tf.float32) / self.steps
        falls = tf.reduce_sum(tf.cast(part >= tf.constant([30.0, 60.0, 80.0]), tf.float32))
        grown = tf.minimum(1.0, (part + 90.0 / self.steps) / 5.0) if self.warm_up else 1.0
        return self.rate * grown * 0.1**falls

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"rate": self.rate, "steps": self.steps, "warm_up": self.warm_up}


def optimizer(settings: Settings, steps: int) -> keras.optimizers.Optimizer:
    """Of forward weights and, apart, of feedback weights that learn by alignment.

    The rate of the latter falls with that of W, as in the paper: what moves slowly can be averaged
    for long. It does not warm up: B is to be where W is before W moves.

    Args:
        settings: Of the run.
        steps: Of the whole training.
    """
    rate = WarmUpAndSteps(settings.rate * settings.batch_size / 256, steps)
    decay = settings.decay / (1.0 - MOMENTUM)
    if settings.nats:
        epoch = steps // settings.epochs
        first = settings.nats / sum(float(rate(step)) for step in range(epoch))
        forward = DecaySGD(rate, first, decay, epoch, coupled=False, nesterov=True)
    else:
        forward = keras.optimizers.SGD(rate, MOMENTUM, nesterov=True, weight_decay=decay)
        forward.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    feedback = keras.optimizers.SGD(
        WarmUpAndSteps(settings.feedback_rate, steps, warm_up=False), name="feedback"
    )
    if settings.noise:
        noisy = functools.partial(ta.optimizers.NoisyUpdates, noise=settings.noise**0.5, seed=1)
        if settings.method == "backprop":
            forward = noisy(forward, on="gradients")
        else:
            feedback = noisy(feedback)
    return ta.optimizers.split(forward, feedback)


class Source:
    """Training batches and test data of a run.

    Args:
        settings: Of the run.
        data_dir: Where the TensorFlow Datasets are.
        strategy: That of the training.

    Attributes:
        shape: Of an image.
        classes: How many there are.
        augment: Makes a layer that changes images in training, or None.
        train: With an attribute `dataset`, as `ta.data.EpochShuffled`.
        test: Batches.
        probe: Examples on which gradients are compared.
    """

    def __init__(
        self, settings: Settings, data_dir: str | None, strategy: tf.distribute.Strategy
    ) -> None:
        self.augment: Callable[[], keras.layers.Layer | None] = lambda: None
        self.train: Any
        if settings.dataset == IMAGENET:
            preprocessing = "resnet" if settings.version == 1 else "inception"
            images = ta.data.images(IMAGENET, data_dir, preprocessing)
            self.shape, self.classes = (images.size, images.size, 3), 1000
            self.train = images.batches(settings.batch_size, settings.seed, strategy)
            self.test = images.validation(250)
            self.probe = next(iter(self.test.unbatch().batch(64)))
            return
        data = ta.data.load(settings.dataset, data_dir)
        data = common.normalised(data.map(lambda x: averaged(x, settings.size)))
        train, test = data.train, data.test
        if settings.held_out:
            train, test = (
                ta.data.Split(*(part[chosen] for part in train))
                for chosen in (slice(-settings.held_out), slice(-settings.held_out, None))
            )
        self.shape, self.classes = train.x.shape[1:], data.classes
        self.augment = lambda: ta.models.CropAndFlip(self.shape[0] // 8)
        self.train = ta.data.EpochShuffled(
            *train, settings.batch_size, seed=settings.seed, drop_remainder=True
        )
        self.test = tf.data.Dataset.from_tensor_slices(tuple(test)).batch(500)
        self.probe = test.x[:128], test.y[:128]


# Once for all runs: a pipeline keeps its data as long as the process lives.
source_of = functools.cache(Source)


def averaged(images: np.ndarray, size: int | None) -> np.ndarray:
    """Images `(n, side, side, channels)` as `(n, size, size, channels)`: means over squares.

    Raises:
        ValueError: If the side is no multiple of the size.
    """
    count, side, _, channels = images.shape
    size = size or side
    if side % size:
        raise ValueError(f"`size` must divide the images' side, {side}. Received: size={size}")
    return images.reshape(count, size, side // size, size, side // size, channels).mean((2, 4))


def build(settings: Settings, source: Source, steps: int, jit_compile: Any) -> keras.Model:
    """The compiled network of a seed; forward weights are the same for all methods."""
    keras.utils.set_random_seed(settings.seed)
    model = ta.models.resnet(
        settings.depth,
        settings.version,
        input_shape=source.shape,
        classes=source.classes,
        width=settings.width,
        augment=source.augment(),
    )
    if settings.method != "backprop":
        rule = keras.saving.deserialize_keras_object(settings.rule)
        model = ta.convert(
            model, METHODS[settings.method] if rule is None else rule, feedback_initializer=None
        )
    model.compile(
        optimizer(settings, steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    return model


def train(
    settings: Settings,
    data_dir: str | None,
    strategy: tf.distribute.Strategy,
    callbacks: Callable[[Source], list[keras.callbacks.Callback]] = lambda source: [],
    on_divergence: str = "stop",
) -> tuple[keras.Model, common.Numbers]:
    """Train one network.

    Args:
        settings: Of the run.
        data_dir: Where the TensorFlow Datasets are.
        strategy: One of `common.devices`.
        callbacks: Makes those of `fit`, after the monitor's.
        on_divergence: See `ta.callbacks.AlignmentMonitor`; a loss that is no number always stops.

    Returns:
        The network; settings, curves over the epochs, and whether training diverged.
    """
    began = time.perf_counter()
    keras.utils.clear_session()
    with strategy.scope():
        source = source_of(settings.data, data_dir, strategy)
        steps = settings.epochs * len(source.train)
        model = build(settings, source, steps, "auto")
    history = model.fit(
        source.train.dataset,
        epochs=settings.epochs,
        shuffle=False,
        validation_data=source.test,
        callbacks=[
            ta.callbacks.AlignmentMonitor(source.probe, on_divergence=on_divergence),
            keras.callbacks.TerminateOnNaN(),
            source.train.callback,
            *callbacks(source),
        ],
        verbose=0,
    ).history
    kept = ["loss", "accuracy", "val_loss", "val_accuracy"]
    kept += [f"mean/{name}" for name in ("weight_angle", "gradient_angle", "norm_ratio")]
    curves = {k: [round(float(v), 5) for v in history[k]] for k in kept if k in history}
    return model, {
        "settings": settings.kept,
        "seconds": round(time.perf_counter() - began, 1),
        "parameters": int(model.count_params()),
        "diverged": bool(model.stop_training or not np.isfinite(curves["loss"][-1])),
        "curves": curves,
    }


def run(
    settings: Settings,
    output: Path,
    data_dir: str | None = None,
    strategy: str = "default",
    tensorboard: bool = False,
    on_divergence: str = "stop",
) -> common.Numbers:
    """Train and save the network, or read what came of it before.

    Args:
        settings: Of the run.
        output: Directory of the files.
        data_dir: Where the TensorFlow Datasets are.
        strategy: See `ta.distribute.strategy`.
        tensorboard: Whether curves are written for TensorBoard too.
        on_divergence: See `train`.

    Returns:
        Settings, curves over the epochs, and whether training diverged.

    Raises:
        ValueError: If the output directory holds that run with other settings.
    """
    file = output / "runs" / f"{settings.name}.json"
    done = common.finished(file, settings.kept)
    if done is not None:
        return done
    print(settings.name, flush=True)

    def callbacks(source: Source) -> list[keras.callbacks.Callback]:
        board = keras.callbacks.TensorBoard(output / "tensorboard" / settings.name)
        kept = ta.callbacks.Resume(output / "unfinished" / settings.name, data=source.train)
        return [*([board] if tensorboard else []), common.Progress(), kept]

    on = common.devices(strategy)
    model, result = train(settings, data_dir, on, callbacks, on_divergence)
    if ta.distribute.worker(on)[0] == 0:
        (output / "models").mkdir(exist_ok=True)
        model.save(output / "models" / f"{settings.name}.keras")
        common.write_json(file, result)
    return result


def arguments_of(text: str) -> argparse.ArgumentParser:
    """A command line with all settings but those that a script varies."""
    parser = common.new_parser(text, "two_routes")
    common.add_data_dir(parser)
    common.add_strategy(parser)
    parser.add_argument("--tensorboard", action="store_true", help="write curves for TensorBoard")
    for field in dataclasses.fields(Settings):
        if field.name in ("method", "depth", "seed", "noise", "rule"):
            continue
        real = field.name.endswith(("rate", "decay", "forgetting"))
        kind = float if real else common.positive
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=str if field.name == "dataset" else kind,
            help=f"default: {field.default}",
        )
    return parser


def settings_of(arguments: argparse.Namespace, **changes: Any) -> Settings:
    """The settings that a command line asks for."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {n: v for n in names if (v := getattr(arguments, n, None)) is not None}
    return Settings(**{**(QUICK if arguments.quick else {}), **given, **changes})

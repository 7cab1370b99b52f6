"""Residual networks trained by the recipe of "Two Routes", and the command line of it."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.decay import FORGETTING, DecaySGD
from examples.two_routes.alternation import AlternatingAdam, AlternatingSGD
from tf_alignment.studies.store import unwritten
from tf_alignment.studies.tensorboard import write_tensorboard

__all__ = [
    "METHODS",
    "Settings",
    "arguments_of",
    "arrays",
    "case",
    "model_file",
    "probe",
    "runs",
    "settings_of",
    "variant",
]

METHODS: dict[str, Any] = {
    **{name: name for name in ta.feedback.METHODS},
    "aa": ta.feedback.ActivationAlignment(noise="rademacher"),  # on noise, as the local rules
    # the published formulas: nothing is divided by a layer's scale, local rules learn from noise;
    # the published procedure has `alternation` and `feedback_optimizer` beside them
    "wm-published": ta.feedback.WeightMirror(1e-3, 1e-3, noise="gaussian", normalize=None),
    "ia-published": ta.feedback.InformationAlignment(
        1e-3, 1e-3, 1e-4, noise="gaussian", normalize=None
    ),
    "aa-published": ta.feedback.ActivationAlignment(
        2e-3, 2e-3, noise=None, normalize=None, response_bias=True
    ),
}
"""What `ta.convert` gets for each; backpropagation trains the stock network."""
OF_ALIGNMENT = ("feedback_rate", "feedback_optimizer", "alternation")
"""Settings of feedback weights that learn by alignment."""
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
        feedback_optimizer: Of the same weights: `"sgd"` or `"adam"`, for which `feedback_rate`
            should be some 0.01.
        alternation: Task steps between two steps of alignment, see `alternation.py`; 0 for
            alignment in all steps, together with the task. With a method that has no alignment
            the steps of alignment pass unused: as many steps of the task as with the others.
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

    Raises:
        ValueError: For arguments of which one would have no effect beside the others.
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
    feedback_optimizer: str = "sgd"
    alternation: int = 0
    decay: float = 1e-4
    forgetting: float | None = None
    seed: int = 0
    size: int | None = None
    held_out: int = 0
    noise: float = 0.0
    rule: Any = None

    def __post_init__(self) -> None:
        if self.alternation and self.nats:
            raise ValueError(
                "`alternation` must be 0 with `forgetting`, for which the optimizer of the task is "
                f"another; the methods {', '.join(FORGETTING)} have it unless `forgetting` is 0. "
                f"Received: alternation={self.alternation}, forgetting={self.forgetting}, "
                f"method={self.method!r}"
            )
        if self.noise and self.method != "backprop" and not self.aligns:
            raise ValueError(
                "`noise` is on feedback weights that learn by alignment, or on backpropagation: "
                "`method` must be one of these. "
                f"Received: noise={self.noise:g}, method={self.method!r}"
            )
        if self.dataset == IMAGENET and (self.size or self.held_out):
            raise ValueError(
                f"`size` and `held_out` must be left out with {IMAGENET}, whose images and splits "
                f"are given. Received: size={self.size}, held_out={self.held_out}"
            )

    @property
    def aligns(self) -> bool:
        """Whether there are feedback weights that learn by alignment, as all rules of files do."""
        found = METHODS.get(self.method)
        return not isinstance(found, str) or isinstance(
            ta.feedback.get(found), ta.feedback.Alignment
        )

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


@keras.saving.register_keras_serializable(package="two_routes")
class TopFive(keras.metrics.SparseTopKCategoricalAccuracy):
    """Share of the examples whose class is among the five largest outputs."""

    def __init__(self, name: str = "top_5", dtype: Any = None) -> None:
        super().__init__(5, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}


def optimizer(settings: Settings, steps: int) -> keras.optimizers.Optimizer:
    """Of forward weights and, apart, of feedback weights that learn by alignment.

    The rate of the latter falls with that of W, as in the paper: what moves slowly can be averaged
    for long. It does not warm up: B is to be where W is before W moves.
    """
    rate = WarmUpAndSteps(settings.rate * settings.batch_size / 256, steps)
    decay = settings.decay / (1.0 - MOMENTUM)
    if settings.nats:
        epoch = steps // settings.epochs
        first = settings.nats / sum(float(rate(step)) for step in range(epoch))
        forward = DecaySGD(rate, first, decay, epoch, coupled=False, nesterov=True)
    else:
        task = _of("sgd", settings.alternation, False)
        forward = task(rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay)
        forward.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    falling = WarmUpAndSteps(settings.feedback_rate, steps, warm_up=False)
    learns = _of(settings.feedback_optimizer, settings.alternation, True)
    feedback = learns(falling, name="feedback")
    if settings.noise:
        noisy = functools.partial(ta.optimizers.NoisyUpdates, noise=settings.noise**0.5, seed=1)
        if settings.method == "backprop":
            forward = noisy(forward, on="gradients")
        else:
            feedback = noisy(feedback)
    return ta.optimizers.split(forward, feedback)


def _of(name: str, alternation: int, aligns: bool) -> Callable[..., keras.optimizers.Optimizer]:
    """What makes an optimizer; with alternation, one that learns in its own steps alone."""
    if not alternation:
        return {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[name]
    kind = {"sgd": AlternatingSGD, "adam": AlternatingAdam}[name]
    return functools.partial(kind, between=alternation, aligns=aligns)


def of_run(run: Any) -> Settings:
    """The settings of a run of a study."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {name: run.settings[name] for name in names if name in run.settings}
    return Settings(**{**given, "seed": run.seed, "epochs": run.epochs})


def optimizer_of(run: Any) -> keras.optimizers.Optimizer:
    """`optimizer` for a run."""
    return optimizer(of_run(run), run.steps)


def arrays(settings: Settings, data_dir: str | None) -> ta.data.Arrays:
    """The dataset, by its mean over squares of pixels and normalised."""
    data = ta.data.load(settings.dataset, data_dir)
    data = common.normalised(data.map(lambda x: averaged(x, settings.size)))
    if not settings.held_out:
        return data
    train, test = (
        ta.data.Split(*(part[chosen] for part in data.train))
        for chosen in (slice(-settings.held_out), slice(-settings.held_out, None))
    )
    return dataclasses.replace(data, train=train, test=test)


def images(settings: Settings, data_dir: str | None) -> common.Crops:
    """ImageNet, with the version's preprocessing."""
    preprocessing = "resnet" if settings.version == 1 else "inception"
    return common.Crops(ta.data.images(IMAGENET, data_dir, preprocessing))


def probe(settings: Settings, data_dir: str | None) -> tuple[Any, Any]:
    """Examples of the test data on which gradients are compared."""
    if settings.dataset == IMAGENET:
        return images(settings, data_dir).probe(64)
    x, y = arrays(settings, data_dir).test
    return x[:128], y[:128]


def data(run: Any) -> Any:
    """What a run trains and is tested on."""
    settings = of_run(run)
    if settings.dataset == IMAGENET:
        return images(settings, run.data_dir)
    return arrays(settings, run.data_dir)


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


def network(settings: Settings, shape: Sequence[int], classes: int, augmented: bool) -> keras.Model:
    """The stock network, whose normalisation is fused: Keras' numbers in less time."""
    return ta.models.resnet(
        settings.depth,
        settings.version,
        input_shape=(shape[0], shape[1], shape[2]),
        classes=classes,
        width=settings.width,
        augment=ta.models.CropAndFlip(shape[0] // 8) if augmented else None,
        batch_normalization="fused",
    )


def case(
    name: str, settings: Settings, data_dir: str | None, value: float | None = None
) -> ta.studies.Case:
    """A network of a study with its settings; method, rule and seed are those of variants."""
    if settings.dataset == IMAGENET:
        size = images(settings, data_dir).size
        shape, classes, augmented = (size, size, 3), 1000, False
    else:
        found = arrays(settings, data_dir)
        shape, classes, augmented = found.train.x.shape[1:], found.classes, True
    kept = dataclasses.asdict(settings)
    for other in ("method", "rule", "seed"):
        del kept[other]
    build = functools.partial(network, settings, shape, classes=classes, augmented=augmented)
    return ta.studies.Case(name, build, value=value, settings=kept)


def variant(name: str, rule: Any = None) -> ta.studies.Variant:
    """A method out of `METHODS`, or under any other name a rule as Keras saves it."""
    feedback = METHODS[name] if rule is None else keras.saving.deserialize_keras_object(rule)
    return ta.studies.Variant(
        name,
        None if name == "backprop" else feedback,
        feedback_initializer=None,
        settings={"method": name, "rule": rule},
    )


def model_file(directory: Path, settings: Settings) -> Path:
    """Where the trained network of a run is."""
    return directory / "models" / f"{settings.name}.keras"


def save_model(run: Any) -> common.Numbers:
    """Keep the trained network, and beside it its settings."""
    file = model_file(run.directory, of_run(run))
    file.parent.mkdir(exist_ok=True)
    # whole or not at all: of workers that train together every one does so
    new = unwritten(file)
    run.model.save(new)
    os.replace(new, file)
    common.write_json(file.with_suffix(".json"), {"settings": of_run(run).kept})
    return {}


def runs(
    given: argparse.Namespace,
    cases: Sequence[ta.studies.Case],
    variants: Sequence[ta.studies.Variant],
    seeds: Sequence[int],
    folder: str = "",
    **options: Any,
) -> list[common.Numbers]:
    """Train what is missing by the recipe.

    Args:
        given: Of the command line; files go into its `output`.
        cases: See `case`.
        variants: See `variant`.
        seeds: Which.
        folder: In `output`.
        **options: Of `common.study`.

    Returns:
        Settings, curves over the epochs, and whether training diverged, of each run.

    Raises:
        ValueError: Before anything is trained, for settings that have no effect, see `Settings`;
            those of feedback weights that learn by alignment need one method that has them.
    """
    settings = settings_of(given)
    wanted = [Settings(**{**case.settings, **one.settings}) for case in cases for one in variants]
    unused = {n: v for n in OF_ALIGNMENT if (v := getattr(settings, n)) != getattr(Settings, n)}
    if unused and not any(each.aligns for each in wanted):
        names = list(dict.fromkeys(each.method for each in wanted))
        raise ValueError(
            f"`{'` and `'.join(unused)}` must be left out where no method learns by alignment. "
            f"Received: {', '.join(f'{n}={v!r}' for n, v in unused.items())}, methods={names}"
        )
    many = cases[0].build.keywords["classes"] > 10  # `case` has read the data
    defaults: dict[str, Any] = {
        "compile": {
            "optimizer": optimizer_of,
            "metrics": ["accuracy", *([TopFive] if many else [])],
        },
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "finish": [save_model],
        "probe": 64 if settings.dataset == IMAGENET else 128,
        "seeds": seeds,
    }
    results = common.study(given, folder, list(cases), data, variants, **{**defaults, **options})
    if given.tensorboard:
        write_tensorboard(results, given.output / "tensorboard")
    networks = {each.name: each.settings for each in cases}
    methods = {each.name: each.settings for each in variants}
    return [
        to_page(run, {**networks[run["case"]], **methods[run["variant"]]})
        for run in common.ended(results)
    ]


def to_page(run: common.Numbers, settings: Mapping[str, Any]) -> common.Numbers:
    """A run as the files of docs/results have it."""
    names = ["loss", "accuracy", "top_5", "val_loss", "val_accuracy", "val_top_5"]
    names += [f"mean/{name}" for name in ("weight_angle", "gradient_angle", "norm_ratio")]
    return {
        "settings": Settings(**settings, seed=run["seed"]).kept,
        "seconds": run["seconds"],
        "parameters": run["parameters"],
        "diverged": run["status"] == "diverged",
        "curves": {name: run["curves"][name] for name in names if name in run["curves"]},
    }


def arguments_of(text: str, **options: Any) -> command_line.Parser:
    """A command line with all settings but those that a script varies."""
    parser = command_line.new_parser(text, "two_routes", jobs=True, **options)
    parser.add_argument("--tensorboard", action="store_true", help="write curves for TensorBoard")
    for field in dataclasses.fields(Settings):
        if field.name in ("method", "depth", "seed", "noise", "rule"):
            continue
        real = field.name.endswith(("rate", "decay", "forgetting"))
        kind = float if real else command_line.positive
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=str if isinstance(field.default, str) else kind,
            choices=("sgd", "adam") if field.name == "feedback_optimizer" else None,
            help=f"default: {field.default}",
        )
    return parser


def settings_of(arguments: argparse.Namespace, **changes: Any) -> Settings:
    """The settings that a command line asks for."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {n: v for n in names if (v := getattr(arguments, n, None)) is not None}
    return Settings(**{**(QUICK if arguments.quick else {}), **given, **changes})

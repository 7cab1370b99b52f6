"""Residual networks trained by the recipe of "Two Routes", and the flags of this recipe."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.decay import FORGETTING, DecaySGD
from examples.two_routes.alternation import in_turns
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
    "aa": ta.feedback.ActivationAlignment(noise="rademacher"),  # learns from noise, as wm and ia
    # The published formulas divide nothing by the scale of a layer, and wm and ia learn from noise.
    # The published procedure uses `alternation` and `feedback_optimizer` in addition.
    "wm-published": ta.feedback.WeightMirror(1e-3, 1e-3, noise="gaussian", normalize=None),
    "ia-published": ta.feedback.InformationAlignment(
        1e-3, 1e-3, 1e-4, noise="gaussian", normalize=None
    ),
    "aa-published": ta.feedback.ActivationAlignment(
        2e-3, 2e-3, noise=None, normalize=None, response_bias=True
    ),
}
"""Feedback method of each id, for `ta.convert`; backpropagation trains the stock network."""
OF_ALIGNMENT = ("feedback_rate", "feedback_optimizer", "alternation")
"""Names of the settings that only affect feedback weights that learn by alignment."""
IMAGENET = "imagenet2012"
MOMENTUM = 0.9
QUICK = {"dataset": "digits", "depth": 8, "width": 4, "epochs": 3, "batch_size": 32}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings that determine the result of a run.

    Attributes:
        method: Id of the method, one of `METHODS`, or the name of a rule given as `rule`.
        depth: Number of layers of the network, see `ta.models.resnet`.
        version: Version of the residual network, see `ta.models.resnet`.
        width: Number of filters in the first stage, see `ta.models.resnet`; None for the published
            width.
        dataset: A name of `ta.data.load`, or `"imagenet2012"`.
        epochs: Number of passes over the training split; 90 in the paper.
        batch_size: Number of examples per step, on all replicas together.
        rate: Learning rate of SGD with Nesterov momentum 0.9 for a batch size of 256; the rate is
            scaled in proportion to the batch size. The paper does not state this rate.
        feedback_rate: Highest learning rate of the feedback weights that learn by alignment.
        feedback_optimizer: Optimizer of the feedback weights that learn by alignment: `"sgd"`, or
            `"adam"`, for which `feedback_rate` should be about 0.01.
        alternation: Number of task steps between two steps of alignment, see `alternation.py`; 0
            for alignment in all steps, together with the task. With a method without alignment,
            nothing is learned in the steps of alignment, so that all methods have the same number
            of task steps.
        decay: Coefficient of the L2 penalty ½ decay ‖W‖² on all kernels, and on feedback kernels
            that get the same updates. Keras' own weight decay, which momentum does not amplify, is
            set to decay / (1 - momentum).
        forgetting: Exponent of the decay in the first epoch, which shrinks the initial values of
            the kernels by exp(-forgetting). None means 3 for the methods whose feedback forgets
            its start by decay alone (`kp`, `pfa`, `pfa_o`), and no such epoch for other methods.
        seed: Seed of weights, crops, noise, and order of the examples.
        size: Height and width to which images are averaged, in pixels; None for all pixels.
        held_out: Number of examples of the training split that replace the test split, for a
            search over metaparameters. On ImageNet, the test split of a run is the validation
            split of the dataset.
        noise: Variance of the noise of figure 5, on the updates of feedback weights that learn by
            alignment; for backpropagation, on all gradients.
        rule: A feedback rule in the form in which Keras saves it, which replaces the method's entry
            in `METHODS`.

    Raises:
        ValueError: If a setting would have no effect together with the others.
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
        """Whether feedback weights learn by alignment; with rules from files they always do."""
        found = METHODS.get(self.method)
        return not isinstance(found, str) or isinstance(
            ta.feedback.get(found), ta.feedback.Alignment
        )

    @property
    def name(self) -> str:
        """Name of the run's files, without ending."""
        noise = f"-noise{self.noise:g}" if self.noise else ""
        return f"{self.dataset}-v{self.version}-{self.depth}-{self.method}{noise}-{self.seed}"

    @property
    def nats(self) -> float:
        """Value of `forgetting`, with None replaced by the default of the method."""
        if self.forgetting is None:
            return 3.0 if self.method in FORGETTING else 0.0
        return self.forgetting

    @property
    def kept(self) -> common.Numbers:
        """Settings as they are stored in files, with None replaced in `forgetting`."""
        return {**dataclasses.asdict(self), "forgetting": self.nats}


@keras.saving.register_keras_serializable(package="two_routes")
class WarmUpAndSteps(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that grows from 0 over 5 of 90 epochs, and falls tenfold after 30, 60 and 80.

    For training of another length, these numbers are scaled in proportion.

    Args:
        rate: Highest learning rate.
        steps: Number of steps of the whole training.
        warm_up: Whether the rate grows from 0 at the beginning; otherwise training begins with the
            highest rate.
    """

    def __init__(self, rate: float, steps: int, warm_up: bool = True) -> None:
        self.rate, self.steps, self.warm_up = rate, steps, warm_up

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate of a step."""
        part = 90.0 * tf.cast(step, tf.float32) / self.steps
        falls = tf.reduce_sum(tf.cast(part >= tf.constant([30.0, 60.0, 80.0]), tf.float32))
        grown = tf.minimum(1.0, (part + 90.0 / self.steps) / 5.0) if self.warm_up else 1.0
        return self.rate * grown * 0.1**falls

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"rate": self.rate, "steps": self.steps, "warm_up": self.warm_up}


def optimizer(settings: Settings, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run, which has separate parts for forward and feedback weights.

    The learning rate of feedback weights B that learn by alignment falls together with that of W,
    as in the paper: while W changes slowly, B can average over many steps. It does not warm up, so
    that B aligns with W before W changes.

    Args:
        settings: Settings of the run.
        steps: Number of steps of the whole training.
    """
    rate = WarmUpAndSteps(settings.rate * settings.batch_size / 256, steps)
    decay = settings.decay / (1.0 - MOMENTUM)
    if settings.nats:
        epoch = steps // settings.epochs
        first = settings.nats / sum(float(rate(step)) for step in range(epoch))
        forward = DecaySGD(rate, first, decay, epoch, coupled=False, nesterov=True)
    else:
        task = in_turns("sgd", settings.alternation, False)
        forward = task(rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay)
        forward.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    falling = WarmUpAndSteps(settings.feedback_rate, steps, warm_up=False)
    learns = in_turns(settings.feedback_optimizer, settings.alternation, True)
    feedback = learns(falling, name="feedback")
    if settings.noise:
        noisy = functools.partial(ta.optimizers.NoisyUpdates, noise=settings.noise**0.5, seed=1)
        if settings.method == "backprop":
            forward = noisy(forward, on="gradients")
        else:
            feedback = noisy(feedback)
    return ta.optimizers.split(forward, feedback)


def of_run(run: Any) -> Settings:
    """Return the settings of a study's run."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {name: run.settings[name] for name in names if name in run.settings}
    return Settings(**{**given, "seed": run.seed, "epochs": run.epochs})


def optimizer_of(run: Any) -> keras.optimizers.Optimizer:
    """Return the `optimizer` of a study's run."""
    return optimizer(of_run(run), run.steps)


def arrays(settings: Settings, data_dir: str | None) -> ta.data.Arrays:
    """Return the dataset with images averaged to `settings.size` and normalised.

    If `settings.held_out` is not 0, the last examples of the training split become the test split.
    """
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
    """Return crops of ImageNet, with the preprocessing of the network's version."""
    preprocessing = "resnet" if settings.version == 1 else "inception"
    return common.Crops(ta.data.images(IMAGENET, data_dir, preprocessing))


def probe(settings: Settings, data_dir: str | None) -> tuple[Any, Any]:
    """Return inputs and labels of some test examples, to compare gradients or measure layers."""
    if settings.dataset == IMAGENET:
        return images(settings, data_dir).probe(64)
    x, y = arrays(settings, data_dir).test
    return x[:128], y[:128]


def data(run: Any) -> Any:
    """Return the training and test data of a study's run."""
    settings = of_run(run)
    if settings.dataset == IMAGENET:
        return images(settings, run.data_dir)
    return arrays(settings, run.data_dir)


def averaged(images: np.ndarray, size: int | None) -> np.ndarray:
    """Reduce the resolution of images by means over squares of pixels.

    Args:
        images: Images, `(n, side, side, channels)`.
        size: Height and width of the result, in pixels; None for no change.

    Returns:
        Images, `(n, size, size, channels)`.

    Raises:
        ValueError: If the side is no multiple of the size.
    """
    count, side, _, channels = images.shape
    size = size or side
    if side % size:
        raise ValueError(f"`size` must divide the images' side, {side}. Received: size={size}")
    return images.reshape(count, size, side // size, size, side // size, channels).mean((2, 4))


def network(settings: Settings, shape: Sequence[int], classes: int, augmented: bool) -> keras.Model:
    """Return the stock residual network.

    Fused batch normalisation computes the same numbers as Keras' layer in less time.

    Args:
        settings: Settings of the run.
        shape: Shape of an image, `(height, width, channels)`.
        classes: Number of classes.
        augmented: Whether the network crops and flips training images at random.
    """
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
    """Return a network and its settings as a case of a study.

    Method and rule are settings of variants, and the seed is that of the run.

    Args:
        name: Name of the case.
        settings: Settings of the runs.
        data_dir: Directory of the TensorFlow Datasets.
        value: Value of the setting that is swept, or None.
    """
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
    """Return a method as a variant of a study.

    Args:
        name: Id in `METHODS`, or any other name for a rule.
        rule: Feedback rule in the form in which Keras saves it, or None for the method in
            `METHODS`.
    """
    feedback = METHODS[name] if rule is None else keras.saving.deserialize_keras_object(rule)
    return ta.studies.Variant(
        name,
        None if name == "backprop" else feedback,
        feedback_initializer=None,
        settings={"method": name, "rule": rule},
    )


def model_file(directory: Path, settings: Settings) -> Path:
    """Return the file of the trained network of a run."""
    return directory / "models" / f"{settings.name}.keras"


def save_model(run: Any) -> common.Numbers:
    """Save the trained network of a run, and its settings in a JSON file beside it."""
    file = model_file(run.directory, of_run(run))
    file.parent.mkdir(exist_ok=True)
    # moved into place when it is complete, since all workers of a distributed run write this file
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
    """Make the runs that are missing by the recipe of "Two Routes".

    Args:
        given: Parsed command line of `arguments_of`; files are written to its `output`.
        cases: Networks, see `case`.
        variants: Methods, see `variant`.
        seeds: Seeds of the runs.
        folder: Name of the study's folder in `output`.
        **options: Further arguments of `common.study`.

    Returns:
        One dict per run: its settings, duration, number of parameters, curves over the epochs, and
        whether training diverged.

    Raises:
        ValueError: Before training, if settings have no effect, see `Settings`. Settings of
            feedback weights that learn by alignment need at least one method with such weights.
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
    metrics: list[Any] = ["accuracy"]
    if cases[0].build.keywords["classes"] > 10:  # `case` has read the data
        metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"))
    defaults: dict[str, Any] = {
        "compile": {"optimizer": optimizer_of, "metrics": metrics},
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
    """Convert a run of a study to the form of the files in docs/results.

    Args:
        run: Run as the study has stored it.
        settings: Settings of the run, without the seed.
    """
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
    """Return a parser with flags for all settings except those that differ between scripts.

    Args:
        text: Docstring of the script, whose first line becomes the description of `--help`.
        **options: Further arguments of `command_line.new_parser`.
    """
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
    """Return the settings that the command line gives.

    Args:
        arguments: Parsed command line. `--quick` replaces the defaults of `Settings` by `QUICK`.
        **changes: Settings that replace those of the command line.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {n: v for n in names if (v := getattr(arguments, n, None)) is not None}
    return Settings(**{**(QUICK if arguments.quick else {}), **given, **changes})

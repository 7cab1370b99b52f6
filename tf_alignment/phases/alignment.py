"""Alignment rules as a phase: B learns by itself, from real data or from noise in every layer."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment._support.arguments import boolean, is_config
from tf_alignment._support.noise import Noise, noise_of
from tf_alignment.layers.connection import Connection
from tf_alignment.optimizers.split import TOO_LARGE_A_STEP, largest_step
from tf_alignment.phases.compiled import CompiledPhase
from tf_alignment.probe import probe

__all__ = ["Alignment"]


class Alignment(CompiledPhase):
    """Runs an alignment rule for some steps, while the forward weights stand still.

    Any rule that can learn inside the training step can be a phase: build the model with a method
    that keeps a feedback kernel (`"fa"`) and let the phase align it. Weight mirrors with a mirror
    phase of their own, alternation of task and alignment, and a task whose learning begins after a
    warm-up of the feedback are all `tf_alignment.callbacks.FeedbackCallback` with this phase.

    All steps are one compiled loop. Layers are called as in inference: dropout is off and batch
    normalisation uses its moving statistics. Under a strategy every replica sees data or noise of
    its own, and gradients are averaged.

    Args:
        rule: A `tf_alignment.feedback.Alignment` (`WeightMirror()`, `Alignment({...})` ...), any
            other `Feedback` that learns by alignment, its string id, or a dict of primitives and
            coefficients. A schedule counts the phase's steps; with `one_by_one`, those of the
            layer.
        dataset: Inputs of the model: arrays, of which each step draws `batch_size` examples, or a
            batched `tf.data.Dataset`. A tuple is `(x, y, ...)` in both, of which only x is used;
            several inputs are a list or a dict, alone or as x. The rule sees the layers' own
            activity, whatever its option `noise` says. With arrays a run that `Resume` continues
            draws what it would have drawn.
        noise: Without a dataset, the noise put into every layer, independently, spelled as for
            `tf_alignment.feedback.Alignment`. By default the noise of the rule, or Rademacher
            noise of variance 1.
        steps: Steps of one run.
        optimizer: Keras optimizer for the feedback kernels, used as a template. By default
            `SGD(0.5)`, as in `tf_alignment.optimizers.split`. Its state is kept between runs; with
            `one_by_one` every layer has one of its own.
        one_by_one: Whether layers learn one after the other, each for `steps` steps, as weight
            mirrors were first described, instead of all at once.
        batch_size: Examples, of noise or drawn from arrays, per step on each replica.
        layers, seed, name: See `Phase`.

    Raises:
        TypeError: If `rule` is no alignment rule, or an argument has the wrong type.
        ValueError: If both `dataset` and `noise` are given, for counts below 1, or, when it runs,
            for a model whose inputs are not known.

    References: Akrout et al. 2019, "Deep learning without weight transport" (the mirror phase);
    Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight Symmetry".

    Example:
    >>> import keras, tf_alignment as ta
    >>> layer = ta.layers.Dense(9, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((20,)), layer], name="net")
    >>> phase = ta.phases.Alignment("wm", steps=300, seed=1)
    >>> bool(phase.run(model)["net/top"]["weight_angle"] < 20)
    True
    """

    name = "alignment"

    def __init__(
        self,
        rule: Any,
        *,
        dataset: Any = None,
        noise: Any = None,
        steps: int = 100,
        optimizer: Any = None,
        one_by_one: bool = False,
        batch_size: int = 128,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if dataset is not None and noise is not None:
            raise ValueError(
                "Arguments `dataset` and `noise` exclude each other. "
                f"Received: a dataset and noise={noise!r}"
            )
        optimizer = keras.optimizers.SGD(0.5) if optimizer is None else optimizer
        if isinstance(dataset, tuple):  # an empty one is refused there
            dataset = dataset[0] if dataset else dataset
        super().__init__(
            dataset=dataset,
            steps=steps,
            optimizer=optimizer,
            batch_size=batch_size,
            layers=layers,
            seed=seed,
            name=name,
        )
        rule = _rule(rule)
        inner = rule.unwrapped
        if dataset is not None:
            noise = None
        elif noise is None:
            noise = getattr(inner, "noise", None) or Noise()
        else:
            noise = noise_of("noise", noise)
        draws_itself = isinstance(inner, methods.Alignment)
        self.rule = rule.with_input(noise) if draws_itself else rule
        self.noise: Noise | None = None if draws_itself else noise
        self.one_by_one = boolean("one_by_one", one_by_one)

    def groups(self, paths: list[str]) -> list[list[str]]:
        """All connections at once, or one by one."""
        return [[path] for path in paths] if self.one_by_one else [paths]

    def create(self, model: keras.Model, connections: dict[str, Any]) -> list[keras.Variable]:
        """Make optimizers and counts, and warn of steps too large for a path with a mismatch."""
        own = super().create(model, connections)
        for path, connection in connections.items():
            step = largest_step(self.rule, connection, self.optimizer_for(path))
            if step >= 2.0:
                text = TOO_LARGE_A_STEP.format(some=f"'{path}'", last=f"{step:.1f}")
                warnings.warn(text, stacklevel=2)
        return own

    def learning(self, connections: dict[str, Any]) -> dict[str, list[keras.Variable]]:
        """The weights that the rule changes."""
        return {path: list(self._weights(path, c).values()) for path, c in connections.items()}

    def default_data(self, model: keras.Model) -> Any:
        """Zeros. Only shapes are taken from their pass: TensorFlow prunes its arithmetic."""
        return keras.tree.map_structure(
            lambda x: tf.zeros((self.batch_size, *x.shape[1:]), x.dtype), _inputs(model)
        )

    def step(self, model: keras.Model, connections: dict[str, Any], data: Any) -> None:
        """One update of every feedback weight."""
        x = keras.utils.unpack_x_y_sample_weight(data)[0] if self.streams else data
        with probe() as seen:
            model(x, training=False)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        gradients, variables = [], []
        for path, connection in connections.items():
            weights = self._weights(path, connection)
            found = self._gradient(path, seen.activities.get(connection), weights)
            for name, variable in weights.items():
                gradients.append(found[name] / replicas)
                variables.append(variable)
        self.optimizer_for(next(iter(connections))).apply(gradients, variables)

    def _weights(self, path: str, connection: Connection) -> dict[str, keras.Variable]:
        """The weights that the rule changes in one connection."""
        learned, needed = _weights_of(self.rule, connection)
        if not connection.weights.keys() >= set(needed):
            raise ValueError(
                f"The rule learns the weights {learned} and needs {needed}, of which '{path}' must "
                f"have all. Received: a layer with {sorted(connection.weights)}"
            )
        return {name: connection.weights[name] for name in learned}

    def _gradient(
        self,
        path: str,
        activities: list[methods.Activity] | None,
        variables: dict[str, keras.Variable],
    ) -> Mapping[str, tf.Tensor]:
        if not activities:
            raise ValueError(
                f"Phase '{self.name}' needs every layer to be called with the model. Received: a "
                f"model that does not call '{path}'"
            )
        # A layer that is called several times aligns at its first call, as in training.
        activity = activities[0]
        seed, step = self.draw_seed(path), self.steps_of(path)
        weights = {n: tf.convert_to_tensor(v) for n, v in variables.items()}
        activity = dataclasses.replace(activity, seed=seed, step=step)
        if self.noise is not None:  # a rule that does not draw its own
            x = self.noise.sample(tf.shape(activity.x), seed, activity.x.dtype)
            x = tf.ensure_shape(x, activity.x.shape)
            z = activity.map.apply(x, activity.kernel)
            activity = dataclasses.replace(activity, x=x, z=z)
        return self.rule.align(activity, weights)


def _weights_of(rule: methods.Feedback, connection: Connection) -> tuple[list[str], list[str]]:
    """The names of the weights that the rule learns by alignment, and of all that it makes."""
    found, made = [], []

    def add(
        name: str, shape: Any, initializer: Any, trainable: bool, aligned: bool = False
    ) -> keras.Variable:
        made.append(name)
        if aligned:
            found.append(name)
        return connection.weights.get(name, connection.kernel)

    def draw(shape: tuple[int, ...], dtype: Any = None, of: Any = None) -> tf.Tensor:
        return tf.zeros(shape, dtype or tf.float32)

    kernel, rank = connection.kernel, 2 + getattr(connection.layer, "rank", 0)
    ones = (1,) * rank
    units = connection.map.output_channels(tuple(kernel.shape), rank)
    rule.build(methods.Setup(connection.map, kernel, draw, add, lambda: 0, ones, units))
    return found, made


def _rule(rule: Any) -> methods.Feedback:
    """The rule that the argument `rule` asks for; it learns by alignment."""
    expected = (
        "Argument `rule` must be an alignment rule: 'wm', 'ia', 'sa', 'aa', a `Feedback` object "
        f"that learns by alignment or a dict of primitives. Received: rule={rule!r}"
    )
    terms = isinstance(rule, Mapping) and not is_config(rule)
    try:
        method = methods.Alignment(rule) if terms else methods.get(rule)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected} ({error})") from None
    if method is None or method.learns != "alignment":
        raise TypeError(expected)
    return method


def _inputs(model: keras.Model) -> Any:
    """The model's symbolic inputs, in their structure."""
    known = getattr(model, "inputs", None)
    own = (known[0] if isinstance(model, keras.Sequential) else model.input) if known else []
    shapes = [tuple(x.shape[1:]) for x in keras.tree.flatten(own)]
    if not shapes or any(None in shape for shape in shapes):
        raise ValueError(
            "Noise needs a model that knows the shapes of its inputs (Sequential with an `Input`, "
            "or functional, with no size left open but the batch's); give the phase a `dataset`. "
            f"Received: {type(model).__name__} '{model.name}' with inputs of shapes {shapes}"
        )
    return own

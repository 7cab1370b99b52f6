"""What phases share that learn step by step: data, a compiled loop, a state that survives."""

from __future__ import annotations

import abc
import random
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.arguments import integer, optimizer_of
from tf_alignment.initializers import derived_seed
from tf_alignment.layers.base import Connection
from tf_alignment.phases.base import Phase, Results

__all__ = ["CompiledPhase"]


class CompiledPhase(Phase):
    """A phase of many small steps, all in one compiled loop.

    Each replica of a strategy draws data and random numbers of its own. Data given as arrays, and
    all random numbers, follow from the seed and the count of steps.

    A subclass makes its variables in `create` and takes a step in `step`.

    Args:
        dataset: Arrays (in a structure), of which each step draws `batch_size` examples; or a
            batched `tf.data.Dataset`; or None if the subclass needs no data.
        steps: Steps of one run.
        optimizer: Keras optimizer of the feedback weights, used as a template, or None.
        layers: See `Phase`.
        batch_size: Examples a step on each replica.
        seed: Integer, or None for a random one.
    """

    def __init__(
        self,
        dataset: Any,
        steps: int,
        optimizer: Any,
        layers: Sequence[str] | None,
        batch_size: int,
        seed: int | None,
    ) -> None:
        super().__init__(layers)
        if not (dataset is None or isinstance(dataset, tf.data.Dataset) or _has_axes(dataset)):
            raise TypeError(
                "Argument `dataset` must be arrays, in a structure, a tf.data.Dataset or None. "
                f"Received: dataset of type {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.steps = integer("steps", steps)
        self.batch_size = integer("batch_size", batch_size)
        if optimizer is not None:
            optimizer = optimizer_of("optimizer", optimizer, single=True)
        self.optimizer = optimizer
        self.seed = random.randint(1, 10**9) if seed is None else integer("seed", seed, 0)
        self._model: Callable[[], keras.Model | None] = lambda: None

    def create(
        self, model: keras.Model, connections: dict[str, Connection]
    ) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Make what the phase needs for `model`, in the scope of the model's strategy.

        Returns:
            The feedback weights for the optimizer, and the phase's own variables.
        """
        return [c.weights["feedback_kernel"] for c in connections.values()], []

    @abc.abstractmethod
    def step(self, model: keras.Model, paths: list[str], data: Any) -> None:
        """One step, on one replica: graph code that updates the feedback weights at `paths`."""

    def groups(self, paths: list[str]) -> list[list[str]]:
        """Which connections learn together; the groups take their turns one after the other."""
        return [paths]

    def default_data(self, model: keras.Model) -> Any:
        """What `step` gets as data where there is no dataset."""
        return None

    def build(self, model: keras.Model) -> None:
        """Give the phase variables of its own for `model`."""
        if self._model() is model:
            return
        connections = self.connections(model)
        # by order, not by path: Keras counts up the names of equal models
        self._seeds = {p: derived_seed(self.seed, i) for i, p in enumerate(connections)}
        with model.distribute_strategy.scope():
            self._count = keras.Variable(
                0, dtype="int32", trainable=False, aggregation="only_first_replica"
            )
            learning, own = self.create(model, connections)
            self._own = [self._count, *own]
            if self.optimizer is not None:
                self._optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
                self._optimizer.build(learning)
                self._own += self._optimizer.variables
        self._take = self._source(model)
        self._groups = self.groups(list(connections))
        self._loops = [self._loop(model, group) for group in self._groups]
        self._model = weakref.ref(model)

    @property
    def streams(self) -> bool:
        """Whether batches come as they are, from a `tf.data.Dataset`."""
        return isinstance(self.dataset, tf.data.Dataset)

    @property
    def takes_batches(self) -> bool:
        """Whether a step inside training learns from the training batch."""
        return False

    @property
    def variables(self) -> list[keras.Variable]:
        """The count of steps and what else is kept; empty before the phase is built."""
        return [] if self._model() is None else list(self._own)

    def update(
        self, model: keras.Model, connections: dict[str, Connection], verbose: int = 0
    ) -> Results | None:
        """Run the steps."""
        total = self.steps * len(self._loops)
        bar = keras.utils.Progbar(total, unit_name="step") if verbose else None
        part = max(1, self.steps // 20) if verbose else self.steps
        for i, loop in enumerate(self._loops):
            for done in range(0, self.steps, part):
                count = min(part, self.steps - done)
                loop(tf.constant(count))
                if bar is not None:
                    bar.update(i * self.steps + done + count)
        return None

    def take_step(self, model: keras.Model, batch: Any) -> None:
        """One step on one replica, as part of a function that someone else compiles.

        Args:
            model: That for which the phase was built.
            batch: Data of the step, if the phase has no dataset of its own.
        """
        for group in self._groups:
            self.step(model, group, batch if self.takes_batches else self._take())
        self._count.assign_add(1)

    def draw_seed(self, path: str | None = None, *names: int | str) -> tf.Tensor:
        """Two int32 numbers, for every step, replica, connection and `names` of their own."""
        base = self.seed if path is None else self._seeds[path]
        strategy, context = tf.distribute.get_strategy(), tf.distribute.get_replica_context()
        replica = tf.cast(0 if context is None else context.replica_id_in_sync_group, tf.int32)
        moment = tf.convert_to_tensor(self._count) * strategy.num_replicas_in_sync + replica
        return tf.stack([tf.constant(derived_seed(base, *names), tf.int32), moment])

    def _loop(self, model: keras.Model, paths: list[str]) -> Callable[[tf.Tensor], None]:
        """A compiled function of the number of steps."""
        strategy, take = model.distribute_strategy, self._take
        outside = self.streams  # an iterator deals to all replicas

        def step(data: Any = None) -> None:
            self.step(model, paths, data if outside else take())
            self._count.assign_add(1)

        @tf.function(reduce_retracing=True)
        def loop(count: tf.Tensor) -> None:
            for _ in tf.range(count):
                strategy.run(step, args=(take(),) if outside else ())

        return loop

    def _source(self, model: keras.Model) -> Callable[[], Any]:
        """Gives the next batch."""
        if self.streams:
            if int(self.dataset.cardinality()) == 0:
                raise ValueError("Argument `dataset` must hold a batch. Received: an empty dataset")
            strategy = model.distribute_strategy
            iterator = iter(strategy.experimental_distribute_dataset(self.dataset.repeat()))
            return lambda: next(iterator)
        if self.dataset is None:
            return lambda: self.default_data(model)
        data = keras.tree.map_structure(_tensor, self.dataset)
        sizes = {len(array) for array in keras.tree.flatten(data)}
        if len(sizes) > 1:
            raise ValueError(
                "Argument `dataset` must hold arrays with the same number of examples. "
                f"Received: {sorted(sizes)}"
            )
        [size] = sizes
        if size == 0:
            raise ValueError("Argument `dataset` must hold an example. Received: empty arrays")

        def draw() -> Any:
            seed = self.draw_seed(None, "batch")
            rows = tf.random.stateless_uniform((self.batch_size,), seed, 0, size, tf.int32)
            return keras.tree.map_structure(lambda a: tf.gather(a, rows), data)

        return draw


def _has_axes(arrays: Any) -> bool:
    """Whether there are arrays, each with an axis for its examples."""
    leaves = keras.tree.flatten(arrays)
    return bool(leaves) and all(len(getattr(leaf, "shape", ())) > 0 for leaf in leaves)


def _tensor(array: Any) -> tf.Tensor:
    """The array as a tensor; floating numbers as Keras has them."""
    tensor = tf.convert_to_tensor(array)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor

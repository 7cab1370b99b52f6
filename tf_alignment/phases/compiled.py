"""The base of phases that learn step by step: data, a compiled loop, a state that survives."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import integer, optimizer_of
from tf_alignment._support.seeds import derived_seed
from tf_alignment._support.tracing import traced_once
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.base import Phase, Results
from tf_alignment.phases.state import state_variable

__all__ = ["CompiledPhase"]


@dataclasses.dataclass
class _Group:
    """Connections that learn together.

    Attributes:
        connections: `{path: connection}`.
        count: Steps that these connections have taken.
        optimizer: Optimizer of their weights, or None.
    """

    connections: dict[str, Receiver]
    count: keras.Variable
    optimizer: keras.optimizers.Optimizer | None


class CompiledPhase(Phase, abc.ABC):
    """The base of phases of many small steps, all in one compiled loop.

    A subclass writes `step`. It may also override

    - `create`, to make variables of its own, which `Resume` stores with the rest. It returns them,
      followed by the variables of `super().create(...)`;
    - `learning`, if the optimizer is to change other weights than the feedback kernels;
    - `groups`, if connections are to take turns;
    - `default_data`, the data of a step if `dataset` is None.

    `step` may call `draw_seed`, `steps_of` and, if the phase has an optimizer, `optimizer_for`.

    Each replica of a strategy draws data and random numbers of its own. Data given as arrays, and
    all random numbers, follow from the seed and the count of steps. `FeedbackCallback` runs the
    phase between steps of training, `tf_alignment.phases.interleave` inside of them.

    Args:
        dataset: Arrays (in a structure), of which each step draws `batch_size` examples; or a
            batched `tf.data.Dataset`; or None if the subclass needs no data.
        steps: Steps of one run.
        optimizer: Keras optimizer of the feedback weights, used as a template, or None.
        batch_size: Examples per step on each replica.
        layers, seed, name: See `Phase`.

    Raises:
        TypeError: If `dataset` is none of these.
        ValueError: For counts below 1, an unknown optimizer, or, when the phase runs, a dataset
            without examples.

    Example:
    >>> import keras, tensorflow as tf, tf_alignment as ta
    >>> class Teach(ta.phases.CompiledPhase):
    ...     \"\"\"Sends noise through both kernels; B learns to answer as W does.\"\"\"
    ...     name = "teach"
    ...     def step(self, model, connections, data):
    ...         for path, c in connections.items():
    ...             w, b = c.kernel.value, c.weights["feedback_kernel"].value
    ...             x = tf.random.stateless_normal((32, w.shape[0]), self.draw_seed(path))
    ...             gradient = tf.matmul(x, tf.matmul(x, b - w), transpose_a=True) / 32
    ...             optimizer = self.optimizer_for(path)
    ...             optimizer.apply([gradient], [c.weights["feedback_kernel"]])
    >>> layer = ta.layers.Dense(3, feedback="fa", name="top")
    >>> model = keras.Sequential([keras.Input((4,)), layer], name="net")
    >>> phase = Teach(steps=100, optimizer=keras.optimizers.SGD(0.1), seed=1)
    >>> bool(phase.run(model)["net/top"]["weight_angle"] < 5)
    True
    """

    def __init__(
        self,
        *,
        dataset: Any = None,
        steps: int = 100,
        optimizer: Any = None,
        batch_size: int = 128,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(layers=layers, seed=seed, name=name)
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

    @abc.abstractmethod
    def step(self, model: keras.Model, connections: dict[str, Receiver], data: Any) -> None:
        """One step, on one replica: graph code that updates feedback weights.

        As in Keras' `fit`, AutoGraph does not rewrite the code: loops and conditions on tensors are
        `tf.while_loop` and `tf.cond`.

        Args:
            model: The model.
            connections: `{path: connection}`, the connections whose turn it is.
            data: A batch.
        """

    def learning(self, connections: dict[str, Receiver]) -> dict[str, list[keras.Variable]]:
        """`{path: weights}`, what the optimizer changes: by default the feedback kernels."""
        return {path: [c.weights["feedback_kernel"]] for path, c in connections.items()}

    def groups(self, paths: list[str]) -> list[list[str]]:
        """Groups of connections that learn together; groups take turns, one after the other."""
        return [paths]

    def default_data(self, model: keras.Model) -> Any:
        """The data that `step` gets where there is no dataset."""
        return None

    def draw_seed(self, path: str | None = None, *names: int | str) -> tf.Tensor:
        """Two int32 numbers, for every step, replica, connection and `names` of their own.

        Args:
            path: Path of the connection, or None for numbers that belong to no connection.
            names: Purpose of the numbers, where a step draws several times.
        """
        base = self.seed if path is None else self._seeds[path]
        strategy, context = tf.distribute.get_strategy(), tf.distribute.get_replica_context()
        replica = tf.cast(0 if context is None else context.replica_id_in_sync_group, tf.int32)
        moment = tf.convert_to_tensor(self._count) * strategy.num_replicas_in_sync + replica
        return tf.stack([tf.constant(derived_seed(base, *names), tf.int32), moment])

    def steps_of(self, path: str) -> tf.Tensor:
        """Steps that a connection has learned so far, over all runs: the count of a schedule."""
        return tf.convert_to_tensor(self._group_of[path].count)

    def optimizer_for(self, path: str) -> Any:
        """The optimizer of a connection's weights; connections that learn together share one."""
        return self._group_of[path].optimizer

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Make optimizers and counts; subclasses call it after what `learning` needs is made."""
        self._take = self._source(model)
        grouped = self.groups(list(connections))
        learning = self.learning(connections)
        self._groups: list[_Group] = []
        own: list[keras.Variable] = []
        for paths in grouped:
            # one group alone has as many steps as the phase
            count = self._count if len(grouped) == 1 else state_variable((), "steps", "int32")
            own += [count] if count is not self._count else []
            optimizer = None
            if self.optimizer is not None:
                optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
                optimizer.build([v for path in paths for v in learning[path]])
                own += optimizer.variables
            own_connections = {path: connections[path] for path in paths}
            self._groups.append(_Group(own_connections, count, optimizer))
        self._loops = [self._loop(model, group) for group in self._groups]
        self._group_of = {path: group for group in self._groups for path in group.connections}
        return own

    @property
    def streams(self) -> bool:
        """Whether batches come as they are, from a `tf.data.Dataset`."""
        return isinstance(self.dataset, tf.data.Dataset)

    @property
    def takes_batches(self) -> bool:
        """Whether a step inside training learns from the training batch."""
        return False

    def update(
        self, model: keras.Model, connections: dict[str, Receiver], verbose: int = 0
    ) -> Results | None:
        """Run the steps."""
        total = self.steps * len(self._groups)
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
        """Take one step on one replica, as part of a function that the caller compiles.

        Args:
            model: The model for which the phase was built.
            batch: Data of the step, if the phase has no dataset of its own.

        Raises:
            ValueError: If the phase was built for another model since, or layers were changed.
        """
        if self._held(model) is None:
            raise ValueError(
                f"Phase '{self.name}' was run with another model, or layers of model "
                f"'{model.name}' were converted with another model, since the phase was "
                "interleaved. Call `ta.phases.interleave(model, phase)` again, with one phase per "
                f"model. Received: model '{model.name}'"
            )
        for group in self._groups:
            self.step(model, group.connections, batch if self.takes_batches else self._take())
            if group.count is not self._count:
                group.count.assign_add(1)
        self._count.assign_add(1)

    def _loop(self, model: keras.Model, group: _Group) -> Callable[[tf.Tensor], None]:
        """A compiled function of the number of steps."""
        strategy, take = model.distribute_strategy, self._take
        outside = self.streams  # an iterator deals to all replicas

        def step(data: Any = None) -> None:
            self.step(model, group.connections, data if outside else take())
            if group.count is not self._count:
                group.count.assign_add(1)
            self._count.assign_add(1)

        def body(i: tf.Tensor) -> tuple[tf.Tensor]:
            strategy.run(step, args=(take(),) if outside else ())
            return (i + 1,)

        def loop(count: tf.Tensor) -> None:
            tf.while_loop(lambda i: i < count, body, (0,))

        return traced_once(loop)

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
                f"Received: arrays of {sorted(sizes)} examples"
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

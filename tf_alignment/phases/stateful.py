"""What phases share that keep a state from run to run: variables, and random numbers of a seed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support import arguments
from tf_alignment._support.seeds import derived_seed
from tf_alignment.layers.connection import Connection
from tf_alignment.phases.base import Phase

__all__ = ["StatefulPhase", "state_variable"]


class StatefulPhase(Phase):
    """A phase with a count, variables of its own, and random numbers that follow from a seed.

    A subclass makes what it needs for a model in `create`.

    Args:
        layers: See `Phase`.
        seed: Integer, or None for a random one.
        name: See `Phase`.
    """

    def __init__(
        self, layers: Sequence[str] | None, seed: int | None, name: str | None = None
    ) -> None:
        super().__init__(layers, name)
        self.seed = arguments.seed(seed)
        self._model: Callable[[], keras.Model | None] = lambda: None

    def create(self, model: keras.Model, connections: dict[str, Any]) -> list[keras.Variable]:
        """Make what the phase needs for `model`, in the scope of the model's strategy.

        Args:
            model: The model.
            connections: `{path: connection}`, those that the phase changes.

        Returns:
            The phase's own variables besides the count, which is 0 then.
        """
        return []

    def build(self, model: keras.Model) -> None:
        """Give the phase what it needs for `model`, and let it count from 0."""
        if self._model() is model:
            return
        connections: dict[str, Connection] = self._receiving(model)
        # by order, not by path: Keras counts up the names of equal models
        self._seeds = {path: derived_seed(self.seed, i) for i, path in enumerate(connections)}
        with model.distribute_strategy.scope():
            self._count = state_variable((), "count", "int32")
            self._own = self.create(model, connections)
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The count and what else is kept; empty before the phase is built."""
        return [] if self._model() is None else [self._count, *self._own]


def state_variable(shape: Sequence[int], name: str, dtype: str = "float32") -> keras.Variable:
    """A variable of zeros that every replica changes alike.

    Args:
        shape: Its shape.
        name: Its name.
        dtype: Its type.
    """
    return keras.Variable(
        tf.zeros(shape, dtype),
        dtype=dtype,
        trainable=False,
        aggregation="only_first_replica",
        name=name,
    )

"""What phases share that simulate dense layers as spiking networks."""

from __future__ import annotations

import abc
import random
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence

import keras

from tf_alignment.arguments import boolean, integer
from tf_alignment.layers.base import Connection
from tf_alignment.linear_maps import Matmul
from tf_alignment.phases.base import Phase

__all__ = ["DensePhase"]

# Part of a layer's units that may be silent, or saturated, before the phase warns.
_SILENT, _SATURATED = 0.75, 0.25


class DensePhase(Phase):
    """A phase for layers that act by one matrix product, whose random numbers follow from a seed.

    A subclass makes what it needs for a model in `create`.

    Args:
        layers: See `Phase`; only layers that act by one matrix product. By default all of those.
        seed: Integer, or None for a random one.
        jit_compile: Whether XLA compiles the simulation.
    """

    def __init__(self, layers: Sequence[str] | None, seed: int | None, jit_compile: bool) -> None:
        super().__init__(layers)
        self.seed = random.randint(1, 10**9) if seed is None else integer("seed", seed, 0)
        self.jit_compile = boolean("jit_compile", jit_compile)
        self._model: Callable[[], keras.Model | None] = lambda: None

    @abc.abstractmethod
    def create(
        self, model: keras.Model, connections: dict[str, Connection]
    ) -> list[keras.Variable]:
        """Make what the phase needs for `model`, in the scope of the model's strategy.

        Returns:
            The phase's own variables besides the count, which is 0 then.
        """

    def connections(self, model: keras.Model) -> dict[str, Connection]:
        """The dense layers among the connections that have a feedback kernel."""
        found = super().connections(model)
        dense = {path: c for path, c in found.items() if isinstance(c.map, Matmul)}
        if len(dense) < (1 if self.layers is None else len(found)):
            others = {
                path: type(c.layer).__name__ for path, c in found.items() if path not in dense
            }
            raise ValueError(
                f"Phase '{self.name}' aligns dense layers, which act by one matrix product. "
                f"Received: {others}"
            )
        return dense

    def build(self, model: keras.Model) -> None:
        """Give the phase what it needs for `model`, and let it count from 0."""
        if self._model() is model:
            return
        connections = self.connections(model)
        with model.distribute_strategy.scope():
            self._count = keras.Variable(
                0, dtype="int32", trainable=False, aggregation="only_first_replica"
            )
            self._own = self.create(model, connections)
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[keras.Variable]:
        """The count of what was simulated, and what else is kept; empty before it is built."""
        return [] if self._model() is None else [self._count, *self._own]

    def warn_of_rates(self, who: str, silent: float, saturated: float, remedy: str) -> None:
        """Warn if too many units hardly spike, or spike nearly as often as they can.

        Args:
            who: The units, e.g. `"units of 'net/top'"`.
            silent: Which part of them hardly spikes.
            saturated: Which part spikes nearly as often as a refractory period allows.
            remedy: What to do with `{}`, which becomes "raise" or "lower".
        """
        for part, most, what, direction in (
            (silent, _SILENT, "hardly spike", "raise"),
            (saturated, _SATURATED, "are saturated", "lower"),
        ):
            if part > most:
                self.warn(f"{100 * part:.0f} % of the {who} {what}; {remedy.format(direction)}")

    def warn(self, text: str) -> None:
        """A `UserWarning` that points at the code that runs the phase."""
        warnings.warn(f"Phase '{self.name}': {text}.", stacklevel=_outside())


def _outside(packages: Iterable[str] = ("tf_alignment", "keras")) -> int:
    """The `stacklevel` of the nearest caller of our caller that is in none of these packages."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in packages:
            break
        frame, level = frame.f_back, level + 1
    return level

"""The base of phases that simulate dense layers as spiking networks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence

import keras

from tf_alignment._support.arguments import boolean
from tf_alignment.layers.receiver import Receiver
from tf_alignment.maps.dense import Matmul
from tf_alignment.phases.base import Phase

__all__ = ["DensePhase"]

# Part of a layer's units that may be silent, or saturated, before the phase warns.
_SILENT, _SATURATED = 0.75, 0.25


class DensePhase(Phase):
    """A phase for layers that act by one matrix product.

    Args:
        jit_compile: Whether XLA compiles the simulation.
        layers: See `Phase`. By default all layers that act by one matrix product and store a
            feedback kernel.
        seed, name: See `Phase`.
    """

    def __init__(
        self,
        *,
        jit_compile: bool = True,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(layers=layers, seed=seed, name=name)
        self.jit_compile = boolean("jit_compile", jit_compile)

    def connections(self, model: keras.Model) -> dict[str, Receiver]:
        """The dense layers among the connections that have a feedback kernel."""
        found = super().connections(model)
        dense = {
            path: c for path, c in found.items() if isinstance(c.map, Matmul) and not c.over_time
        }
        if len(dense) < (1 if self.layers is None else len(found)):
            others = {
                path: type(c.layer).__name__ for path, c in found.items() if path not in dense
            }
            raise ValueError(
                f"Phase '{self.name}' aligns dense layers, which act by one matrix product. "
                f"Received: {others}"
            )
        return dense

    def warn_of_rates(self, who: str, silent: float, saturated: float, remedy: str) -> None:
        """Warn if too many units hardly spike, or spike nearly as often as they can.

        Args:
            who: The units, e.g. `"units of 'net/top'"`.
            silent: Part of the units that hardly spikes.
            saturated: Part that spikes nearly as often as a refractory period allows.
            remedy: Advice, with `{}` for "raise" or "lower".
        """
        for part, most, what, direction in (
            (silent, _SILENT, "hardly spike", "raise"),
            (saturated, _SATURATED, "are saturated", "lower"),
        ):
            if part > most:
                self.warn(f"{100 * part:.0f} % of the {who} {what}; {remedy.format(direction)}")

    def warn(self, text: str) -> None:
        """Give a `UserWarning` that points at the code that runs the phase."""
        warnings.warn(f"Phase '{self.name}': {text}.", stacklevel=_outside())


def _outside(packages: Iterable[str] = ("tf_alignment", "keras")) -> int:
    """The `stacklevel` of the nearest caller of our caller that is in none of these packages."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in packages:
            break
        frame, level = frame.f_back, level + 1
    return level
